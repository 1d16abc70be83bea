//! The listeners, opened before anything else: a port in use must end `waft up` before it has done
//! anything.

use std::net::{SocketAddr, TcpListener};

use crate::{event::UpError, options::UpOptions};

/// The three listeners of the platform.
pub(super) struct Listeners {
    pub(super) http: TcpListener,
    pub(super) api: TcpListener,
    pub(super) admin: TcpListener,
}

impl Listeners {
    /// Opens all of them, or none.
    pub(super) fn bind(options: &UpOptions) -> Result<Self, UpError> {
        let bind = |address: SocketAddr, what| {
            TcpListener::bind(address).map_err(|source| UpError::Listen {
                address,
                what,
                source,
            })
        };
        Ok(Self {
            http: bind(options.http, "--http")?,
            api: bind(options.api, "--api")?,
            admin: bind(options.admin, "--admin")?,
        })
    }
}

/// Where a listener listens: the port is known only now if a free one was asked for.
pub(super) fn address(listener: &TcpListener) -> Result<SocketAddr, UpError> {
    listener.local_addr().map_err(failed)
}

/// The listener for the runtime this is called on.
pub(super) fn to_tokio(listener: TcpListener) -> Result<tokio::net::TcpListener, UpError> {
    listener.set_nonblocking(true).map_err(failed)?;
    tokio::net::TcpListener::from_std(listener).map_err(failed)
}

fn failed(error: std::io::Error) -> UpError {
    UpError::Internal(format!("a listener can't be used: {error}"))
}
