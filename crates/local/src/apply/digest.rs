//! Marks templates with the content of the local files they name, so that new bytes under the same
//! path are a change that rolls out.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use waft_api::names::ANNOTATION_CONTENT_DIGEST;

use crate::manifest::{Object, image_paths};

/// Digests of the files that a set of objects names.
#[derive(Default)]
pub(crate) struct Contents {
    /// Each file is read once, however many objects name it. `None`: it can't be read.
    read: HashMap<PathBuf, Option<[u8; 32]>>,
    /// What files held in an earlier set: a file that is missing while it is built again is no
    /// change.
    before: HashMap<PathBuf, [u8; 32]>,
}

/// Marks objects with the content of the local files they name, as `waft up` does when it applies
/// them.
pub fn stamp(objects: &mut [Object]) {
    let mut contents = Contents::default();
    for object in objects {
        contents.stamp(&mut object.value);
    }
}

impl Contents {
    /// From here on, files are read anew.
    pub(crate) fn next_set(&mut self) {
        let known = self.read.drain();
        let known = known.filter_map(|(path, digest)| Some((path, digest?)));
        self.before.extend(known);
    }

    /// Sets the annotation on a template, or on the object itself if it has none. An object that
    /// names no file that can be read stays as it is.
    pub(crate) fn stamp(&mut self, object: &mut Value) {
        if let Some(digest) = self.digest_of(image_paths(object)) {
            annotate(object, digest);
        }
    }

    /// One digest for all files that can be read. `None` if there are none.
    fn digest_of(&mut self, paths: Vec<PathBuf>) -> Option<String> {
        let mut hash = Sha256::new();
        let mut any = false;
        for path in paths {
            let digest = |path: &PathBuf| match content(path) {
                Some(read) => Some(Sha256::digest(read).into()),
                None => self.before.get(path).copied(),
            };
            if let Some(digest) = self.read.entry(path).or_insert_with_key(digest) {
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

/// What changes the mark of an object, and nothing else of it: a merge patch. `None`: it has no mark.
pub(super) fn mark(object: &Value) -> Option<Value> {
    for place in ["/spec/template", "/metadata"] {
        let marked = object.pointer(place).and_then(|place| {
            let digest = place["annotations"].get(ANNOTATION_CONTENT_DIGEST)?;
            Some(json!({"annotations": {ANNOTATION_CONTENT_DIGEST: digest}}))
        });
        match (marked, place) {
            (None, _) => {}
            (Some(marked), "/metadata") => return Some(json!({"metadata": marked})),
            (Some(marked), _) => return Some(json!({"spec": {"template": marked}})),
        }
    }
    None
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
    fn a_mark_says_nothing_else_of_its_object() {
        let marked = json!({"annotations": {ANNOTATION_CONTENT_DIGEST: "sha256:1", "other": "x"}, "name": "a"});
        let only = json!({"annotations": {ANNOTATION_CONTENT_DIGEST: "sha256:1"}});
        let of_template =
            json!({"metadata": {"name": "a"}, "spec": {"replicas": 1, "template": marked}});
        assert_eq!(
            mark(&of_template),
            Some(json!({"spec": {"template": only}}))
        );
        let of_itself = json!({"metadata": marked, "spec": {"template": {"spec": {}}}});
        assert_eq!(mark(&of_itself), Some(json!({"metadata": only})));
        assert_eq!(mark(&json!({"metadata": {"name": "a"}})), None);
    }

    #[test]
    fn a_file_that_is_being_built_again_holds_what_it_held() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.wasm");
        let image = format!("file:{}", file.display());
        let mut contents = Contents::default();
        let mut stamped = || {
            let mut object = json!({"metadata": {}, "spec": {"image": image}});
            contents.next_set();
            contents.stamp(&mut object);
            object["metadata"]["annotations"][ANNOTATION_CONTENT_DIGEST].clone()
        };
        std::fs::write(&file, "one").unwrap();
        let first = stamped();
        assert!(first.is_string());
        std::fs::remove_file(&file).unwrap();
        assert_eq!(stamped(), first);
        assert_eq!(stamped(), first);
        std::fs::write(&file, "two").unwrap();
        assert_ne!(stamped(), first);
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
