//! The admin listener: metrics and probes, on an address of its own, never on the tenants'.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use waft_host::Host;

/// Whether the platform takes requests: after the start, and before the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Sets it.
    pub(crate) fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    fn answer(&self) -> (StatusCode, &'static str) {
        if self.0.load(Ordering::Relaxed) {
            (StatusCode::OK, "ok\n")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "starting or stopping\n")
        }
    }
}

/// Serves until told to stop.
pub(crate) async fn serve(
    listener: TcpListener,
    host: Arc<Host>,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let metrics = move || async move {
        let format = [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )];
        (format, host.metrics()).into_response()
    };
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(move || async move { readiness.answer() }));
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
}
