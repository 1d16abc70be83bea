use std::sync::Arc;

use serde_json::{Value, json};

use super::*;

const WINDOW: usize = 1 << 20;

fn key(name: &str) -> Key {
    Key::new(&"/configmaps".into(), "default", name)
}

fn object(name: &str, note: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "uid": format!("uid-{name}"), "labels": {"n": note}}, "data": {"note": note}})
}

async fn put(
    store: &Store,
    name: &str,
    note: &str,
    expect: Expect,
) -> Result<Arc<Stored>, WriteError> {
    let object = Encoded::new(&object(name, note));
    store
        .write(Write {
            key: key(name),
            expect,
            delete: false,
            object,
        })
        .await
}

async fn remove(store: &Store, name: &str, revision: u64) -> Result<Arc<Stored>, WriteError> {
    let object = Encoded::new(&object(name, "gone"));
    store
        .write(Write {
            key: key(name),
            expect: Expect::Revision(revision),
            delete: true,
            object,
        })
        .await
}

fn all(store: &Store, at: Option<u64>) -> Result<Vec<(String, u64)>, Expired> {
    let query = Query {
        resource: "/configmaps",
        namespace: None,
        after: None,
        limit: None,
        at,
    };
    let page = store.list(&query)?;
    Ok(page
        .objects
        .iter()
        .map(|stored| (stored.key.name.to_string(), stored.revision))
        .collect())
}

#[test]
fn an_object_gets_its_revision_wherever_it_had_one() {
    let stored = |value: &Value| Encoded::new(value).at(key("c"), 42);
    for value in [
        json!({"metadata": {"name": "c", "resourceVersion": "7"}, "data": {"resourceVersion": "7"}}),
        json!({"data": {"resourceVersion": "7"}, "metadata": {"name": "c"}}),
        json!({"metadata": {}}),
    ] {
        let back = stored(&value).value();
        assert_eq!(back["metadata"]["resourceVersion"], "42");
        assert_eq!(
            back["data"], value["data"],
            "only the metadata's version is the object's"
        );
    }
    let text = "quotes \" and \\ and \u{1}";
    assert_eq!(
        stored(&json!({"metadata": {"name": text}})).value()["metadata"]["name"],
        text
    );
}

#[test]
fn keys_are_read_as_they_are_written() {
    for key in [key("c"), Key::new(&"apps/deployments".into(), "", "x.y:z")] {
        assert_eq!(Key::parse(&key.text()), Some(key));
    }
}

#[tokio::test]
async fn revisions_grow_and_conditions_hold() {
    let store = Store::open(None, WINDOW).expect("a store");
    let first = put(&store, "a", "1", Expect::Absent)
        .await
        .expect("written");
    assert_eq!(
        put(&store, "a", "2", Expect::Absent)
            .await
            .expect_err("refused"),
        WriteError::Exists
    );
    let second = put(&store, "a", "2", Expect::Revision(first.revision))
        .await
        .expect("written");
    assert!(second.revision > first.revision);
    assert_eq!(
        put(&store, "a", "3", Expect::Revision(first.revision))
            .await
            .expect_err("refused"),
        WriteError::Conflict
    );
    assert_eq!(
        put(&store, "b", "3", Expect::Revision(first.revision))
            .await
            .expect_err("refused"),
        WriteError::Missing
    );
    let gone = remove(&store, "a", second.revision).await.expect("deleted");
    assert_eq!(store.get(&key("a")).map(|stored| stored.revision), None);
    assert_eq!(store.revision(), gone.revision);
    assert!(store.by_uid("uid-a").is_none());
}

#[tokio::test]
async fn of_many_writers_of_one_revision_one_wins() {
    let store = Arc::new(Store::open(None, WINDOW).expect("a store"));
    let first = put(&store, "a", "0", Expect::Absent)
        .await
        .expect("written")
        .revision;
    let writers = (0..50).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { put(&store, "a", &n.to_string(), Expect::Revision(first)).await })
    });
    let results = futures::future::join_all(writers).await;
    let won = results
        .into_iter()
        .filter(|result| result.as_ref().expect("no panic").is_ok())
        .count();
    assert_eq!(won, 1);
}

#[tokio::test]
async fn the_past_is_seen_until_it_leaves_the_window() {
    let store = Store::open(None, WINDOW).expect("a store");
    let a = put(&store, "a", "1", Expect::Absent)
        .await
        .expect("written")
        .revision;
    let b = put(&store, "b", "1", Expect::Absent)
        .await
        .expect("written")
        .revision;
    let a2 = put(&store, "a", "2", Expect::Revision(a))
        .await
        .expect("written")
        .revision;
    remove(&store, "b", b).await.expect("deleted");
    assert_eq!(all(&store, None), Ok(vec![("a".into(), a2)]));
    assert_eq!(
        all(&store, Some(b)),
        Ok(vec![("a".into(), a), ("b".into(), b)])
    );
    assert_eq!(all(&store, Some(a)), Ok(vec![("a".into(), a)]));
    let (events, complete) = store.events("/configmaps", a, 10).expect("events");
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    assert_eq!(
        kinds,
        [EventKind::Added, EventKind::Modified, EventKind::Deleted]
    );
    assert_eq!(complete, store.revision());
    assert_eq!(store.events("/secrets", 0, 10).expect("none").0.len(), 0);
    let (some, complete) = store.events("/configmaps", 0, 2).expect("events");
    assert_eq!(
        (some.len(), complete),
        (2, b),
        "a cut answer says up to where it is complete"
    );

    let small = Store::open(None, 2000).expect("a store");
    for n in 0..50 {
        put(&small, &format!("c{n}"), "1", Expect::Absent)
            .await
            .expect("written");
    }
    let expired = small.events("/configmaps", 1, 10).expect_err("expired");
    assert!(expired.oldest > 40 && all(&small, Some(expired.oldest)).is_ok());
    assert_eq!(all(&small, Some(expired.oldest - 1)), Err(expired));
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    let folder = tempfile::tempdir().expect("a folder");
    let (before, revision);
    {
        let store = Store::open(Some(folder.path()), WINDOW).expect("a store");
        let a = put(&store, "a", "1", Expect::Absent)
            .await
            .expect("written")
            .revision;
        put(&store, "b", "1", Expect::Absent)
            .await
            .expect("written");
        remove(&store, "a", a).await.expect("deleted");
        before = all(&store, None);
        revision = store.revision();
    }
    let store = Store::open(Some(folder.path()), WINDOW).expect("a store");
    assert_eq!(all(&store, None), before);
    assert_eq!(store.revision(), revision);
    let (events, _) = store
        .events("/configmaps", 0, 10)
        .expect("the history is there too");
    assert_eq!(
        events.iter().map(|event| event.kind).collect::<Vec<_>>(),
        [EventKind::Added, EventKind::Added, EventKind::Deleted]
    );
    let next = put(&store, "a", "2", Expect::Absent)
        .await
        .expect("written");
    assert!(next.revision > revision);
}

#[tokio::test]
async fn history_is_bounded_on_disk_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let rows = || {
        let connection =
            rusqlite::Connection::open(folder.path().join("state.db")).expect("a database");
        connection
            .query_row("SELECT count(*) FROM revisions", [], |row| {
                row.get::<_, i64>(0)
            })
            .expect("a count")
    };
    let store = Store::open(Some(folder.path()), 4000).expect("a store");
    put(&store, "kept", "1", Expect::Absent)
        .await
        .expect("written");
    let mut revision = put(&store, "a", "0", Expect::Absent)
        .await
        .expect("written")
        .revision;
    for n in 0..200 {
        revision = put(&store, "a", &n.to_string(), Expect::Revision(revision))
            .await
            .expect("written")
            .revision;
    }
    drop(store);
    assert!(rows() < 30, "{} rows", rows());
    let store = Store::open(Some(folder.path()), 4000).expect("a store");
    assert_eq!(all(&store, None).expect("a list").len(), 2);
    assert!(
        store.events("/configmaps", 1, 10).is_err(),
        "what left the log isn't served as if it were there"
    );
    // Deleted objects leave no rows behind either.
    let gone = remove(&store, "a", revision)
        .await
        .expect("deleted")
        .revision;
    for n in 0..40 {
        let made = put(&store, "b", &n.to_string(), Expect::Absent)
            .await
            .expect("written")
            .revision;
        remove(&store, "b", made).await.expect("deleted");
    }
    assert!(store.events("/configmaps", gone, 10).is_err());
    drop(store);
    assert!(rows() < 30, "{} rows", rows());
}

#[tokio::test]
async fn a_full_disk_refuses_and_heals() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(Some(folder.path()), WINDOW).expect("a store");
    let first = put(&store, "a", "1", Expect::Absent)
        .await
        .expect("written")
        .revision;
    // A reader that keeps the write lock stands for everything that makes a commit fail.
    let other = rusqlite::Connection::open(folder.path().join("state.db")).expect("a database");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let refused = put(&store, "a", "2", Expect::Revision(first))
        .await
        .expect_err("refused");
    assert!(matches!(refused, WriteError::Unavailable(_)), "{refused:?}");
    assert_eq!(
        store.get(&key("a")).expect("there").revision,
        first,
        "nothing of it is visible"
    );
    other.execute_batch("ROLLBACK").expect("unlocked");
    let healed = put(&store, "a", "2", Expect::Revision(first))
        .await
        .expect("written");
    assert!(healed.revision > first);
    drop(store);
    let store = Store::open(Some(folder.path()), WINDOW).expect("a store");
    assert_eq!(all(&store, None), Ok(vec![("a".into(), healed.revision)]));
}

#[test]
fn a_file_that_is_damaged_is_told_from_one_that_is_locked() {
    let folder = tempfile::tempdir().expect("a folder");
    let opened = || Store::open(Some(folder.path()), WINDOW).err();
    assert!(opened().is_none());
    let path = folder.path().join("state.db");
    let backup = rusqlite::Connection::open(&path).expect("a database");
    backup
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE")
        .expect("a lock");
    assert!(!opened().expect("locked").is_damage());
    drop(backup);
    assert!(opened().is_none());
    std::fs::write(&path, "no database at all").expect("written");
    assert!(opened().expect("damaged").is_damage());
}

#[test]
fn a_file_of_another_format_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let connection =
        rusqlite::Connection::open(folder.path().join("state.db")).expect("a database");
    connection
        .pragma_update(None, "user_version", 99)
        .expect("set");
    drop(connection);
    let error = Store::open(Some(folder.path()), WINDOW)
        .err()
        .expect("refused");
    assert!(
        matches!(
            error,
            StoreError::Format {
                found: 99,
                expected: 1
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn owners_find_their_dependents() {
    let store = Store::open(None, WINDOW).expect("a store");
    let mut child = object("child", "1");
    child["metadata"]["ownerReferences"] = json!([{"uid": "uid-a"}, {"uid": "uid-b"}]);
    let write = |expect, delete, value: &Value| Write {
        key: key("child"),
        expect,
        delete,
        object: Encoded::new(value),
    };
    let first = store
        .write(write(Expect::Absent, false, &child))
        .await
        .expect("written")
        .revision;
    assert_eq!(store.dependents("uid-a").len(), 1);
    child["metadata"]["ownerReferences"] = json!([{"uid": "uid-b"}]);
    let second = store
        .write(write(Expect::Revision(first), false, &child))
        .await
        .expect("written")
        .revision;
    assert_eq!(
        (
            store.dependents("uid-a").len(),
            store.dependents("uid-b").len()
        ),
        (0, 1)
    );
    store
        .write(write(Expect::Revision(second), true, &child))
        .await
        .expect("deleted");
    assert_eq!(store.dependents("uid-b").len(), 0);
}

/// Writes or removes one of a few objects, whichever is possible.
async fn change(store: &Store, random: &mut waft_fuzz::Random) {
    let name = format!("o-{}", random.below(30));
    let note = random.below(1000).to_string();
    let done = match store.get(&key(&name)) {
        None => put(store, &name, &note, Expect::Absent).await,
        Some(stored) if random.once_in(2) => remove(store, &name, stored.revision).await,
        Some(stored) => put(store, &name, &note, Expect::Revision(stored.revision)).await,
    };
    done.expect("nobody else writes");
}

#[tokio::test]
async fn pages_are_those_of_one_revision_while_others_write() {
    let mut random = waft_fuzz::Random::new();
    let store = Store::open(None, WINDOW).expect("a store");
    for _ in waft_fuzz::rounds(100) {
        for _ in 0..random.below(20) {
            change(&store, &mut random).await;
        }
        let expected = all(&store, None).expect("a list");
        let revision = store.revision();
        let mut found: Vec<(String, u64)> = Vec::new();
        loop {
            let after = found.last().map(|(name, _)| name.clone());
            let query = Query {
                resource: "/configmaps",
                namespace: random.once_in(2).then_some("default"),
                after: after.as_deref().map(|name| ("default", name)),
                limit: Some(1 + random.below(8)),
                at: Some(revision),
            };
            let page = store.list(&query).expect("within the window");
            assert_eq!(page.revision, revision);
            let total = query.after.is_none().then_some(expected.len());
            assert_eq!(page.total, total);
            let objects = page.objects.iter();
            found.extend(objects.map(|stored| (stored.key.name.to_string(), stored.revision)));
            assert_eq!(page.more, found.len() < expected.len());
            if !page.more {
                break;
            }
            for _ in 0..random.below(10) {
                change(&store, &mut random).await;
            }
        }
        assert_eq!(found, expected);
    }
}
