//! A compiled component and what its type says: imports, exports, the HTTP handler.

use std::sync::Arc;

use parking_lot::Mutex;
use waft_ir::InterfaceName;
use wasmtime::component::{Component, types::ComponentItem};

use crate::{instance::Pre, members};

/// Generations of `wasi:http` that a component may serve.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HttpVersion {
    /// `wasi:http/incoming-handler@0.2.x`.
    P2,
    /// `wasi:http/handler@0.3.x`.
    P3,
}

/// Generations of `wasi:cli/run` that a component may export.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RunVersion {
    /// `wasi:cli/run@0.2.x`.
    P2,
    /// `wasi:cli/run@0.3.x`.
    P3,
}

/// Generations of `wasmcloud:messaging/handler` that a component may export.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MessagingVersion {
    /// `wasmcloud:messaging/handler@0.2.x`.
    P2,
    /// `wasmcloud:messaging/handler@0.3.x`.
    P3,
}

/// Compiled code, shared by all workloads of the same bytes.
#[derive(Clone)]
pub struct Compiled(pub(crate) Arc<CompiledInner>);

pub(crate) struct CompiledInner {
    pub(crate) component: Component,
    /// Imports that need something of the host.
    pub(crate) needs: Vec<Need>,
    /// Those of them that have names of their own.
    pub(crate) names: Vec<NamedImport>,
    imports: Vec<InterfaceName>,
    exports: Vec<InterfaceName>,
    http: Option<HttpVersion>,
    run: Option<RunVersion>,
    messaging: Option<MessagingVersion>,
    watches: bool,
    /// Made when the first workload links it; the same for all.
    pub(crate) pre: Mutex<Option<Pre>>,
}

/// An import that needs something of the host.
pub(crate) struct Need {
    pub(crate) name: String,
    /// The interface that it is said to implement, when the name is its own.
    pub(crate) implements: Option<String>,
}

/// An import under a name of its own: `(import "cache" (implements "wasi:keyvalue/store@…") …)`.
pub(crate) struct NamedImport {
    /// As the component has it.
    pub(crate) import: String,
    /// The place of the member that imports it.
    pub(crate) member: usize,
    /// As that member has it.
    pub(crate) label: String,
    pub(crate) interface: InterfaceName,
}

impl HttpVersion {
    /// `0.2` or `0.3`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::P2 => "0.2",
            Self::P3 => "0.3",
        }
    }
}

impl NamedImport {
    fn new(import: &str, interface: &str) -> Option<Self> {
        let (member, label) = members::of_label(import).unwrap_or((0, import));
        Some(Self {
            import: import.into(),
            member,
            label: label.into(),
            interface: interface.parse().ok()?,
        })
    }
}

impl Compiled {
    pub(crate) fn new(component: Component) -> Self {
        let engine = component.engine();
        let ty = component.component_type();
        let (mut needs, mut names) = (Vec::new(), Vec::new());
        let mut imports = Vec::new();
        for (name, import) in ty.imports(engine) {
            if !is_only_types(&import.ty, engine) {
                needs.push(Need {
                    name: name.to_owned(),
                    implements: import.implements.map(Into::into),
                });
            }
            match import.implements {
                Some(interface) => names.extend(NamedImport::new(name, interface)),
                None => imports.extend(name.parse()),
            }
        }
        let exports: Vec<InterfaceName> = ty
            .exports(engine)
            .filter_map(|(name, _)| name.parse().ok())
            .collect();
        // A component that serves both generations is called through the newer one.
        let http = [HttpVersion::P3, HttpVersion::P2]
            .into_iter()
            .find(|version| exports.iter().any(|name| version.is_export(name)));
        let run = [RunVersion::P3, RunVersion::P2]
            .into_iter()
            .find(|version| exports.iter().any(|name| version.is_export(name)));
        let messaging = [MessagingVersion::P3, MessagingVersion::P2]
            .into_iter()
            .find(|version| exports.iter().any(|name| version.is_export(name)));
        let watches = exports.iter().any(|name| {
            let interface = name.interface.as_deref();
            name.namespace == "wasi" && name.package == "keyvalue" && interface == Some("watcher")
        });
        Self(Arc::new(CompiledInner {
            component,
            needs,
            names,
            imports,
            exports,
            http,
            run,
            messaging,
            watches,
            pre: Mutex::new(None),
        }))
    }

    /// The interfaces it imports.
    pub fn imports(&self) -> &[InterfaceName] {
        &self.0.imports
    }

    /// The interfaces it exports.
    pub fn exports(&self) -> &[InterfaceName] {
        &self.0.exports
    }

    /// The generation of `wasi:http` it serves, if any.
    pub fn http(&self) -> Option<HttpVersion> {
        self.0.http
    }

    /// The generation of `wasi:cli/run` it exports, if any: then it can be a long-lived service.
    pub fn run(&self) -> Option<RunVersion> {
        self.0.run
    }

    /// Whether it exports `wasi:keyvalue/watcher`: then it is told what changes in buckets.
    pub fn watches(&self) -> bool {
        self.0.watches
    }

    /// The generation of `wasmcloud:messaging/handler` it exports, if any: then it takes messages.
    pub fn messaging(&self) -> Option<MessagingVersion> {
        self.0.messaging
    }
}

impl HttpVersion {
    fn is_export(self, name: &InterfaceName) -> bool {
        let (interface, minor) = match self {
            Self::P2 => ("incoming-handler", 2),
            Self::P3 => ("handler", 3),
        };
        is_of(name, ("wasi", "http", interface), minor)
    }
}

impl RunVersion {
    fn is_export(self, name: &InterfaceName) -> bool {
        let minor = match self {
            Self::P2 => 2,
            Self::P3 => 3,
        };
        is_of(name, ("wasi", "cli", "run"), minor)
    }
}

impl MessagingVersion {
    fn is_export(self, name: &InterfaceName) -> bool {
        let minor = match self {
            Self::P2 => 2,
            Self::P3 => 3,
        };
        is_of(name, ("wasmcloud", "messaging", "handler"), minor)
    }
}

/// Whether a name is that of this interface, in a release of 0.`minor`.
fn is_of(
    name: &InterfaceName,
    (namespace, package, interface): (&str, &str, &str),
    minor: u64,
) -> bool {
    name.namespace == namespace
        && name.package == package
        && name.interface.as_deref() == Some(interface)
        && name
            .version
            .as_ref()
            .is_some_and(|v| v.major == 0 && v.minor == minor && v.pre.is_empty())
}

/// Whether an import asks nothing of the host: types alone are part of the component itself.
fn is_only_types(item: &ComponentItem, engine: &wasmtime::Engine) -> bool {
    match item {
        ComponentItem::Type(_) => true,
        // Without functions a resource is a type too: of it come no handles.
        ComponentItem::ComponentInstance(instance) => {
            instance.exports(engine).all(|(_, export)| {
                matches!(
                    export.ty,
                    ComponentItem::Type(_) | ComponentItem::Resource(_)
                )
            })
        }
        _ => false,
    }
}
