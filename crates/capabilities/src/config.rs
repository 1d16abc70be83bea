//! `wasi:config/store`: the component's configuration values.
//!
//! A later source wins: the config of the manifest's `wasi:config` entry, then the component's own
//! `localResources.config`, then its environment.

use std::{collections::BTreeMap, sync::Arc};

use waft_ir::{CapabilityGrant, Failure, InterfaceName};
use waft_runtime::{Capability, CapabilityId, Ctx, GuestSpec, PLACES, Slot, views};
use wasmtime::component::{HasData, LinkerInstance};

use crate::slots::CONFIG;

mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/config",
        world: "wasi:config/imports",
        imports: { default: trappable },
    });
}

use bindings::wasi::config::store;

/// The `wasi:config` capability.
#[derive(Clone, Copy, Debug)]
pub struct Config;

/// The values of one guest.
type Values = BTreeMap<String, String>;

/// The values as a host call sees them.
struct View<'a>(Option<&'a Values>);

struct Getter;

impl HasData for Getter {
    type Data<'a> = View<'a>;
}

impl Capability for Config {
    fn id(&self) -> CapabilityId {
        CONFIG
    }

    fn interfaces(&self) -> Vec<InterfaceName> {
        crate::interfaces_of("wasi", "config")
    }

    fn link(
        &self,
        instance: &mut LinkerInstance<'_, Ctx>,
        _: &InterfaceName,
        place: usize,
    ) -> wasmtime::Result<()> {
        const VIEWS: [fn(&mut Ctx) -> View<'_>; PLACES] = views!(ctx => View(ctx.slot(CONFIG)));
        store::add_to_linker_instance::<Ctx, Getter>(instance, VIEWS[place])
    }

    fn own_interfaces(&self) -> Vec<InterfaceName> {
        self.interfaces()
    }

    fn bind(&self, guest: &GuestSpec, grants: &[&CapabilityGrant]) -> Result<Slot, Failure> {
        Ok(Arc::new(merge(guest, grants)))
    }
}

fn merge(guest: &GuestSpec, grants: &[&CapabilityGrant]) -> Values {
    // Entries with a name are for imports of that name, unless there are only such.
    let has_unnamed = grants.iter().any(|grant| grant.name.is_none());
    grants
        .iter()
        .filter(|grant| grant.name.is_none() || !has_unnamed)
        .map(|grant| &grant.config)
        .chain([&guest.config, &guest.environment])
        .flatten()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

impl View<'_> {
    fn values(&self) -> wasmtime::Result<&Values> {
        // Linking refuses components whose import was not granted, so this is the host's mistake.
        self.0
            .ok_or_else(|| wasmtime::format_err!("wasi:config was not granted"))
    }
}

impl store::Host for View<'_> {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, store::Error>> {
        Ok(Ok(self.values()?.get(&key).cloned()))
    }

    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, store::Error>> {
        Ok(Ok(self.values()?.clone().into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use waft_ir::{Limits, LogSource, Pool};
    use waft_runtime::LogSink;

    use super::*;

    struct Nowhere;

    impl LogSink for Nowhere {
        fn line(&self, _: LogSource, _: Option<&str>, _: &str) {}
    }

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn later_sources_win() {
        let grant = CapabilityGrant {
            name: None,
            package: InterfaceName::new("wasi", "config", None),
            interfaces: vec!["store".into()],
            config: values(&[("a", "entry"), ("b", "entry"), ("c", "entry")]),
        };
        let guest = GuestSpec {
            workload: "default/w".into(),
            app: "w".into(),
            component: "c".into(),
            pool: Pool::default(),
            limits: Limits::default(),
            environment: values(&[("c", "environment"), ("d", "environment")]),
            config: values(&[("b", "component"), ("c", "component")]),
            grants: vec![grant.clone()],
            egress: Arc::default(),
            loopback: waft_runtime::Loopback::default(),
            mounts: Vec::new(),
            log: Arc::new(Nowhere),
        };
        let merged = values(&[
            ("a", "entry"),
            ("b", "component"),
            ("c", "environment"),
            ("d", "environment"),
        ]);
        assert_eq!(merge(&guest, &[&grant]), merged);
        let named = CapabilityGrant {
            name: Some("other".into()),
            config: values(&[("a", "named"), ("e", "named")]),
            ..grant.clone()
        };
        for entries in [[&grant, &named], [&named, &grant]] {
            assert_eq!(merge(&guest, &entries), merged);
        }
        assert_eq!(merge(&guest, &[&named])["a"], "named");
    }
}
