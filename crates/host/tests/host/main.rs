//! The host with real guests, on real sockets.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod client;
mod harness;

mod connections;
mod fuzz;
mod hygiene;
mod lifecycle;
mod limits;
mod logs;
mod messages;
mod smuggling;
mod statuses;
mod streaming;
mod tries;
