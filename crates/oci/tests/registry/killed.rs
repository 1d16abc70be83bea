//! A process killed in the middle of a download.

use std::{env, fs, path::PathBuf, process::Command, time::Duration};

use waft_ir::PullPolicy;

use crate::{
    image,
    server::{Server, cut},
    store, visible,
};

/// Names the child's folder and reference; unset in the parent.
const CHILD: &str = "WAFT_TEST_PULL";
/// Bytes of the layer.
const SIZE: usize = 1 << 20;
/// How many of them come before the registry falls silent.
const SENT: usize = 600 << 10;

#[tokio::test]
async fn nothing_partial_is_left_visible() {
    if let Ok(task) = env::var(CHILD) {
        let (dir, reference) = task.split_once(' ').unwrap();
        let wanted = image(reference, PullPolicy::IfNotPresent);
        store(&PathBuf::from(dir)).fetch(&wanted).await.unwrap();
        unreachable!("the registry fell silent, so this is killed before");
    }
    let dir = tempfile::tempdir().unwrap();
    let server = Server::with(|seen| match seen.is_blob() && seen.nth == 0 {
        true => cut(vec![7; SENT].into(), SIZE, true),
        false => None,
    })
    .await;
    let layer = vec![7; SIZE];
    server.image("v1", &layer);
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "killed::nothing_partial_is_left_visible"])
        .env(
            CHILD,
            format!("{} {}", dir.path().display(), server.reference("v1")),
        )
        .spawn()
        .unwrap();
    let temporary = dir.path().join("cache/tmp");
    let arrived = || {
        let sizes = fs::read_dir(&temporary).into_iter().flatten().flatten();
        sizes
            .filter_map(|entry| Some(entry.metadata().ok()?.len()))
            .sum::<u64>()
    };
    let wait = async {
        // What is written is buffered, so somewhat less than what was sent is on disk.
        while arrived() < SENT as u64 / 2 {
            assert_eq!(child.try_wait().unwrap(), None, "the child ended by itself");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(120), wait).await;
    child.kill().unwrap();
    child.wait().unwrap();
    waited.unwrap();
    assert_eq!(visible(dir.path()), 1, "the manifest alone");
    assert!(arrived() > 0, "the kill left its file where nobody looks");
    let wanted = image(server.reference("v1"), PullPolicy::IfNotPresent);
    let fetched = store(dir.path()).fetch(&wanted).await.unwrap();
    assert_eq!(fetched.bytes, layer);
    assert_eq!(visible(dir.path()), 2);
}
