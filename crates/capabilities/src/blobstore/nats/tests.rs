use waft_servers::Server;

use super::*;
use crate::{
    blobstore::contract::{bytes, check, value},
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
    // Looking for what is not there takes it from nobody.
    assert!(store.find("two", "b").await.unwrap().is_none());
    let mine = store.create("one", "b").await.unwrap();
    mine.write("o", value(b"v")).await.unwrap();
    for refused in [
        store.create("two", "b").await.map(drop),
        store.find("two", "b").await.map(drop),
        store.delete("two", "b").await,
    ] {
        assert_eq!(refused, Err(StoreError::NotOwned));
    }
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
async fn a_server_that_dies_is_told_and_comes_back_with_what_it_acknowledged() {
    let Some(mut server) = Server::nats() else {
        return;
    };
    let store = store(&server);
    let container = store.create("n", "b").await.unwrap();
    let large: Vec<u8> = (0..8_000_000u32).map(|n| (n % 251) as u8).collect();
    container.write("large", value(&large)).await.unwrap();
    container.write("o", value(b"kept")).await.unwrap();
    let mut reading = container.read("large", Span::ALL).await.unwrap().unwrap();
    reading.reader.read_exact(&mut [0; 1000]).await.unwrap();
    server.kill();
    let error = container.write("o", value(b"lost")).await.unwrap_err();
    assert!(
        error.to_string().contains("NATS does not answer"),
        "{error}"
    );
    // What it has not sent does not come: the reader is told, or has it all.
    let mut rest = Vec::new();
    if reading.reader.read_to_end(&mut rest).await.is_ok() {
        assert!(rest == large[1000..]);
    }
    server.restart();
    let until = Instant::now() + 4 * WITHIN;
    while let Err(error) = container.info("o").await {
        assert!(Instant::now() < until, "{error}");
    }
    let found = bytes(&*container, "o", Span::ALL).await.unwrap();
    // The write that was answered with an error may have been made.
    assert!(found == b"kept" || found == b"lost", "{found:?}");
    let found = bytes(&*container, "large", Span::ALL).await.unwrap();
    assert!(found == large);
}
