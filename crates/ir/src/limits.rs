//! What one component may use. Every limit has a default; `None` stands for "no limit".

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The limits of one component or service. Defaults are those of the behaviour page, §3.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of linear memory and of tables, all those of one instance together.
    pub memory_bytes: u64,
    /// Thousandths of a core for all instances in one workload, over 100 ms. `None`: no throttling.
    pub cpu_millis: Option<u32>,
    /// Longest wait for response headers. `None`: no bound.
    pub request_timeout: Option<Duration>,
    /// Whether that was set for this very component, and is not the default: then it holds whatever
    /// a route says.
    pub own_request_timeout: bool,
    /// Guest time per call.
    pub cpu_time: Duration,
    /// Calls running at a time.
    pub max_in_flight: u32,
    /// Calls waiting beyond those.
    pub queue: u32,
    /// Longest wait in the queue.
    pub queue_timeout: Duration,
    /// Elements of one table.
    pub table_elements: u32,
    /// Bytes of request headers.
    pub header_bytes: u32,
    /// Bytes of a request body. `None`: no bound.
    pub body_bytes: Option<u64>,
    /// Outbound connections at a time.
    pub outbound_connections: u32,
    /// Bytes of log lines per second; more are dropped and counted.
    pub log_bytes_per_second: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 512 << 20,
            cpu_millis: None,
            request_timeout: Some(Duration::from_secs(15)),
            own_request_timeout: false,
            cpu_time: Duration::from_secs(10),
            max_in_flight: 256,
            queue: 1024,
            queue_timeout: Duration::from_secs(1),
            table_elements: 100_000,
            header_bytes: 64 << 10,
            body_bytes: None,
            outbound_connections: 128,
            log_bytes_per_second: 1 << 20,
        }
    }
}

impl Limits {
    /// Longest wait for response headers of a request that came by a route: the component's own
    /// limit, else the timeout of the route. `None`: no bound.
    pub fn timeout_by(&self, of_route: Option<Duration>) -> Option<Duration> {
        if self.own_request_timeout {
            self.request_timeout
        } else {
            of_route
        }
    }
}
