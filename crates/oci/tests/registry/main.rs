//! The store against registries: a real one, and one that misbehaves on purpose.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faulty;
mod killed;
mod policy;
mod real;
mod server;
mod token;

use std::path::Path;

use bytes::Bytes;
use waft_ir::{Credentials, Failure, Image, PullPolicy};
use waft_oci::{DockerConfig, Fetched, Store, StoreConfig};

/// A component that exists without building anything.
fn hello() -> Bytes {
    let path = waft_guests::workspace().join("examples/hello/hello.wasm");
    std::fs::read(path).unwrap().into()
}

/// A store below a folder, with quick retries and nobody's credentials.
fn store(dir: &Path) -> Store {
    configured(dir, |_| {})
}

fn configured(dir: &Path, change: impl FnOnce(&mut StoreConfig)) -> Store {
    let mut config = StoreConfig::new(dir.join("cache"), dir);
    config.docker_config = DockerConfig::None;
    config.retry.pause = std::time::Duration::from_millis(5);
    change(&mut config);
    Store::new(config).unwrap()
}

fn image(reference: impl Into<String>, policy: PullPolicy) -> Image {
    Image {
        reference: reference.into(),
        policy,
        credentials: None,
    }
}

/// A pull secret with one entry.
fn secret(host: &str, entry: serde_json::Value) -> Credentials {
    Credentials {
        docker_config_json: serde_json::json!({"auths": { host: entry }}).to_string(),
    }
}

fn login(host: &str, username: &str, password: &str) -> Credentials {
    let entry = serde_json::json!({"username": username, "password": password});
    secret(host, entry)
}

fn failure(result: Result<Fetched, Failure>) -> Failure {
    result.expect_err("a failure")
}

/// The hexadecimal SHA-256 names in the cache's visible part, each checked against its content.
fn visible(dir: &Path) -> usize {
    use sha2::{Digest, Sha256};
    let entries = std::fs::read_dir(dir.join("cache/blobs/sha256")).unwrap();
    let whole = entries.map(|entry| {
        let entry = entry.unwrap();
        let digest = Sha256::digest(std::fs::read(entry.path()).unwrap());
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(entry.file_name().to_str(), Some(hex.as_str()));
    });
    whole.count()
}
