//! Manifests: from an argument of `waft up` to parsed objects, ready to be applied.
//!
//! Reading is IO; [`parse`] and what it calls are pure. What an object means is the API server's
//! business: here only what every manifest needs is checked, `apiVersion`, `kind` and a name.

mod paths;
mod read;
mod wasm;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::Value;
use url::Url;
use waft_apimachinery::registry::Registry;

pub(crate) use paths::image_paths;
pub use read::load;

/// How deep a manifest may be nested: as deep as the API takes it. The parser's own limit lets a few
/// kilobytes fill the stack of a thread.
const LEVELS: usize = 127;

/// One argument of `waft up`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// A manifest, a folder of manifests, or a component.
    Path(PathBuf),
    /// A manifest on standard input: `-`.
    Stdin,
    /// A manifest behind `http:` or `https:`.
    Url(Url),
}

/// One object of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The object, its relative image paths made absolute.
    pub value: Value,
    /// The file or address it comes from.
    pub origin: String,
}

/// Everything that a set of sources holds.
#[derive(Clone, Debug, Default)]
pub struct Manifests {
    /// The objects, in the order in which they can be applied.
    pub objects: Vec<Object>,
    /// Folders that hold a source: `file:` images may lie under these.
    pub folders: Vec<PathBuf>,
    /// Files to watch: manifests, and the components and layouts they name.
    pub files: Vec<PathBuf>,
    /// A folder without manifests that was given.
    pub empty: Option<PathBuf>,
}

/// Why a source is no set of objects.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file, folder or address can't be read.
    #[error("{origin}: {message}")]
    Unreadable {
        /// The source.
        origin: String,
        /// What the system or the server said.
        message: String,
    },
    /// It is neither YAML nor JSON.
    #[error("{origin}: does not parse: {message}")]
    Syntax {
        /// The source.
        origin: String,
        /// The parser's message, with line and column.
        message: String,
    },
    /// A document is no Kubernetes object.
    #[error("{origin}: {message}")]
    NotAnObject {
        /// The source.
        origin: String,
        /// What is missing, and in which document.
        message: String,
    },
    /// A folder without manifests.
    #[error("{origin}: no .yaml, .yml or .json file in this folder")]
    Empty {
        /// The folder.
        origin: String,
    },
    /// The sources hold nothing.
    #[error("there is no object in these manifests")]
    NoObject,
    /// Two of the objects are one.
    #[error("{origins}: both would be {object}")]
    Twice {
        /// Where they come from.
        origins: String,
        /// Kind, namespace and name.
        object: String,
    },
    /// The name of a `.wasm` file gives no object name.
    #[error("{origin}: no object name can be made of this file's name")]
    Unnameable {
        /// The file.
        origin: String,
    },
}

impl Manifests {
    /// Refuses a set without an object, and a folder without manifests: whoever names sources wants
    /// something of each.
    ///
    /// # Errors
    /// [`ManifestError::Empty`] and [`ManifestError::NoObject`].
    pub fn not_empty(self) -> Result<Self, ManifestError> {
        match (&self.empty, self.objects.is_empty()) {
            (Some(folder), _) => Err(ManifestError::Empty {
                origin: folder.display().to_string(),
            }),
            (None, true) => Err(ManifestError::NoObject),
            (None, false) => Ok(self),
        }
    }

    /// Refuses a set that has an object twice: the last would win, and nobody would know. Objects that
    /// name no namespace lie in `namespace`.
    ///
    /// # Errors
    /// [`ManifestError::Twice`].
    pub fn each_once(self, namespace: &str) -> Result<Self, ManifestError> {
        let mut known = BTreeMap::new();
        for object in &self.objects {
            let group = object.api_version().split_once('/');
            let namespace = object.namespace().unwrap_or(namespace);
            let key = (
                group.map_or("", |(group, _)| group),
                object.kind(),
                namespace,
                object.name(),
            );
            let Some(other) = known.insert(key, &object.origin) else {
                continue;
            };
            let origins = match *other == object.origin {
                true => format!("{other}, twice"),
                false => format!("{other} and {}", object.origin),
            };
            let (kind, name) = (object.kind(), object.name());
            let object = match object.namespace().is_some() || object.is_of_a_namespaced_kind() {
                true => format!("{kind} {namespace}/{name}"),
                false => format!("{kind} {name}"),
            };
            return Err(ManifestError::Twice { origins, object });
        }
        Ok(self)
    }
}

impl Source {
    /// Reads an argument: `-`, an address, or a path.
    pub fn parse(argument: &str) -> Self {
        if argument == "-" {
            return Self::Stdin;
        }
        match Url::parse(argument) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Self::Url(url),
            _ => Self::Path(argument.into()),
        }
    }
}

impl Object {
    /// A field of the object that is a string.
    fn text(&self, pointer: &str) -> &str {
        self.value
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The `apiVersion`.
    pub fn api_version(&self) -> &str {
        self.text("/apiVersion")
    }

    /// The kind.
    pub fn kind(&self) -> &str {
        self.text("/kind")
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// The namespace, if the manifest names one.
    pub fn namespace(&self) -> Option<&str> {
        self.value
            .pointer("/metadata/namespace")
            .and_then(Value::as_str)
    }

    /// Whether it is of a kind that is known, without asking the API, to lie in namespaces.
    fn is_of_a_namespaced_kind(&self) -> bool {
        let (api_version, kind) = (self.api_version(), self.kind());
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let mut ours = waft_api::crds().into_iter();
        match ours.find(|crd| crd.spec.group == group && crd.spec.names.kind == kind) {
            Some(crd) => crd.spec.scope == "Namespaced",
            None => Registry::builtin()
                .of_kind(api_version, kind)
                .is_some_and(|resource| resource.namespaced),
        }
    }
}

impl ManifestError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Syntax { .. } | Self::NotAnObject { .. } => Some("nothing was applied".into()),
            Self::Empty { .. } => {
                Some("name the file itself if it has another ending, or a .wasm file".into())
            }
            Self::NoObject => Some(
                "a manifest holds at least one document with apiVersion, kind and metadata.name"
                    .into(),
            ),
            Self::Twice { .. } => {
                Some("nothing was applied; leave one of them away, or give it another name".into())
            }
            Self::Unreadable { .. } | Self::Unnameable { .. } => None,
        }
    }
}

/// Parses one text: YAML or JSON, several documents, `List`s unfolded. Relative image paths count
/// from `folder`.
pub(crate) fn parse(text: &str, origin: &str, folder: &Path) -> Result<Vec<Object>, ManifestError> {
    // A platform's whole repository may come in one stream; the reader's own bounds are for one file
    // of settings.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: LEVELS,
            max_documents: 100_000,
            max_nodes: 5_000_000,
            max_events: 20_000_000,
        },
    };
    let documents = serde_saphyr::from_multiple_with_options(text, options);
    let documents: Vec<Value> = documents.map_err(|error| {
        let words = serde_saphyr::UserMessageFormatter;
        let message = error.without_snippet().render_with_formatter(&words);
        ManifestError::Syntax {
            origin: origin.into(),
            message,
        }
    })?;
    let mut objects = Vec::new();
    for (index, document) in documents.into_iter().enumerate() {
        if !document.is_null() {
            unfold(document, origin, index + 1, &mut objects)?;
        }
    }
    for object in &mut objects {
        paths::make_absolute(&mut object.value, folder);
    }
    Ok(objects)
}

/// Adds a document's object, or those of a `List`.
fn unfold(
    mut document: Value,
    origin: &str,
    number: usize,
    objects: &mut Vec<Object>,
) -> Result<(), ManifestError> {
    let wrong = |message: String| ManifestError::NotAnObject {
        origin: origin.into(),
        message: format!("document {number} {message}"),
    };
    if !document.is_object() {
        return Err(wrong(
            "is not an object with apiVersion, kind and metadata".into(),
        ));
    }
    let is_list = document["kind"]
        .as_str()
        .is_some_and(|kind| kind.ends_with("List"));
    if is_list && let Some(Value::Array(items)) = document.get_mut("items").map(Value::take) {
        for item in items {
            unfold(item, origin, number, objects)?;
        }
        return Ok(());
    }
    for (pointer, field) in [
        ("/apiVersion", "apiVersion"),
        ("/kind", "kind"),
        ("/metadata/name", "metadata.name"),
    ] {
        match document.pointer(pointer) {
            Some(Value::String(text)) if !text.is_empty() => {}
            None | Some(Value::Null | Value::String(_)) => {
                return Err(wrong(format!("has no {field}")));
            }
            // YAML reads `n`, `yes` and `1.0` as something else, as kubectl does.
            Some(_) => return Err(wrong(format!("has a {field} that is no text: quote it"))),
        }
    }
    objects.push(Object {
        value: document,
        origin: origin.into(),
    });
    Ok(())
}

/// Sorts objects so that what others refer to comes first, otherwise as they stood.
fn sort(objects: &mut [Object]) {
    objects.sort_by_key(|object| match object.kind() {
        "Namespace" => 0,
        "CustomResourceDefinition" => 1,
        "ServiceAccount" | "ConfigMap" | "Secret" | "Service" => 2,
        "Artifact" => 3,
        _ => 4,
    });
}

#[cfg(test)]
mod tests;
