use waft_servers::Server;

use super::*;
use crate::keyvalue::contract::{all_keys, check, check_owned, check_restarts};

fn store(server: &Server) -> Redis {
    Redis::new(&server.url()).unwrap()
}

#[tokio::test]
async fn keeps_what_a_store_keeps() {
    let Some(server) = Server::redis() else {
        return;
    };
    check(&store(&server)).await;
}

#[tokio::test]
async fn a_bucket_is_of_the_first_namespace_and_of_those_who_are_granted_it() {
    let Some(server) = Server::redis() else {
        return;
    };
    let store = store(&server);
    check_owned(&store, OWNERS).await;

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
async fn a_counter_ends_where_those_of_redis_do() {
    let Some(server) = Server::redis() else {
        return;
    };
    let bucket = store(&server).open("n", "b").await.unwrap();
    let most = i64::MAX as u64;
    assert_eq!(bucket.increment("count", most).await, Ok(most));
    for delta in [1, 1 << 63, u64::MAX] {
        let refused = bucket.increment("count", delta).await;
        assert_eq!(refused, Err(StoreError::Overflow), "{delta}");
    }
    assert_eq!(bucket.increment("count", 0).await, Ok(most));
    // Nothing is made by what is refused.
    let refused = bucket.increment("none", 1 << 63).await;
    assert_eq!(refused, Err(StoreError::Overflow));
    assert!(!bucket.exists("none").await.unwrap());
}

#[tokio::test]
async fn values_that_nobody_gets_stay_in_the_server() {
    let Some(server) = Server::redis() else {
        return;
    };
    let bucket = store(&server).open("n", "b").await.unwrap();
    let keys: Vec<String> = (0..40).map(|n| format!("key-{n}")).collect();
    for key in &keys {
        bucket
            .set(vec![(key.clone(), vec![0; 1 << 20])])
            .await
            .unwrap();
    }
    let client = Client::open(server.url()).unwrap();
    let mut admin = client.get_multiplexed_async_connection().await.unwrap();
    let mut sent = async || -> usize {
        let stats = redis::cmd("INFO").arg("stats").to_owned();
        let stats: String = stats.query_async(&mut admin).await.unwrap();
        let mut lines = stats.lines();
        let line = lines.find_map(|line| line.strip_prefix("total_net_output_bytes:"));
        line.unwrap().parse().unwrap()
    };
    let before = sent().await;
    assert_eq!(all_keys(&*bucket, keys.len()).await.len(), keys.len());
    let much = bucket.get_many(&keys, 8 << 20).await;
    assert_eq!(much, Err(StoreError::LargeAnswer(8 << 20)));
    let sent = sent().await - before;
    assert!(sent < 1 << 20, "{sent} bytes");
}

#[tokio::test]
async fn a_server_that_dies_is_told_and_comes_back_with_what_it_acknowledged() {
    let Some(mut server) = Server::redis() else {
        return;
    };
    let store = store(&server);
    check_restarts(&store, &mut server, "Redis does not answer", 2 * WITHIN).await;
}

#[tokio::test]
async fn a_server_that_was_never_there_keeps_nobody_waiting() {
    let store = Redis::new("redis://127.0.0.1:1").unwrap();
    let error = store.open("n", "b").await.map(drop).unwrap_err();
    assert!(
        error.to_string().contains("Redis does not answer"),
        "{error}"
    );
    let error = Redis::new("http://x").map(drop).unwrap_err();
    assert!(error.message.contains("--redis"), "{}", error.message);
}
