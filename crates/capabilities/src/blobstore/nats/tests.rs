use std::sync::atomic::Ordering::Relaxed;

use waft_servers::Server;

use super::*;
use crate::{
    blobstore::contract::{bytes, check, check_owned, check_patience, check_restarts, value},
    nats::{OWNERS, bucket},
};

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
async fn a_server_that_dies_is_told_and_comes_back_with_what_it_acknowledged() {
    let Some(mut server) = Server::nats() else {
        return;
    };
    let store = store(&server);
    // Of many messages.
    check_restarts(&store, &mut server, "NATS does not answer", 8_000_000).await;
}
