//! A component that takes messages: what its subscriptions bring is handed to it, so many at a time,
//! until its workload stops.
//!
//! A message is delivered once. One that comes while the component or the host has no room waits and
//! is tried again; one on which the component fails is counted, told in its log and in the state of
//! the workload, and gone.

mod counters;

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use waft_capabilities::{Capabilities, Source, Subscribed, Subscriber};
use waft_ir::{CapabilityGrant, Failure, LocalResources, Workload, WorkloadId};
use waft_runtime::{CallError, CallInfo, Delivering, Delivery, Guest, Marked, Origin, Together};

use crate::{http::fresh_id, running::News, states::StateBoard};
pub(crate) use counters::Counters;

/// The pause before a message is tried again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Messages that are taken together, if as many wait.
const AT_ONCE: usize = 16;
/// For how long messages that were taken together are handled one after the other.
const TURN: Duration = Duration::from_micros(50);
/// For how long messages are handled before other tasks have their turn. Giving way costs a system
/// call.
const AT_WORK: Duration = Duration::from_millis(1);
/// How long a message is tried, without `admission_wait` and `requestTimeout`.
const TRIED_FOR: Duration = Duration::from_secs(15);

/// A message that is tried until there is room for it.
struct Attempt {
    message: Delivery,
    origin: Origin,
    /// For how long.
    tried_for: Duration,
    /// One of its subscription's places.
    _place: Option<OwnedSemaphorePermit>,
}

impl Attempt {
    /// `held`: where its place is taken from.
    fn new(
        (message, origin): Marked,
        held: &mut OwnedSemaphorePermit,
        tried_for: Duration,
    ) -> Self {
        Self {
            message,
            origin,
            tried_for,
            _place: held.split(1),
        }
    }
}

/// What became of a message: the inner error is the guest's own.
type Delivered = Result<Result<(), String>, CallError>;

/// A component that takes messages.
pub(crate) struct Worker {
    pub(crate) workload: WorkloadId,
    /// `namespace/name` of the workload.
    pub(crate) key: Arc<str>,
    pub(crate) name: Arc<str>,
    /// Its place among the workload's states.
    position: usize,
    /// Whether it serves HTTP as well.
    pub(crate) serves_http: bool,
    pub(crate) guest: Guest,
    pub(crate) counters: Counters,
    wish: Wish,
    states: Arc<StateBoard>,
    guest_runtime: Handle,
    news: News<&'static str>,
    /// Cancelled when it is to take no more messages.
    stop: CancellationToken,
    /// Ends the messages that are left when the grace period is over.
    cut_off: CancellationToken,
    /// One for each subscription, until its messages are handled.
    tasks: TaskTracker,
}

/// What its manifest says of its subscriptions.
struct Wish {
    namespace: String,
    owner: String,
    resources: LocalResources,
    grants: Vec<CapabilityGrant>,
    queue: u32,
}

/// Whose a worker is.
pub(crate) struct Place<'a> {
    pub(crate) workload: &'a Workload,
    pub(crate) position: usize,
    pub(crate) name: Arc<str>,
    pub(crate) resources: &'a LocalResources,
    pub(crate) queue: u32,
    pub(crate) serves_http: bool,
}

impl Worker {
    pub(crate) fn new(
        place: Place<'_>,
        guest: Guest,
        states: Arc<StateBoard>,
        guest_runtime: Handle,
    ) -> Self {
        let workload = place.workload;
        Self {
            workload: workload.id.clone(),
            key: workload.key().into(),
            position: place.position,
            serves_http: place.serves_http,
            guest,
            counters: Counters::default(),
            wish: Wish {
                namespace: workload.namespace.clone(),
                owner: format!("{}/{}", workload.app, place.name),
                resources: place.resources.clone(),
                grants: workload.grants.clone(),
                queue: place.queue,
            },
            name: place.name,
            states,
            guest_runtime,
            news: News::default(),
            stop: CancellationToken::new(),
            cut_off: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Subscribes; what comes waits until [`begin`](Self::begin).
    pub(crate) async fn subscribe(
        &self,
        capabilities: &Capabilities,
    ) -> Result<Vec<Subscribed>, Failure> {
        let wish = &self.wish;
        let subscriber = Subscriber {
            namespace: &wish.namespace,
            owner: &wish.owner,
            config: &wish.resources.config,
            grants: &wish.grants,
            exports: self.guest.exports(),
            queue: wish.queue,
            lost: &self.counters.lost,
        };
        let told = |failure: Failure| {
            let text = format!("component `{}`: {}", self.name, failure.message);
            Failure::new(failure.reason, text)
        };
        let mut all = Vec::new();
        if self.guest.messaging().is_some() {
            let subscribed = capabilities.messaging().subscribe(&subscriber).await;
            all.extend(subscribed.map_err(told)?);
        }
        if self.guest.watches() {
            let watched = capabilities.keyvalue().watch(&subscriber).await;
            all.extend(watched.map_err(told)?);
        }
        Ok(all)
    }

    /// Hands messages to the component from now on.
    pub(crate) fn begin(self: &Arc<Self>, subscriptions: Vec<Subscribed>) {
        for subscribed in subscriptions {
            let task = self.clone().take_all(subscribed);
            let cut_off = self.cut_off.clone();
            let task = async move { cut_off.run_until_cancelled(task).await };
            self.tasks.spawn_on(task, &self.guest_runtime);
        }
    }

    /// Takes no more messages, finishes those that it has within the grace period, and ends what is
    /// left then.
    pub(crate) async fn drain(&self, grace: Duration) {
        self.stop.cancel();
        self.tasks.close();
        let finished = tokio::time::timeout(grace, self.tasks.wait()).await;
        if finished.is_err() {
            self.cut_off.cancel();
        }
    }

    async fn take_all(self: Arc<Self>, subscribed: Subscribed) {
        let places = self.guest.places();
        let places = subscribed
            .max_in_flight
            .map_or(places, |most| most.min(places)) as usize;
        let places = Arc::new(Semaphore::new(places));
        let limit = self.guest.limits().request_timeout;
        let tried_for = subscribed.admission_wait.or(limit).unwrap_or(TRIED_FOR);
        let mut messages = subscribed.messages;
        let mut drained = false;
        let mut gave_way = Instant::now();
        loop {
            // As many may come as can be handled: others have their turn all the same.
            if gave_way.elapsed() > AT_WORK {
                tokio::task::yield_now().await;
                gave_way = Instant::now();
            }
            let next = tokio::select! {
                biased;
                () = self.stop.cancelled(), if !drained => {
                    drained = true;
                    messages.drain().await;
                    continue;
                }
                next = next(&mut *messages, &places) => next,
            };
            let Some((first, mut held)) = next else {
                break;
            };
            let most = places.available_permits().min(AT_ONCE - 1);
            let mut batch = Vec::with_capacity(AT_ONCE);
            batch.push(first);
            batch.extend(std::iter::from_fn(|| messages.try_next()).take(most));
            // Nobody else takes places, so that these are there.
            if let Ok(more) = places
                .clone()
                .try_acquire_many_owned(batch.len() as u32 - 1)
            {
                held.merge(more);
            }
            let is_full = batch.len() == AT_ONCE;
            let handling = self.clone().handle_all(batch, held, tried_for);
            // More wait behind a full batch: other threads take their part.
            match is_full {
                true => self.spawn(handling),
                false => handling.await,
            }
        }
    }

    /// Goes on with a part of the work in a task of its own, until the grace period is over.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let cut_off = self.cut_off.clone();
        let work = async move { cut_off.run_until_cancelled(work).await };
        self.tasks.spawn_on(work, &self.guest_runtime);
    }

    /// Handles those that need not wait for anything, one after the other. What has to wait goes on
    /// in a task of its own, and so does what is left once this has taken [`TURN`]: other threads
    /// may take it. `held`: a place for each.
    async fn handle_all(
        self: Arc<Self>,
        batch: Vec<Delivery>,
        mut held: OwnedSemaphorePermit,
        tried_for: Duration,
    ) {
        let began = Instant::now();
        let mark = |message| (message, Origin::from(fresh_id()));
        let batch = batch.into_iter().map(mark).collect();
        let rest = match self.guest.deliver_together(batch, TURN) {
            Ok(together) => self.handle_together(together, &mut held, tried_for).await,
            Err(batch) => batch,
        };
        for marked in rest {
            let attempt = Attempt::new(marked, &mut held, tried_for);
            let mut delivering = self.deliver(&attempt);
            let polled = match began.elapsed() > TURN {
                true => Ok(Poll::Pending),
                false => poll_once(&mut delivering).await,
            };
            match polled {
                Ok(Poll::Ready(result)) => self.settle(result, attempt),
                Ok(Poll::Pending) => self.spawn(self.clone().finish(delivering, attempt)),
                // It has been told, and ends nothing but itself.
                Err(_panic) => {}
            }
        }
    }

    /// Has one instance handle messages, until one has to wait, or fails. Returns those that are left.
    async fn handle_together(
        self: &Arc<Self>,
        mut together: Together,
        held: &mut OwnedSemaphorePermit,
        tried_for: Duration,
    ) -> Vec<Marked> {
        let polled = poll_once(&mut together).await;
        let (at, mut rest) = together.leave();
        self.told_all(together.handled());
        match (polled, at) {
            // It was not begun.
            (Ok(Poll::Ready(Ok(()))), at) => rest.splice(0..0, at).for_each(drop),
            (Ok(Poll::Ready(Err(error))), Some(at)) => {
                self.settle(Err(error), Attempt::new(at, held, tried_for));
            }
            (Ok(Poll::Pending), Some(at)) => {
                let attempt = Attempt::new(at, held, tried_for);
                self.spawn(self.clone().finish_together(together, attempt));
            }
            // Its end, in another thread, is about to be known.
            (Ok(Poll::Pending), None) => self.spawn(together.map(drop)),
            // What panics has been told, and ends nothing but itself.
            (Ok(Poll::Ready(Err(_))), None) | (Err(_), _) => {}
        }
        rest
    }

    /// Goes on with the message that a call is at.
    async fn finish_together(self: Arc<Self>, mut together: Together, attempt: Attempt) {
        let result = (&mut together).await;
        self.told_all(together.handled());
        let (left, _) = together.leave();
        match result {
            Err(error) => self.settle(Err(error), attempt),
            Ok(()) if left.is_some() => {
                let delivering = self.deliver(&attempt);
                self.finish(delivering, attempt).await;
            }
            Ok(()) => {}
        }
    }

    fn deliver(&self, attempt: &Attempt) -> Delivering {
        let info = CallInfo {
            origin: attempt.origin.clone(),
            timeout: None,
        };
        self.guest.deliver(attempt.message.clone(), info)
    }

    /// Goes on with what has begun, or is about to.
    async fn finish(self: Arc<Self>, delivering: Delivering, attempt: Attempt) {
        let result = delivering.await;
        self.settle(result, attempt);
    }

    /// Counts what became of a message; one that has found no room is tried again.
    fn settle(self: &Arc<Self>, result: Delivered, attempt: Attempt) {
        if !has_no_room(&result) {
            return self.told(result);
        }
        let worker = self.clone();
        self.spawn(async move { worker.told(worker.try_again(&attempt).await) });
    }

    fn told_all(&self, handled: Vec<Result<(), String>>) {
        for result in handled {
            self.told(Ok(result));
        }
    }

    /// Counts what became of a message.
    fn told(&self, result: Delivered) {
        match result {
            Ok(Ok(())) => self.counters.handled(),
            // In the guest's words, which stand in its log and nowhere else.
            Ok(Err(_)) => self.failed("Refused", "it refused a message"),
            Err(error) => self.failed(error.reason(), &error.to_string()),
        }
    }

    /// Tries a message until there is room for it, for a while.
    async fn try_again(&self, attempt: &Attempt) -> Delivered {
        let until = Instant::now() + attempt.tried_for;
        let mut pause = FIRST_PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            let result = self.deliver(attempt).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            if !has_no_room(&result) || Instant::now() + pause > until {
                return result;
            }
        }
    }

    fn failed(&self, reason: &'static str, text: &str) {
        self.counters.failed(reason);
        if !self.news.is_news(reason) {
            return;
        }
        self.states.update(&self.workload, |state| {
            if let Some(component) = state.components.get_mut(self.position) {
                component.last_error = Some(format!("{reason}: {text}"));
            }
        });
    }
}

/// The next message, and a place for it.
async fn next(
    messages: &mut dyn Source,
    places: &Arc<Semaphore>,
) -> Option<(Delivery, OwnedSemaphorePermit)> {
    let place = tokio::select! {
        biased;
        place = places.clone().acquire_owned() => place.ok()?,
        // Never ends.
        () = messages.gather() => return None,
    };
    Some((messages.next().await?, place))
}

/// Lets it go on once. The error is what it panicked with.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> thread::Result<Poll<F::Output>> {
    poll_fn(|cx| {
        let poll = AssertUnwindSafe(|| future.poll_unpin(cx));
        Poll::Ready(catch_unwind(poll))
    })
    .await
}

fn has_no_room(result: &Delivered) -> bool {
    matches!(
        result,
        Err(CallError::QueueFull | CallError::QueueTimeout | CallError::HostAtCapacity)
    )
}
