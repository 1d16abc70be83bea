//! Instances that serve several requests or messages at a time (`wasi:http@0.3` and
//! `wasmcloud:messaging@0.3` with `maxConcurrency`), seen from outside.
//!
//! An instance is driven by the call that it began with, inside the task of that call's client, as
//! one is that serves one call at a time. When another call joins it, it gets a task of its own, so
//! that no call depends on another's client. When its last call has ended and the guest has nothing
//! left to do, it waits among the warm instances.
//!
//! A call whose client leaves can't be taken out of the guest: its instance takes no more calls and
//! ends with those it has; if it was the only one, the instance ends at once. A trap or a deadline
//! ends the instance, and its other calls are lost; those it had not begun go to another one.

mod inside;

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{
        Notify,
        oneshot::{self, error::TryRecvError},
    },
};

use crate::{
    CallError, Origin,
    call::{Call, Job, Seat},
    guest::GuestInner,
    instance::Instance,
    lane::Driver,
};

use inside::Inside;

/// The instances of one guest that have calls.
#[derive(Default)]
pub(crate) struct SharedInstances(Mutex<Vec<Arc<Busy>>>);

/// One call in a shared instance, seen from outside. It is ready when the call has ended.
pub(crate) struct SharedCall {
    outcome: oneshot::Receiver<Outcome>,
    done: bool,
    busy: Arc<Busy>,
    /// Whether the instance is driven here, as far as is known.
    drives: bool,
    /// Dropped when nobody wants the answer any more. It takes the call when all of it was read.
    wanted: Option<oneshot::Sender<Box<Call>>>,
}

/// What became of a call in its instance.
pub(crate) enum Outcome {
    Ended(Result<(), CallError>),
    /// The instance is gone, and had not begun with the call: it has to go to another one.
    Refused(Box<(Job, Origin)>),
}

/// An instance that has calls.
struct Busy {
    inbox: Mutex<Inbox>,
    /// What lets it run, while the call that it began with does that.
    driver: Mutex<Option<Driver<()>>>,
    /// Other calls depend on it.
    joined: AtomicBool,
    /// Ends it. A guest that computes keeps its event loop from turning, so that this is looked at
    /// from outside of it.
    kill: Notify,
    /// It has ended before its calls did.
    lost: AtomicBool,
}

/// Calls on their way into an instance.
struct Inbox {
    orders: VecDeque<Box<Order>>,
    waker: Option<Waker>,
    /// Calls that have not ended, those on their way counted.
    calls: u32,
    /// Calls that it may still be given.
    left: u32,
    /// It gets no more calls, and is not kept when it has none.
    retired: bool,
}

/// One call on its way into an instance.
struct Order {
    job: Job,
    origin: Origin,
    outcome: oneshot::Sender<Outcome>,
    left: oneshot::Receiver<Box<Call>>,
}

impl SharedInstances {
    /// Gives a call to an instance that has none, as long as the pool has room, or else to the one
    /// with the fewest.
    pub(crate) fn give(&self, guest: &Arc<GuestInner>, job: Job, origin: Origin) -> SharedCall {
        let (outcome, outcome_is_known) = oneshot::channel();
        let (wanted, left) = oneshot::channel();
        let order = Box::new(Order {
            job,
            origin,
            outcome,
            left,
        });
        let (busy, drives) = self.place(guest, order);
        SharedCall {
            outcome: outcome_is_known,
            done: false,
            busy,
            drives,
            wanted: Some(wanted),
        }
    }

    /// The instance of a call, and whether the call drives it.
    fn place(&self, guest: &Arc<GuestInner>, mut order: Box<Order>) -> (Arc<Busy>, bool) {
        let size = guest.pool().size as usize;
        let mut all = self.0.lock();
        if all.len() >= size {
            // Those that take no more end with the calls they have.
            all.retain(|busy| busy.open_calls().is_some());
        }
        while all.len() >= size {
            let open = all
                .iter()
                .filter_map(|busy| Some((busy.open_calls()?, busy)));
            let Some((calls, busy)) = open.min_by_key(|(calls, _)| *calls) else {
                break;
            };
            if calls >= guest.concurrency() {
                break;
            }
            match busy.join(order) {
                Ok(()) => return (busy.clone(), false),
                // Its client has just left; the next round does without it.
                Err(back) => order = back,
            }
        }
        let busy = Busy::begin(guest, order);
        all.push(busy.clone());
        (busy, true)
    }

    /// Keeps an instance that has no call among the warm ones. Returns it if a call is on its way.
    fn keep(
        &self,
        guest: &Arc<GuestInner>,
        busy: &Arc<Busy>,
        instance: Instance,
    ) -> Option<Instance> {
        // Who looks for an instance finds it either here or there.
        let mut all = self.0.lock();
        if !busy.inbox.lock().orders.is_empty() {
            return Some(instance);
        }
        all.retain(|known| !Arc::ptr_eq(known, busy));
        guest.give_back(instance);
        None
    }

    /// Counts an instance no more.
    fn forget(&self, gone: &Arc<Busy>) {
        self.0.lock().retain(|busy| !Arc::ptr_eq(busy, gone));
    }
}

impl Drop for SharedInstances {
    fn drop(&mut self) {
        // Those that still have something to do after their last call.
        for busy in self.0.get_mut() {
            busy.retire();
        }
    }
}

impl SharedCall {
    /// Nobody waits for it any more, and it is no client's leaving: the instance gets the call, to drop
    /// it when the guest is done.
    pub(crate) fn leave_to_instance(&mut self) -> Option<oneshot::Sender<Box<Call>>> {
        self.done = true;
        self.hand_over();
        self.wanted.take()
    }

    /// Ends the instance, with all its calls.
    pub(crate) fn end_instance(&self) {
        self.busy.retire();
        self.busy.kill.notify_one();
    }

    /// Whether its instance ended before it did. Its outcome was told before.
    pub(crate) fn is_lost(&self) -> bool {
        self.busy.lost.load(SeqCst)
    }

    fn hand_over(&mut self) {
        if std::mem::take(&mut self.drives) {
            self.busy.give_task();
        }
    }
}

impl Future for SharedCall {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        if self.drives {
            self.drives = self.busy.drive(cx);
        }
        let outcome = Pin::new(&mut self.outcome).poll(cx);
        if outcome.is_ready() {
            self.done = true;
            self.hand_over();
        }
        outcome.map(|told| told.unwrap_or(Outcome::Ended(Err(CallError::InstanceLost))))
    }
}

impl Drop for SharedCall {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        if !self.busy.is_left_by_last(&mut self.outcome) {
            self.hand_over();
            return;
        }
        match self.busy.take_driver() {
            Some(driver) => drop(driver),
            None => self.busy.kill.notify_one(),
        }
    }
}

impl Busy {
    /// An instance with its first call, which has to drive it.
    fn begin(guest: &Arc<GuestInner>, order: Box<Order>) -> Arc<Self> {
        let mut seat = guest.take_seat();
        let left = match (guest.pool().max_invocations, &seat) {
            (0, _) => u32::MAX,
            (most, Seat::Warm(instance)) => most.saturating_sub(instance.calls),
            (most, Seat::New(_)) => most,
        };
        let cell = seat.cell();
        cell.begin_call(None, guest.limits().cpu_time);
        let meter = cell.meter.clone();
        let busy = Arc::new(Self {
            inbox: Mutex::new(Inbox {
                orders: VecDeque::new(),
                waker: None,
                calls: 0,
                left,
                retired: false,
            }),
            driver: Mutex::default(),
            joined: AtomicBool::new(false),
            kill: Notify::new(),
            lost: AtomicBool::new(false),
        });
        busy.inbox.lock().add(order);
        let inside = Inside::new(guest, busy.clone(), meter.clone());
        let whole = Box::pin(inside.run(seat));
        *busy.driver.lock() = Some(guest.driver(whole, meter));
        busy
    }

    /// Calls it has, if it takes more.
    fn open_calls(&self) -> Option<u32> {
        let inbox = self.inbox.lock();
        inbox.is_open().then_some(inbox.calls)
    }

    /// Adds a call that does not drive it.
    fn join(&self, order: Box<Order>) -> Result<(), Box<Order>> {
        let waker = {
            let mut inbox = self.inbox.lock();
            if !inbox.is_open() {
                return Err(order);
            }
            inbox.add(order);
            inbox.waker.take()
        };
        // Announced first: who drives it right now looks afterwards.
        self.joined.store(true, SeqCst);
        let driver = self.driver.try_lock().and_then(|mut driver| driver.take());
        match (driver, waker) {
            (Some(driver), _) => spawn(driver),
            (None, Some(waker)) => waker.wake(),
            (None, None) => {}
        }
        Ok(())
    }

    /// Lets the instance run, as far as that is up to its first call. Returns whether it still is.
    fn drive(&self, cx: &mut Context<'_>) -> bool {
        let mut slot = self.driver.lock();
        let Some(driver) = slot.as_mut() else {
            return false;
        };
        if Pin::new(driver).poll(cx).is_ready() {
            *slot = None;
            return false;
        }
        drop(slot);
        if self.joined.load(SeqCst) {
            self.give_task();
            return false;
        }
        true
    }

    fn take_driver(&self) -> Option<Driver<()>> {
        self.driver.lock().take()
    }

    /// Has it run in a task of its own.
    fn give_task(&self) {
        if let Some(driver) = self.take_driver() {
            spawn(driver);
        }
    }

    /// Gives it no more calls.
    fn retire(&self) {
        self.inbox.lock().retire();
    }

    /// Gives it no more calls because the client of one leaves, unless that one has just ended. Returns
    /// whether it has no other.
    fn is_left_by_last(&self, outcome: &mut oneshot::Receiver<Outcome>) -> bool {
        let mut inbox = self.inbox.lock();
        if !matches!(outcome.try_recv(), Err(TryRecvError::Empty)) {
            return false;
        }
        inbox.retire();
        inbox.calls == 1
    }

    /// The next call, or who to wake when there is one.
    fn next(&self, cx: &mut Context<'_>) -> Option<Box<Order>> {
        let mut inbox = self.inbox.lock();
        let order = inbox.orders.pop_front();
        if order.is_none() {
            inbox.waker = Some(cx.waker().clone());
        }
        order
    }

    /// Counts a call that has ended, and tells who waits for it.
    fn call_ended(&self, outcome: Option<oneshot::Sender<Outcome>>) {
        let mut inbox = self.inbox.lock();
        inbox.calls -= 1;
        // At once, for who leaves to know whether it is still counted.
        if let Some(outcome) = outcome {
            let _ = outcome.send(Outcome::Ended(Ok(())));
        }
    }

    fn is_retired(&self) -> bool {
        self.inbox.lock().retired
    }

    /// Whether it has no call and is not to be kept. One may have come just before it was used up.
    fn is_over(&self) -> bool {
        let inbox = self.inbox.lock();
        inbox.orders.is_empty() && !inbox.is_open()
    }

    /// Retires it, and returns the calls that are on their way.
    fn take_back(&self) -> VecDeque<Box<Order>> {
        let mut inbox = self.inbox.lock();
        inbox.retired = true;
        std::mem::take(&mut inbox.orders)
    }
}

impl Inbox {
    fn is_open(&self) -> bool {
        !self.retired && self.left > 0
    }

    fn retire(&mut self) {
        self.retired = true;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn add(&mut self, order: Box<Order>) {
        self.orders.push_back(order);
        self.calls += 1;
        self.left -= 1;
    }
}

/// Without a runtime (it is shutting down) the instance ends here.
fn spawn(driver: Driver<()>) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(driver);
    }
}
