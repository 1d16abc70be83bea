//! `wasi:blobstore`: containers of objects, which are written and read as streams.
//!
//! A container belongs to a namespace: its workloads share it, and no other namespace can name it.
//! An entry of the manifest with a name grants the container of that name, one without a name grants
//! any; either may say that it is only to be read. A value is staged while a guest writes it and
//! stored when the guest says that it is whole. Which store a container is in says its entry, and by
//! which interfaces it may be used; the stores themselves are the backends' business.

mod body;
mod calls;
#[cfg(test)]
mod contract;
mod file;
mod memory;
mod nats;
mod s3;
mod staged;
mod store;

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use waft_ir::{CapabilityGrant, Failure, FailureReason, InterfaceName};
use waft_runtime::{Capability, CapabilityId, Ctx, GuestSpec, PLACES, Slot, views};
use wasmtime::component::{HasData, LinkerInstance};

use crate::{
    backends::{Backend, Backends},
    granted,
    nats::Nats,
    on_need::OnNeed,
    slots::BLOBSTORE,
};
use file::File;
use memory::Memory;
use nats::NatsStore;
use s3::S3;
use staged::Staging;
use store::{Container, Store, StoreError, shown};

pub use s3::S3Server;

mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/blobstore",
        world: "wasi:blobstore/imports",
        imports: { default: async | trappable },
        with: {
            "wasi:io": wasmtime_wasi_io::bindings::wasi::io,
            "wasi:blobstore/types.incoming-value": super::calls::Incoming,
            "wasi:blobstore/types.outgoing-value": super::calls::Outgoing,
            "wasi:blobstore/container.container": super::calls::Open,
            "wasi:blobstore/container.stream-object-names": super::calls::Names,
        },
    });
}

use bindings::wasi::blobstore as wit;

/// Values that the instances of one component have open together, to write and to read, and lists of
/// names: each may hold a file of the host, or a page of names.
const VALUES: usize = 256;

/// The `wasi:blobstore` capability.
#[derive(Clone)]
pub struct Blobstore(Arc<Stores>);

/// The stores of a host.
struct Stores {
    memory: Arc<dyn Store>,
    /// Where the host keeps what is to outlive it.
    file: Option<OnNeed<dyn Store>>,
    nats: Option<Arc<dyn Store>>,
    s3: Option<Arc<dyn Store>>,
    staging: Arc<Staging>,
    backends: Backends,
}

/// What one guest may do.
struct Bound {
    granted: granted::Granted<Kept>,
    staging: Arc<Staging>,
    values: Arc<Semaphore>,
}

type Entry = granted::Entry<Kept>;

/// Where the containers of an entry are, and whether they are only to be read.
struct Kept {
    store: Arc<dyn Store>,
    read_only: bool,
}

/// A container that a guest may name: not looked for yet.
struct Place<'a> {
    entry: &'a Arc<Entry>,
    namespace: &'a str,
    /// As the guest says it.
    identifier: &'a str,
    container: &'a str,
}

/// The store as a host call sees it.
struct View<'a>(&'a mut Ctx);

struct Getter;

impl HasData for Getter {
    type Data<'a> = View<'a>;
}

impl Blobstore {
    pub(crate) fn new(backends: &Backends, nats: Option<Arc<Nats>>) -> Result<Self, Failure> {
        let folder = backends
            .data_dir
            .as_ref()
            .map(|data| data.join("blobstore"));
        let (file, staging) = match &folder {
            None => (None, std::env::temp_dir()),
            Some(folder) => {
                let path = folder.clone();
                let file = OnNeed::new(move || Ok(Arc::new(File::open(&path)?) as Arc<dyn Store>));
                (Some(file), file::staging(folder))
            }
        };
        let s3 = backends.s3.as_ref();
        let s3 = s3.map(|server| S3::new(server, &backends.extra_ca));
        Ok(Self(Arc::new(Stores {
            memory: Arc::new(Memory::default()),
            file,
            nats: nats.map(|nats| Arc::new(NatsStore::new(nats)) as Arc<dyn Store>),
            s3: s3.transpose()?.map(|s3| Arc::new(s3) as Arc<dyn Store>),
            staging: Arc::new(Staging::new(staging)),
            backends: backends.clone(),
        })))
    }
}

impl Stores {
    fn of(&self, grant: &CapabilityGrant) -> Result<Arc<dyn Store>, Failure> {
        // Whichever store it is: this also makes the folder that values are staged in, and clears it
        // before anything is.
        let file = self.file.as_ref().map(OnNeed::get).transpose()?;
        Ok(match (self.backends.choose(grant), &self.nats, &self.s3) {
            (Backend::Nats, Some(nats), _) => nats.clone(),
            (Backend::S3, _, Some(s3)) => s3.clone(),
            (Backend::Memory, ..) => self.memory.clone(),
            _ => file.unwrap_or_else(|| self.memory.clone()),
        })
    }
}

impl Capability for Blobstore {
    fn id(&self) -> CapabilityId {
        BLOBSTORE
    }

    fn interfaces(&self) -> Vec<InterfaceName> {
        crate::interfaces_of("wasi", "blobstore")
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
            Some("types") => wit::types::add_to_linker_instance::<Ctx, Getter>(instance, view),
            Some("container") => {
                wit::container::add_to_linker_instance::<Ctx, Getter>(instance, view)
            }
            Some("blobstore") => {
                wit::blobstore::add_to_linker_instance::<Ctx, Getter>(instance, view)
            }
            _ => Ok(()),
        }
    }

    fn bind(&self, guest: &GuestSpec, grants: &[&CapabilityGrant]) -> Result<Slot, Failure> {
        let kept = |grant: &CapabilityGrant| {
            Ok(Kept {
                store: self.0.of(grant)?,
                read_only: read_only(grant)?,
            })
        };
        Ok(Arc::new(Arc::new(Bound {
            granted: granted::Granted::new(guest, grants, kept)?,
            staging: self.0.staging.clone(),
            values: Arc::new(Semaphore::new(VALUES)),
        })))
    }
}

impl Bound {
    /// What a guest means by an identifier.
    fn place<'a>(&'a self, identifier: &'a str) -> Result<Place<'a>, StoreError> {
        let Some((entry, container)) = self.granted.find(identifier, "blobstore") else {
            return Err(StoreError::NotGranted(shown(identifier)));
        };
        Ok(Place {
            entry,
            namespace: &self.granted.namespace,
            identifier,
            container,
        })
    }

    /// Leave to have one value or list more open.
    fn one_more(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        let permit = self.values.clone().try_acquire_owned();
        permit.map_err(|_| StoreError::TooMany(VALUES))
    }
}

impl Place<'_> {
    /// The container, if it is there.
    async fn look(&self) -> Result<Option<Arc<dyn Container>>, StoreError> {
        let (store, container) = (&self.entry.of.store, self.container);
        store.find(self.namespace, container).await
    }

    /// The container, which has to be there.
    async fn find(&self) -> Result<Arc<dyn Container>, StoreError> {
        self.look().await?.ok_or_else(|| {
            StoreError::Other(format!(
                "there is no container `{}`",
                shown(self.identifier)
            ))
        })
    }

    fn check_writable(&self) -> Result<(), StoreError> {
        check_writable(self.identifier, self.entry.of.read_only)
    }

    fn is(&self, other: &Place<'_>) -> bool {
        self.entry.of == other.entry.of && self.container == other.container
    }
}

impl PartialEq for Kept {
    /// Whether containers of one name are the same.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.store, &other.store)
    }
}

fn check_writable(identifier: &str, read_only: bool) -> Result<(), StoreError> {
    match read_only {
        false => Ok(()),
        true => Err(StoreError::ReadOnly(shown(identifier))),
    }
}

/// Whether an entry grants only to read.
fn read_only(grant: &CapabilityGrant) -> Result<bool, Failure> {
    match grant.config.get("read_only").map(String::as_str) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(Failure::new(
            FailureReason::StartFailed,
            format!(
                "`hostInterfaces[{}].config.read_only` is `{other}`; write `true` or `false`",
                grant.package
            ),
        )),
    }
}
