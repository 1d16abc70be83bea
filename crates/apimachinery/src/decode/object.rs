//! Whether a value is an object of the kind that is wanted, before anyone looks at its fields.

use serde_json::{Map, Value};

use super::{Body, Reader, type_error, unfit, unrecognized, value_name};
use crate::registry::{Resource, builtin_kind, builtin_schema};
use crate::request::BodyFormat;
use crate::schema::Schema;
use crate::status::{FieldError, Status};

/// The kind that a body must be of.
#[derive(Debug, Clone)]
pub struct Target<'a> {
    /// Empty for core.
    pub group: &'a str,
    /// Such as `v1`.
    pub version: &'a str,
    /// Such as `Pod`.
    pub kind: &'a str,
    /// Comes with the server: then a body may leave its type out.
    pub builtin: bool,
    /// The types of its fields.
    pub schema: Schema,
}

/// Why a value is no object of the wanted kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Unfit {
    /// It doesn't say what it is.
    Unrecognized(String),
    /// It says what it is, and isn't what is wanted.
    Kind {
        /// What it says it is.
        kind: String,
        /// In which version.
        version: String,
        /// The rest of the sentence.
        why: String,
    },
    /// It is of another version than the path.
    Version {
        /// What it says.
        given: String,
        /// What the path says.
        own: String,
    },
    /// Refused in words of its own.
    Refused(Status),
}

impl<'a> Target<'a> {
    /// Objects of a resource.
    pub fn of(resource: &'a Resource) -> Target<'a> {
        Target {
            group: &resource.group,
            version: &resource.version,
            kind: &resource.kind,
            builtin: resource.builtin,
            schema: resource.schema().clone(),
        }
    }

    /// What is sent to a subresource, if that has a kind of its own.
    pub fn of_part(resource: &'a Resource, part: &str) -> Option<Target<'a>> {
        let parts = &resource.subresources;
        let part = parts.iter().find(|sub| sub["subresource"] == part)?;
        let text = |key: &str| part["responseKind"][key].as_str();
        let (group, version, kind) = (text("group")?, text("version")?, text("kind")?);
        let component = builtin_kind(group, version, kind)?;
        Some(Target {
            group,
            version,
            kind,
            builtin: true,
            schema: builtin_schema(component),
        })
    }

    fn api_version(&self) -> String {
        match self.group.is_empty() {
            true => self.version.to_owned(),
            false => format!("{}/{}", self.group, self.version),
        }
    }

    /// Reads a body of this kind.
    pub fn read(&self, bytes: &[u8], format: BodyFormat) -> Result<Body, Status> {
        let told = "couldn't get version/kind; json parse error: ";
        let mut body = match format {
            BodyFormat::Json => super::json(bytes).map_err(|why| {
                let told = if self.builtin { told } else { "" };
                unrecognized(self.kind, &format!("{told}{why}"), bytes)
            })?,
            BodyFormat::Yaml => Body::plain(super::yaml(bytes)?),
            BodyFormat::Protobuf => Body::plain(
                crate::protobuf::decode(bytes)
                    .map_err(|why| unrecognized(self.kind, &why, bytes))?,
            ),
        };
        if body.value.is_null() && self.builtin {
            body.value = Value::Object(Map::new());
        }
        self.check(&mut body.value, bytes)
            .map_err(|unfit| unfit.into_status(self.kind, bytes))?;
        Ok(body)
    }

    /// Finds out whether a value is of this kind, and completes its type.
    pub fn check(&self, value: &mut Value, bytes: &[u8]) -> Result<(), Unfit> {
        let Value::Object(map) = &*value else {
            return Err(Unfit::Unrecognized(match self.builtin {
                true => format!(
                    "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}",
                    value_name(value)
                ),
                false => format!(
                    "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
                    value_name(value)
                ),
            }));
        };
        let given = |key: &str| match map.get(key) {
            None | Some(Value::Null) => Ok(""),
            Some(Value::String(text)) => Ok(text.as_str()),
            Some(other) => Err(Unfit::Unrecognized(format!(
                "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go struct field .{key} of type string",
                value_name(other)
            ))),
        };
        let (kind, api_version) = (given("kind")?, given("apiVersion")?);
        match self.builtin {
            true => self.check_builtin(kind, api_version, value)?,
            false => self.check_custom(kind, api_version, value, bytes)?,
        }
        self.complete(value);
        Ok(())
    }

    fn check_builtin(&self, kind: &str, api_version: &str, value: &Value) -> Result<(), Unfit> {
        let kind = if kind.is_empty() { self.kind } else { kind };
        let own = self.api_version();
        let api_version = if api_version.is_empty() {
            &own
        } else {
            api_version
        };
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let unfit = |why: String| Unfit::Kind {
            kind: kind.to_owned(),
            version: version.to_owned(),
            why,
        };
        if (group, version, kind) == (self.group, self.version, self.kind) {
            return match type_error(&self.schema, kind, value, Reader::Json) {
                None => Ok(()),
                Some(why) => Err(unfit(why)),
            };
        }
        let Some(component) = builtin_kind(group, version, kind) else {
            return Err(unfit(format!(
                "no kind {kind:?} is registered for version {api_version:?} in scheme \"pkg/api/legacyscheme/scheme.go:30\""
            )));
        };
        let other = builtin_schema(component);
        if let Some(why) = type_error(&other, kind, value, Reader::Json) {
            return Err(unfit(why));
        }
        // Versions of one kind are read as one; the path decides which is expected.
        if kind == self.kind && (group == self.group || kind == "Event") {
            return Err(Unfit::Version {
                given: api_version.to_owned(),
                own,
            });
        }
        let internal = match self.group.split('.').next() {
            None | Some("") => "core",
            Some(first) => first,
        };
        Err(unfit(format!(
            "converting ({version}.{kind}) to ({internal}.{}): unknown conversion",
            self.kind
        )))
    }

    fn check_custom(
        &self,
        kind: &str,
        api_version: &str,
        value: &Value,
        bytes: &[u8],
    ) -> Result<(), Unfit> {
        if kind.is_empty() {
            return Err(Unfit::Unrecognized(format!(
                "Object 'Kind' is missing in '{}'",
                String::from_utf8_lossy(bytes)
            )));
        }
        let own = self.api_version();
        if api_version != own {
            return Err(Unfit::Version {
                given: api_version.to_owned(),
                own,
            });
        }
        if let Some(why) = metadata_error(value) {
            return Err(Unfit::Kind {
                kind: kind.to_owned(),
                version: self.version.to_owned(),
                why,
            });
        }
        if kind != self.kind {
            let error = FieldError::invalid("kind", &kind.into(), format!("must be {}", self.kind));
            let name = value["metadata"]["name"].as_str().unwrap_or_default();
            return Err(Unfit::Refused(Status::invalid(
                self.group,
                kind,
                name,
                vec![error],
            )));
        }
        Ok(())
    }

    /// Says in the value what the path said, in front of everything else.
    fn complete(&self, value: &mut Value) {
        let Some(map) = value.as_object_mut() else {
            return;
        };
        let said = |key: &str| {
            map.get(key)
                .is_some_and(|value| value.is_string() && value != "")
        };
        if said("kind") && said("apiVersion") {
            return;
        }
        let mut whole = Map::new();
        whole.insert("apiVersion".into(), self.api_version().into());
        whole.insert("kind".into(), self.kind.into());
        let rest = std::mem::take(map)
            .into_iter()
            .filter(|(key, _)| key != "kind" && key != "apiVersion");
        whole.extend(rest);
        *map = whole;
    }
}

impl Unfit {
    /// The refusal of the body of a creation or an update.
    pub fn into_status(self, wanted: &str, bytes: &[u8]) -> Status {
        match self {
            Unfit::Unrecognized(why) => unrecognized(wanted, &why, bytes),
            Unfit::Kind { kind, version, why } => unfit(&kind, &version, wanted, &why),
            Unfit::Version { given, own } => Status::bad_request(format!(
                "the API version in the data ({given}) does not match the expected API version ({own})"
            )),
            Unfit::Refused(status) => status,
        }
    }
}

/// What in the metadata of a custom resource is of another type than it must be.
fn metadata_error(value: &Value) -> Option<String> {
    static SCHEMA: std::sync::LazyLock<Schema> = std::sync::LazyLock::new(Schema::object_meta);
    let metadata = value.get("metadata")?;
    type_error(&SCHEMA, "ObjectMeta", metadata, Reader::Json)
}
