//! `wasi:tls`: TLS over streams that a guest has, such as those of a socket.
//!
//! The runtime does it; here it is offered and granted. The interface is a draft: exactly this version
//! fits.

use std::sync::Arc;

use waft_ir::{CapabilityGrant, Failure, InterfaceName};
use waft_runtime::{Capability, CapabilityId, Ctx, GuestSpec, Slot, link_tls};
use wasmtime::component::{Linker, LinkerInstance};

use crate::slots::TLS;

/// The `wasi:tls` capability.
#[derive(Clone, Copy, Debug)]
pub struct Tls;

impl Capability for Tls {
    fn id(&self) -> CapabilityId {
        TLS
    }

    fn interfaces(&self) -> Vec<InterfaceName> {
        crate::interfaces_of("wasi", "tls")
    }

    fn link(
        &self,
        _: &mut LinkerInstance<'_, Ctx>,
        interface: &InterfaceName,
        _: usize,
    ) -> wasmtime::Result<()> {
        // Its functions are wasmtime's, which takes no other names for them.
        Err(wasmtime::format_err!("{interface} has one name only"))
    }

    fn concurrent_interfaces(&self) -> Vec<InterfaceName> {
        self.interfaces()
    }

    fn link_all(
        &self,
        linker: &mut Linker<Ctx>,
        interfaces: &[InterfaceName],
    ) -> wasmtime::Result<()> {
        if interfaces.is_empty() {
            return Ok(());
        }
        link_tls(linker)
    }

    fn takes_names(&self) -> bool {
        false
    }

    fn bind(&self, _: &GuestSpec, _: &[&CapabilityGrant]) -> Result<Slot, Failure> {
        Ok(Arc::new(()))
    }
}
