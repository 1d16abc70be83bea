//! What a host opens when it is first needed: one that has no use for it has neither its files nor
//! its threads, and one that can't open it fails those who need it, and nobody else.

use std::sync::Arc;

use parking_lot::Mutex;
use waft_ir::Failure;

/// Opened by the first who asks. An opening that failed is tried again by the next.
pub(crate) struct OnNeed<T: ?Sized> {
    open: Box<dyn Fn() -> Result<Arc<T>, Failure> + Send + Sync>,
    opened: Mutex<Option<Arc<T>>>,
}

impl<T: ?Sized> OnNeed<T> {
    pub(crate) fn new(open: impl Fn() -> Result<Arc<T>, Failure> + Send + Sync + 'static) -> Self {
        Self {
            open: Box::new(open),
            opened: Mutex::default(),
        }
    }

    /// What is opened, now if it was not.
    pub(crate) fn get(&self) -> Result<Arc<T>, Failure> {
        let mut opened = self.opened.lock();
        if let Some(opened) = &*opened {
            return Ok(opened.clone());
        }
        let new = (self.open)()?;
        *opened = Some(new.clone());
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use waft_ir::FailureReason;

    use super::*;

    #[test]
    fn it_is_opened_once_and_a_failure_is_not_kept() {
        let tries = Arc::new(AtomicU32::new(0));
        let counted = tries.clone();
        let lazy = OnNeed::new(move || match counted.fetch_add(1, Relaxed) {
            0 => Err(Failure::new(FailureReason::Internal, "no room")),
            tries => Ok(Arc::new(tries)),
        });
        assert_eq!(tries.load(Relaxed), 0);
        assert!(lazy.get().is_err());
        assert_eq!(*lazy.get().unwrap(), 1);
        assert_eq!(*lazy.get().unwrap(), 1);
        assert_eq!(tries.load(Relaxed), 2);
    }
}
