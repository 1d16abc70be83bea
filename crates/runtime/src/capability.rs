//! How a host interface is offered to guests: it registers once with the engine, and keeps what it
//! needs for one guest in a slot of every store of that guest.

use std::{any::Any, sync::Arc};

use waft_ir::{CapabilityGrant, Failure, InterfaceName};
use wasmtime::component::{Linker, LinkerInstance};

use crate::{Ctx, GuestSpec};

/// Names a capability's slot in [`Ctx`]. Fixed where the capability is defined, so that a host call
/// finds its slot by an index known at compile time.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct CapabilityId(u8);

/// What a capability keeps for one guest; shared by all its instances.
pub type Slot = Arc<dyn Any + Send + Sync>;

/// A host interface, or a few that belong together.
pub trait Capability: Send + Sync {
    /// Its slot; no two registered capabilities have the same.
    fn id(&self) -> CapabilityId;

    /// The interfaces it implements, with their versions.
    fn interfaces(&self) -> Vec<InterfaceName>;

    /// Adds one of its interfaces to an instance of the linker that all guests share, for who asks
    /// from a place below [`PLACES`](crate::PLACES): [`views`](crate::views) makes what the bindings
    /// take. Nothing to do for an interface that guests only export.
    fn link(
        &self,
        instance: &mut LinkerInstance<'_, Ctx>,
        interface: &InterfaceName,
        place: usize,
    ) -> wasmtime::Result<()>;

    /// Adds these of its interfaces to a linker under their own names.
    fn link_all(
        &self,
        linker: &mut Linker<Ctx>,
        interfaces: &[InterfaceName],
    ) -> wasmtime::Result<()> {
        for name in interfaces {
            let mut instance = linker.instance(&name.to_string())?;
            self.link(&mut instance, name, 0)?;
        }
        Ok(())
    }

    /// Whether components may import its interfaces under names of their own as well.
    fn takes_names(&self) -> bool {
        true
    }

    /// Those of its interfaces that have asynchronous functions. A component that names one is run
    /// by the engine that has these.
    fn concurrent_interfaces(&self) -> Vec<InterfaceName> {
        Vec::new()
    }

    /// Those of its interfaces that each member of a composition has for itself, because what they
    /// answer depends on who asks. The others are the same for all members of a workload.
    fn own_interfaces(&self) -> Vec<InterfaceName> {
        Vec::new()
    }

    /// Makes what it keeps for one guest, whose manifest has the given grants for it.
    fn bind(&self, guest: &GuestSpec, grants: &[&CapabilityGrant]) -> Result<Slot, Failure>;
}

/// All capabilities of an engine.
#[derive(Clone, Default)]
pub struct Registry(Vec<Arc<dyn Capability>>);

impl CapabilityId {
    /// Slots there are.
    pub const COUNT: usize = 32;

    /// The slot of a number below [`COUNT`](Self::COUNT); checked when it is made a constant.
    pub const fn new(number: u8) -> Self {
        assert!((number as usize) < Self::COUNT);
        Self(number)
    }

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

impl Registry {
    /// Adds a capability.
    ///
    /// # Panics
    ///
    /// If its id is taken: a mistake in the program, not in its input.
    pub fn register(&mut self, capability: impl Capability + 'static) {
        assert!(
            self.0.iter().all(|known| known.id() != capability.id()),
            "two capabilities have the id {:?}",
            capability.id()
        );
        self.0.push(Arc::new(capability));
    }

    /// The interfaces of all capabilities.
    pub fn interfaces(&self) -> Vec<InterfaceName> {
        self.0.iter().flat_map(|c| c.interfaces()).collect()
    }

    /// The interfaces that each member has for itself, with their capabilities.
    pub(crate) fn own_interfaces(&self) -> Vec<(&dyn Capability, InterfaceName)> {
        let own = self.0.iter().flat_map(|capability| {
            let names = capability.own_interfaces().into_iter();
            names.map(|name| (capability.as_ref(), name))
        });
        own.collect()
    }

    /// The interfaces that only the engine with asynchronous functions links.
    pub fn concurrent_interfaces(&self) -> Vec<InterfaceName> {
        let all = self.0.iter();
        all.flat_map(|c| c.concurrent_interfaces()).collect()
    }

    /// Links the interfaces under their names: all, or those without asynchronous functions.
    pub(crate) fn link(
        &self,
        linker: &mut Linker<Ctx>,
        is_concurrent: bool,
    ) -> wasmtime::Result<()> {
        for capability in &self.0 {
            let mut interfaces = capability.interfaces();
            if !is_concurrent {
                let concurrent = capability.concurrent_interfaces();
                interfaces.retain(|name| !concurrent.contains(name));
            }
            capability.link_all(linker, &interfaces)?;
        }
        Ok(())
    }

    /// The interfaces that components may import under names of their own.
    pub(crate) fn nameable(&self) -> Vec<InterfaceName> {
        let nameable = self.0.iter().filter(|c| c.takes_names());
        nameable.flat_map(|c| c.interfaces()).collect()
    }

    /// The interface that is meant by an import under another name, and who has it.
    pub(crate) fn find(&self, name: &InterfaceName) -> Option<(&dyn Capability, InterfaceName)> {
        let mut nameable = self.0.iter().filter(|c| c.takes_names());
        nameable.find_map(|capability| {
            let mut offered = capability.interfaces().into_iter();
            let offered = offered.find(|offered| name.accepts(offered))?;
            Some((capability.as_ref(), offered))
        })
    }

    /// The slots of one guest for what it imports under a name of its own: of the entry with that
    /// name, which counts as one with a name and as one without.
    pub(crate) fn bind_named(
        &self,
        guest: &GuestSpec,
        label: &str,
        interface: &InterfaceName,
    ) -> Result<Vec<Option<Slot>>, Failure> {
        let mut slots = vec![None; CapabilityId::COUNT];
        if let Some((capability, offered)) = self.find(interface) {
            let named = guest
                .grants
                .iter()
                .filter(|grant| grant.name.as_deref() == Some(label) && grants_it(grant, &offered));
            let unnamed = named.clone().cloned().map(|grant| CapabilityGrant {
                name: None,
                ..grant
            });
            let unnamed: Vec<_> = unnamed.collect();
            let grants: Vec<_> = named.chain(&unnamed).collect();
            if !grants.is_empty() {
                slots[capability.id().index()] = Some(capability.bind(guest, &grants)?);
            }
        }
        Ok(slots)
    }

    /// The slots of one guest: filled for the capabilities that its manifest grants.
    pub(crate) fn bind(&self, guest: &GuestSpec) -> Result<Vec<Option<Slot>>, Failure> {
        let mut slots = vec![None; CapabilityId::COUNT];
        for capability in &self.0 {
            let interfaces = capability.interfaces();
            let grants: Vec<_> = guest
                .grants
                .iter()
                .filter(|grant| interfaces.iter().any(|offered| grants_it(grant, offered)))
                .collect();
            if !grants.is_empty() {
                slots[capability.id().index()] = Some(capability.bind(guest, &grants)?);
            }
        }
        Ok(slots)
    }
}

/// Whether an entry of the manifest grants an interface: the same package, a version that fits, and
/// the interface listed, or none listed at all.
pub fn grants_it(grant: &CapabilityGrant, interface: &InterfaceName) -> bool {
    grant.package.accepts(interface)
        && (grant.interfaces.is_empty()
            || interface
                .interface
                .as_ref()
                .is_some_and(|name| grant.interfaces.contains(name)))
}
