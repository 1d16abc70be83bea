//! Single flight: calls for the same thing at the same time share one run.

use std::{collections::HashMap, hash::Hash, mem, sync::Arc};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;
use waft_ir::{Image, PullPolicy};

/// What makes two fetches the same: one's secret must not serve another who has none.
#[derive(Clone, Eq, Hash, PartialEq)]
pub(super) struct Key {
    reference: String,
    policy: mem::Discriminant<PullPolicy>,
    credentials: Option<String>,
}

/// The runs under way.
pub(super) struct Flights<K, V> {
    running: Arc<Mutex<HashMap<K, Run<V>>>>,
}

type Run<V> = Shared<BoxFuture<'static, Option<V>>>;

/// Takes a run out of the map when it ends, in whatever way.
struct Landing<K: Eq + Hash, V>(Arc<Mutex<HashMap<K, Run<V>>>>, K);

impl Key {
    pub(super) fn of(image: &Image) -> Self {
        let credentials = image.credentials.as_ref();
        Self {
            reference: image.reference.clone(),
            policy: mem::discriminant(&image.policy),
            credentials: credentials.map(|c| c.docker_config_json.clone()),
        }
    }
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Joins the run of a key, or starts it as a task of its own. `None` if the run panicked.
    pub(super) async fn join(
        &self,
        key: K,
        run: impl Future<Output = V> + Send + 'static,
    ) -> Option<V> {
        let shared = {
            let mut running = self.running.lock();
            match running.get(&key) {
                Some(shared) => shared.clone(),
                None => {
                    let landing = Landing(self.running.clone(), key.clone());
                    // The lock is held until the run is in the map, so it can't land before.
                    let task = tokio::spawn(async move {
                        let _landing = landing;
                        run.await
                    });
                    let shared = task.map(Result::ok).boxed().shared();
                    running.insert(key, shared.clone());
                    shared
                }
            }
        };
        shared.await
    }
}

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        let running = Arc::default();
        Self { running }
    }
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn one_run_serves_all_and_survives_its_first_caller() {
        let flights = Arc::new(Flights::<&str, usize>::default());
        let runs = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Notify::new());
        let call = || {
            let (flights, runs, gate) = (flights.clone(), runs.clone(), gate.clone());
            async move {
                let run = async move {
                    let run = runs.fetch_add(1, Ordering::SeqCst);
                    gate.notified().await;
                    run
                };
                flights.join("a", run).await
            }
        };
        let first = tokio::spawn(call());
        while runs.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        let others = futures::future::join_all([call(), call()]);
        let (answers, ()) = futures::join!(others, async { gate.notify_one() });
        assert_eq!(answers, [Some(0), Some(0)]);
        gate.notify_one();
        assert_eq!(call().await, Some(1));
    }

    #[tokio::test]
    async fn a_panic_ends_only_its_run() {
        let flights = Flights::<&str, ()>::default();
        assert_eq!(
            flights.join("a", async { panic!("on purpose") }).await,
            None
        );
        assert_eq!(flights.join("a", async {}).await, Some(()));
    }
}
