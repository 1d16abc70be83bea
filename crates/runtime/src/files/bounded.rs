//! The streams of `wasi:filesystem@0.2` that write to a file, which take no more than they permitted, and
//! ask the quota before each write. Where that takes a look at all that is there, the stream is not ready
//! meanwhile.

use std::{
    fs::File,
    future::poll_fn,
    io, mem,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use wasmtime::{
    Result, StoreContextMut,
    component::{LinkerInstance, Resource},
};
use wasmtime_wasi::{
    filesystem::{Descriptor, WasiFilesystemView},
    p2::{
        DynOutputStream, FsResult, OutputStream, Pollable, StreamError, StreamResult,
        bindings::filesystem::types::HostDescriptor,
    },
};

use super::{
    calls::{
        Call,
        p2::{Fallible, answer},
    },
    quota::Charged,
    writing::{Bound, Charging, Denied, charge_piece, file_of},
};
use crate::Ctx;

/// A stream of a file.
struct Bounded {
    inner: DynOutputStream,
    /// `None`: no quota.
    bound: Option<Bound>,
    file: Arc<File>,
    /// Where the next byte goes; `None`: at the end.
    position: Option<u64>,
    /// A piece that room is being made for.
    waiting: Option<(Charging, Bytes)>,
    /// The room of the piece that is being written.
    charged: Option<Charged>,
    /// What the guest is told by its next call.
    failed: Option<StreamError>,
}

/// Puts these functions in the place of wasmtime's.
pub(super) fn replace(types: &mut LinkerInstance<'_, Ctx>) -> Result<()> {
    types.func_wrap(
        "[method]descriptor.write-via-stream",
        |mut store: StoreContextMut<'_, Ctx>, (fd, offset): (Resource<Descriptor>, u64)| {
            let (ctx, borrowed) = (store.data_mut(), Resource::new_borrow(fd.rep()));
            let made = ctx.filesystem().write_via_stream(fd, offset);
            bounded(ctx, &borrowed, Some(offset), made)
        },
    )?;
    types.func_wrap(
        "[method]descriptor.append-via-stream",
        |mut store: StoreContextMut<'_, Ctx>, (fd,): (Resource<Descriptor>,)| {
            let (ctx, borrowed) = (store.data_mut(), Resource::new_borrow(fd.rep()));
            let made = ctx.filesystem().append_via_stream(fd);
            bounded(ctx, &borrowed, None, made)
        },
    )
}

/// Puts a stream of a file into one that asks the quota, if there is one, and takes no more than it
/// permitted.
fn bounded(
    ctx: &mut Ctx,
    fd: &Resource<Descriptor>,
    position: Option<u64>,
    made: FsResult<Resource<DynOutputStream>>,
) -> Fallible<Resource<DynOutputStream>> {
    let stream = match made {
        Ok(stream) => stream,
        Err(error) => return answer(ctx, fd.rep(), Call::Writes, Err(error)),
    };
    let bound = ctx.quotas().of(fd);
    let Some(file) = file_of(ctx, fd)? else {
        return Ok((Ok(stream),));
    };
    let inner = ctx.table().delete(stream)?;
    let bounded: DynOutputStream = Box::new(Bounded {
        inner,
        bound,
        file,
        position,
        waiting: None,
        charged: None,
        failed: None,
    });
    Ok((Ok(ctx.table().push(bounded)?),))
}

impl Bounded {
    /// Begins to make room for so many more bytes.
    fn charge(&self, bytes: usize) -> Charging {
        charge_piece(self.bound.as_ref(), &self.file, self.position, bytes)
    }

    /// Takes the room that was made for a piece.
    fn take(
        &mut self,
        charged: std::result::Result<Option<Charged>, Denied>,
        bytes: usize,
    ) -> StreamResult<()> {
        let Ok(charged) = charged else {
            let full = io::Error::from_raw_os_error(libc::ENOSPC);
            return Err(StreamError::LastOperationFailed(full.into()));
        };
        self.charged = charged;
        if let Some(position) = &mut self.position {
            *position = position.saturating_add(bytes as u64);
        }
        Ok(())
    }

    /// Goes on with the piece that waits for room.
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((charging, bytes)) = &mut self.waiting else {
            return Poll::Ready(());
        };
        let charged = ready!(charging.as_mut().poll(cx));
        let bytes = mem::take(bytes);
        self.waiting = None;
        let taken = self.take(charged, bytes.len());
        self.failed = taken.and_then(|()| self.inner.write(bytes)).err();
        Poll::Ready(())
    }

    fn outcome(&mut self) -> StreamResult<()> {
        self.failed.take().map_or(Ok(()), Err)
    }
}

#[async_trait::async_trait]
impl Pollable for Bounded {
    async fn ready(&mut self) {
        poll_fn(|cx| self.poll_waiting(cx)).await;
        self.inner.ready().await;
        self.charged = None;
    }
}

#[async_trait::async_trait]
impl OutputStream for Bounded {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        // They are in memory until the disk has them.
        if self.waiting.is_some() || bytes.len() > self.check_write()? {
            return Err(StreamError::trap("more was written than was permitted"));
        }
        self.waiting = Some((self.charge(bytes.len()), bytes));
        // Mostly there is room, or there is none, without a look.
        let _ = self.poll_waiting(&mut Context::from_waker(Waker::noop()));
        self.outcome()
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.outcome()?;
        match &self.waiting {
            Some(_) => Ok(()),
            None => self.inner.flush(),
        }
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.outcome()?;
        if self.waiting.is_some() {
            return Ok(0);
        }
        let room = self.inner.check_write()?;
        if room > 0 {
            self.charged = None;
        }
        Ok(room)
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.ready().await;
        self.outcome()?;
        let charged = self.charge(bytes.len()).await;
        self.take(charged, bytes.len())?;
        let written = self.inner.blocking_write_and_flush(bytes).await;
        self.charged = None;
        written
    }

    async fn cancel(&mut self) {
        self.waiting = None;
        self.inner.cancel().await;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use wasmtime_wasi::p2::pipe::MemoryOutputPipe;

    use super::*;
    use crate::Quota;

    #[tokio::test]
    async fn a_piece_waits_for_the_look_that_says_whether_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let quota = Arc::new(Quota::new(folder.path().into(), 10_000));
        let written = MemoryOutputPipe::new(100_000);
        let mut stream = Bounded {
            inner: Box::new(written.clone()),
            bound: Some(Bound {
                quota: quota.clone(),
                counters: Arc::default(),
            }),
            file: Arc::new(tempfile::tempfile().unwrap()),
            position: None,
            waiting: None,
            charged: None,
            failed: None,
        };
        let piece = |bytes: usize| Bytes::from(vec![0; bytes]);

        // All that there may be, of which nothing came.
        drop(quota.charge(10_000).await);
        let others_turn = quota.turn_to_look().await;
        stream.write(piece(6000)).unwrap();
        assert_eq!(stream.check_write().unwrap(), 0);
        assert_eq!(written.contents().len(), 0);
        drop(others_turn);
        stream.ready().await;
        assert_eq!(written.contents().len(), 6000);
        assert!(stream.check_write().unwrap() > 0);

        // What came leaves room for less.
        fs::write(folder.path().join("a"), piece(6000 - (1 << 10))).unwrap();
        let others_turn = quota.turn_to_look().await;
        stream.write(piece(6000)).unwrap();
        drop(others_turn);
        stream.ready().await;
        let full = stream.check_write();
        assert!(matches!(full, Err(StreamError::LastOperationFailed(_))));
        assert_eq!(written.contents().len(), 6000);
        stream.write(piece(4000)).unwrap();
        assert_eq!(written.contents().len(), 10_000);
        fs::write(folder.path().join("b"), piece(4000 - (1 << 10))).unwrap();
        let _ = stream.write(piece(1));
        stream.ready().await;
        assert_eq!(written.contents().len(), 10_000);
    }
}
