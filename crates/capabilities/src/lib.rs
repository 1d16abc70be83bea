//! Host interfaces offered to guests: one module per interface, one file per backend.
//!
//! Each registers with the runtime under a slot of its own ([`slots`]). The WASI interfaces that
//! every guest has are the runtime's business; granting and choosing hosts by what they offer are
//! the control plane's.
#![forbid(unsafe_code)]

mod backends;
mod blobstore;
mod config;
mod database;
mod granted;
mod keyvalue;
mod logging;
mod messaging;
mod nats;
mod on_need;
mod otel;
mod postgres;
#[cfg(test)]
mod returning;
mod secrets;
mod slots;
mod source;
mod tls;

use std::sync::Arc;

use waft_ir::{
    Failure, InterfaceName, Workload,
    catalog::{self, Package},
};
use waft_runtime::{EngineBuilder, Registry, always_linked};

pub use backends::Backends;
use backends::Warning;
pub use blobstore::{Blobstore, S3Server};
pub use config::Config;
pub use keyvalue::KeyValue;
pub use logging::Logging;
use nats::Nats;

pub use messaging::{Messaging, Subscribed, Subscriber, Subscription};
pub use otel::{Otel, Signal, Telemetry, TelemetryReceiver, Told};
pub use postgres::Postgres;
pub use secrets::Secrets;
pub use source::Source;
pub use tls::Tls;

/// What a host offers to guests, with the backends behind it. Clones are the same.
#[derive(Clone)]
pub struct Capabilities {
    backends: Backends,
    blobstore: Blobstore,
    keyvalue: KeyValue,
    messaging: Messaging,
    postgres: Postgres,
    otel: Otel,
}

impl Capabilities {
    /// With these backends. Nothing is connected to before it is used.
    pub fn new(backends: Backends) -> Result<Self, Failure> {
        let nats = backends.nats.as_deref().map(Nats::new).transpose()?;
        let nats = nats.map(Arc::new);
        Ok(Self {
            blobstore: Blobstore::new(&backends, nats.clone())?,
            keyvalue: KeyValue::new(&backends, nats.clone())?,
            messaging: Messaging::new(&backends, nats),
            postgres: Postgres::new(&backends)?,
            otel: Otel::new(backends.telemetry.clone()),
            backends,
        })
    }

    /// Registers every capability with an engine.
    pub fn register(&self, engine: &mut EngineBuilder) {
        self.register_with(engine.registry());
    }

    /// Where components take messages.
    pub fn messaging(&self) -> &Messaging {
        &self.messaging
    }

    /// Where components watch buckets.
    pub fn keyvalue(&self) -> &KeyValue {
        &self.keyvalue
    }

    /// How much of what guests say by `wasi:otel` was lost. `None`: nobody takes it.
    pub fn telemetry_dropped(&self) -> Option<u64> {
        self.backends.telemetry.as_ref().map(Telemetry::dropped)
    }

    /// Every interface a host offers: what is always linked, and the capabilities.
    pub fn offers(&self) -> Vec<InterfaceName> {
        let mut registry = Registry::default();
        self.register_with(&mut registry);
        let mut offers = always_linked();
        offers.extend(registry.interfaces());
        offers
    }

    /// What a user must know of a workload's grants, as reason and message: an entry that asks for a
    /// server gets what this machine has in its place.
    pub fn warnings(&self, workload: &Workload) -> Vec<(String, String)> {
        let of = |package| workload.grants_of("wasi", package);
        let entries = of("keyvalue").chain(of("blobstore"));
        let entries = entries.chain(workload.grants_of("wasmcloud", "messaging"));
        let texts = entries.filter_map(|grant| self.backends.warning(grant));
        let postgres = workload.grants_of("wasmcloud", "postgres");
        let postgres = postgres.filter_map(|grant| self.postgres.warning(grant));
        texts.chain(postgres).map(Warning::told).collect()
    }

    fn register_with(&self, registry: &mut Registry) {
        registry.register(Config);
        registry.register(Logging);
        registry.register(Secrets);
        registry.register(Tls);
        registry.register(self.keyvalue.clone());
        registry.register(self.blobstore.clone());
        registry.register(self.messaging.clone());
        registry.register(self.postgres.clone());
        registry.register(self.otel.clone());
    }
}

/// The interfaces of a package, as the catalog lists them.
fn interfaces_of(namespace: &str, name: &str) -> Vec<InterfaceName> {
    let package = catalog::package(namespace, name);
    package.into_iter().flat_map(Package::interfaces).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The packages of a file or folder of WIT: each its name, the interfaces in it, and whether they
    /// have asynchronous functions.
    fn packages(path: &str) -> Vec<(String, Vec<String>, bool)> {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let mut wit = wit_parser::Resolve::default();
        wit.push_path(&path).unwrap();
        let packages = wit.packages.iter().map(|(_, package)| {
            let interfaces = package.interfaces.values().map(|id| &wit.interfaces[*id]);
            let is_async = interfaces
                .clone()
                .flat_map(|interface| interface.functions.values())
                .any(|function| function.kind.is_async());
            let names = interfaces.filter_map(|interface| interface.name.clone());
            (package.name.to_string(), names.collect(), is_async)
        });
        packages.collect()
    }

    #[test]
    fn interfaces_with_asynchronous_functions_are_those_of_their_wit() {
        let known: Vec<_> = [
            "wit/blobstore",
            "wit/config",
            "wit/logging",
            "wit/otel",
            "wit/postgres",
            "wit/postgres-draft",
            "wit/secrets",
            "../runtime/wit/keyvalue",
            "../runtime/wit/messaging-p2",
            "../runtime/wit/messaging-p3",
            // The host's is wasmtime's own.
            "../../guests/wit/tls.wit",
        ]
        .into_iter()
        .flat_map(packages)
        .collect();
        let mut registry = Registry::default();
        let capabilities = Capabilities::new(Backends::default()).unwrap();
        capabilities.register_with(&mut registry);
        let concurrent = registry.concurrent_interfaces();
        for interface in registry.interfaces() {
            let name = interface.interface.clone().unwrap();
            let package = InterfaceName {
                interface: None,
                ..interface.clone()
            };
            let package = package.to_string();
            let found = known
                .iter()
                .find(|(of, names, _)| *of == package && names.contains(&name));
            let (.., is_async) = found.unwrap_or_else(|| panic!("{interface} has no WIT here"));
            assert_eq!(concurrent.contains(&interface), *is_async, "{interface}");
        }
        assert!(!concurrent.is_empty());
    }

    #[test]
    fn offers_what_manifests_ask_for() {
        let offers = Capabilities::new(Backends::default()).unwrap().offers();
        for wanted in [
            "wasi:http/incoming-handler",
            "wasi:http/incoming-handler@0.2.0",
            "wasi:http/handler@0.3.0",
            "wasi:http",
            "wasi:cli/environment@0.2.3",
            "wasi:config/store",
            "wasi:config/store@0.2.0-rc.1",
            "wasi:logging/logging@0.1.0-draft",
            "wasi:keyvalue/atomics",
            "wasi:keyvalue/store@0.2.0-draft",
            "wasi:blobstore/container@0.2.0-draft",
            "wasmcloud:messaging/handler@0.2.0",
            "wasmcloud:messaging@0.3.0",
        ] {
            let wanted: InterfaceName = wanted.parse().unwrap();
            assert!(offers.iter().any(|offer| wanted.accepts(offer)), "{wanted}");
        }
        for unknown in ["wasi:keyvalue/store@0.3.0", "wasi:http/handler@0.4.0"] {
            let unknown: InterfaceName = unknown.parse().unwrap();
            assert!(
                !offers.iter().any(|offer| unknown.accepts(offer)),
                "{unknown}"
            );
        }
    }
}
