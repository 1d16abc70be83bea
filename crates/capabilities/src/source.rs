//! What comes for a component that isn't a request, whatever it comes from.

use async_trait::async_trait;
use waft_runtime::Delivery;

/// Deliveries as they come. Dropping it leaves at once.
#[async_trait]
pub trait Source: Send {
    /// The next one; `None` once it was drained and all is handed out. Dropping the future loses
    /// none.
    async fn next(&mut self) -> Option<Delivery>;

    /// Lets no more come.
    async fn drain(&mut self);
}
