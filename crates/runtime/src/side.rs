//! The two engines, and which of them a component needs.
//!
//! wasmtime keeps account of tasks at each call between guest and host where components may use
//! asynchronous functions of the component model. One that uses none is compiled for an engine
//! without that: a request costs a fifth less there. Each engine has its own pool of instances, so
//! that room in one is no use to the other.

use std::sync::Arc;

use waft_ir::InterfaceName;
use wasmparser::{Chunk, Parser, Payload};
use wasmtime::{
    Result,
    component::{Component, Linker},
    error::Context as _,
};

use crate::{
    Ctx, Registry,
    cache::{Cache, WasmHash},
    compose::in_bytes,
    config, environment, files, headers, members,
    room::Neighbours,
    sockets,
};

/// One engine with what belongs to it.
pub(crate) struct Side {
    pub(crate) engine: wasmtime::Engine,
    /// Everything a guest may import. Whether it was granted is checked before linking.
    pub(crate) linker: Linker<Ctx>,
    pub(crate) cache: Option<Cache>,
    pub(crate) neighbours: Arc<Neighbours>,
}

/// Both engines.
pub(crate) struct Sides {
    /// For components without asynchronous functions.
    pub(crate) plain: Arc<Side>,
    /// For all others.
    pub(crate) concurrent: Arc<Side>,
}

impl Side {
    /// Sets up wasmtime with room for `instances` (0 = the default).
    pub(crate) fn new(instances: u32, registry: &Registry, is_concurrent: bool) -> Result<Self> {
        let engine = config::engine(instances, is_concurrent).context("can't set up wasmtime")?;
        let linker =
            linker(&engine, registry, is_concurrent).context("can't link host interfaces")?;
        Ok(Self {
            engine,
            linker,
            cache: None,
            neighbours: Arc::default(),
        })
    }

    /// The component, if its code is in the cache.
    pub(crate) fn cached(&self, hash: &WasmHash) -> Option<Component> {
        self.cache.as_ref()?.load(&self.engine, hash)
    }

    /// Compiles a component and puts its code into the cache.
    pub(crate) fn compile(&self, wasm: &[u8], hash: &WasmHash) -> Result<Component> {
        let component = Component::from_binary(&self.engine, wasm)?;
        if let Some(cache) = &self.cache {
            cache.store(&component, hash);
        }
        Ok(component)
    }
}

impl Sides {
    /// The engines that may take a component, the one to try first coming first. A name tells that
    /// a component needs the concurrent one; that it does not is known once it is compiled.
    pub(crate) fn of(&self, is_concurrent: bool) -> Vec<Arc<Side>> {
        match is_concurrent {
            true => vec![self.concurrent.clone()],
            false => vec![self.plain.clone(), self.concurrent.clone()],
        }
    }

    /// The one that a component was compiled for.
    pub(crate) fn that_has(&self, component: &Component) -> &Side {
        match wasmtime::Engine::same(component.engine(), &self.plain.engine) {
            true => &self.plain,
            false => &self.concurrent,
        }
    }
}

/// Whether a component names an interface that only the concurrent engine links. Bytes that are no
/// component name none; compiling them says what is wrong.
pub(crate) fn names_concurrent(wasm: &[u8], registry: &Registry) -> bool {
    let concurrent = registry.concurrent_interfaces();
    names(wasm)
        .iter()
        .filter_map(|name| name.parse::<InterfaceName>().ok())
        .any(|name| {
            let has_version = name.version.is_some();
            let is_listed = || concurrent.iter().any(|offer| name.accepts(offer));
            is_wasi_0_3(&name) || has_version && is_listed()
        })
}

/// Whether it is of WASI 0.3, under a member's name too.
fn is_wasi_0_3(name: &InterfaceName) -> bool {
    (name.namespace == "wasi" || members::is_own_name(name)) && members::is_0_3(name)
}

/// What a component imports and exports. What is nested in it is passed over.
fn names(wasm: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut parser = Parser::new(0);
    let mut rest = wasm;
    while let Ok(Chunk::Parsed { consumed, payload }) = parser.parse(rest, true) {
        rest = &rest[consumed..];
        match payload {
            Payload::ModuleSection {
                unchecked_range, ..
            }
            | Payload::ComponentSection {
                unchecked_range, ..
            } => {
                rest = rest
                    .get(in_bytes(unchecked_range).len()..)
                    .unwrap_or_default()
            }
            Payload::ComponentImportSection(section) => {
                let found = section.into_iter().flatten();
                names.extend(found.map(|i| i.name.implements.unwrap_or(i.name.name).to_owned()));
            }
            Payload::ComponentExportSection(section) => {
                let found = section.into_iter().flatten();
                names.extend(found.map(|e| e.name.implements.unwrap_or(e.name.name).to_owned()));
            }
            Payload::End(_) => break,
            _ => {}
        }
    }
    names
}

fn linker(
    engine: &wasmtime::Engine,
    registry: &Registry,
    is_concurrent: bool,
) -> Result<Linker<Ctx>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).context("WASI 0.2")?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).context("HTTP 0.2")?;
    if is_concurrent {
        wasmtime_wasi::p3::add_to_linker(&mut linker).context("WASI 0.3")?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker).context("HTTP 0.3")?;
    }
    environment::replace(&mut linker, is_concurrent).context("environment")?;
    sockets::replace(&mut linker, is_concurrent).context("sockets")?;
    files::replace(&mut linker, is_concurrent).context("files")?;
    headers::replace(&mut linker, is_concurrent).context("headers")?;
    registry.link(&mut linker, is_concurrent)?;
    members::link(&mut linker, registry, is_concurrent).context("members of compositions")?;
    Ok(linker)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(name: &str) -> Vec<u8> {
        std::fs::read(waft_guests::path(name)).unwrap()
    }

    #[test]
    fn names_tell_what_needs_the_concurrent_engine() {
        let registry = Registry::default();
        assert!(!names_concurrent(&guest("hello-p2"), &registry));
        assert!(names_concurrent(&guest("hello-p3"), &registry));
        assert!(!names_concurrent(b"\0asm\x0d\0\x01\0", &registry));
        assert!(!names_concurrent(b"", &registry));
        let member =
            br#"(component (import "waft-member-m1:wasi-cli/environment@0.3.0" (instance)))"#;
        assert!(names_concurrent(
            &wat::parse_bytes(member).unwrap(),
            &registry
        ));
    }

    #[tokio::test]
    async fn each_component_is_compiled_for_the_engine_it_needs() {
        let engine = crate::EngineBuilder::new(crate::EngineConfig::default());
        let engine = engine.build().unwrap();
        // Uses a stream, and no name says so.
        let stream = b"(component (type $s (stream u8)) (core func (canon stream.new $s)))";
        let stream = wat::parse_bytes(stream).unwrap().to_vec();
        let cases = [
            (guest("hello-p2"), false),
            (guest("hello-p3"), true),
            (stream, true),
        ];
        for (wasm, is_concurrent) in cases {
            let compiled = engine.load(wasm.into(), "guest").await.unwrap();
            assert_eq!(engine.is_concurrent(&compiled), is_concurrent);
        }
    }
}
