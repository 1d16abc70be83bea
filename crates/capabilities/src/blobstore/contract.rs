//! What every backend must keep to, as one test.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::io::AsyncReadExt as _;
use waft_servers::Server;

use super::{
    staged::{HELD, Staged, Staging},
    store::{Container, NAME, Span, Store, StoreError, now},
};
use crate::returning::once_it_answers;

/// A value of these bytes, staged in a folder.
pub(crate) fn value_in(folder: &Path, bytes: &[u8]) -> Staged {
    let mut staged = Staging::new(folder.to_owned()).begin("test");
    for part in bytes.chunks(HELD) {
        if staged.push(part).unwrap() {
            staged.spill().unwrap();
        }
    }
    staged
}

/// A value of these bytes.
pub(crate) fn value(bytes: &[u8]) -> Staged {
    value_in(&std::env::temp_dir(), bytes)
}

/// The bytes of an object, if it is there.
pub(crate) async fn bytes(container: &dyn Container, name: &str, span: Span) -> Option<Vec<u8>> {
    let mut content = container.read(name, span).await.unwrap()?;
    let mut bytes = Vec::new();
    content.reader.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes.len() as u64, content.size);
    Some(bytes)
}

/// So many bytes, of which pieces that follow each other differ.
fn long(bytes: u32) -> Vec<u8> {
    (0..bytes).map(|n| (n % 251) as u8).collect()
}

async fn all(container: &dyn Container) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let names = container
            .list(all.last().map(String::as_str))
            .await
            .unwrap();
        if names.is_empty() {
            return all;
        }
        all.extend(names);
    }
}

/// Checks a store that takes values staged in a folder. It may hold other containers already, but not those of this test's names.
pub(crate) async fn check(store: &dyn Store, staging: &Path) {
    let long = "x".repeat(NAME);
    let names = [
        "../x",
        "a/b",
        "/etc/passwd",
        ".",
        "ä ö/☃",
        "a\u{1}b",
        "a\0b",
        "%2e%2e",
        "*",
        ">",
    ];
    let names: Vec<_> = names.into_iter().chain([long.as_str()]).collect();
    check_with_names(store, staging, &names).await;
}

/// The same for a store that takes only some names.
pub(crate) async fn check_with_names(store: &dyn Store, staging: &Path, names: &[&str]) {
    let value = |bytes: &[u8]| value_in(staging, bytes);
    // The clock by which a server's files get their times lies a tick behind this one.
    let before = now() - 1;
    assert!(store.find("one", "contract").await.unwrap().is_none());
    let one = store.create("one", "contract").await.unwrap();
    let one = one.as_ref();
    assert!((before..=now() + 1).contains(&one.created()));
    assert!(store.find("one", "contract").await.unwrap().is_some());
    assert_eq!(one.info("o").await, Ok(None));
    assert!(one.read("o", Span::ALL).await.unwrap().is_none());
    assert_eq!(one.delete(&["o".into()]).await, Ok(()));
    assert_eq!(one.list(None).await, Ok(vec![]));

    one.write("o", value(b"0123456789")).await.unwrap();
    let info = one.info("o").await.unwrap().unwrap();
    assert_eq!(info.size, 10);
    assert!((before..=now() + 1).contains(&info.created));
    let part = |first, last| bytes(one, "o", Span { first, last });
    assert_eq!(part(0, u64::MAX).await.unwrap(), b"0123456789");
    assert_eq!(part(0, 0).await.unwrap(), b"0");
    assert_eq!(part(2, 4).await.unwrap(), b"234");
    assert_eq!(part(8, 100).await.unwrap(), b"89");
    assert_eq!(part(10, 100).await.unwrap(), b"");

    // More than is held in memory, and more than one message or block of anything.
    let large = long(1_000_003);
    one.write("o", value(&large)).await.unwrap();
    assert!(bytes(one, "o", Span::ALL).await.unwrap() == large);
    let span = Span {
        first: 400_000,
        last: 700_000,
    };
    assert!(bytes(one, "o", span).await.unwrap() == large[400_000..=700_000]);
    one.write("empty", value(b"")).await.unwrap();
    assert_eq!(bytes(one, "empty", Span::ALL).await.unwrap(), b"");
    assert_eq!(one.info("empty").await.unwrap().unwrap().size, 0);

    // A name is only a name.
    for name in names {
        one.write(name, value(name.as_bytes())).await.unwrap();
    }
    for name in names {
        let found = bytes(one, name, Span::ALL).await;
        assert_eq!(found.as_deref(), Some(name.as_bytes()), "{name:?}");
    }
    let mut expected: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    expected.extend(["o".to_owned(), "empty".into()]);
    expected.sort();
    assert_eq!(all(one).await, expected);
    let refused = one.write(&"x".repeat(NAME + 1), value(b"")).await;
    assert_eq!(refused, Err(StoreError::Name));
    assert_eq!(one.write("", value(b"")).await, Err(StoreError::Name));
    assert!(store.create("one", &"x".repeat(NAME + 1)).await.is_err());
    assert!(store.create("one", "").await.is_err());

    // Another container has objects of its own, another namespace containers of its own, or it is
    // told that they are not.
    let other = store.create("one", "contract-2").await.unwrap();
    assert_eq!(other.info("o").await, Ok(None));
    match store.create("two", "contract").await {
        Ok(two) => assert_eq!(two.info("o").await, Ok(None)),
        Err(error) => assert_eq!(error, StoreError::NotOwned),
    }
    match store.find("three", "contract").await {
        Ok(found) => assert!(found.is_none()),
        Err(error) => assert_eq!(error, StoreError::NotOwned),
    }

    // Made again it is as it was.
    let again = store.create("one", "contract").await.unwrap();
    assert_eq!(again.info("empty").await.unwrap().unwrap().size, 0);
    again.delete(&["o".into(), "none".into()]).await.unwrap();
    assert_eq!(one.info("o").await, Ok(None));
    again.clear().await.unwrap();
    assert_eq!(all(one).await, [""; 0]);

    one.write("o", value(b"x")).await.unwrap();
    store.delete("one", "contract").await.unwrap();
    store.delete("one", "contract").await.unwrap();
    assert!(store.find("one", "contract").await.unwrap().is_none());
    assert!(one.write("o", value(b"y")).await.is_err());
    let new = store.create("one", "contract").await.unwrap();
    assert_eq!(new.info("o").await, Ok(None));
    store.delete("one", "contract").await.unwrap();
    store.delete("one", "contract-2").await.unwrap();
}

/// Checks that a store in a server that all namespaces share gives a container to the one that made it.
/// Gives that container, of `one`, in which `o` is `v`.
pub(crate) async fn check_owned(store: &dyn Store, name: &str) -> Arc<dyn Container> {
    // Looking for what is not there takes it from nobody.
    assert!(store.find("two", name).await.unwrap().is_none());
    let mine = store.create("one", name).await.unwrap();
    mine.write("o", value(b"v")).await.unwrap();
    for refused in [
        store.create("two", name).await.map(drop),
        store.find("two", name).await.map(drop),
        store.delete("two", name).await,
    ] {
        assert_eq!(refused, Err(StoreError::NotOwned));
    }
    mine
}

/// Checks that a server is not taken for a slow one when whoever reads an object takes their time, before
/// the first bytes and between others.
pub(crate) async fn check_patience(store: &dyn Store) {
    let container = store.create("one", "bucket").await.unwrap();
    let large = long(8_000_000);
    container.write("o", value(&large)).await.unwrap();
    let mut reading = container.read("o", Span::ALL).await.unwrap().unwrap();
    let mut read = Vec::new();
    for most in [1000, 1_000_000, u64::MAX] {
        pass(Duration::from_secs(20)).await;
        let mut some = (&mut reading.reader).take(most);
        some.read_to_end(&mut read).await.unwrap();
    }
    assert!(read == large);
}

/// Makes it later by so much.
pub(crate) async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Checks that a store says that its server is gone, by an error with these words, and that what it had
/// acknowledged is there when the server is: an object of so many bytes among it.
pub(crate) async fn check_restarts(store: &dyn Store, server: &mut Server, gone: &str, size: u32) {
    let container = store.create("one", "bucket").await.unwrap();
    let large = long(size);
    container.write("large", value(&large)).await.unwrap();
    container.write("o", value(b"kept")).await.unwrap();
    let mut reading = container.read("large", Span::ALL).await.unwrap().unwrap();
    reading.reader.read_exact(&mut [0; 1000]).await.unwrap();
    server.kill();
    let error = container.write("o", value(b"lost")).await.unwrap_err();
    assert!(error.to_string().contains(gone), "{error}");
    assert!(container.write("p", value(&large)).await.is_err());
    // What the server has not sent does not come: the reader is told, or has it all.
    let mut rest = Vec::new();
    if reading.reader.read_to_end(&mut rest).await.is_ok() {
        assert!(rest == large[1000..]);
    }
    server.restart();
    once_it_answers(async || container.info("o").await).await;
    let found = bytes(&*container, "o", Span::ALL).await.unwrap();
    // The write that was answered with an error may have been made.
    assert!(found == b"kept" || found == b"lost", "{found:?}");
    assert!(bytes(&*container, "large", Span::ALL).await.unwrap() == large);
    assert_eq!(container.info("p").await, Ok(None));
    container.write("o", value(b"again")).await.unwrap();
}
