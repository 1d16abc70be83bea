//! Requests from a workload of this host to another: routed, counted and logged as those from
//! outside, without a connection.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Request, Response};
use waft_runtime::{Body, LocalRoutes, request_body};

use super::{
    service::{ConnectionService, Entry},
    signals::Signals,
};
use crate::serving::Serving;

/// The way in for guests.
pub(crate) struct Inside(pub(crate) Arc<Serving>);

#[async_trait]
impl LocalRoutes for Inside {
    fn serves(&self, host: &str, path: &str) -> bool {
        self.0.router.names(host, path)
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let service = ConnectionService {
            serving: self.0.clone(),
            entry: Entry::Routed,
            signals: Arc::new(Signals::default()),
        };
        let Ok(response) = Arc::new(service).answer(request).await;
        response.map(request_body)
    }
}
