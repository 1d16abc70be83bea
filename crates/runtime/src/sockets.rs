//! `wasi:sockets` of both generations, in the place of wasmtime's own: TCP and UDP to loopback
//! addresses stay within the workload, everything else goes as its manifest grants, and names are
//! looked up one by one.
//!
//! Where a component may send is [`EgressPolicy`](crate::EgressPolicy)'s to say; this asks it for
//! every address that is about to be used.

mod error;
mod loopback;
mod net;
mod p2;
mod p3;
mod pipe;
mod stream;
mod tcp;
mod udp;

use wasmtime::component::{HasData, Linker};

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

/// Puts these functions in the place of wasmtime's.
pub(crate) fn replace(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    p2::link(linker)?;
    p3::link(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}
