use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use waft_servers::Server;

use super::*;
use crate::{
    keyvalue::{
        Backend, Kept as Place,
        contract::{check, check_owned, check_restarts},
    },
    nats::WITHIN,
    returning::once_it_answers,
};

fn store(server: &Server) -> NatsStore {
    NatsStore::new(Arc::new(Nats::new(&server.url()).unwrap()))
}

#[tokio::test]
async fn keeps_what_a_store_keeps() {
    let Some(server) = Server::nats() else {
        return;
    };
    check(&store(&server)).await;
}

#[tokio::test]
async fn a_bucket_is_of_the_first_namespace_and_of_those_who_are_granted_it() {
    let Some(server) = Server::nats() else {
        return;
    };
    let store = store(&server);
    let mine = check_owned(&store, OWNERS).await;
    for name in ["", "a.b", "a b", "ä", ">"] {
        assert!(store.open("one", name).await.is_err(), "{name:?}");
    }
    for key in ["a b", ".a", "a..b", "*", ""] {
        let error = mine.set(vec![(key.into(), vec![])]).await.unwrap_err();
        assert!(error.to_string().contains("can't be a key"), "{error}");
        assert!(!mine.exists(key).await.unwrap());
        mine.delete(&[key.into()]).await.unwrap();
    }

    let client = async_nats::connect(server.url()).await.unwrap();
    let owners = jetstream::new(client).get_key_value(OWNERS).await.unwrap();
    owners.put("b", "*".into()).await.unwrap();
    let granted = store.open("two", "b").await.unwrap();
    assert!(granted.exists("k").await.unwrap());
}

#[tokio::test]
async fn counters_count_each_of_those_who_count_at_the_same_time() {
    let Some(server) = Server::nats() else {
        return;
    };
    let store = store(&server);
    let bucket = store.open("n", "b").await.unwrap();
    let counting = (0..20).map(|_| bucket.increment("count", 1));
    let sums = futures::future::try_join_all(counting).await.unwrap();
    assert_eq!(sums.iter().max(), Some(&20));
}

#[tokio::test]
async fn a_server_that_dies_is_told_and_comes_back_with_what_it_acknowledged() {
    let Some(mut server) = Server::nats() else {
        return;
    };
    let store = store(&server);
    check_restarts(&store, &mut server, "NATS does not answer", 2 * WITHIN).await;
}

/// A way to a server that ends after so many more bytes of its answers, and does not come back.
struct Way {
    url: String,
    left: Arc<AtomicUsize>,
}

impl Way {
    async fn to(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let left = Arc::new(AtomicUsize::new(usize::MAX));
        let (address, way) = (server.url(), left.clone());
        tokio::spawn(async move {
            let (client, _) = listener.accept().await.unwrap();
            drop(listener);
            let address = address.trim_start_matches("nats://");
            let server = TcpStream::connect(address).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let asking = tokio::io::copy(&mut from_client, &mut to_server);
            let answering = async {
                let mut some = vec![0; 1024];
                loop {
                    let read = from_server.read(&mut some).await.unwrap();
                    let left = way.load(SeqCst).checked_sub(read);
                    let Some(left) = left.filter(|_| read > 0) else {
                        return;
                    };
                    way.fetch_min(left, SeqCst);
                    to_client.write_all(&some[..read]).await.unwrap();
                }
            };
            tokio::select! {
                _ = asking => {}
                () = answering => {}
            }
        });
        Self { url, left }
    }
}

#[tokio::test]
async fn a_server_that_dies_while_it_lists_keys_is_told() {
    /// Keys whose list is longer than what is left of the way.
    const KEYS: usize = 2000;
    const LEFT: usize = 64 << 10;
    let Some(server) = Server::nats() else {
        return;
    };
    let way = Way::to(&server).await;
    let store = NatsStore::new(Arc::new(Nats::new(&way.url).unwrap()));
    let bucket = store.open("n", "b").await.unwrap();
    let pairs = (0..KEYS).map(|n| (format!("key-{n}"), vec![]));
    bucket.set(pairs.collect()).await.unwrap();
    assert_eq!(bucket.keys(None).await.unwrap().0.len(), PAGE);
    way.left.store(LEFT, SeqCst);
    let listed = timeout(Duration::from_secs(60), bucket.keys(None)).await;
    let error = listed.expect("it ends").unwrap_err().to_string();
    assert!(error.contains("NATS does not answer"), "{error}");
}

#[tokio::test]
async fn of_a_bucket_with_replicas_the_last_value_is_read() {
    let Some(servers) = Server::nats_cluster() else {
        return;
    };
    let context = jetstream::new(async_nats::connect(servers[0].url()).await.unwrap());
    // As an administrator makes it.
    let config = kv::Config {
        bucket: "b".into(),
        num_replicas: servers.len(),
        ..kv::Config::default()
    };
    once_it_answers(async || context.create_key_value(config.clone()).await).await;
    let store = store(&servers[0]);
    let bucket = store.open("n", "b").await.unwrap();
    let others = "$JS.API.DIRECT.GET.KV_b.$KV.b.>";
    let mut asked = context.client().subscribe(others).await.unwrap();
    context.client().flush().await.unwrap();
    for n in 0..200 {
        let value = n.to_string();
        bucket.set(set("k", &value)).await.unwrap();
        assert_eq!(bucket.get("k").await.unwrap(), Some(value.into_bytes()));
    }
    assert_eq!(bucket.increment("k", 1).await.unwrap(), 200);
    bucket.delete(&["k".into()]).await.unwrap();
    assert_eq!(bucket.get("k").await.unwrap(), None);
    assert_eq!(bucket.increment("k", 1).await.unwrap(), 1);
    // And nobody was asked who may be behind.
    let known = context.get_key_value("b").await.unwrap();
    known.entry("last").await.unwrap();
    let first = asked.next().await.unwrap();
    assert!(first.subject.ends_with(".last"), "{}", first.subject);
}

/// The entry that grants to watch a bucket of this store.
fn entry(store: NatsStore) -> (Arc<NatsStore>, Arc<Entry>) {
    let store = Arc::new(store);
    let place = Place {
        store: store.clone(),
        backend: Backend::Nats,
        prefix: String::new(),
    };
    let grant = waft_ir::CapabilityGrant {
        name: Some("b".into()),
        package: waft_ir::InterfaceName::new("wasi", "keyvalue", None),
        interfaces: vec!["watcher".into()],
        config: std::collections::BTreeMap::new(),
    };
    (store, Arc::new(Entry::new(&grant, place)))
}

fn set(key: &str, value: &str) -> Vec<(String, Vec<u8>)> {
    vec![(key.to_owned(), value.as_bytes().to_vec())]
}

/// The next change that is told.
async fn next(watch: &mut dyn Source) -> (String, Option<String>) {
    let next = tokio::time::timeout(Duration::from_secs(120), watch.next());
    match next.await.expect("it is told").expect("it goes on") {
        Delivery::Change(change) => {
            let value = change.value.map(|value| String::from_utf8(value).unwrap());
            (change.key, value)
        }
        Delivery::Message(_) => panic!("it is no message"),
    }
}

fn state(key: &str, value: Option<&str>) -> (String, Option<String>) {
    (key.to_owned(), value.map(Into::into))
}

#[tokio::test]
async fn of_keys_that_are_deleted_together_each_that_was_there_is_told_once() {
    let Some(server) = Server::nats() else {
        return;
    };
    let (here, entry) = entry(store(&server));
    let bucket = here.open("n", "b").await.unwrap();
    let mut watch = here.watch(&entry, "n", "b").await.unwrap();
    let keys = ["k", "none", "k"].map(ToOwned::to_owned);
    // What is set anew is deleted anew.
    for value in ["once", "again"] {
        bucket.set(set("k", value)).await.unwrap();
        assert_eq!(next(&mut *watch).await, state("k", Some(value)));
        bucket.delete(&keys).await.unwrap();
        assert_eq!(next(&mut *watch).await, state("k", None));
        bucket.delete(&keys).await.unwrap();
        bucket.set(set("last", value)).await.unwrap();
        assert_eq!(next(&mut *watch).await, state("last", Some(value)));
    }
}

#[tokio::test]
async fn of_what_changed_while_the_server_was_away_the_last_states_are_told() {
    let Some(mut server) = Server::nats() else {
        return;
    };
    let (here, entry) = entry(store(&server));
    let bucket = here.open("n", "b").await.unwrap();
    for key in ["kept", "changed", "deleted"] {
        bucket.set(set(key, "before")).await.unwrap();
    }
    let mut watch = here.watch(&entry, "n", "b").await.unwrap();
    bucket.set(set("first", "seen")).await.unwrap();
    let mut next = async || next(&mut *watch).await;
    assert_eq!(next().await, ("first".into(), Some("seen".into())));

    // Where this host does not find it, another one changes things.
    let port = server.restart_elsewhere();
    let elsewhere = store(&server).open("n", "b").await.unwrap();
    elsewhere.set(set("changed", "once")).await.unwrap();
    elsewhere.set(set("changed", "twice")).await.unwrap();
    elsewhere.set(set("made", "new")).await.unwrap();
    elsewhere.delete(&["deleted".into()]).await.unwrap();
    server.restart_at(port);
    let mut told = vec![next().await, next().await, next().await];
    told.sort();
    let wanted = [
        state("changed", Some("twice")),
        state("deleted", None),
        state("made", Some("new")),
    ];
    assert_eq!(told, wanted);
    // And nothing else: the next one is what is changed from now on.
    once_it_answers(async || bucket.set(set("last", "x")).await).await;
    assert_eq!(next().await, state("last", Some("x")));
}
