use std::time::Duration;

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};
use waft_servers::Server;

use super::*;
use crate::blobstore::contract::{
    bytes, check_owned, check_patience, check_restarts, check_with_names, pass, value,
};

/// Names that are as well those of files, which the server of the tests keeps.
const NAMES: &[&str] = &["a/b", "ä ö/☃", "%2e%2e", "*", ">", "a?b=c&d", "a+b", "\\x"];

fn store(server: &Server) -> S3 {
    store_at(&server.url())
}

fn store_at(url: &str) -> S3 {
    // As the program does.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (key, secret) = Server::S3_CREDENTIALS;
    let variable = |name: &str| match name {
        "AWS_ACCESS_KEY_ID" => Some(key.to_owned()),
        "AWS_SECRET_ACCESS_KEY" => Some(secret.to_owned()),
        _ => None,
    };
    let server = S3Server::new(url, variable).unwrap();
    assert!(!format!("{server:?}").contains(secret));
    S3::new(&server, &[]).unwrap()
}

/// A request of the server's administrator.
async fn admin(store: &S3, method: Method, bucket: &Bucket, object: &str, body: &'static str) {
    let action = match &method {
        &Method::PUT => PutObject::new(bucket, Some(store.0.credentials()), object),
        other => panic!("{other}"),
    };
    store
        .0
        .send(method, bucket, &action, None, body)
        .await
        .unwrap();
}

#[tokio::test]
async fn keeps_what_a_store_keeps() {
    let Some(server) = Server::s3() else {
        return;
    };
    check_with_names(&store(&server), &std::env::temp_dir(), NAMES).await;
}

#[tokio::test]
async fn a_container_is_of_who_made_it_and_of_those_who_are_granted_it() {
    let Some(server) = Server::s3() else {
        return;
    };
    let store = store(&server);
    let mine = check_owned(&store, "bucket").await;
    // Nothing of the bucket but its objects, and nothing beside it.
    let names = [
        "../other/o",
        "a/../../other/o",
        "/o",
        "//host/o",
        "a//b",
        ".",
        "..",
        OWNER,
    ];
    for name in names {
        assert!(mine.write(name, value(b"x")).await.is_err(), "{name:?}");
        assert!(mine.read(name, Span::ALL).await.unwrap().is_none());
        mine.delete(&[name.to_owned()]).await.unwrap();
    }
    assert_eq!(mine.list(None).await.unwrap(), ["o"]);
    for name in ["a b", "ä", "UPPER", "ab", "../x", "a/b", "-ab"] {
        assert!(store.create("one", name).await.is_err(), "{name:?}");
        assert!(store.find("one", name).await.unwrap().is_none());
    }

    let bucket = store.0.bucket("bucket").unwrap();
    admin(&store, Method::PUT, &bucket, OWNER, "*").await;
    let granted = store.find("two", "bucket").await.unwrap().unwrap();
    assert_eq!(bytes(&*granted, "o", Span::ALL).await.unwrap(), b"v");

    // What was there before is nobody's.
    let others = store.0.bucket("others").unwrap();
    let action = CreateBucket::new(&others, store.0.credentials());
    let made = store
        .0
        .send(Method::PUT, &others, &action, None, action.body());
    made.await.unwrap();
    let refused = store.create("one", "others").await.map(drop).unwrap_err();
    assert!(refused.to_string().contains("is nobody's"), "{refused}");
}

#[tokio::test]
async fn a_bucket_that_can_not_be_deleted_stays_its_owners() {
    let Some(server) = Server::s3() else {
        return;
    };
    let store = store(&server);
    let mine = store.create("one", "bucket").await.unwrap();
    mine.write("o", value(b"v")).await.unwrap();
    let bucket = store.0.bucket("bucket").unwrap();
    // As when somebody writes while it is deleted.
    for owner in ["one", "*\n"] {
        admin(&store, Method::PUT, &bucket, OWNER, owner).await;
        let kept = store.kept("one", bucket.clone(), 0).remove().await;
        let error = kept.unwrap_err().to_string();
        assert!(error.contains("not empty"), "{error}");
        assert!(store.find("one", "bucket").await.unwrap().is_some());
        let known = look(&store.0, "one", &bucket).await.unwrap().unwrap();
        assert_eq!(known.owner, owner);
    }
    store.delete("two", "bucket").await.unwrap();
    assert!(store.find("one", "bucket").await.unwrap().is_none());
}

#[tokio::test]
async fn who_holds_a_bucket_does_not_reach_the_next_ones_of_its_name() {
    let Some(server) = Server::s3() else {
        return;
    };
    let store = store(&server);
    let bucket = store.0.bucket("bucket").unwrap();
    store.create("one", "bucket").await.unwrap();
    let mut held = store.kept("one", bucket, 0);
    store.delete("one", "bucket").await.unwrap();
    let others = store.create("two", "bucket").await.unwrap();
    others.write("o", value(b"v")).await.unwrap();
    // As after a second.
    *held.looked.get_mut() -= STILL_OURS;
    for refused in [
        held.read("o", Span::ALL).await.map(drop),
        held.info("o").await.map(drop),
        held.list(None).await.map(drop),
        held.write("o", value(b"x")).await,
        held.delete(&["o".to_owned()]).await,
        held.clear().await,
        held.remove().await,
    ] {
        assert!(matches!(refused, Err(StoreError::NotOwned)), "{refused:?}");
    }
    assert_eq!(bytes(&*others, "o", Span::ALL).await.unwrap(), b"v");
    assert!(store.find("two", "bucket").await.unwrap().is_some());
}

#[tokio::test]
async fn what_no_component_can_name_is_not_listed_and_goes_with_the_others() {
    let Some(server) = Server::s3() else {
        return;
    };
    let store = store(&server);
    let mine = store.create("one", "bucket").await.unwrap();
    let bucket = store.0.bucket("bucket").unwrap();
    // More than a page of them, as a browser of S3 makes folders.
    for n in 0..=PAGE {
        let object = format!("dir-{n}/");
        admin(&store, Method::PUT, &bucket, &object, "").await;
    }
    mine.write("o", value(b"v")).await.unwrap();
    assert_eq!(mine.list(None).await.unwrap(), ["o"]);
    mine.clear().await.unwrap();
    let kept = store.kept("one", bucket, 0);
    assert_eq!(kept.keys(None).await.unwrap().0, [OWNER]);
    store.delete("one", "bucket").await.unwrap();
}

#[tokio::test]
async fn a_server_that_dies_is_told_and_comes_back_with_what_it_acknowledged() {
    let Some(mut server) = Server::s3() else {
        return;
    };
    let store = store(&server);
    // In parts, the last of which is not a whole one.
    check_restarts(&store, &mut server, "S3 does not answer", 20_000_003).await;
}

#[tokio::test]
async fn who_reads_slowly_is_not_told_that_the_server_is_slow() {
    let Some(server) = Server::s3() else {
        return;
    };
    check_patience(&store(&server)).await;
}

#[tokio::test]
async fn a_server_may_take_its_time_for_what_is_large_and_no_longer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = store_at(&format!("http://{}", listener.local_addr().unwrap()));
    let bucket = store.0.bucket("bucket").unwrap();
    for (seconds, is_answered) in [(20, true), (200, false)] {
        let action = PutObject::new(&bucket, Some(store.0.credentials()), "o");
        let mut part = vec![0; PART as usize];
        part.push(1);
        let sending = store.0.send(Method::PUT, &bucket, &action, None, part);
        let answering = async {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut last = 0;
            while last != 1 {
                let mut some = vec![0; 1 << 16];
                let read = connection.read(&mut some).await.unwrap();
                last = some[read - 1];
            }
            pass(Duration::from_secs(seconds)).await;
            if is_answered {
                let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                connection.write_all(answer.as_bytes()).await.unwrap();
            }
            // Until the client leaves.
            let _ = connection.read(&mut [0]).await;
        };
        let (sent, ()) = tokio::join!(sending, answering);
        assert_eq!(sent.is_ok(), is_answered, "{sent:?}");
    }
}

/// Reads a request up to the end of its body, which ends in this.
async fn read_request(connection: &mut TcpStream, end: &[u8]) {
    let mut request = Vec::new();
    while !request.ends_with(end) {
        assert_ne!(connection.read_buf(&mut request).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn an_object_may_take_minutes_to_be_put_together() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = store_at(&format!("http://{}", listener.local_addr().unwrap()));
    let bucket = store.0.bucket("bucket").unwrap();
    let made = "<CompleteMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                <ETag>x</ETag></CompleteMultipartUploadResult>";
    let failed = "<Error><Code>InternalError</Code><Message>try again</Message></Error>";
    for (minutes, answer, said) in [
        (4, made, None),
        (4, failed, Some("S3 refuses: 200 OK InternalError")),
        (11, made, Some("S3 does not answer: it takes too long")),
    ] {
        let sending = Sending {
            client: store.0.clone(),
            bucket: bucket.clone(),
            object: "o".into(),
        };
        let answering = async {
            let (mut connection, _) = listener.accept().await.unwrap();
            read_request(&mut connection, b"</CompleteMultipartUpload>").await;
            pass(Duration::from_secs(60)).await;
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n<?xml version=\"1.0\"?>\n";
            connection.write_all(head.as_bytes()).await.unwrap();
            for _ in 1..minutes {
                pass(Duration::from_secs(60)).await;
                // Whoever waited too long has left.
                let _ = connection.write_all(b" ").await;
            }
            let _ = connection.write_all(answer.as_bytes()).await;
        };
        let tags = ["\"tag\"".to_owned()];
        let (done, ()) = tokio::join!(sending.complete("id", &tags), answering);
        match said {
            None => done.unwrap(),
            Some(said) => assert_eq!(done.unwrap_err().to_string(), said),
        }
    }
}

#[test]
fn a_server_needs_a_url_and_credentials() {
    let none = S3Server::new("http://localhost:7070", |_| None).unwrap_err();
    assert!(
        none.message.contains("AWS_ACCESS_KEY_ID"),
        "{}",
        none.message
    );
    for url in [
        "localhost:7070",
        "s3://bucket",
        "http://key:secret@host",
        "",
    ] {
        let server = S3Server::new(url, |_| Some("x".into())).unwrap();
        let refused = S3::new(&server, &[]).err().unwrap();
        assert!(refused.message.contains("--s3"), "{}", refused.message);
        assert!(!refused.message.contains("secret"), "{}", refused.message);
    }
}
