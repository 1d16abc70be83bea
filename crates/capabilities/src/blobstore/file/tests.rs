use super::*;
use crate::blobstore::contract::{bytes, check, value_in};

fn files(folder: &Path) -> usize {
    let count = |path: PathBuf| fs::read_dir(path).unwrap().count();
    count(staging(folder)) + count(folder.join("objects"))
}

fn used(file: &File) -> u64 {
    let reader = file.0.database.reader();
    let query = "SELECT coalesce(sum(used), 0) FROM namespaces";
    reader
        .query_row(query, [], |row| row.get::<_, i64>(0))
        .unwrap()
        .cast_unsigned()
}

#[tokio::test]
async fn keeps_what_a_store_keeps_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = File::open(folder.path()).unwrap();
    check(&file, &staging(folder.path())).await;
    // The container that the contract made for another namespace.
    file.delete("two", "contract").await.unwrap();
    assert_eq!((files(folder.path()), used(&file)), (0, 0));
}

#[tokio::test]
async fn what_was_stored_is_there_after_a_restart_and_what_a_crash_left_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let staging = staging(folder.path());
    let value = |bytes: &[u8]| value_in(&staging, bytes);
    let file = File::open(folder.path()).unwrap();
    let container = file.create("n", "c").await.unwrap();
    container.write("o", value(b"kept")).await.unwrap();
    container.write("p", value(b"kept too")).await.unwrap();
    // As after a crash: one object was not moved to its place yet, one value was not committed, and
    // one file was taken from the index and not deleted.
    let row = find(&file.0.database.reader(), 1, "o").unwrap().unwrap();
    let stored = folder.path().join("objects");
    let staged = &staging;
    fs::rename(stored.join(&row.file), staged.join(&row.file)).unwrap();
    assert_eq!(bytes(&*container, "o", Span::ALL).await.unwrap(), b"kept");
    fs::write(staged.join("value"), "x").unwrap();
    fs::write(stored.join("orphan"), "x").unwrap();
    drop((container, file));

    let file = File::open(folder.path()).unwrap();
    assert!(stored.join(&row.file).exists() && !staged.join("value").exists());
    // The thread of `open` does the same, whenever it comes to it.
    file.0.clean();
    assert_eq!(files(folder.path()), 2);
    let container = file.find("n", "c").await.unwrap().unwrap();
    assert_eq!(bytes(&*container, "o", Span::ALL).await.unwrap(), b"kept");
    assert_eq!(
        bytes(&*container, "p", Span::ALL).await.unwrap(),
        b"kept too"
    );
}

#[tokio::test]
async fn a_namespace_holds_what_it_may_and_what_is_still_read_counts() {
    let folder = tempfile::tempdir().unwrap();
    let staging = staging(folder.path());
    let value = |bytes: &[u8]| value_in(&staging, bytes);
    let most = 3 * ENTRY + 1000;
    let file = File::bounded(folder.path(), most).unwrap();
    let container = file.create("n", "c").await.unwrap();
    let large = || value(&[7; 900]);
    container.write("o", large()).await.unwrap();
    let refused = container.write("p", large()).await;
    assert_eq!(refused, Err(StoreError::Full(most)));
    assert_eq!(container.info("p").await, Ok(None));
    assert_eq!(files(folder.path()), 1);
    // In the place of the old object it fits; another namespace has its own room.
    container.write("o", large()).await.unwrap();
    let elsewhere = file.create("m", "c").await.unwrap();
    elsewhere.write("o", large()).await.unwrap();

    let mut reading = container.read("o", Span::ALL).await.unwrap().unwrap();
    container.delete(&["o".into()]).await.unwrap();
    let refused = container.write("p", large()).await;
    assert_eq!(refused, Err(StoreError::Full(most)));
    let mut read = Vec::new();
    reading.reader.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, [7; 900]);
    drop(reading);
    container.write("p", large()).await.unwrap();
}

#[tokio::test]
async fn readers_find_the_old_object_or_the_new_one_whole() {
    let folder = tempfile::tempdir().unwrap();
    let staging = staging(folder.path());
    let value = |bytes: &[u8]| value_in(&staging, bytes);
    let file = File::open(folder.path()).unwrap();
    let container = file.create("n", "c").await.unwrap();
    container.write("o", value(&[0; 1000])).await.unwrap();
    let writing = container.clone();
    let values: Vec<_> = (1..=50).map(|round| value(&[round; 1000])).collect();
    let writer = tokio::spawn(async move {
        for value in values {
            writing.write("o", value).await.unwrap();
        }
    });
    while !writer.is_finished() {
        let found = bytes(&*container, "o", Span::ALL).await.unwrap();
        assert_eq!(found, [found[0]; 1000]);
    }
    writer.await.unwrap();
    assert_eq!(files(folder.path()), 1);
}

#[tokio::test]
async fn a_write_that_nobody_waits_for_is_whole_or_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let staging = staging(folder.path());
    let value = |bytes: &[u8]| value_in(&staging, bytes);
    let file = File::open(folder.path()).unwrap();
    let container = file.create("n", "c").await.unwrap();
    for round in 0..20u32 {
        let name = format!("o{round}");
        let mut write = container.write(&name, value(b"whole"));
        // Polled so often, and dropped wherever it is.
        let waker = std::task::Waker::noop();
        for _ in 0..=round {
            let polled = write
                .as_mut()
                .poll(&mut std::task::Context::from_waker(waker));
            // Where nothing waits for the disk, it may be whole by now.
            if polled.is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(write);
    }
    container.write("last", value(b"x")).await.unwrap();
    for name in container.list(None).await.unwrap() {
        assert!(bytes(&*container, &name, Span::ALL).await.is_some());
    }
}
