//! The HTTP server: connections, the check of what comes in, routing, and the answers the host
//! gives itself.

mod answering;
mod body;
mod connection;
mod framing;
mod head;
mod inside;
mod request_id;
mod router;
mod server;
mod service;
mod signals;
mod socket;
mod trace;
mod wire;

pub(crate) use connection::serve;
pub(crate) use inside::Inside;
pub(crate) use request_id::fresh as fresh_id;
pub(crate) use router::Router;
pub(crate) use server::{accept, places};
pub(crate) use service::Entry;
