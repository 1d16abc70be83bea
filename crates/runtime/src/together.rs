//! Messages that one instance handles one after the other, in one call, as long as its guest has to wait
//! for nothing: what a call costs beside the guest is paid once.
//!
//! Each message has its own limits, its own mark in the log and its own end. What one waits for, no other
//! waits for: the call keeps that one, and its caller takes the others back ([`Together::leave`]).

use std::{
    collections::VecDeque,
    future::Future,
    mem,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    CallError, CallInfo, Delivery, Origin,
    call::{Job, Seat, no_handler},
    calling::{Calling, Until},
    guest::GuestInner,
    instance::{Cell, Instance},
    messages::{self, Handled, MessageHandler},
    stats::Counters,
};

/// What is to be handled, and what it is known by.
pub type Marked = (Delivery, Origin);

/// Messages of one call, while it goes on. Dropping it ends the call.
pub struct Together {
    calling: Calling<()>,
    line: Arc<Line>,
}

/// The messages of one call, in order.
pub(crate) struct Line {
    state: Mutex<State>,
    /// No other message is begun after so much computing.
    turn: Duration,
}

#[derive(Default)]
struct State {
    /// The one that the guest was given.
    current: Option<Marked>,
    waiting: VecDeque<Marked>,
    /// What became of those before.
    handled: Vec<Handled>,
}

impl Together {
    /// `origin`: of the first one.
    pub(crate) fn new(
        guest: Arc<GuestInner>,
        messages: Vec<Marked>,
        origin: Origin,
        turn: Duration,
    ) -> Self {
        let info = CallInfo {
            origin,
            timeout: None,
        };
        let state = State {
            waiting: messages.into(),
            ..State::default()
        };
        let line = Arc::new(Line {
            state: Mutex::new(state),
            turn,
        });
        let calling = Calling::new(guest, info, |over| Ok(Job::Messages(line.clone(), over)));
        Self { calling, line }
    }

    /// What became of messages since this was last asked, in order. The inner error is the guest's own.
    pub fn handled(&self) -> Vec<Result<(), String>> {
        mem::take(&mut self.line.state.lock().handled)
    }

    /// Has the call begin no other message. Returns the one that it is at, which may not have begun, and those
    /// behind it.
    pub fn leave(&self) -> (Option<Marked>, Vec<Marked>) {
        let mut state = self.line.state.lock();
        if let Some(current) = state.current.clone() {
            return (Some(current), state.waiting.drain(..).collect());
        }
        let first = state.waiting.front().cloned();
        let at = state.waiting.len().min(1);
        (first, state.waiting.drain(at..).collect())
    }
}

impl Future for Together {
    /// How the call ended: an error is that of the message that it was at.
    type Output = Result<(), CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(self.calling.poll_answer(cx, Until::End));
        if let Err(error) = &result {
            self.calling.guest().counters.failed(error);
        }
        Poll::Ready(result)
    }
}

impl Line {
    fn next(&self) -> Option<Marked> {
        let mut state = self.state.lock();
        state.current = state.waiting.pop_front();
        state.current.clone()
    }

    fn told(&self, handled: Handled) {
        let mut state = self.state.lock();
        state.current = None;
        state.handled.push(handled);
    }
}

/// Has one instance handle what is in line.
pub(crate) async fn run(
    guest: Arc<GuestInner>,
    seat: Seat,
    line: Arc<Line>,
    over: oneshot::Sender<()>,
) -> Result<(), CallError> {
    let mut instance = guest.seated(seat).await?;
    let mut computed = Duration::ZERO;
    let mut is_first = true;
    while (is_first || computed < line.turn && !guest.is_used_up(&instance))
        && let Some((delivery, origin)) = line.next()
    {
        // The call began with the first one.
        if !mem::take(&mut is_first) {
            Counters::add(&guest.counters.requests);
            let cpu_time = guest.limits().cpu_time;
            instance.cell.begin_limits(Some(origin.clone()), cpu_time);
        }
        let handled = handle(&guest, &mut instance, &delivery).await?;
        if let Err(text) = &handled {
            guest.refused(&origin.request_id, text);
        }
        let used = instance.cell.meter.take();
        guest.counters.cpu_nanos.fetch_add(used, Relaxed);
        computed += Duration::from_nanos(used);
        line.told(handled);
    }
    guest.give_back(instance);
    // Nobody waits any more when the deadline has passed.
    let _ = over.send(());
    Ok(())
}

async fn handle(
    guest: &GuestInner,
    instance: &mut Instance,
    delivery: &Delivery,
) -> Result<Handled, CallError> {
    let Cell { store, meter, .. } = &mut instance.cell;
    let result = match (&instance.handlers.messages, delivery) {
        (Some(MessageHandler::P2(worker)), Delivery::Message(message)) => {
            let handling = pin!(messages::handle_p2(store, worker, message));
            meter.within(handling).await
        }
        _ => Err(no_handler()),
    };
    instance.calls += 1;
    instance.cell.store.data_mut().end_call();
    let handled = result.map_err(|error| guest.trapped(&mut instance.cell, &error))?;
    guest.counters.recent_traps.went_well();
    Ok(handled)
}
