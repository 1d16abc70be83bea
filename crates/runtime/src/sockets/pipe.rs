//! One direction of a connection that never leaves the process: bytes on their way, bounded.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

/// Bytes on their way in one direction; a writer waits for the reader past that.
pub(crate) const CAPACITY: usize = 64 << 10;

/// The reading end. Dropping it fails the writer.
pub(crate) struct Reader(Arc<Mutex<State>>);

/// The writing end. Dropping it is the end of the bytes.
pub(crate) struct Writer(Arc<Mutex<State>>);

/// Nobody reads any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ReaderGone;

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    reader_gone: bool,
    writer_gone: bool,
    reader: Waiter,
    writer: Waiter,
}

/// The task that waits for one event: whoever has looked last. Those before wait no more.
#[derive(Default)]
pub(crate) struct Waiter(Option<Waker>);

/// A pipe.
pub(crate) fn pipe() -> (Writer, Reader) {
    let state = Arc::<Mutex<State>>::default();
    (Writer(state.clone()), Reader(state))
}

impl Reader {
    /// Takes bytes. None, where there was room for some: they have ended.
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<usize> {
        let mut state = self.0.lock();
        if state.bytes.is_empty() && !state.writer_gone {
            state.reader.set(cx);
            return Poll::Pending;
        }
        let length = state.bytes.len().min(into.len());
        let (front, back) = state.bytes.as_slices();
        let of_front = front.len().min(length);
        into[..of_front].copy_from_slice(&front[..of_front]);
        into[of_front..length].copy_from_slice(&back[..length - of_front]);
        state.bytes.drain(..length);
        if length > 0 {
            state.writer.wake();
        }
        Poll::Ready(length)
    }

    /// Waits until there is something to read, be it the end.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_read(cx, &mut []).map(|_| ())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.reader_gone = true;
        state.bytes = VecDeque::new();
        state.writer.wake();
    }
}

impl Writer {
    /// Bytes that can be written now.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<usize, ReaderGone>> {
        let mut state = self.0.lock();
        if state.reader_gone {
            return Poll::Ready(Err(ReaderGone));
        }
        match CAPACITY - state.bytes.len() {
            0 => {
                state.writer.set(cx);
                Poll::Pending
            }
            room => Poll::Ready(Ok(room)),
        }
    }

    /// Writes what there is room for.
    pub(crate) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, ReaderGone>> {
        self.poll_room(cx).map_ok(|room| {
            let length = room.min(bytes.len());
            let mut state = self.0.lock();
            state.bytes.extend(&bytes[..length]);
            state.reader.wake();
            length
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.writer_gone = true;
        state.reader.wake();
    }
}

impl Waiter {
    /// Wakes this task. One that tries without waiting takes nobody's place.
    pub(crate) fn set(&mut self, cx: &Context<'_>) {
        if !cx.waker().will_wake(Waker::noop()) {
            self.0 = Some(cx.waker().clone());
        }
    }

    /// Wakes it, once.
    pub(crate) fn wake(&mut self) {
        if let Some(waker) = self.0.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::atomic::{AtomicBool, Ordering::Relaxed},
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Task(AtomicBool);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Relaxed);
        }
    }

    async fn read(reader: &Reader, most: usize) -> Vec<u8> {
        let mut bytes = vec![0; most];
        let length = poll_fn(|cx| reader.poll_read(cx, &mut bytes)).await;
        bytes.truncate(length);
        bytes
    }

    #[tokio::test]
    async fn bytes_arrive_in_order_and_then_their_end() {
        let (writer, reader) = pipe();
        let sent: Vec<u8> = (0..CAPACITY * 5).map(|at| (at % 251) as u8).collect();
        let wanted = sent.clone();
        let writing = tokio::spawn(async move {
            let mut left = &sent[..];
            while !left.is_empty() {
                let piece = &left[..left.len().min(777)];
                let length = poll_fn(|cx| writer.poll_write(cx, piece)).await.unwrap();
                left = &left[length..];
            }
        });
        let mut got = Vec::new();
        loop {
            let piece = read(&reader, 1000).await;
            if piece.is_empty() {
                break;
            }
            got.extend(piece);
        }
        writing.await.unwrap();
        assert!(got == wanted);
    }

    #[tokio::test]
    async fn a_writer_waits_for_room_and_learns_that_nobody_reads() {
        let (writer, reader) = pipe();
        let all = vec![1; CAPACITY + 1];
        let length = poll_fn(|cx| writer.poll_write(cx, &all)).await.unwrap();
        assert_eq!(length, CAPACITY);
        let waiting = tokio::spawn(async move { poll_fn(|cx| writer.poll_room(cx)).await });
        assert_eq!(read(&reader, 10).await.len(), 10);
        assert_eq!(waiting.await.unwrap(), Ok(10));

        let (writer, reader) = pipe();
        drop(reader);
        let told = poll_fn(|cx| writer.poll_write(cx, &[1])).await;
        assert_eq!(told, Err(ReaderGone));
    }

    #[tokio::test]
    async fn who_looked_last_is_woken_and_who_gave_up_is_forgotten() {
        let (writer, reader) = pipe();
        let tasks: Vec<Arc<Task>> = std::iter::repeat_with(Arc::default).take(100).collect();
        for task in &tasks {
            let waker = Waker::from(task.clone());
            let looked = reader.poll_ready(&mut Context::from_waker(&waker));
            assert!(looked.is_pending());
        }
        let mut only_tries = Context::from_waker(Waker::noop());
        assert!(reader.poll_ready(&mut only_tries).is_pending());
        let (last, others) = tasks.split_last().unwrap();
        let kept = |task: &Arc<Task>| Arc::strong_count(task) > 1;
        assert!(kept(last) && !others.iter().any(kept));
        poll_fn(|cx| writer.poll_write(cx, &[1])).await.unwrap();
        assert!(last.0.load(Relaxed) && !kept(last));
    }
}
