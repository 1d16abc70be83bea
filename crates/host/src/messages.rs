//! A component that takes messages: what its subscriptions bring is handed to it, so many at a time,
//! until its workload stops.
//!
//! A message is delivered once. One that comes while the component or the host has no room waits and
//! is tried again; one on which the component fails is counted, told in its log and in the state of
//! the workload, and gone.

mod counters;

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use tokio::{runtime::Handle, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use waft_capabilities::{Capabilities, Source, Subscribed, Subscriber};
use waft_ir::{CapabilityGrant, Failure, LocalResources, Workload, WorkloadId};
use waft_runtime::{CallError, CallInfo, Delivery, Guest};

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
        let limit = self.guest.limits().request_timeout;
        let tried_for = subscribed.admission_wait.or(limit).unwrap_or(TRIED_FOR);
        let mut messages = subscribed.messages;
        let mut calls = JoinSet::new();
        let mut drained = false;
        let mut gave_way = Instant::now();
        loop {
            // As many may come as can be handled: others have their turn all the same.
            if gave_way.elapsed() > AT_WORK {
                tokio::task::yield_now().await;
                gave_way = Instant::now();
            }
            let has_place = calls.len() < places;
            tokio::select! {
                biased;
                () = self.stop.cancelled(), if !drained => {
                    drained = true;
                    messages.drain().await;
                }
                Some(_) = calls.join_next(), if !calls.is_empty() => {}
                message = next(&mut *messages, has_place) => match message {
                    Some(first) => {
                        let most = (places - calls.len()).min(AT_ONCE) - 1;
                        let others = std::iter::from_fn(|| messages.try_next()).take(most);
                        let batch = std::iter::once(first).chain(others).collect();
                        self.handle_all(batch, tried_for, &mut calls).await;
                    }
                    None => break,
                },
            }
        }
        while calls.join_next().await.is_some() {}
    }

    /// Handles those that need not wait for anything, one after the other. What has to wait goes on
    /// in a task of its own, and so does what is left once this has taken [`TURN`]: other threads
    /// may take it.
    async fn handle_all(
        self: &Arc<Self>,
        batch: Vec<Delivery>,
        tried_for: Duration,
        calls: &mut JoinSet<()>,
    ) {
        let began = Instant::now();
        for message in batch {
            // What panics has been told, and ends nothing but itself.
            let call = AssertUnwindSafe(self.clone().handle(message, tried_for)).catch_unwind();
            let mut call = Box::pin(call.map(drop));
            if began.elapsed() > TURN || futures::poll!(&mut call).is_pending() {
                calls.spawn(call);
            }
        }
    }

    async fn handle(self: Arc<Self>, message: Delivery, tried_for: Duration) {
        let info = CallInfo {
            origin: fresh_id().into(),
            timeout: None,
        };
        let mut result = self.guest.deliver(message.clone(), info.clone()).await;
        if has_no_room(&result) {
            result = Box::pin(self.try_again(message, info, tried_for)).await;
        }
        match result {
            Ok(Ok(())) => self.counters.handled(),
            // In the guest's words, which stand in its log and nowhere else.
            Ok(Err(_)) => self.failed("Refused", "it refused a message"),
            Err(error) => self.failed(error.reason(), &error.to_string()),
        }
    }

    /// Tries a message until there is room for it, for a while.
    async fn try_again(&self, message: Delivery, info: CallInfo, tried_for: Duration) -> Delivered {
        let until = Instant::now() + tried_for;
        let mut pause = FIRST_PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            let result = self.guest.deliver(message.clone(), info.clone()).await;
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

/// The next message, as soon as there is a place for it.
async fn next(messages: &mut dyn Source, has_place: bool) -> Option<Delivery> {
    if !has_place {
        messages.gather().await;
    }
    messages.next().await
}

fn has_no_room(result: &Delivered) -> bool {
    matches!(
        result,
        Err(CallError::QueueFull | CallError::QueueTimeout | CallError::HostAtCapacity)
    )
}
