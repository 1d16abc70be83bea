//! The `waft` program as a user meets it: real processes, real kubectl, real registries, HTTP over
//! loopback. One test binary, so that it is linked once.
//!
//! What a test needs beside the program and is not installed makes it say `skipped`, unless
//! `WAFT_REQUIRE_SERVERS` is set: see `tests/env/README.md`.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends with the failure that it meets"
)]

mod bad_inputs;
mod canary;
mod command_line;
mod composition;
mod documentation;
mod durability;
mod echo;
mod first_response;
mod foreign;
mod hostile;
mod interfaces;
mod kubectl;
mod named;
mod outbound;
mod seeds;
mod services;
mod support;
mod traces;
mod volumes;
mod watch;
mod watcher;
