//! Relative `file:` and `oci:` paths count from their manifest's folder; the API has no folder, so
//! they are made absolute before an object is sent.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

/// Schemes of images that lie in the file system.
const SCHEMES: [&str; 2] = ["file:", "oci:"];

/// Makes every relative path of an `image` field below `spec` absolute.
pub(super) fn make_absolute(object: &mut Value, folder: &Path) {
    if let Some(spec) = object.get_mut("spec") {
        each_image(spec, &mut |image| {
            if let Some((scheme, path)) = split(image)
                && Path::new(path).is_relative()
            {
                *image = format!("{scheme}{}", clean(&folder.join(path)).display());
            }
        });
    }
}

/// The files and layout folders that an object's images name, absolute ones only.
pub(crate) fn image_paths(object: &Value) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    let mut spec = object.get("spec").cloned().unwrap_or_default();
    each_image(&mut spec, &mut |image| {
        if let Some((_, path)) = split(image) {
            paths.push(PathBuf::from(path));
        }
    });
    paths
}

/// Scheme and path of an image in the file system; `file://` is `file:` too.
fn split(image: &str) -> Option<(&'static str, &str)> {
    SCHEMES.iter().find_map(|scheme| {
        let path = image.strip_prefix(scheme)?;
        Some((*scheme, path.strip_prefix("//").unwrap_or(path)))
    })
}

/// Calls `visit` with every text of a field named `image`.
fn each_image(value: &mut Value, visit: &mut dyn FnMut(&mut String)) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if name == "image" => visit(text),
                    _ => each_image(field, visit),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| each_image(item, visit)),
        _ => {}
    }
}

/// Drops `.` elements and resolves `..` by name. Links are not followed: the store does that when
/// it checks where a path leads.
fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for element in path.components() {
        match element {
            Component::CurDir => {}
            Component::ParentDir => {
                cleaned.pop();
            }
            other => cleaned.push(other),
        }
    }
    cleaned
}
