//! A bare `.wasm` file as a workload: named after the file, reached at `NAME.localhost`.

use std::path::Path;

use serde_json::json;

use super::{ManifestError, Object};

/// The WorkloadDeployment that stands for a component file. `path` is absolute.
pub(super) fn deployment(path: &Path) -> Result<Object, ManifestError> {
    let origin = path.display().to_string();
    let stem = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned());
    let name = stem.as_deref().and_then(object_name);
    let name = name.ok_or_else(|| ManifestError::Unnameable {
        origin: origin.clone(),
    })?;
    let value = json!({
        "apiVersion": "runtime.wasmcloud.dev/v1alpha1",
        "kind": "WorkloadDeployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "template": {"spec": {
                "components": [{"name": name, "image": format!("file:{origin}")}],
            }},
        },
    });
    let mut object = Object { value, origin };
    object.value["spec"]["template"]["spec"]["hostInterfaces"] = json!([{
        "namespace": "wasi",
        "package": "http",
        "interfaces": ["incoming-handler"],
        "config": {"host": format!("{name}.localhost")},
    }]);
    Ok(object)
}

/// A DNS label made of a file name: lower case, other characters as dashes, at most 40 of them so
/// that the names of replicas, which are longer, fit.
fn object_name(stem: &str) -> Option<String> {
    let mut name = String::new();
    for character in stem.chars().map(|c| c.to_ascii_lowercase()) {
        if character.is_ascii_alphanumeric() {
            name.push(character);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
        if name.len() == 40 {
            break;
        }
    }
    let name = name.trim_end_matches('-');
    (!name.is_empty()).then(|| name.to_owned())
}
