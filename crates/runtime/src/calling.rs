//! A job on its way through a guest: to a place, to an instance, and to its answer or the end of its
//! time.
//!
//! Written as a future by hand: most jobs are answered when they are polled first, and then cost
//! neither a timer nor the copies of futures within futures.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::{Instant, Sleep, sleep},
};

use crate::{
    CallError, CallInfo, HttpVersion, Origin,
    call::{Call, Job},
    guest::GuestInner,
    stats::Counters,
};

/// How long a guest's end may take to be known after its means to answer have gone. A guest of 0.2 may drop
/// them and go on; one of 0.3 has lost them because it has ended, and is looked at again so often.
const END_IS_KNOWN: Duration = Duration::from_millis(100);

/// A job under way. Dropping it ends the call.
pub(crate) struct Calling<A> {
    guest: Arc<GuestInner>,
    /// Longest run.
    timeout: Option<Duration>,
    answer: oneshot::Receiver<A>,
    stage: Stage,
    /// Made when the call has to wait for something.
    deadline: Option<Pin<Box<Sleep>>>,
}

/// What ends the waiting for an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Until {
    /// The answer itself; the guest may go on.
    Answer,
    /// The end of the call.
    End,
}

enum Stage {
    /// Before a place has been asked for.
    New(Job, Origin),
    /// All places are taken.
    Queued(Place, Job, Origin),
    Running(Call),
    /// It runs in another thread and can't answer any more: it is about to end, or has, which the thread that
    /// is to tell of it should have done by then.
    Ending(Call, Pin<Box<Sleep>>),
    /// It will not go on, for this reason.
    Over(CallError),
}

type Place = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, CallError>> + Send>>;

impl<A> Calling<A> {
    /// Counts a job, which is given where its answer goes, or why the guest can't be called for it.
    /// It begins when this is polled.
    pub(crate) fn new(
        guest: Arc<GuestInner>,
        info: CallInfo,
        job: impl FnOnce(oneshot::Sender<A>) -> Result<Job, CallError>,
    ) -> Self {
        Counters::add(&guest.counters.requests);
        let (sender, answer) = oneshot::channel();
        Self {
            timeout: info.timeout.unwrap_or(guest.limits().request_timeout),
            guest,
            answer,
            stage: match job(sender) {
                Ok(job) => Stage::New(job, info.origin),
                Err(why) => Stage::Over(why),
            },
            deadline: None,
        }
    }

    pub(crate) fn guest(&self) -> &Arc<GuestInner> {
        &self.guest
    }

    /// The call that has answered.
    pub(crate) fn take_call(&mut self) -> Option<Call> {
        match self.replace(Stage::Over(CallError::NoResponse)) {
            Stage::Running(call) => Some(call),
            _ => None,
        }
    }

    /// Lets it go on. Must not be polled again once it was ready.
    pub(crate) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        until: Until,
    ) -> Poll<Result<A, CallError>> {
        let result = ready!(self.poll_stages(cx, until));
        if let Err(error) = &result {
            // What is left of the call ends here.
            self.stage = Stage::Over(error.clone());
        }
        Poll::Ready(result)
    }

    fn poll_stages(&mut self, cx: &mut Context<'_>, until: Until) -> Poll<Result<A, CallError>> {
        loop {
            let next = match &mut self.stage {
                Stage::New(..) => self.enter(),
                Stage::Queued(place, ..) => {
                    let place = ready!(place.as_mut().poll(cx))?;
                    self.begin(place)
                }
                Stage::Running(call) => {
                    match Pin::new(&mut *call).poll(cx) {
                        // Nothing has been sent yet, so a trap is a failed request even if the guest
                        // had begun its answer.
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        // Not polled: that may be pending for the sake of other tasks.
                        Poll::Ready(Ok(())) => {
                            let answer = self.answer.try_recv();
                            return Poll::Ready(answer.map_err(|_| CallError::NoResponse));
                        }
                        Poll::Pending => {}
                    }
                    match until {
                        Until::End => return self.poll_deadline(cx),
                        Until::Answer => match Pin::new(&mut self.answer).poll(cx) {
                            Poll::Ready(Ok(answer)) => return Poll::Ready(Ok(answer)),
                            Poll::Ready(Err(_)) => self.end(),
                            Poll::Pending => return self.poll_deadline(cx),
                        },
                    }
                }
                Stage::Ending(call, known) => {
                    // Looked at first: a shared call's end is told before it counts as lost.
                    let lost = call.lost();
                    let over = Pin::new(&mut *call).poll(cx).map(Result::err);
                    match (over, lost) {
                        (Poll::Ready(error), _) => {
                            Stage::Over(error.unwrap_or(CallError::NoResponse))
                        }
                        (Poll::Pending, Some(lost)) => self.leave(lost),
                        (Poll::Pending, None) => {
                            // A handler of 0.3 answers by returning.
                            let may_go_on = self.guest.http() != Some(HttpVersion::P3);
                            if known.as_mut().poll(cx).is_pending() {
                                return self.poll_deadline(cx);
                            }
                            if !may_go_on {
                                known.as_mut().reset(Instant::now() + END_IS_KNOWN);
                                continue;
                            }
                            call.is_accounted_for();
                            Stage::Over(CallError::NoResponse)
                        }
                    }
                }
                Stage::Over(why) => return Poll::Ready(Err(why.clone())),
            };
            self.stage = next;
        }
    }

    fn replace(&mut self, stage: Stage) -> Stage {
        mem::replace(&mut self.stage, stage)
    }

    /// Takes a place, or joins the queue.
    fn enter(&mut self) -> Stage {
        if let Some(place) = self.guest.admission().try_enter() {
            return self.begin(place);
        }
        let guest = self.guest.clone();
        let place = async move { guest.admission().enter(&guest.counters.queued).await };
        match self.replace(Stage::Over(CallError::NoResponse)) {
            Stage::New(job, origin) => Stage::Queued(Box::pin(place), job, origin),
            other => other,
        }
    }

    fn begin(&mut self, place: OwnedSemaphorePermit) -> Stage {
        match self.replace(Stage::Over(CallError::NoResponse)) {
            Stage::New(job, origin) | Stage::Queued(_, job, origin) => {
                Stage::Running(Call::begin(self.guest.clone(), place, job, origin))
            }
            other => other,
        }
    }

    /// The guest may drop its means to answer and still run; then no answer will come.
    fn end(&mut self) -> Stage {
        match self.replace(Stage::Over(CallError::NoResponse)) {
            // It may also have ended, in another thread, which is about to say how.
            Stage::Running(call) if call.runs_elsewhere() => {
                Stage::Ending(call, Box::pin(sleep(END_IS_KNOWN)))
            }
            Stage::Running(mut call) => {
                call.is_accounted_for();
                Stage::Over(CallError::NoResponse)
            }
            other => other,
        }
    }

    /// The guest has ended for this reason, and what it had goes by and by: until then its place is taken.
    fn leave(&mut self, why: CallError) -> Stage {
        if let Stage::Ending(call, _) = self.replace(Stage::Over(why.clone())) {
            call.finish_later();
        }
        Stage::Over(why)
    }

    /// Ends the call when its time is over.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Result<A, CallError>> {
        let Some(timeout) = self.timeout else {
            return Poll::Pending;
        };
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(deadline.as_mut().poll(cx));
        if let Stage::Running(call) | Stage::Ending(call, _) = &mut self.stage {
            call.give_up();
        }
        Poll::Ready(Err(CallError::Deadline))
    }
}
