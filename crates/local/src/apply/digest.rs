//! Marks templates with the content of the local files they name, so that new bytes under the same
//! path are a change that rolls out.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use waft_api::names::ANNOTATION_CONTENT_DIGEST;

use crate::manifest::image_paths;

/// Digests of the files that a set of objects names: each is read once, however many name it.
/// `None`: it can't be read.
#[derive(Default)]
pub(super) struct Contents(HashMap<PathBuf, Option<[u8; 32]>>);

impl Contents {
    /// Sets the annotation on a template, or on the object itself if it has none. An object that
    /// names no file that can be read stays as it is.
    pub(super) fn stamp(&mut self, object: &mut Value) {
        if let Some(digest) = self.digest_of(image_paths(object)) {
            annotate(object, digest);
        }
    }

    /// One digest for all files that can be read. `None` if there are none.
    fn digest_of(&mut self, paths: Vec<PathBuf>) -> Option<String> {
        let mut hash = Sha256::new();
        let mut any = false;
        for path in paths {
            let digest = |path: &PathBuf| content(path).map(|read| Sha256::digest(read).into());
            if let Some(digest) = self.0.entry(path).or_insert_with_key(digest) {
                any = true;
                hash.update(*digest);
            }
        }
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        any.then(|| format!("sha256:{}", hex(&hash.finalize())))
    }
}

fn annotate(object: &mut Value, digest: String) {
    let has_template = object
        .pointer("/spec/template")
        .is_some_and(Value::is_object);
    let place = if has_template {
        object.pointer_mut("/spec/template")
    } else {
        object.pointer_mut("/metadata")
    };
    let Some(Value::Object(place)) = place else {
        return;
    };
    let annotations = place
        .entry("annotations")
        .or_insert_with(|| Map::new().into());
    if let Value::Object(annotations) = annotations {
        annotations.insert(ANNOTATION_CONTENT_DIGEST.into(), digest.into());
    }
}

/// What a file or layout is: its bytes, or its index, which names everything else by digest.
fn content(path: &Path) -> Option<Vec<u8>> {
    let file = if path.is_dir() {
        path.join("index.json")
    } else {
        path.to_owned()
    };
    std::fs::read(file).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn new_bytes_change_the_template() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.wasm");
        let stamped = || {
            let mut object = json!({"metadata": {}, "spec": {"template": {"spec": {
                "components": [{"name": "a", "image": format!("file:{}", file.display())}],
            }}}});
            Contents::default().stamp(&mut object);
            let annotations = object.pointer("/spec/template/annotations");
            annotations.map(|a| a[ANNOTATION_CONTENT_DIGEST].as_str().unwrap().to_owned())
        };
        assert_eq!(stamped(), None);
        std::fs::write(&file, "one").unwrap();
        let first = stamped().unwrap();
        assert_eq!(stamped().unwrap(), first);
        std::fs::write(&file, "two").unwrap();
        assert_ne!(stamped().unwrap(), first);
    }

    #[test]
    fn an_object_without_a_template_is_marked_itself() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.wasm");
        std::fs::write(&file, "one").unwrap();
        let image = format!("file:{}", file.display());
        let mut object = json!({"metadata": {"name": "a"}, "spec": {"image": image}});
        Contents::default().stamp(&mut object);
        assert!(object["metadata"]["annotations"][ANNOTATION_CONTENT_DIGEST].is_string());
        let mut object = json!({"metadata": {}, "spec": {"image": "r.test/a:1"}});
        Contents::default().stamp(&mut object);
        assert_eq!(object["metadata"], json!({}));
    }
}
