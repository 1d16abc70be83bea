//! `wasmcloud:secrets`: values that a component gets as handles first.
//!
//! The secrets of a workload are the config of its entry: `config`, `configFrom` and `secretFrom` in
//! that order, merged by the control plane. They are kept in memory only, and nothing here prints
//! them: neither an error nor `Debug`.

use std::{collections::BTreeMap, sync::Arc};

use waft_ir::{CapabilityGrant, Failure, FailureReason, InterfaceName};
use waft_runtime::{Capability, CapabilityId, Ctx, GuestSpec, MEMBERS, PLACES, Slot, views};
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
    reveal, secret,
    store::{self, SecretValue, SecretsError},
};

/// The `wasmcloud:secrets` capability.
#[derive(Clone, Copy, Debug)]
pub struct Secrets;

/// A secret that a guest has asked for. It has no `Debug`, because that would print it.
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct Secret(Arc<str>);

/// The secrets of one guest.
struct Kept {
    by_name: BTreeMap<String, Arc<str>>,
    /// The one that is imported under its name.
    named: Option<Arc<str>>,
}

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
            // Without a name it is nobody's.
            Some("secret") if place < MEMBERS => Ok(()),
            Some("secret") => secret::add_to_linker_instance::<Ctx, Getter>(instance, view),
            Some("reveal") => reveal::add_to_linker_instance::<Ctx, Getter>(instance, view),
            _ => Ok(()),
        }
    }

    fn concurrent_interfaces(&self) -> Vec<InterfaceName> {
        self.interfaces()
    }

    fn bind(&self, _: &GuestSpec, grants: &[&CapabilityGrant]) -> Result<Slot, Failure> {
        let all = grants.iter().flat_map(|grant| &grant.config);
        let by_name: BTreeMap<String, Arc<str>> = all
            .map(|(key, value)| (key.clone(), Arc::from(value.as_str())))
            .collect();
        let mut named = None;
        for grant in grants {
            let is_secret = grant.interfaces.iter().any(|name| name == "secret");
            let (true, Some(name)) = (is_secret, &grant.name) else {
                continue;
            };
            if !grant.config.contains_key(name) {
                let text = format!(
                    "`hostInterfaces[{}]` with the name `{name}` grants the secret of that name, and \
                     has none: add the key `{name}` to what its `config`, `configFrom` or \
                     `secretFrom` gives",
                    grant.package
                );
                return Err(Failure::new(FailureReason::StartFailed, text));
            }
            named = by_name.get(name).cloned();
        }
        Ok(Arc::new(Kept { by_name, named }))
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
            let kept = ctx.slot::<Kept>(SECRETS);
            let missing = || wasmtime::format_err!("wasmcloud:secrets was not granted");
            let Some(value) = kept.ok_or_else(missing)?.by_name.get(&key).cloned() else {
                return Ok(Err(SecretsError::NotFound));
            };
            Ok(Ok(ctx.table().push(Secret(value))?))
        })
    }
}

impl secret::Host for View<'_> {}

impl<T: Send> secret::HostWithStore<T> for Getter {
    async fn get(accessor: &Accessor<T, Self>) -> wasmtime::Result<Resource<Secret>> {
        accessor.with(|mut access| {
            let ctx = access.get().0;
            let value = ctx
                .slot::<Kept>(SECRETS)
                .and_then(|kept| kept.named.clone());
            let missing = || wasmtime::format_err!("the entry lists no `secret`");
            Ok(ctx.table().push(Secret(value.ok_or_else(missing)?))?)
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
