//! Looks at images that hold no worker: a registry may take minutes to answer, and one that hangs
//! must not keep everything else from being reconciled.
//!
//! Who asks first is told that the answer is awaited; the answer wakes the object, and is there
//! when it asks again. What is asked, and what an answer means, is left to who asks.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

/// Looks that begin at a time.
const PLACES: usize = 32;
/// For how long a look keeps its place. One that takes longer waits for a registry, and then
/// another may begin.
const KEEPS_PLACE: Duration = Duration::from_secs(1);

/// The looks of one kind of objects, by the uid of the object, one at a time for each.
pub(crate) struct Looks<Q, A> {
    places: Arc<Semaphore>,
    by_uid: Mutex<HashMap<String, Look<Q, A>>>,
}

/// What an object asked.
struct Look<Q, A> {
    question: Q,
    answer: Arc<OnceLock<A>>,
    /// Ends the look when it is forgotten.
    _task: AbortOnDropHandle<()>,
}

impl<Q, A> Default for Looks<Q, A> {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(PLACES)),
            by_uid: Mutex::default(),
        }
    }
}

impl<Q: PartialEq, A: Clone + Send + Sync + 'static> Looks<Q, A> {
    /// The look at this very question: its answer, or `None` as long as that is awaited. No look:
    /// it was not asked, or another question was.
    pub(crate) fn at(&self, uid: &str, question: &Q) -> Option<Option<A>> {
        let by_uid = self.by_uid.lock();
        let look = by_uid.get(uid)?;
        (look.question == *question).then(|| look.answer.get().cloned())
    }

    /// Begins a look, instead of any other one of the object. Its answer, which is `lost` if it
    /// panics, wakes the object by `wake`.
    pub(crate) fn begin(
        &self,
        uid: &str,
        question: Q,
        look: impl Future<Output = A> + Send + 'static,
        lost: A,
        wake: impl FnOnce() + Send + 'static,
    ) {
        let (places, answer) = (self.places.clone(), Arc::new(OnceLock::new()));
        let slot = answer.clone();
        let task = tokio::spawn(async move {
            let looked = AssertUnwindSafe(placed(&places, look)).catch_unwind();
            // Nobody else has set it.
            let _ = slot.set(looked.await.unwrap_or(lost));
            wake();
        });
        let look = Look {
            question,
            answer,
            _task: AbortOnDropHandle::new(task),
        };
        self.by_uid.lock().insert(uid.to_owned(), look);
    }

    /// Forgets what an object asked. A look that is under way ends.
    pub(crate) fn forget(&self, uid: &str) {
        self.by_uid.lock().remove(uid);
    }

    /// Forgets what all objects asked but these.
    pub(crate) fn retain(&self, is_known: impl Fn(&str) -> bool) {
        self.by_uid.lock().retain(|uid, _| is_known(uid));
    }
}

/// Looks as soon as there is a place.
async fn placed<A>(places: &Semaphore, look: impl Future<Output = A>) -> A {
    // It is never closed.
    let place = places.acquire().await;
    let mut look = std::pin::pin!(look);
    if let Ok(answer) = tokio::time::timeout(KEEPS_PLACE, &mut look).await {
        return answer;
    }
    drop(place);
    look.await
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::sync::mpsc;

    use super::*;

    type Wakes = (mpsc::UnboundedSender<()>, mpsc::UnboundedReceiver<()>);

    fn never() {
        panic!("it has no answer");
    }

    #[tokio::test(start_paused = true)]
    async fn looks_that_hang_give_their_place_to_others() {
        let looks = Looks::<u8, u8>::default();
        let (wake, mut woken): Wakes = mpsc::unbounded_channel();
        for number in 0..3 * PLACES {
            looks.begin(&number.to_string(), 1, pending(), 0, never);
        }
        looks.begin("last", 1, ready(7), 0, move || wake.send(()).unwrap());
        assert_eq!(looks.at("last", &1), Some(None));
        woken.recv().await.unwrap();
        assert_eq!(looks.at("last", &1), Some(Some(7)));
        assert_eq!(looks.at("0", &1), Some(None));
    }

    #[tokio::test]
    async fn an_answer_is_that_of_the_last_question() {
        let looks = Looks::<u8, u8>::default();
        let (wake, mut woken): Wakes = mpsc::unbounded_channel();
        looks.begin("a", 1, pending(), 0, never);
        let told = wake.clone();
        looks.begin("a", 2, ready(7), 0, move || told.send(()).unwrap());
        assert_eq!(looks.at("a", &1), None);
        woken.recv().await.unwrap();
        assert_eq!(looks.at("a", &2), Some(Some(7)));
        looks.retain(|uid| uid == "a");
        assert_eq!(looks.at("a", &2), Some(Some(7)));
        looks.forget("a");
        assert_eq!(looks.at("a", &2), None);
        // One that panics is answered all the same.
        let told = move || wake.send(()).unwrap();
        looks.begin("a", 3, async { panic!("as a test wants it") }, 9, told);
        woken.recv().await.unwrap();
        assert_eq!(looks.at("a", &3), Some(Some(9)));
    }
}
