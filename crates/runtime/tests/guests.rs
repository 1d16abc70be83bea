//! The runtime with real guests: what loads, what answers, and what its limits stop.
#![allow(clippy::unwrap_used, reason = "in tests, helpers included")]

#[path = "guests/budget.rs"]
mod budget;
#[path = "guests/compose.rs"]
mod compose;
#[path = "guests/fuzz.rs"]
mod fuzz;
#[path = "guests/hygiene.rs"]
mod hygiene;
#[path = "guests/lanes.rs"]
mod lanes;
#[path = "guests/limits.rs"]
mod limits;
#[path = "guests/limits_p3.rs"]
mod limits_p3;
#[path = "guests/lists.rs"]
mod lists;
#[path = "guests/load.rs"]
mod load;
#[path = "guests/outgoing.rs"]
mod outgoing;
#[path = "guests/pool.rs"]
mod pool;
#[path = "guests/serve.rs"]
mod serve;
#[path = "guests/sockets.rs"]
mod sockets;
#[path = "guests/stream.rs"]
mod stream;
#[path = "guests/stress.rs"]
mod stress;
#[path = "guests/support.rs"]
mod support;
