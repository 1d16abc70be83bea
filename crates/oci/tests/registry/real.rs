//! A real registry, with and without passwords.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use waft_ir::{Artifacts, FailureReason, Image, PullPolicy};

use crate::{configured, failure, hello, image, login, server::digest, store};

/// Real servers, stopped when dropped.
struct Environment {
    dir: tempfile::TempDir,
    values: HashMap<String, String>,
}

fn script() -> PathBuf {
    waft_guests::workspace().join("tests/env/testenv")
}

impl Environment {
    /// Starts servers, or says that the test is skipped.
    fn up(servers: &[&str]) -> Option<Self> {
        let installed = Command::new("docker-registry").arg("--version").output();
        if installed.is_err() {
            waft_guests::skip("docker-registry is not installed");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(script());
        let output = command.arg("up").arg(dir.path()).args(servers).output();
        let output = output.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let text = String::from_utf8(output.stdout).unwrap();
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let values = pairs.map(|(k, v)| (k.into(), v.into())).collect();
        Some(Self { dir, values })
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        let mut command = Command::new(script());
        let _ = command.arg("down").arg(self.dir.path()).output();
    }
}

#[tokio::test]
async fn what_is_pushed_is_pulled() {
    let Some(environment) = Environment::up(&["registry"]) else {
        return;
    };
    let host = &environment.values["REGISTRY"];
    let reference = format!("{host}/team/hello:v1");
    let pusher = store(&environment.path().join("pusher"));
    let name = pusher.push(&reference, hello(), None).await.unwrap();
    // The same component is the same image.
    let again = pusher.push(&reference, hello(), None).await.unwrap();
    assert_eq!(name, again);

    let by_digest = format!("{host}/team/hello@{name}");
    let mirror = format!("ghcr.io=http://{host}");
    for (at, wanted) in [&reference, &by_digest, "ghcr.io/team/hello:v1"]
        .iter()
        .enumerate()
    {
        let store = configured(&environment.path().join(at.to_string()), |config| {
            config.mirrors.push(mirror.parse().unwrap());
        });
        let wanted = image(*wanted, PullPolicy::Always);
        let fetched = store.fetch(&wanted).await.unwrap();
        assert_eq!(fetched.bytes, hello());
        assert_eq!(fetched.digest, name);
        assert!(
            store
                .resolve(&wanted)
                .await
                .unwrap()
                .pinned
                .ends_with(&name)
        );
    }
    let absent = image(format!("{host}/team/absent:v1"), PullPolicy::Always);
    let failure = failure(pusher.fetch(&absent).await);
    assert_eq!(failure.reason, FailureReason::ImageNotFound);
}

#[tokio::test]
async fn a_registry_whose_disk_was_tampered_with_is_caught() {
    let Some(environment) = Environment::up(&["registry"]) else {
        return;
    };
    let host = &environment.values["REGISTRY"];
    let reference = format!("{host}/hello:v1");
    let dir = environment.path().join("store");
    let store = store(&dir);
    store.push(&reference, hello(), None).await.unwrap();
    let hex = digest(&hello()).replace("sha256:", "");
    let blobs = environment
        .path()
        .join("registry/docker/registry/v2/blobs/sha256");
    let data = blobs.join(&hex[..2]).join(&hex).join("data");
    let mut bytes = fs::read(&data).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&data, bytes).unwrap();
    let wanted = image(&reference, PullPolicy::IfNotPresent);
    let failure = failure(store.fetch(&wanted).await);
    assert_eq!(failure.reason, FailureReason::DigestMismatch);
    fs::write(&data, hello()).unwrap();
    assert_eq!(store.fetch(&wanted).await.unwrap().bytes, hello());
}

#[tokio::test]
async fn passwords_are_wanted_and_checked() {
    let Some(environment) = Environment::up(&["registry-auth"]) else {
        return;
    };
    let host = &environment.values["REGISTRY_AUTH"];
    let reference = format!("{host}/hello:v1");
    let store = store(&environment.path().join("store"));
    let right = login(host, "waft", "secret");
    let push = store.push(&reference, hello(), Some(&right)).await;
    push.unwrap();
    let wanted = |credentials| Image {
        reference: reference.clone(),
        policy: PullPolicy::Always,
        credentials,
    };
    let wrong = login(host, "waft", "guess");
    for credentials in [None, Some(wrong)] {
        let failure = failure(store.fetch(&wanted(credentials)).await);
        assert_eq!(failure.reason, FailureReason::ImagePullUnauthorized);
        assert!(!failure.message.contains("guess"));
    }
    let fetched = store.fetch(&wanted(Some(right))).await.unwrap();
    assert_eq!(fetched.bytes, hello());
}
