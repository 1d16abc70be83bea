//! The engine: bytes to compiled components, compiled components to guests.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use waft_ir::{Failure, FailureReason, InterfaceName};
use wasmtime::component::{Component, InstancePre};

use crate::{
    CallError, Command, Compiled, Ctx, Guest, GuestSpec, LocalRoutes, Registry, Resolve, Want,
    cache::{Cache, WasmHash},
    classify,
    compile::Workers,
    component::{CompiledInner, NamedImport},
    compose::{self, Part},
    ctx::Named,
    guest::{Gift, Machine},
    imports,
    instance::Pre,
    members,
    outgoing::{Network, Outside},
    side::{self, Side, Sides},
    threads::{SlowLane, Threads},
    ticker::Ticker,
    turns::Callers,
};

/// Compiled code kept on disk unless told otherwise.
const CACHE_BYTES: u64 = 4 << 30;

/// How an engine is set up.
#[derive(Clone, Debug, Default)]
pub struct EngineConfig {
    /// Where compiled code is kept. `None`: only in memory.
    pub cache_dir: Option<PathBuf>,
    /// Most bytes of compiled code kept there, over all processes; 0 = 4 GiB.
    pub cache_bytes: u64,
    /// Threads that compile; 0 = one per processor.
    pub compile_workers: usize,
    /// Instances there is room for, over all guests with asynchronous functions, and as many over all
    /// those without; 0 = 1000.
    pub max_instances: u32,
    /// Files in PEM with certificate authorities that outgoing TLS trusts beside the system's.
    pub extra_ca: Vec<PathBuf>,
}

/// An engine that still takes capabilities.
pub struct EngineBuilder {
    config: EngineConfig,
    registry: Registry,
    resolver: Option<Arc<dyn Resolve>>,
}

/// The engine. Clones are the same engine.
#[derive(Clone)]
pub struct Engine(Arc<EngineInner>);

struct EngineInner {
    sides: Sides,
    registry: Registry,
    threads: Arc<Threads>,
    callers: Arc<Callers>,
    workers: Workers,
    loaded: Mutex<HashMap<WasmHash, Loaded>>,
    outside: Arc<Outside>,
}

/// A component that is loaded as long as somebody uses it. The lock is held while it is compiled,
/// so that it is compiled once however many ask for it.
type Loaded = Arc<tokio::sync::Mutex<Weak<CompiledInner>>>;

impl EngineBuilder {
    /// Starts with no capabilities: guests get what is always linked and nothing else.
    pub fn new(config: EngineConfig) -> Self {
        Self {
            config,
            registry: Registry::default(),
            resolver: None,
        }
    }

    /// The capabilities it will have.
    pub fn registry(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// Looks up names for outgoing requests, in the place of the machine's resolver.
    pub fn resolver(&mut self, resolver: Arc<dyn Resolve>) {
        self.resolver = Some(resolver);
    }

    /// Sets up wasmtime and its threads.
    pub fn build(self) -> Result<Engine, Failure> {
        let internal = |text: String| Failure::new(FailureReason::Internal, text);
        let plain = self.side(false)?;
        let concurrent = self.side(true)?;
        let ticker = Ticker::start(&[&plain.engine, &concurrent.engine])
            .map_err(|error| internal(format!("can't start the epoch thread: {error}")))?;
        let outside = Outside::new(self.resolver, self.config.extra_ca);
        outside.check()?;
        Ok(Engine(Arc::new(EngineInner {
            sides: Sides {
                plain: Arc::new(plain),
                concurrent: Arc::new(concurrent),
            },
            registry: self.registry,
            threads: Arc::new(Threads {
                ticker,
                lane: SlowLane::default(),
            }),
            callers: Arc::default(),
            workers: Workers::new(self.config.compile_workers)?,
            loaded: Mutex::default(),
            outside: Arc::new(outside),
        })))
    }

    fn side(&self, is_concurrent: bool) -> Result<Side, Failure> {
        let internal = |text: String| Failure::new(FailureReason::Internal, text);
        let mut side = Side::new(self.config.max_instances, &self.registry, is_concurrent)
            .map_err(|error| internal(format!("{error:#}")))?;
        let bound = match self.config.cache_bytes {
            0 => CACHE_BYTES,
            some => some,
        };
        if let Some(folder) = &self.config.cache_dir {
            let cache = Cache::open(folder.clone(), bound, &side.engine).map_err(|error| {
                internal(format!(
                    "can't use {} as cache of compiled code: {error}",
                    folder.display()
                ))
            })?;
            side.cache = Some(cache);
        }
        Ok(side)
    }
}

impl Engine {
    /// Compiles a component, or finds its code in memory or in the cache. `name` is what the user
    /// calls it, for messages.
    pub async fn load(&self, wasm: Bytes, name: &str) -> Result<Compiled, Failure> {
        let bytes = wasm.clone();
        let hash = move || Ok(Sha256::digest(&bytes).into());
        let hash = self.0.workers.load(hash).await?;
        self.load_verified(wasm, hash, name, ()).await
    }

    /// The same for bytes of which the SHA-256 is known. Drops `held` before it compiles, or waits
    /// for somebody who does: whatever bounds how many images are read at a time must not wait for
    /// a compiler.
    pub async fn load_verified<T>(
        &self,
        wasm: Bytes,
        hash: [u8; 32],
        name: &str,
        held: T,
    ) -> Result<Compiled, Failure> {
        classify::require_component(name, &wasm)?;
        let entry = {
            let mut loaded = self.0.loaded.lock();
            loaded.retain(|_, entry| Arc::strong_count(entry) > 1 || is_used(entry));
            loaded.entry(hash).or_default().clone()
        };
        let mut held = Some(held);
        let mut entry = match entry.try_lock() {
            Ok(entry) => entry,
            // Somebody loads or compiles it already.
            Err(_) => {
                held = None;
                entry.lock().await
            }
        };
        if let Some(known) = entry.upgrade() {
            return Ok(Compiled(known));
        }
        let compiled = Compiled::new(self.code(wasm, hash, name, held).await?);
        *entry = Arc::downgrade(&compiled.0);
        Ok(compiled)
    }

    async fn code<T>(
        &self,
        wasm: Bytes,
        hash: WasmHash,
        name: &str,
        held: T,
    ) -> Result<Component, Failure> {
        let inner = &self.0;
        let (engine, bytes) = (self.clone(), wasm.clone());
        let find = move || {
            let is_concurrent = side::names_concurrent(&bytes, &engine.0.registry);
            let sides = engine.0.sides.of(is_concurrent);
            let cached = sides.iter().find_map(|side| side.cached(&hash));
            Ok((sides, cached))
        };
        let (sides, cached) = inner.workers.load(find).await?;
        if let Some(component) = cached {
            return Ok(component);
        }
        drop(held);
        let name = name.to_owned();
        let compile = move || {
            let mut compiled = Err(wasmtime::Error::msg("no engine takes it"));
            for side in sides {
                compiled = side.compile(&wasm, &hash);
                if compiled.is_ok() {
                    break;
                }
            }
            compiled.map_err(|error| classify::refused(&name, &error))
        };
        inner.workers.compile(compile).await
    }

    /// Gives a component what a workload grants. With a pool, makes its first instance too, so that
    /// a component that fails at its start is known now.
    pub async fn link(&self, compiled: &Compiled, spec: GuestSpec) -> Result<Guest, Failure> {
        self.link_composed(compiled, spec, Vec::new()).await
    }

    /// The same for a composition: `others` are what the members after the first are given.
    pub async fn link_composed(
        &self,
        compiled: &Compiled,
        spec: GuestSpec,
        others: Vec<GuestSpec>,
    ) -> Result<Guest, Failure> {
        let (engine, compiled) = (self.clone(), compiled.clone());
        let guest = self
            .0
            .workers
            .load(move || engine.link_now(&compiled, spec, others))
            .await?;
        match guest.warm_up().await {
            Ok(()) => Ok(guest),
            Err(CallError::HostAtCapacity) => Err(Failure::new(
                FailureReason::HostAtCapacity,
                "the host has no room for another instance; it is tried again",
            )),
            Err(error) => Err(Failure::new(
                FailureReason::StartFailed,
                format!(
                    "the component's first instance could not be made: {error} ({}); its log says \
                     more",
                    error.reason()
                ),
            )),
        }
    }

    /// Gives a component that exports `wasi:cli/run` what a workload grants its service. Nothing
    /// runs yet.
    pub async fn link_command(
        &self,
        compiled: &Compiled,
        spec: GuestSpec,
        others: Vec<GuestSpec>,
    ) -> Result<Command, Failure> {
        let (engine, compiled) = (self.clone(), compiled.clone());
        let link = move || {
            let guest = engine.link_now(&compiled, spec, others)?;
            let pre = engine.0.instantiate_pre(&compiled);
            pre.and_then(|pre| Command::new(guest, pre, compiled.run()))
                .map_err(|error| unlinked(&error))
        };
        self.0.workers.load(link).await
    }

    fn link_now(
        &self,
        compiled: &Compiled,
        spec: GuestSpec,
        others: Vec<GuestSpec>,
    ) -> Result<Guest, Failure> {
        let inner = &self.0;
        if others.is_empty() {
            self.check_imports(compiled, &spec, &[])?;
        }
        let pre = self.resolve(compiled)?;
        let specs: Vec<_> = [spec.clone()].into_iter().chain(others).collect();
        let names = compiled.0.names.iter().map(|import| {
            let spec = specs.get(import.member).ok_or_else(|| nobodys(import))?;
            let (label, interface) = (&import.label, &import.interface);
            Ok(Named {
                member: import.member,
                slots: inner.registry.bind_named(spec, label, interface)?,
            })
        });
        let names = names.collect::<Result<_, Failure>>()?;
        let gifts = specs.into_iter().map(|spec| {
            let network = Network::new(
                inner.outside.clone(),
                spec.egress.clone(),
                spec.loopback.clone(),
                spec.limits.outbound_connections,
            );
            Ok(Gift {
                slots: inner.registry.bind(&spec)?,
                network: Arc::new(network),
                spec,
            })
        });
        let side = inner.sides.that_has(&compiled.0.component);
        let machine = Machine {
            engine: side.engine.clone(),
            threads: inner.threads.clone(),
            callers: inner.callers.clone(),
            neighbours: side.neighbours.clone(),
        };
        Ok(Guest::new(
            machine,
            compiled.clone(),
            pre,
            spec,
            gifts.collect::<Result<_, Failure>>()?,
            names,
        ))
    }

    /// Checks that what a member of a workload imports is met by other members, or linked and
    /// granted.
    pub fn check_imports(
        &self,
        compiled: &Compiled,
        spec: &GuestSpec,
        wants: &[Want],
    ) -> Result<(), Failure> {
        let offered = self.0.registry.interfaces();
        let nameable = self.0.registry.nameable();
        let mut missing = Vec::new();
        for import in &compiled.0.needs {
            if let Some(interface) = &import.implements {
                imports::check_named(&import.name, interface, &spec.grants, &nameable)?;
            } else if !wants.iter().any(|want| want.import == import.name) {
                missing.extend(imports::check(&import.name, &spec.grants, &offered)?);
            }
        }
        match missing[..] {
            [] => Ok(()),
            _ => Err(imports::not_granted(&missing, &spec.grants)),
        }
    }

    /// Joins members of a workload into one component, the one that is called first. Each is its
    /// name, its bytes, and what other members give it.
    pub async fn compose(
        &self,
        parts: Vec<(String, Bytes, Vec<Want>)>,
    ) -> Result<Compiled, Failure> {
        if parts.len() > members::MEMBERS {
            return Err(Failure::new(
                FailureReason::LinkFailed,
                format!(
                    "{} components are linked to each other; at most {} can be",
                    parts.len(),
                    members::MEMBERS
                ),
            ));
        }
        let names: Vec<_> = parts.iter().map(|(name, ..)| name.clone()).collect();
        let join = move || {
            let parts: Vec<_> = parts
                .into_iter()
                .map(|(name, wasm, wants)| Part {
                    name,
                    wasm: wasm.to_vec(),
                    wants,
                })
                .collect();
            compose::compose(&parts).map_err(|why| {
                let text = format!("the workload's components don't fit together: {why}");
                Failure::new(FailureReason::LinkFailed, text)
            })
        };
        let wasm = self.0.workers.load(join).await?;
        self.load(
            wasm.into(),
            &format!("the composition of {}", names.join(", ")),
        )
        .await
    }

    /// Resolves a component's imports, once for all workloads: what differs between them is in
    /// their stores.
    fn resolve(&self, compiled: &Compiled) -> Result<Option<Pre>, Failure> {
        let mut known = compiled.0.pre.lock();
        if known.is_none() {
            let names = compiled.0.names.len();
            if names > members::NAMES {
                let text = format!(
                    "{names} imports have names of their own; at most {} can",
                    members::NAMES
                );
                return Err(Failure::new(FailureReason::LinkFailed, text));
            }
            let pre = self
                .0
                .instantiate_pre(compiled)
                // One that exports no handler is never instantiated alone, but what it imports is
                // checked all the same.
                .and_then(|pre| {
                    Pre::new(
                        pre,
                        compiled.http(),
                        compiled.messaging(),
                        compiled.watches(),
                    )
                })
                .map_err(|error| unlinked(&error))?;
            *known = pre;
        }
        Ok(known.clone())
    }

    /// Lets guests reach the workloads of this host by the names of their routes, without a
    /// connection. The first call counts; the engine does not keep them alive.
    pub fn set_local_routes(&self, routes: Weak<dyn LocalRoutes>) {
        self.0.outside.set_routes(routes);
    }

    #[cfg(test)]
    pub(crate) fn is_concurrent(&self, compiled: &Compiled) -> bool {
        let side = self.0.sides.that_has(&compiled.0.component);
        std::ptr::eq(side, &*self.0.sides.concurrent)
    }

    /// The interfaces that capabilities offer, without those that are always linked.
    pub fn capabilities(&self) -> Vec<InterfaceName> {
        self.0.registry.interfaces()
    }
}

impl EngineInner {
    /// Resolves a component's imports: those that all components may have, and under names of its
    /// own, functions that say by which name they are called.
    fn instantiate_pre(&self, compiled: &Compiled) -> wasmtime::Result<InstancePre<Ctx>> {
        let (component, names) = (&compiled.0.component, &compiled.0.names);
        let side = self.sides.that_has(component);
        if names.is_empty() {
            return side.linker.instantiate_pre(component);
        }
        let mut linker = side.linker.clone();
        for (at, import) in names.iter().enumerate() {
            if let Some((capability, offered)) = self.registry.find(&import.interface) {
                let mut instance = linker.instance(&import.import)?;
                capability.link(&mut instance, &offered, members::MEMBERS + at)?;
            }
        }
        linker.instantiate_pre(component)
    }
}

/// A name that says it is a member's, in a component that has no such member.
fn nobodys(import: &NamedImport) -> Failure {
    let text = format!(
        "the component imports `{}` of `{}`, a name that only the host gives",
        import.import, import.interface
    );
    Failure::new(FailureReason::LinkFailed, text)
}

/// Whether somebody uses, or is about to make, what an entry stands for.
fn is_used(entry: &Loaded) -> bool {
    entry
        .try_lock()
        .map_or(true, |weak| weak.strong_count() > 0)
}

fn unlinked(error: &wasmtime::Error) -> Failure {
    Failure::new(
        FailureReason::LinkFailed,
        format!("the component does not fit the host's interfaces: {error:#}"),
    )
}
