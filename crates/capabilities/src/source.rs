//! What comes for a component that isn't a request, whatever it comes from.

use async_trait::async_trait;
use waft_runtime::Delivery;

/// Deliveries as they come. Dropping it leaves at once.
#[async_trait]
pub trait Source: Send {
    /// The next one; `None` once it was drained and all is handed out. Dropping the future loses
    /// none.
    async fn next(&mut self) -> Option<Delivery>;

    /// One that need not be waited for, if it can be told.
    fn try_next(&mut self) -> Option<Delivery> {
        None
    }

    /// Takes in what comes while there is nobody to hand it to, if what is not taken in is lost.
    /// Never ends; dropping the future loses nothing.
    async fn gather(&mut self) {
        std::future::pending().await
    }

    /// Lets no more come.
    async fn drain(&mut self);
}
