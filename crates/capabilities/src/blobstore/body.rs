//! The stream by which a guest writes a value, and the value's end of it.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use wasmtime_wasi_io::{
    poll::Pollable,
    streams::{OutputStream, StreamError, StreamResult},
};

use super::{staged::Staged, store::StoreError};

/// Bytes that a guest may write at once.
const PERMIT: usize = 64 << 10;

/// A value that a guest writes. Clones are the same.
#[derive(Clone)]
pub(super) struct Body(Arc<Mutex<Progress>>);

enum Progress {
    /// It takes bytes.
    Open(Staged),
    /// What waited in memory goes to the disk.
    Spilling(JoinHandle<Result<Staged, StoreError>>),
    Failed(StoreError),
    /// The value was taken for the store, or given up.
    Taken,
}

impl Body {
    pub(super) fn new(staged: Result<Staged, StoreError>) -> Self {
        let progress = staged.map_or_else(Progress::Failed, Progress::Open);
        Self(Arc::new(Mutex::new(progress)))
    }

    /// Whether nothing can be written any more.
    pub(super) fn has_failed(&self) -> bool {
        matches!(*self.0.lock(), Progress::Failed(_))
    }

    /// What was written, once it is all there. Whoever writes afterwards is told that it is closed.
    pub(super) async fn take(&self) -> Result<Staged, StoreError> {
        poll_fn(|context| self.poll(context)).await;
        let mut progress = self.0.lock();
        match std::mem::replace(&mut *progress, Progress::Taken) {
            Progress::Open(staged) => Ok(staged),
            Progress::Failed(error) => Err(error),
            Progress::Spilling(_) | Progress::Taken => {
                Err(StoreError::Other("the value is finished already".into()))
            }
        }
    }

    /// Gives up what was written: nobody finishes the value any more, though a guest may still hold
    /// its stream.
    pub(super) fn discard(&self) {
        *self.0.lock() = Progress::Taken;
    }

    /// Ready when nothing is on the way to the disk.
    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut progress = self.0.lock();
        if let Progress::Spilling(spilling) = &mut *progress {
            *progress = match ready!(Pin::new(spilling).poll(context)) {
                Ok(Ok(staged)) => Progress::Open(staged),
                Ok(Err(error)) => Progress::Failed(error),
                Err(error) => Progress::Failed(std::io::Error::other(error).into()),
            };
        }
        Poll::Ready(())
    }
}

#[async_trait]
impl Pollable for Body {
    async fn ready(&mut self) {
        poll_fn(|context| self.poll(context)).await;
    }
}

#[async_trait]
impl OutputStream for Body {
    fn check_write(&mut self) -> StreamResult<usize> {
        // A guest may ask again and again without waiting.
        let _ = self.poll(&mut Context::from_waker(Waker::noop()));
        match &*self.0.lock() {
            Progress::Open(_) => Ok(PERMIT),
            Progress::Spilling(_) => Ok(0),
            Progress::Failed(error) => Err(failed(error)),
            Progress::Taken => Err(StreamError::Closed),
        }
    }

    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > self.check_write()? {
            return Err(StreamError::trap("more was written than was permitted"));
        }
        let mut progress = self.0.lock();
        let Progress::Open(staged) = &mut *progress else {
            return Ok(());
        };
        match staged.push(&bytes) {
            Ok(false) => {}
            Ok(true) => {
                if let Progress::Open(mut staged) =
                    std::mem::replace(&mut *progress, Progress::Taken)
                {
                    let spill = move || staged.spill().map(|()| staged);
                    *progress = Progress::Spilling(tokio::task::spawn_blocking(spill));
                }
            }
            Err(error) => {
                let told = failed(&error);
                *progress = Progress::Failed(error);
                return Err(told);
            }
        }
        Ok(())
    }

    /// What counts is that all is there when the value is finished.
    fn flush(&mut self) -> StreamResult<()> {
        match &*self.0.lock() {
            Progress::Failed(error) => Err(failed(error)),
            Progress::Taken => Err(StreamError::Closed),
            Progress::Open(_) | Progress::Spilling(_) => Ok(()),
        }
    }
}

fn failed(error: &StoreError) -> StreamError {
    StreamError::LastOperationFailed(error.clone().into())
}
