//! `wasmcloud:secrets`: values that a component gets as handles first.
//!
//! The secrets of a workload are the config of its entries: `config`, `configFrom` and `secretFrom` in
//! that order, merged by the control plane. Those of an entry that lists `store` can be asked for by
//! `store.get`, and those of one that lists `reveal` are revealed. They are kept in memory only, and
//! nothing here prints them: neither an error nor `Debug`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use waft_ir::{CapabilityGrant, Failure, FailureReason, InterfaceName};
use waft_runtime::{Capability, CapabilityId, Ctx, GuestSpec, MEMBERS, PLACES, Slot, views};
use wasmtime::component::{Accessor, HasData, LinkerInstance, Resource};

use crate::{granted, slots::SECRETS};

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
#[derive(Clone)]
pub struct Secret {
    key: Arc<str>,
    value: Arc<str>,
}

/// The secrets of one guest.
#[derive(Default)]
struct Kept {
    /// What `store.get` finds.
    by_name: BTreeMap<Arc<str>, Secret>,
    /// The one that is imported under its name.
    named: Option<Secret>,
    /// Keys and values of entries that list `reveal`.
    revealed: BTreeSet<(Arc<str>, Arc<str>)>,
    /// An entry without keys lists it: then it is for all.
    reveals_all: bool,
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
        let mut kept = Kept::default();
        for grant in grants {
            let secret = |key: &str, value: &str| Secret {
                key: key.into(),
                value: value.into(),
            };
            let secrets = grant.config.iter().map(|(key, value)| secret(key, value));
            let secrets: Vec<_> = secrets.collect();
            if granted::lists(grant, "reveal") {
                kept.reveals_all |= secrets.is_empty();
                kept.revealed.extend(secrets.iter().map(Secret::pair));
            }
            if granted::lists(grant, "store") {
                let by_name = secrets.into_iter();
                let by_name = by_name.map(|secret| (secret.key.clone(), secret));
                kept.by_name.extend(by_name);
            }
            let is_secret = grant.interfaces.iter().any(|name| name == "secret");
            let (true, Some(name)) = (is_secret, &grant.name) else {
                continue;
            };
            let Some(value) = grant.config.get(name) else {
                let text = format!(
                    "`hostInterfaces[{}]` with the name `{name}` grants the secret of that name, and \
                     has none: add the key `{name}` to what its `config`, `configFrom` or \
                     `secretFrom` gives",
                    grant.package
                );
                return Err(Failure::new(FailureReason::StartFailed, text));
            };
            kept.named = Some(secret(name, value));
        }
        Ok(Arc::new(kept))
    }
}

impl Secret {
    fn pair(&self) -> (Arc<str>, Arc<str>) {
        (self.key.clone(), self.value.clone())
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
            let by_name = &kept.ok_or_else(missing)?.by_name;
            let Some(secret) = by_name.get(key.as_str()).cloned() else {
                return Ok(Err(SecretsError::NotFound));
            };
            Ok(Ok(ctx.table().push(secret)?))
        })
    }
}

impl secret::Host for View<'_> {}

impl<T: Send> secret::HostWithStore<T> for Getter {
    async fn get(accessor: &Accessor<T, Self>) -> wasmtime::Result<Resource<Secret>> {
        accessor.with(|mut access| {
            let ctx = access.get().0;
            let secret = ctx
                .slot::<Kept>(SECRETS)
                .and_then(|kept| kept.named.clone());
            let missing = || wasmtime::format_err!("the entry lists no `secret`");
            Ok(ctx.table().push(secret.ok_or_else(missing)?)?)
        })
    }
}

impl<T: Send> reveal::HostWithStore<T> for Getter {
    async fn reveal(
        accessor: &Accessor<T, Self>,
        secret: Resource<Secret>,
    ) -> wasmtime::Result<SecretValue> {
        accessor.with(|mut access| {
            let ctx = access.get().0;
            let secret = ctx.table().get(&secret)?.clone();
            let kept = ctx.slot::<Kept>(SECRETS);
            let is_revealed =
                |kept: &Kept| kept.reveals_all || kept.revealed.contains(&secret.pair());
            if !kept.is_some_and(is_revealed) {
                // It has no other answer than the value, so that the call ends here.
                return Err(wasmtime::format_err!(
                    "the secret `{}` is not granted to be revealed: list `reveal` in `interfaces` of \
                     its entry",
                    secret.key
                ));
            }
            Ok(SecretValue::String(secret.value.to_string()))
        })
    }
}
