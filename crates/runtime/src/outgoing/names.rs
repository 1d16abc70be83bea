//! Look-ups of names: so many at a time, because nobody can take one back that the machine's resolver
//! has begun. It goes on when the guest that asked has long gone.

use std::{io, net::IpAddr, sync::Arc};

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Look-ups of one component that are under way at a time.
const OF_ONE: usize = 16;
/// Look-ups of all components. Each takes one of the threads that their files need too.
const OF_ALL: usize = 128;

/// Looks up the addresses of names.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// The addresses of a name, best first.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The machine's resolver.
struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((name, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// What all components look up names with.
pub(super) struct Resolver {
    inner: Arc<dyn Resolve>,
    places: Arc<Semaphore>,
}

/// The look-ups of one component.
pub(super) struct LookUps(Arc<Semaphore>);

impl Resolver {
    pub(super) fn new(inner: Option<Arc<dyn Resolve>>) -> Self {
        Self {
            inner: inner.unwrap_or_else(|| Arc::new(SystemResolver)),
            places: Arc::new(Semaphore::new(OF_ALL)),
        }
    }

    /// Looks a name up in a task of its own, which keeps the component's place until the answer is
    /// there, whoever still waits for it.
    async fn resolve(&self, place: OwnedSemaphorePermit, name: &str) -> io::Result<Vec<IpAddr>> {
        let (mut answer, answered) = oneshot::channel();
        let (inner, places, name) = (self.inner.clone(), self.places.clone(), name.to_owned());
        tokio::spawn(async move {
            // A guest that never looks for its answer must not keep a place of all.
            let of_all = tokio::select! {
                of_all = places.acquire_owned() => of_all,
                () = answer.closed() => return,
            };
            let found = inner.resolve(&name).await;
            drop((place, of_all));
            let _ = answer.send(found);
        });
        let lost = |_| Err(io::Error::other("the look-up has ended"));
        answered.await.unwrap_or_else(lost)
    }
}

impl LookUps {
    /// The addresses of a name, once there is a place for the look-up.
    pub(super) async fn resolve(&self, by: &Resolver, name: &str) -> io::Result<Vec<IpAddr>> {
        let place = self.0.clone().acquire_owned().await;
        by.resolve(place.map_err(io::Error::other)?, name).await
    }
}

impl Default for LookUps {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(OF_ONE)))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        net::Ipv4Addr,
        pin::Pin,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use futures::future::{JoinAll, join_all, poll_immediate};

    use super::*;

    /// A resolver that answers when it is told to, and counts what it has begun.
    struct Slow {
        begun: AtomicUsize,
        may_answer: Semaphore,
    }

    #[async_trait]
    impl Resolve for Slow {
        async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
            self.begun.fetch_add(1, Relaxed);
            let may_answer = self.may_answer.acquire().await;
            may_answer.map_err(io::Error::other)?.forget();
            Ok(vec![Ipv4Addr::LOCALHOST.into()])
        }
    }

    type Answer<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + 'a>>;

    impl Slow {
        fn new() -> (Arc<Self>, Resolver) {
            let slow = Arc::new(Self {
                begun: AtomicUsize::new(0),
                may_answer: Semaphore::new(0),
            });
            (slow.clone(), Resolver::new(Some(slow)))
        }

        /// Looks up many names of a component: what has begun when nothing more happens by itself.
        async fn ask<'a>(&self, by: &'a Resolver, of: &'a LookUps) -> (JoinAll<Answer<'a>>, usize) {
            let one = |_| -> Answer<'a> { Box::pin(of.resolve(by, "name")) };
            let mut all = join_all((0..100).map(one));
            assert!(poll_immediate(&mut all).await.is_none());
            (all, self.settled().await)
        }

        async fn settled(&self) -> usize {
            // On one thread each task has had its turn by then.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            self.begun.load(Relaxed)
        }
    }

    #[tokio::test]
    async fn a_component_has_so_many_under_way_whoever_waits_for_them() {
        let (slow, resolver) = Slow::new();
        let of = LookUps::default();
        let (gone, begun) = slow.ask(&resolver, &of).await;
        assert_eq!(begun, OF_ONE);
        drop(gone);
        let (asked, begun) = slow.ask(&resolver, &of).await;
        assert_eq!(begun, OF_ONE);
        slow.may_answer.add_permits(1000);
        let answers = asked.await;
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(slow.begun.load(Relaxed), OF_ONE + 100);
    }

    #[tokio::test]
    async fn all_components_have_so_many_and_who_has_gone_is_not_looked_up_for() {
        let (slow, resolver) = Slow::new();
        let of: Vec<LookUps> = std::iter::repeat_with(LookUps::default).take(20).collect();
        let mut asked = Vec::new();
        for of in &of {
            asked.push(slow.ask(&resolver, of).await.0);
        }
        assert_eq!(slow.settled().await, OF_ALL);
        drop(asked);
        slow.settled().await;
        slow.may_answer.add_permits(1000);
        assert_eq!(slow.settled().await, OF_ALL);
        let last = of[19].resolve(&resolver, "name").await;
        assert!(last.is_ok());
    }
}
