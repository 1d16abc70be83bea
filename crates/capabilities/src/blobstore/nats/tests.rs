use std::sync::atomic::Ordering::Relaxed;

use waft_servers::Server;

use super::*;
use crate::{
    blobstore::contract::{bytes, check, check_owned, check_patience, check_restarts, value},
    nats::{OWNERS, bucket},
};

/// Bytes of an object.
const SIZE: usize = 1 << 20;

fn store(server: &Server) -> NatsStore {
    NatsStore::new(Arc::new(Nats::new(&server.url()).unwrap()))
}

#[tokio::test]
async fn keeps_what_a_store_keeps() {
    let Some(server) = Server::nats() else {
        return;
    };
    check(&store(&server), &std::env::temp_dir()).await;
}

#[tokio::test]
async fn a_container_is_of_the_first_namespace_and_of_those_who_are_granted_it() {
    let Some(server) = Server::nats() else {
        return;
    };
    let store = store(&server);
    check_owned(&store, "b").await;
    for name in ["a.b", "a b", "ä", ">"] {
        assert!(store.create("one", name).await.is_err(), "{name:?}");
        assert!(store.find("one", name).await.unwrap().is_none());
    }

    let client = async_nats::connect(server.url()).await.unwrap();
    let owners = bucket(&jetstream::new(client), OWNERS).await.unwrap();
    owners.put("blobstore/b", "*".into()).await.unwrap();
    let granted = store.find("two", "b").await.unwrap().unwrap();
    assert_eq!(bytes(&*granted, "o", Span::ALL).await.unwrap(), b"v");
}

#[tokio::test]
async fn who_reads_slowly_is_not_told_that_the_server_is_slow() {
    let Some(server) = Server::nats() else {
        return;
    };
    check_patience(&store(&server)).await;
}

#[tokio::test]
async fn what_nobody_reads_on_stays_in_the_server() {
    let Some(server) = Server::nats() else {
        return;
    };
    let store = store(&server);
    let container = store.create("one", "bucket").await.unwrap();
    container.write("o", value(&[7; 4 << 20])).await.unwrap();
    let mut reading = container.read("o", Span::ALL).await.unwrap().unwrap();
    let received = || async {
        let client = store.nats.client().await.unwrap();
        client.statistics().in_bytes.load(Relaxed)
    };
    let before = received().await;
    reading.reader.read_exact(&mut [0; 1000]).await.unwrap();
    // Whatever the server sends of itself comes before these answers.
    for _ in 0..100 {
        container.info("o").await.unwrap();
    }
    assert!(received().await - before < 1 << 20);
}

#[tokio::test]
async fn of_objects_that_many_write_at_a_time_only_the_last_takes_room() {
    let Some(server) = Server::nats() else {
        return;
    };
    // Two hosts.
    let (one, other) = (store(&server), store(&server));
    let mine = one.create("one", "bucket").await.unwrap();
    let theirs = other.find("one", "bucket").await.unwrap().unwrap();
    let used = async || {
        let client = one.nats.client().await.unwrap();
        let stream = jetstream::new(client.clone());
        let stream = stream.get_stream("OBJ_bucket").await.unwrap();
        stream.cached_info().state.bytes
    };
    let names = ["o".to_owned()];
    for n in 0..10 {
        let write = |container: &Arc<dyn Container>, byte| {
            let (container, value) = (container.clone(), value(&[byte; SIZE]));
            async move { container.write("o", value).await.unwrap() }
        };
        let ((), (), (), deleted) = tokio::join!(
            write(&mine, n),
            write(&mine, n + 100),
            write(&theirs, n + 200),
            theirs.delete(&names),
        );
        deleted.unwrap();
    }
    mine.write("o", value(&[1; SIZE])).await.unwrap();
    assert!(used().await < (SIZE + SIZE / 4) as u64, "{}", used().await);
    assert_eq!(bytes(&*theirs, "o", Span::ALL).await.unwrap(), [1; SIZE]);
    theirs.delete(&names).await.unwrap();
    assert!(used().await < 10_000, "{}", used().await);

    // Other clients read what was written, and what they write is read.
    let client = async_nats::connect(server.url()).await.unwrap();
    let bucket = jetstream::new(client).get_object_store("bucket").await;
    let bucket = bucket.unwrap();
    mine.write("ä/o", value(&[2; SIZE])).await.unwrap();
    let mut read = Vec::new();
    let mut object = bucket.get("ä/o").await.unwrap();
    object.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, [2; SIZE]);
    bucket.put("ä/o", &mut &[3; SIZE][..]).await.unwrap();
    assert_eq!(bytes(&*mine, "ä/o", Span::ALL).await.unwrap(), [3; SIZE]);
}

#[tokio::test]
async fn bytes_that_who_answers_does_not_know_yet_are_read_all_the_same() {
    let Some(server) = Server::nats() else {
        return;
    };
    let store = store(&server);
    let mine = store.create("one", "bucket").await.unwrap();
    mine.write("o", value(&[7; 4 << 20])).await.unwrap();
    // A copy that answers in the stream's place, and is as far behind as can be.
    let context = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let copy = jetstream::stream::Config {
        name: "copy".into(),
        mirror: Some(jetstream::stream::Source {
            name: "OBJ_bucket".into(),
            filter_subject: Some("$O.bucket.M.>".into()),
            ..Default::default()
        }),
        mirror_direct: true,
        allow_direct: true,
        ..Default::default()
    };
    context.create_stream(copy).await.unwrap();
    let stream = context.get_stream("OBJ_bucket").await.unwrap();
    let answers = async || stream.direct_get_first_for_subject("$O.bucket.C.>").await;
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while answers().await.is_ok() {
        assert!(std::time::Instant::now() < until, "the copy never answers");
    }
    for _ in 0..3 {
        let read = bytes(&*mine, "o", Span::ALL).await.unwrap();
        assert!(read == [7; 4 << 20]);
    }
}

#[tokio::test]
async fn a_server_that_dies_is_told_and_comes_back_with_what_it_acknowledged() {
    let Some(mut server) = Server::nats() else {
        return;
    };
    let store = store(&server);
    // Of many messages.
    check_restarts(&store, &mut server, "NATS does not answer", 8_000_000).await;
}
