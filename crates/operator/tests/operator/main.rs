//! The operator against the embedded API server. Hosts and images are scripted: what they say is
//! the input of these tests; that real ones say it is tested where they live.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends with the failure that it meets"
)]

mod artifacts;
mod chain;
mod configuration;
mod fakes;
mod hosts;
mod lag;
mod order;
mod rollout;
mod triggers;
mod world;
