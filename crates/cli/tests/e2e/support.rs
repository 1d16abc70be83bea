//! What the suites share: the program under test, kubectl, a registry, and an HTTP client that
//! needs no name resolution.

pub(crate) mod http;
pub(crate) mod kubectl;
pub(crate) mod manifest;
pub(crate) mod registry;
pub(crate) mod waft;

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

/// Long enough for a loaded machine of two cores that compiles a large component.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Tries until it succeeds. Panics with the last failure when patience is over.
pub(crate) fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(why) if start.elapsed() > PATIENCE => panic!("{what}: {why}"),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// A loopback address that nobody listens on, and that no other test of this process was given.
pub(crate) fn free_address() -> SocketAddr {
    static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        if TAKEN.lock().unwrap().insert(address.port()) {
            return address;
        }
    }
}
