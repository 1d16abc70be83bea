use std::time::Instant;

use waft_servers::Server;

use super::*;

fn store(server: &Server, prefix: &str) -> impl Store + use<> {
    Redis::new(&server.url()).unwrap().with_prefix(prefix)
}

#[tokio::test]
async fn keeps_what_a_store_keeps() {
    let Some(server) = Server::redis() else {
        return;
    };
    crate::keyvalue::contract::check(&store(&server, "")).await;
    // Another prefix is another bucket.
    crate::keyvalue::contract::check(&store(&server, "app:")).await;
}

#[tokio::test]
async fn a_bucket_is_of_the_first_namespace_and_of_those_who_are_granted_it() {
    let Some(server) = Server::redis() else {
        return;
    };
    let store = store(&server, "");
    let mine = store.open("one", "b").await.unwrap();
    mine.set(vec![("k".into(), b"v".to_vec())]).await.unwrap();
    let refused = |result: Result<_, StoreError>| result.map(drop).unwrap_err();
    let elsewhere = store.open("two", "b").await;
    assert_eq!(refused(elsewhere), StoreError::NotOwned);
    assert_eq!(
        refused(store.open("two", OWNERS).await),
        StoreError::NotOwned
    );

    let client = Client::open(server.url()).unwrap();
    let mut admin = client.get_multiplexed_async_connection().await.unwrap();
    let grant = redis::cmd("HSET").arg(OWNERS).arg("b").arg("*").to_owned();
    grant.query_async::<u64>(&mut admin).await.unwrap();
    let granted = store.open("two", "b").await.unwrap();
    assert!(granted.exists("k").await.unwrap());

    // What is something else in Redis is no bucket, and stays what it is.
    let list = redis::cmd("RPUSH").arg("list").arg("x").to_owned();
    list.query_async::<u64>(&mut admin).await.unwrap();
    let bucket = store.open("one", "list").await.unwrap();
    let error = bucket.exists("x").await.unwrap_err().to_string();
    assert!(error.contains("WRONGTYPE"), "{error}");
}

#[tokio::test]
async fn a_server_that_dies_is_told_and_comes_back_with_what_it_acknowledged() {
    let Some(mut server) = Server::redis() else {
        return;
    };
    let store = store(&server, "");
    let bucket = store.open("n", "b").await.unwrap();
    let mut acknowledged = 0;
    for round in 0..3 {
        for _ in 0..20 {
            acknowledged = bucket.increment("count", 1).await.unwrap();
        }
        server.kill();
        let asked = Instant::now();
        let error = bucket.increment("count", 1).await.unwrap_err();
        assert!(matches!(error, StoreError::Other(_)), "{error}");
        assert!(
            error.to_string().contains("Redis does not answer"),
            "{error}"
        );
        assert!(asked.elapsed() < 2 * WITHIN, "round {round}");
        server.restart();
        // The first calls may still meet the lost connection.
        let until = Instant::now() + 2 * WITHIN;
        let found = loop {
            match bucket.get(&["count".into()]).await {
                Ok(found) => break found,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
        };
        let found: u64 = String::from_utf8(found[0].clone().unwrap())
            .unwrap()
            .parse()
            .unwrap();
        assert!(found >= acknowledged, "{found} {acknowledged}");
    }
}

#[tokio::test]
async fn a_server_that_was_never_there_keeps_nobody_waiting() {
    let store = Redis::new("redis://127.0.0.1:1").unwrap().with_prefix("");
    let error = store.open("n", "b").await.map(drop).unwrap_err();
    assert!(
        error.to_string().contains("Redis does not answer"),
        "{error}"
    );
    let error = Redis::new("http://x").map(drop).unwrap_err();
    assert!(error.message.contains("--redis"), "{}", error.message);
}
