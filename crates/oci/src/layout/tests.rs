use std::fs;

use serde_json::json;

use super::*;

struct Sample {
    dir: tempfile::TempDir,
    roots: FileRoots,
}

impl Sample {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("img/blobs/sha256")).unwrap();
        let roots = FileRoots {
            working_dir: dir.path().into(),
            ..FileRoots::default()
        };
        Self { dir, roots }
    }

    fn blob(&self, bytes: &[u8]) -> serde_json::Value {
        let digest = Digest::of(bytes);
        let path = self.dir.path().join("img/blobs/sha256").join(digest.hex());
        fs::write(path, bytes).unwrap();
        json!({"digest": digest.to_string(), "size": bytes.len()})
    }

    fn image(&self, wasm: &[u8], tag: Option<&str>) -> serde_json::Value {
        let mut layer = self.blob(wasm);
        layer["mediaType"] = manifest::WASM_LAYER.into();
        let mut entry = self.blob(json!({"layers": [layer]}).to_string().as_bytes());
        if let Some(tag) = tag {
            entry["annotations"] = json!({ TAG: tag });
        }
        entry
    }

    fn index(&self, entries: &[serde_json::Value]) {
        let text = json!({"manifests": entries}).to_string();
        fs::write(self.dir.path().join("img/index.json"), text).unwrap();
    }

    fn read(&self, target: &str) -> Result<Found, Failure> {
        read(&self.roots, target, 1 << 20, &format!("oci:{target}"))
    }

    fn reason(&self, target: &str) -> FailureReason {
        self.read(target).err().expect("a failure").reason
    }
}

#[test]
fn images_are_found_by_tag_and_digest() {
    let sample = Sample::new();
    let (a, b) = (
        sample.image(b"a", Some("v1")),
        sample.image(b"b", Some("v2")),
    );
    sample.index(&[a, b.clone()]);
    assert_eq!(sample.read("img:v1").unwrap().bytes, "a");
    let digest = b["digest"].as_str().unwrap();
    let found = sample.read(&format!("./img@{digest}")).unwrap();
    assert_eq!(found.bytes, "b");
    assert_eq!(found.digest.to_string(), digest);
    assert_eq!(sample.reason("img:v3"), FailureReason::ImageNotFound);
    let several = sample.read("img").err().expect("a failure");
    assert!(several.message.contains("v1, v2"), "{}", several.message);
}

#[test]
fn a_single_image_needs_no_tag_and_an_index_is_followed() {
    let sample = Sample::new();
    let mut wasm = sample.image(b"wasm", None);
    wasm["platform"] = json!({"architecture": "wasm", "os": "wasip2"});
    let mut other = sample.image(b"linux", None);
    other["platform"] = json!({"architecture": "amd64", "os": "linux"});
    let inner = sample.blob(json!({"manifests": [other, wasm]}).to_string().as_bytes());
    sample.index(&[inner]);
    assert_eq!(sample.read("img").unwrap().bytes, "wasm");
}

#[test]
fn damage_and_absence_are_told_apart() {
    let sample = Sample::new();
    assert_eq!(sample.reason("img"), FailureReason::FileNotFound);
    assert_eq!(sample.reason("absent:v1"), FailureReason::FileNotFound);
    assert_eq!(sample.reason("/etc:v1"), FailureReason::PathNotAllowed);
    let entry = sample.image(b"wasm", None);
    sample.index(&[entry]);
    let layer = sample.dir.path().join("img/blobs/sha256");
    fs::write(layer.join(Digest::of(b"wasm").hex()), "evil").unwrap();
    assert_eq!(sample.reason("img"), FailureReason::DigestMismatch);
    fs::write(sample.dir.path().join("img/index.json"), "{").unwrap();
    assert_eq!(sample.reason("img"), FailureReason::ImageNotFound);
}

#[test]
fn a_blob_that_links_elsewhere_is_refused() {
    let sample = Sample::new();
    let entry = sample.image(b"wasm", None);
    sample.index(&[entry]);
    let outside = tempfile::NamedTempFile::new().unwrap();
    fs::write(outside.path(), "wasm").unwrap();
    let blob = sample.dir.path().join("img/blobs/sha256");
    let blob = blob.join(Digest::of(b"wasm").hex());
    fs::remove_file(&blob).unwrap();
    std::os::unix::fs::symlink(outside.path(), &blob).unwrap();
    assert_eq!(sample.reason("img"), FailureReason::PathNotAllowed);
}
