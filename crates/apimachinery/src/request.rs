//! From method, path, query and headers to what is asked.
//!
//! Bodies are left to the server: what stands here is known before the first byte of one arrives.

mod accept;
mod info;
mod options;
mod query;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use accept::{BodyFormat, Output, PatchKind};
pub use info::Info;
pub use options::{
    DeleteOptions, FieldValidation, ListOptions, LogOptions, Preconditions, Propagation,
    VersionMatch, WriteOptions,
};
pub use query::Query;

use crate::registry::{GroupVersion, Registry, Resource, Verb};
use crate::status::Status;

/// The parts of an HTTP request that decide what is asked.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// Upper case.
    pub method: &'a str,
    /// Without the query.
    pub path: &'a str,
    /// Without the question mark.
    pub query: &'a str,
    /// The `Accept` header.
    pub accept: Option<&'a str>,
    /// The `Content-Type` header.
    pub content_type: Option<&'a str>,
}

/// What is asked.
#[derive(Debug, Clone)]
pub enum Request {
    /// `/version`
    Version,
    /// `/livez`, `/readyz`, `/healthz`, and their checks.
    Health {
        /// The path, for the verbose answer.
        path: String,
    },
    /// `/api` and `/apis`; aggregated or legacy.
    Discovery {
        /// `/api` rather than `/apis`.
        core: bool,
        /// The aggregated form was asked for.
        aggregated: bool,
    },
    /// `/apis/GROUP`
    Group(String),
    /// `/api/VERSION`, `/apis/GROUP/VERSION`
    Resources(GroupVersion),
    /// `/openapi/v3`
    OpenApiIndex,
    /// `/openapi/v3/PATH`
    OpenApi(GroupVersion),
    /// `/openapi/v2`
    OpenApiOld {
        /// Wanted as protobuf.
        protobuf: bool,
    },
    /// `/`
    Paths,
    /// A path that nothing is served at.
    Missing,
    /// Something about a resource.
    Resource(Box<ResourceRequest>),
}

/// A request for a resource.
#[derive(Debug, Clone)]
pub struct ResourceRequest {
    /// The resource as it is served in the asked version.
    pub resource: Arc<Resource>,
    /// Absent for cluster-scoped resources and lists over all namespaces.
    pub namespace: Option<String>,
    /// Absent for collections.
    pub name: Option<String>,
    /// What to do.
    pub action: Action,
    /// How to answer.
    pub output: Output,
}

/// What to do with a resource.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the names are the API's own verbs")]
pub enum Action {
    Get(Part),
    List(ListOptions),
    Watch(ListOptions),
    Create(WriteOptions, BodyFormat),
    Update(Part, WriteOptions, BodyFormat),
    Patch(Part, PatchKind, WriteOptions),
    Delete(DeleteOptions, BodyFormat),
    DeleteCollection(ListOptions, DeleteOptions, BodyFormat),
    Logs(LogOptions),
    PortForward { ports: Vec<u16> },
    Exec,
    Evict(WriteOptions, BodyFormat),
    Token(WriteOptions, BodyFormat),
}

/// Which part of an object is read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Its status.
    Status,
    /// Its replicas.
    Scale,
    /// A namespace's finalizers.
    Finalize,
}

impl Part {
    /// The subresource's name; empty for the whole.
    pub fn as_str(self) -> &'static str {
        match self {
            Part::Whole => "",
            Part::Status => "status",
            Part::Scale => "scale",
            Part::Finalize => "finalize",
        }
    }
}

/// Understands a request.
pub fn parse(head: &Head<'_>, registry: &Registry) -> Result<Request, Status> {
    let decoded = query::decode_path(head.path)
        .ok_or_else(|| Status::bad_request("the path is not UTF-8"))?;
    let segments: Vec<&str> = decoded
        .iter()
        .map(String::as_str)
        .filter(|s| !s.is_empty())
        .collect();
    let known = |group: &str| registry.has_group(group);
    let reading = || match head.method {
        "GET" | "HEAD" => Ok(()),
        _ => Err(Status::method_not_allowed()),
    };
    match segments[..] {
        [] => reading().map(|()| Request::Paths),
        ["version"] => reading().map(|()| Request::Version),
        ["livez" | "readyz" | "healthz", ..] => reading().map(|()| Request::Health {
            path: segments[0].to_owned(),
        }),
        ["apis"] | ["api"] => {
            if segments[0] == "api" {
                reading()?;
            }
            let aggregated = accept::wants_aggregated(head.accept);
            Ok(Request::Discovery {
                core: segments[0] == "api",
                aggregated,
            })
        }
        // What the real server aggregates it answers whatever the method.
        ["apis", group] if known(group) => Ok(Request::Group(group.to_owned())),
        ["api", version] => reading().map(|()| Request::Resources(GroupVersion::new("", version))),
        ["apis", group, version] if known(group) => {
            reading().map(|()| Request::Resources(GroupVersion::new(group, version)))
        }
        ["openapi", "v2"] => Ok(Request::OpenApiOld {
            protobuf: head
                .accept
                .is_some_and(|accept| accept.contains("protobuf")),
        }),
        ["openapi", "v3"] => Ok(Request::OpenApiIndex),
        ["openapi", "v3", "api", version] => Ok(Request::OpenApi(GroupVersion::new("", version))),
        ["openapi", "v3", "apis", group, version] => {
            Ok(Request::OpenApi(GroupVersion::new(group, version)))
        }
        ["api", version, ref rest @ ..] => resource(head, registry, "", version, rest),
        ["apis", group, version, ref rest @ ..] if known(group) => {
            resource(head, registry, group, version, rest)
        }
        _ => Ok(Request::Missing),
    }
}

fn resource(
    head: &Head<'_>,
    registry: &Registry,
    group: &str,
    version: &str,
    rest: &[&str],
) -> Result<Request, Status> {
    let find = |plural: &str| {
        registry
            .get(group, version, plural)
            .cloned()
            .ok_or_else(Status::unknown_resource)
    };
    // `watch/` in front of a collection is the old way to say `?watch=true`.
    let (old_watch, rest) = match rest {
        ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
        rest => (false, rest),
    };
    let (namespace, resource, name, part) = match *rest {
        ["namespaces"] => (None, find("namespaces")?, None, None),
        ["namespaces", name] => (None, find("namespaces")?, Some(name), None),
        ["namespaces", name, part @ ("status" | "finalize")] => {
            (None, find("namespaces")?, Some(name), Some(part))
        }
        ["namespaces", namespace, plural, ref rest @ ..] => {
            let resource = find(plural)?;
            if !resource.namespaced {
                return Err(Status::unknown_resource());
            }
            match *rest {
                [] => (Some(namespace), resource, None, None),
                [name] => (Some(namespace), resource, Some(name), None),
                [name, part] => (Some(namespace), resource, Some(name), Some(part)),
                _ => return Err(Status::unknown_resource()),
            }
        }
        [plural] => (None, find(plural)?, None, None),
        [plural, name] => (None, find(plural)?, Some(name), None),
        [plural, name, part] => (None, find(plural)?, Some(name), Some(part)),
        _ => return Err(Status::unknown_resource()),
    };
    if resource.namespaced && namespace.is_none() && name.is_some() {
        return match resource.builtin {
            true => Err(Status::unknown_resource()),
            false => Ok(Request::Missing),
        };
    }
    let collects = matches!(head.method, "GET" | "HEAD");
    if resource.namespaced && namespace.is_none() && !resource.builtin && !collects {
        return Ok(Request::Missing);
    }
    let query = Query::parse(head.query);
    let action = match (name, part) {
        (None, _) => collection(head, &resource, namespace, &query, old_watch)?,
        (Some(_), None) => object(head, &resource, Part::Whole, &query)?,
        (Some(name), Some(part)) => subresource(head, &resource, name, part, &query)?,
    };
    let output = match &action {
        Action::Logs(_)
        | Action::PortForward { .. }
        | Action::Exec
        | Action::Evict(..)
        | Action::Token(..) => Output::Json,
        _ => {
            let reads = matches!(head.method, "GET" | "HEAD");
            let watchable = reads && name.is_none();
            accept::output(head.accept, query.get("includeObject"), watchable)?
        }
    };
    Ok(Request::Resource(Box::new(ResourceRequest {
        resource,
        namespace: namespace.map(str::to_owned),
        name: name.map(str::to_owned),
        action,
        output,
    })))
}

fn collection(
    head: &Head<'_>,
    resource: &Resource,
    namespace: Option<&str>,
    query: &Query,
    old_watch: bool,
) -> Result<Action, Status> {
    let action = match head.method {
        "GET" | "HEAD" if old_watch || query.flag("watch") => {
            allow(resource, Verb::Watch)?;
            Action::Watch(ListOptions::parse(query, true)?)
        }
        "GET" | "HEAD" => {
            allow(resource, Verb::List)?;
            Action::List(ListOptions::parse(query, false)?)
        }
        "POST" => {
            allow(resource, Verb::Create)?;
            if resource.namespaced && namespace.is_none() {
                return Err(Status::method_not_allowed());
            }
            Action::Create(
                WriteOptions::parse(query, "CreateOptions")?,
                accept::body(head.content_type)?,
            )
        }
        "DELETE" => {
            allow(resource, Verb::DeleteCollection)?;
            if resource.namespaced && namespace.is_none() {
                return Err(Status::method_not_allowed());
            }
            Action::DeleteCollection(
                ListOptions::parse(query, false)?,
                DeleteOptions::parse(query)?,
                accept::body(head.content_type)?,
            )
        }
        "PUT" | "PATCH" if !resource.builtin => {
            return Err(Status::bad_request("name must be provided"));
        }
        _ => return Err(Status::method_not_allowed()),
    };
    Ok(action)
}

fn object(
    head: &Head<'_>,
    resource: &Resource,
    part: Part,
    query: &Query,
) -> Result<Action, Status> {
    match head.method {
        "GET" | "HEAD" => {
            allow(resource, Verb::Get)?;
            let version = query.get("resourceVersion").unwrap_or_default();
            if !version.is_empty() && version.parse::<u64>().is_err() {
                let why = format!("strconv.ParseUint: parsing {version:?}: invalid syntax");
                let why = format!("resourceVersion: Invalid value: {version:?}: {why}");
                return Err(Status::new(500, None, why));
            }
            Ok(Action::Get(part))
        }
        "PUT" => {
            allow(resource, Verb::Update)?;
            Ok(Action::Update(
                part,
                WriteOptions::parse(query, "UpdateOptions")?,
                accept::body(head.content_type)?,
            ))
        }
        "PATCH" => {
            allow(resource, Verb::Patch)?;
            let kind = accept::patch(head.content_type, resource.builtin)?;
            let options = WriteOptions::parse(query, "PatchOptions")?;
            options.check_patch(kind)?;
            Ok(Action::Patch(part, kind, options))
        }
        "DELETE" if part == Part::Whole => {
            allow(resource, Verb::Delete)?;
            Ok(Action::Delete(
                DeleteOptions::parse(query)?,
                accept::body(head.content_type)?,
            ))
        }
        _ => Err(Status::method_not_allowed()),
    }
}

fn subresource(
    head: &Head<'_>,
    resource: &Resource,
    of: &str,
    name: &str,
    query: &Query,
) -> Result<Action, Status> {
    let served = resource
        .subresources
        .iter()
        .any(|sub| sub["subresource"] == name);
    if !served {
        return Err(match resource.builtin {
            true => Status::unknown_resource(),
            false => Status::not_found(&resource.group, &resource.plural, of),
        });
    }
    if !resource.builtin {
        let verb = match head.method {
            "DELETE" => "delete",
            "POST" => "create",
            _ => "",
        };
        if !verb.is_empty() {
            return Err(Status::verb_not_supported(
                &resource.group,
                &resource.plural,
                verb,
            ));
        }
    }
    match (name, head.method) {
        ("status", _) => object(head, resource, Part::Status, query),
        ("scale", _) => object(head, resource, Part::Scale, query),
        ("finalize", "PUT") => object(head, resource, Part::Finalize, query),
        ("log", "GET" | "HEAD") => Ok(Action::Logs(LogOptions::parse(query)?)),
        ("portforward", "GET" | "POST") => Ok(Action::PortForward {
            ports: query.ports()?,
        }),
        ("exec" | "attach", "GET" | "POST") => Ok(Action::Exec),
        ("eviction" | "token", "POST") => {
            let options = WriteOptions::parse(query, "CreateOptions")?;
            let format = accept::body(head.content_type)?;
            Ok(match name {
                "token" => Action::Token(options, format),
                _ => Action::Evict(options, format),
            })
        }
        _ => Err(Status::method_not_allowed()),
    }
}

fn allow(resource: &Resource, verb: Verb) -> Result<(), Status> {
    resource
        .allows(verb)
        .then_some(())
        .ok_or_else(Status::method_not_allowed)
}
