//! What every backend must keep to, as one test.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use waft_servers::Server;

use super::{
    get_many,
    store::{Bucket, NAME, Store, StoreError},
};
use crate::returning::once_it_answers;

/// The keys of a bucket, each once, from pages of so many at most.
pub(crate) async fn all_keys(bucket: &dyn Bucket, most: usize) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let (keys, next) = bucket.keys(cursor).await.unwrap();
        assert!(keys.len() <= most);
        all.extend(keys);
        match next {
            Some(_) => cursor = next,
            None => break,
        }
    }
    all.sort();
    all.dedup();
    all
}

/// Checks a store. It may hold other buckets already, but not those of this test's names.
pub(crate) async fn check(store: &dyn Store) {
    let one = store.open("one", "contract").await.unwrap();
    assert_eq!(one.get("k").await.unwrap(), None);
    assert!(!one.exists("k").await.unwrap());
    one.delete(&["k".into()]).await.unwrap();

    let binary = vec![0, 255, 10, 13];
    let pairs = vec![
        ("k".to_owned(), binary.clone()),
        ("empty".into(), vec![]),
        ("k2".into(), b"first".to_vec()),
        // Of a key that is named twice the last value counts.
        ("k2".into(), b"last".to_vec()),
    ];
    one.set(pairs).await.unwrap();
    assert!(one.exists("empty").await.unwrap());
    let wanted = ["k2".to_owned(), "none".into(), "k".into(), "empty".into()];
    let found = [Some(b"last".to_vec()), None, Some(binary), Some(vec![])];
    assert_eq!(one.get_many(&wanted, 8).await.unwrap(), found);
    let large = one.get_many(&wanted, 7).await;
    assert_eq!(large, Err(StoreError::LargeAnswer(7)));
    assert_eq!(one.get_many(&[], 0).await.unwrap(), [None; 0]);
    // A guest may name a key more than once.
    let again = ["k2".to_owned(), "none".into(), "k2".into()];
    let last = Some(("k2".to_owned(), b"last".to_vec()));
    let pairs = [last.clone(), None, last];
    assert_eq!(get_many(&*one, again.to_vec()).await.unwrap(), pairs);
    one.set(vec![]).await.unwrap();
    one.delete(&[]).await.unwrap();

    assert_eq!(one.increment("count", 2).await, Ok(2));
    assert_eq!(one.increment("count", 3).await, Ok(5));
    assert_eq!(one.get("count").await.unwrap(), Some(b"5".to_vec()));
    assert_eq!(one.increment("k2", 1).await, Err(StoreError::NoCounter));
    let overflow = one.increment("count", u64::MAX).await;
    assert_eq!(overflow, Err(StoreError::Overflow));
    assert_eq!(one.increment("count", 0).await, Ok(5));
    check_counters(&*one).await;

    let other = store.open("one", "contract-2").await.unwrap();
    assert_eq!(other.get("k").await.unwrap(), None);
    let again = store.open("one", "contract").await.unwrap();
    assert!(again.exists("k").await.unwrap());

    again.delete(&["k".into(), "none".into()]).await.unwrap();
    let (mut keys, cursor) = one.keys(None).await.unwrap();
    keys.sort();
    assert_eq!(
        (keys, cursor),
        (vec!["count".into(), "empty".into(), "k2".into()], None)
    );

    let many: Vec<_> = (0..2500).map(|n| (format!("many-{n}"), vec![])).collect();
    other.set(many).await.unwrap();
    assert_eq!(all_keys(&*other, 2500).await.len(), 2500);

    let long = "x".repeat(NAME + 1);
    let refused = one.set(vec![(long.clone(), vec![])]).await;
    assert_eq!(refused, Err(StoreError::LongName));
    assert_eq!(one.increment(&long, 1).await, Err(StoreError::LongName));
    assert!(store.open("one", &long).await.is_err());

    // Another namespace finds nothing of it, or is told that it is not its own.
    match store.open("two", "contract").await {
        Ok(two) => assert_eq!(two.get("k2").await.unwrap(), None),
        Err(error) => assert_eq!(error, StoreError::NotOwned),
    }
    assert_eq!(one.get("k2").await.unwrap(), Some(b"last".to_vec()));
    let keys: Vec<_> = (0..2500).map(|n| format!("many-{n}")).collect();
    other.delete(&keys).await.unwrap();
}

/// Checks what is a counter. What is refused stays as it was.
async fn check_counters(bucket: &dyn Bucket) {
    let key = "counter";
    let (large, larger) = (i64::MAX.to_string(), "9".repeat(30));
    let rows = [
        ("0", 3, Ok(3)),
        // No number of 53 bits.
        ("9007199254740993", 2, Ok(9_007_199_254_740_995)),
        (large.as_str(), 0, Ok(i64::MAX as u64)),
        (large.as_str(), u64::MAX, Err(StoreError::Overflow)),
        (larger.as_str(), 1, Err(StoreError::Overflow)),
        ("-5", 3, Err(StoreError::NoCounter)),
        ("-5", 10, Err(StoreError::NoCounter)),
        ("+5", 1, Err(StoreError::NoCounter)),
        ("007", 1, Err(StoreError::NoCounter)),
        ("-0", 1, Err(StoreError::NoCounter)),
        ("5 ", 1, Err(StoreError::NoCounter)),
        ("5\n", 1, Err(StoreError::NoCounter)),
        ("1.5", 1, Err(StoreError::NoCounter)),
        ("", u64::MAX, Err(StoreError::NoCounter)),
    ];
    for (value, delta, sum) in rows {
        let pair = (key.to_owned(), value.as_bytes().to_vec());
        bucket.set(vec![pair]).await.unwrap();
        let kept = sum.as_ref().map_or(value.to_owned(), u64::to_string);
        assert_eq!(bucket.increment(key, delta).await, sum, "{value:?}");
        assert_eq!(bucket.get(key).await, Ok(Some(kept.into_bytes())));
    }
    bucket.delete(&[key.to_owned()]).await.unwrap();
}

/// Checks that a store in a server that all namespaces share gives a bucket to the first of them, and
/// none of them that in which it keeps whose they are. Gives the bucket `b` of `one`, in which `k` is set.
pub(crate) async fn check_owned(store: &dyn Store, owners: &str) -> Arc<dyn Bucket> {
    let mine = store.open("one", "b").await.unwrap();
    mine.set(vec![("k".into(), b"v".to_vec())]).await.unwrap();
    for name in ["b", owners] {
        let refused = store.open("two", name).await.map(drop);
        assert_eq!(refused, Err(StoreError::NotOwned), "{name}");
    }
    mine
}

/// Checks that a store says that its server is gone, by an error with these words and soon, and that
/// what it had acknowledged is there when the server is.
pub(crate) async fn check_restarts(
    store: &dyn Store,
    server: &mut Server,
    gone: &str,
    soon: Duration,
) {
    let bucket = store.open("n", "b").await.unwrap();
    for round in 0..3 {
        let mut acknowledged = 0;
        for _ in 0..20 {
            acknowledged = bucket.increment("count", 1).await.unwrap();
        }
        server.kill();
        let asked = Instant::now();
        let error = bucket.increment("count", 1).await.unwrap_err();
        assert!(matches!(error, StoreError::Other(_)), "{error}");
        assert!(error.to_string().contains(gone), "{error}");
        assert!(asked.elapsed() < soon, "round {round}");
        server.restart();
        let found = once_it_answers(async || bucket.get("count").await).await;
        let found = String::from_utf8(found.unwrap()).unwrap();
        let found: u64 = found.parse().unwrap();
        assert!(found >= acknowledged, "{found} {acknowledged}");
    }
}
