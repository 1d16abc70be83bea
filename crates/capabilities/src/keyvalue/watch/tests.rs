use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use waft_ir::CapabilityGrant;

use super::*;
use crate::{
    Backends,
    keyvalue::{file::File, store::Store as _},
};

const MIB: usize = 1 << 20;

/// Watches what an entry names, in memory.
async fn watch(
    keyvalue: &KeyValue,
    config: &[(&str, &str)],
    lost: &Arc<AtomicU64>,
) -> Vec<Subscribed> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let grant = CapabilityGrant {
        name: None,
        package: waft_ir::InterfaceName::new("wasi", "keyvalue", None),
        interfaces: vec!["watcher".into()],
        config: config.iter().map(owned).collect(),
    };
    let of = Subscriber {
        namespace: "n",
        owner: "app/main",
        config: &BTreeMap::new(),
        grants: &[grant],
        exports: &[],
        queue: 1000,
        lost,
    };
    keyvalue.watch(&of).await.unwrap()
}

fn told(source: &mut Subscribed) -> Option<(String, Option<usize>)> {
    match source.messages.try_next()? {
        Delivery::Change(change) => Some((change.key, change.value.map(|value| value.len()))),
        Delivery::Message(_) => panic!("it is no message"),
    }
}

/// A store in a file of this folder, beside the one in memory, and its changes.
fn in_file(folder: &Path) -> (KeyValue, File) {
    let backends = Backends {
        data_dir: Some(folder.to_owned()),
        ..Backends::default()
    };
    let keyvalue = KeyValue::new(&backends, None).unwrap();
    let file = File::open(&folder.join("keyvalue.db"), keyvalue.0.hub.clone());
    (keyvalue, file.unwrap())
}

#[tokio::test]
async fn changes_that_wait_are_bounded_in_bytes_for_all_buckets_of_a_component() {
    let keyvalue = KeyValue::new(&Backends::default(), None).unwrap();
    let lost = Arc::<AtomicU64>::default();
    let mut watches = watch(&keyvalue, &[("buckets", "a, b")], &lost).await;
    let [of_a, of_b] = watches.as_mut_slice() else {
        panic!("{}", watches.len());
    };
    let memory = &keyvalue.0.memory;
    let a = memory.open("n", "a").await.unwrap();
    let b = memory.open("n", "b").await.unwrap();
    let large = |key: &str| vec![(key.to_owned(), vec![0; 30 * MIB])];
    for _ in 0..2 {
        a.set(large("k")).await.unwrap();
    }
    assert_eq!(lost.load(Relaxed), 0);
    b.set(large("k")).await.unwrap();
    assert_eq!(lost.load(Relaxed), 1);
    // A small one fits still; what was taken gives its room back.
    b.set(vec![("small".into(), vec![0])]).await.unwrap();
    assert_eq!(told(of_b), Some(("small".into(), Some(1))));
    assert_eq!(told(of_a), Some(("k".into(), Some(30 * MIB))));
    b.set(large("k")).await.unwrap();
    assert_eq!(told(of_b), Some(("k".into(), Some(30 * MIB))));
    assert_eq!(told(of_a), Some(("k".into(), Some(30 * MIB))));
    assert_eq!((told(of_a), told(of_b)), (None, None));
    assert_eq!(lost.load(Relaxed), 1);
}

#[tokio::test]
async fn an_entry_with_a_prefix_watches_the_bucket_of_its_full_name() {
    let keyvalue = KeyValue::new(&Backends::default(), None).unwrap();
    let config = [("bucket", "b"), ("prefix", "a:")];
    let mut watches = watch(&keyvalue, &config, &Arc::default()).await;
    for name in ["b", "a:b"] {
        let bucket = keyvalue.0.memory.open("n", name).await.unwrap();
        bucket.set(vec![(name.into(), Vec::new())]).await.unwrap();
    }
    assert_eq!(told(&mut watches[0]), Some(("a:b".into(), Some(0))));
    assert_eq!(told(&mut watches[0]), None);
}

#[tokio::test]
async fn of_keys_that_are_deleted_together_each_that_was_there_is_told_once() {
    let keyvalue = KeyValue::new(&Backends::default(), None).unwrap();
    let mut watches = watch(&keyvalue, &[("buckets", "b")], &Arc::default()).await;
    let bucket = keyvalue.0.memory.open("n", "b").await.unwrap();
    bucket.set(vec![("k".into(), Vec::new())]).await.unwrap();
    assert_eq!(told(&mut watches[0]), Some(("k".into(), Some(0))));
    let keys = ["k", "none", "k"].map(ToOwned::to_owned);
    bucket.delete(&keys).await.unwrap();
    assert_eq!(told(&mut watches[0]), Some(("k".into(), None)));
    assert_eq!(told(&mut watches[0]), None);
}

#[tokio::test]
async fn in_the_file_what_is_made_is_told_although_nobody_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (keyvalue, file) = in_file(folder.path());
    let mut watches = watch(&keyvalue, &[("buckets", "b")], &Arc::default()).await;
    let bucket = file.open("n", "b").await.unwrap();
    let pair = |key: &str| vec![(key.to_owned(), Vec::new())];
    bucket.set(pair("old")).await.unwrap();
    assert_eq!(told(&mut watches[0]), Some(("old".into(), Some(0))));
    // Nothing is made before this.
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let wait = move |_: &rusqlite::Connection| {
        let _ = gone.recv();
        Ok(())
    };
    let mut waiting = Box::pin(file.database.change(wait));
    assert!(futures::poll!(&mut waiting).is_pending());
    let mut abandoned = bucket.set(pair("new"));
    assert!(futures::poll!(&mut abandoned).is_pending());
    drop(abandoned);
    // Both find it, one deletes it.
    let keys = ["old", "none"].map(ToOwned::to_owned);
    let mut deletes = [bucket.delete(&keys), bucket.delete(&keys)];
    for delete in &mut deletes {
        assert!(futures::poll!(delete).is_pending());
    }
    drop(go);
    for delete in deletes {
        delete.await.unwrap();
    }
    assert!(bucket.exists("new").await.unwrap());
    assert_eq!(told(&mut watches[0]), Some(("new".into(), Some(0))));
    assert_eq!(told(&mut watches[0]), Some(("old".into(), None)));
    assert_eq!(told(&mut watches[0]), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_a_bucket_are_told_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let (keyvalue, file) = in_file(folder.path());
    let config = [("buckets", "b"), ("backend", "in-memory")];
    let in_memory = watch(&keyvalue, &config, &Arc::default()).await;
    let in_file = watch(&keyvalue, &config[..1], &Arc::default()).await;
    let memory = keyvalue.0.memory.open("n", "b").await.unwrap();
    let file = file.open("n", "b").await.unwrap();
    for (bucket, mut watches) in [(memory, in_memory), (file, in_file)] {
        let counting = (0..1000).map(|_| {
            let bucket = bucket.clone();
            tokio::spawn(async move { bucket.increment("count", 1).await })
        });
        for counted in counting.collect::<Vec<_>>() {
            counted.await.unwrap().unwrap();
        }
        let mut sums = Vec::new();
        while let Some(Delivery::Change(change)) = watches[0].messages.try_next() {
            sums.push(String::from_utf8(change.value.unwrap()).unwrap());
        }
        let wanted: Vec<_> = (1..=1000).map(|sum| sum.to_string()).collect();
        assert_eq!(sums, wanted);
    }
}
