//! wasmtime: engine, compile cache, linking, instance pools, limits, epochs. Bytes in, a component
//! that answers HTTP requests and handles messages out.
//!
//! [`EngineBuilder`] takes the host interfaces that the `capabilities` crate registers and becomes
//! the [`Engine`]; [`Engine::load`] compiles a component, or finds its code in the cache;
//! [`Engine::link`] gives it what one workload grants; [`Guest::handle`] answers one request, [`Guest::deliver`]
//! handles one message.
//!
//! Fetching images, routing, HTTP connections and where log lines go are left to others. `unsafe`
//! stands only where wasmtime maps compiled code and where a thread lowers its own priority.
#![deny(unsafe_code)]

mod admission;
mod apart;
mod backtrace;
mod body;
mod cache;
mod call;
mod calling;
mod capability;
mod changes;
mod classify;
mod command;
mod compile;
mod component;
mod compose;
mod config;
mod ctx;
mod delivering;
mod egress;
mod engine;
mod environment;
mod epoch;
mod error;
mod files;
mod guest;
mod handling;
mod headers;
mod imports;
mod instance;
mod lane;
mod limits;
mod lists;
mod log;
mod members;
mod messages;
mod origin;
mod outgoing;
mod p2;
mod p3;
mod quota;
mod refusal;
mod room;
mod shared;
mod side;
mod sockets;
mod stats;
mod threads;
mod ticker;
mod tls;
mod together;
mod turns;
mod warm;

pub use body::{Body, BodyError, ResponseBody, request_body};
pub use capability::{Capability, CapabilityId, Registry, Slot, grants_it};
pub use changes::{Change, Delivery, HeldBucket};
pub use command::{Command, RunError};
pub use component::{Compiled, HttpVersion, MessagingVersion, RunVersion};
pub use compose::Want;
pub use ctx::Ctx;
pub use delivering::Delivering;
pub use egress::{
    AddressClass, Denied, Destination, EgressPolicy, Grant, InvalidRule, LookUp, MACHINE_NAME,
    MACHINE_V4, MACHINE_V6, Transport, classify,
};
pub use engine::{Engine, EngineBuilder, EngineConfig};
pub use error::{CallError, TrapReason};
pub use files::{Folder, Mount, Quota};
pub use guest::{CallInfo, Guest, GuestSpec};
pub use handling::Handling;
pub use imports::always_linked;
pub use log::{LogSink, MAX_LINE};
pub use members::{MEMBERS, NAMES, PLACES};
pub use messages::Message;
pub use origin::{Origin, TraceContext};
pub use outgoing::{EgressStats, LocalRoutes, Resolve, client_tls};
pub use refusal::Refusal;
pub use sockets::Loopback;
pub use stats::GuestStats;
pub use tls::link_tls;
pub use together::{Marked, Together};
