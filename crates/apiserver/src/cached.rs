//! What is computed from stored objects and kept until one of them changes.

use std::sync::Arc;

use parking_lot::RwLock;

/// A value and the state that it was computed from.
pub(crate) struct Cached<T> {
    kept: RwLock<Option<(u64, Arc<T>)>>,
}

impl<T> Default for Cached<T> {
    fn default() -> Cached<T> {
        Cached {
            kept: RwLock::new(None),
        }
    }
}

impl<T> Cached<T> {
    /// The value for a state. `state` must be read before the value is computed, so that a change
    /// in between makes it be computed again.
    pub(crate) fn get(&self, state: u64, compute: impl FnOnce() -> T) -> Arc<T> {
        if let Some((of, value)) = &*self.kept.read()
            && *of == state
        {
            return value.clone();
        }
        let value = Arc::new(compute());
        *self.kept.write() = Some((state, value.clone()));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computed_once_a_state() {
        let cached = Cached::default();
        assert_eq!(*cached.get(1, || "first"), "first");
        assert_eq!(*cached.get(1, || "second"), "first");
        assert_eq!(*cached.get(2, || "third"), "third");
    }
}
