//! `wasi:sockets` of both generations, in the place of wasmtime's own: TCP and UDP to loopback
//! addresses stay within the workload, everything else goes as its manifest grants, and names are
//! looked up one by one.
//!
//! Where a component may send is [`EgressPolicy`](crate::EgressPolicy)'s to say; this asks it for
//! every address that is about to be used.

mod address;
mod error;
mod loopback;
mod net;
mod options;
mod p2;
mod p3;
mod pipe;
mod stream;
mod tcp;
mod udp;

use wasmtime::component::{HasData, Linker, LinkerInstance};

pub use loopback::Loopback;
pub(crate) use net::Net;

use crate::Ctx;

/// A store, as the functions of `wasi:sockets` see it.
pub(crate) struct Sockets<'a>(pub(crate) &'a mut Ctx);

/// Names [`Sockets`] to the generated code.
pub(crate) struct Getter;

impl HasData for Getter {
    type Data<'a> = Sockets<'a>;
}

/// Interfaces whose functions depend on who calls.
pub(crate) const OWN: [&str; 6] = [
    "wasi:sockets/instance-network@0.2.12",
    "wasi:sockets/tcp-create-socket@0.2.12",
    "wasi:sockets/udp-create-socket@0.2.12",
    "wasi:sockets/ip-name-lookup@0.2.12",
    "wasi:sockets/types@0.3.0",
    "wasi:sockets/ip-name-lookup@0.3.0",
];

/// Adds one of [`OWN`] to an instance, for the member that the view stands for.
pub(crate) fn link_own(
    instance: &mut LinkerInstance<'_, Ctx>,
    name: &str,
    view: fn(&mut Ctx) -> Sockets<'_>,
) -> wasmtime::Result<()> {
    if name.ends_with("@0.3.0") {
        p3::link_own(instance, name, view)
    } else {
        p2::link_own(instance, name, view)
    }
}

/// Puts these functions in the place of wasmtime's.
pub(crate) fn replace(linker: &mut Linker<Ctx>, with_p3: bool) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    p2::link(linker)?;
    if with_p3 {
        p3::link(linker)?;
    }
    linker.allow_shadowing(false);
    Ok(())
}
