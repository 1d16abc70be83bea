//! `wasmcloud:secrets`: values that a component gets as handles first.
//!
//! The secrets of a workload are the config of its entry: `config`, `configFrom` and `secretFrom` in
//! that order, merged by the control plane. They are kept in memory only, and nothing here prints
//! them: neither an error nor `Debug`.

use std::{collections::BTreeMap, sync::Arc};

use waft_ir::{CapabilityGrant, Failure, InterfaceName};
use waft_runtime::{Capability, CapabilityId, Ctx, GuestSpec, PLACES, Slot, views};
use wasmtime::component::{Accessor, HasData, LinkerInstance, Resource};

use crate::slots::SECRETS;

mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/secrets",
        world: "wasmcloud:secrets/imports",
        imports: { default: async | store | trappable },
        with: { "wasmcloud:secrets/store.secret": super::Secret },
    });
}

use bindings::wasmcloud::secrets::{
    reveal,
    store::{self, SecretValue, SecretsError},
};

/// The `wasmcloud:secrets` capability.
#[derive(Clone, Copy, Debug)]
pub struct Secrets;

/// A secret that a guest has asked for. It has no `Debug`, because that would print it.
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct Secret(Arc<str>);

/// The secrets of one guest, by name.
type Values = BTreeMap<String, Arc<str>>;

/// The store as a host call sees it.
struct View<'a>(&'a mut Ctx);

struct Getter;

impl HasData for Getter {
    type Data<'a> = View<'a>;
}

impl Capability for Secrets {
    fn id(&self) -> CapabilityId {
        SECRETS
    }

    fn interfaces(&self) -> Vec<InterfaceName> {
        crate::interfaces_of("wasmcloud", "secrets")
    }

    fn link(
        &self,
        instance: &mut LinkerInstance<'_, Ctx>,
        interface: &InterfaceName,
        place: usize,
    ) -> wasmtime::Result<()> {
        const VIEWS: [fn(&mut Ctx) -> View<'_>; PLACES] = views!(ctx => View(ctx));
        let view = VIEWS[place];
        match interface.interface.as_deref() {
            Some("store") => store::add_to_linker_instance::<Ctx, Getter>(instance, view),
            Some("reveal") => reveal::add_to_linker_instance::<Ctx, Getter>(instance, view),
            _ => Ok(()),
        }
    }

    fn bind(&self, _: &GuestSpec, grants: &[&CapabilityGrant]) -> Result<Slot, Failure> {
        let all = grants.iter().flat_map(|grant| &grant.config);
        let values: Values = all
            .map(|(key, value)| (key.clone(), Arc::from(value.as_str())))
            .collect();
        Ok(Arc::new(values))
    }
}

impl store::Host for View<'_> {}

impl reveal::Host for View<'_> {}

impl store::HostSecret for View<'_> {}

impl<T: Send> store::HostSecretWithStore<T> for Getter {
    async fn drop(accessor: &Accessor<T, Self>, secret: Resource<Secret>) -> wasmtime::Result<()> {
        accessor.with(|mut access| access.get().0.table().delete(secret))?;
        Ok(())
    }
}

impl<T: Send> store::HostWithStore<T> for Getter {
    async fn get(
        accessor: &Accessor<T, Self>,
        key: String,
    ) -> wasmtime::Result<Result<Resource<Secret>, SecretsError>> {
        accessor.with(|mut access| {
            let ctx = access.get().0;
            // Linking refuses components whose import was not granted, so this is the host's mistake.
            let values = ctx.slot::<Values>(SECRETS);
            let missing = || wasmtime::format_err!("wasmcloud:secrets was not granted");
            let Some(value) = values.ok_or_else(missing)?.get(&key).cloned() else {
                return Ok(Err(SecretsError::NotFound));
            };
            Ok(Ok(ctx.table().push(Secret(value))?))
        })
    }
}

impl<T: Send> reveal::HostWithStore<T> for Getter {
    async fn reveal(
        accessor: &Accessor<T, Self>,
        secret: Resource<Secret>,
    ) -> wasmtime::Result<SecretValue> {
        accessor.with(|mut access| {
            let secret = access.get().0.table().get(&secret)?;
            Ok(SecretValue::String(secret.0.to_string()))
        })
    }
}
