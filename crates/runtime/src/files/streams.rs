//! The calls of `wasi:filesystem@0.3` that write a stream to a file or read a folder as one, in the place
//! of wasmtime's: they ask the quota for each piece before it is written, and hold no thread while the
//! guest does not read.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    iter, mem,
    os::unix::fs::FileExt as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{sync::oneshot, task::JoinHandle};
use wasmtime::{
    Result, StoreContextMut,
    component::{
        Destination, FutureReader, LinkerInstance, Resource, Source, StreamConsumer,
        StreamProducer, StreamReader, StreamResult,
    },
};
use wasmtime_wasi::{
    filesystem::{Descriptor, OpenMode},
    p3::bindings::filesystem::types::{DirectoryEntry, ErrorCode},
};

use super::{
    calls::{
        Call, count_refusal, has_room,
        p3::{entry, list},
    },
    folder::by_handle,
    listing::Listing,
    quota::Charged,
    writing::{Bound, Charging, charge_piece},
};
use crate::Ctx;

/// Most bytes that are written in one call of the system.
const PIECE: usize = 64 << 10;

type Ended = std::result::Result<(), ErrorCode>;

/// Writes what comes to a file, until it ends or can't go on.
struct Writer {
    file: Arc<File>,
    bound: Option<Bound>,
    /// Where the next byte goes; `None`: at the end.
    position: Option<u64>,
    /// A piece that room is being made for.
    waiting: Option<(Charging, Vec<u8>)>,
    /// A piece that is being written.
    writing: Option<Writing>,
    ended: Option<oneshot::Sender<Ended>>,
}

/// A piece on its way to a file.
struct Writing {
    task: JoinHandle<io::Result<()>>,
    length: usize,
    _charged: Option<Charged>,
}

/// Gives what lies in a folder, until the guest has it all or something fails.
struct Entries {
    listing: Listing,
    ended: Option<oneshot::Sender<Ended>>,
}

/// Puts these functions in the place of wasmtime's.
pub(super) fn replace(types: &mut LinkerInstance<'_, Ctx>) -> Result<()> {
    types.func_wrap(
        "[method]descriptor.write-via-stream",
        |store: StoreContextMut<'_, Ctx>,
         (fd, data, offset): (Resource<Descriptor>, StreamReader<u8>, u64)| {
            write(store, &fd, data, Some(offset))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.append-via-stream",
        |store: StoreContextMut<'_, Ctx>, (fd, data): (Resource<Descriptor>, StreamReader<u8>)| {
            write(store, &fd, data, None)
        },
    )?;
    types.func_wrap(
        "[method]descriptor.read-directory",
        |store: StoreContextMut<'_, Ctx>, (fd,): (Resource<Descriptor>,)| read(store, &fd),
    )
}

fn read(
    mut store: StoreContextMut<'_, Ctx>,
    fd: &Resource<Descriptor>,
) -> Result<((StreamReader<DirectoryEntry>, FutureReader<Ended>),)> {
    let (ended, has_ended) = oneshot::channel();
    let entries = match list(store.data_mut(), fd)? {
        Ok(listing) => {
            let ended = Some(ended);
            StreamReader::new(&mut store, Entries { listing, ended })?
        }
        Err(code) => {
            // The guest may not care.
            let _ = ended.send(Err(code));
            StreamReader::new(&mut store, iter::empty())?
        }
    };
    Ok(((entries, FutureReader::new(&mut store, has_ended)?),))
}

fn write(
    mut store: StoreContextMut<'_, Ctx>,
    fd: &Resource<Descriptor>,
    mut data: StreamReader<u8>,
    position: Option<u64>,
) -> Result<(FutureReader<Ended>,)> {
    let (ended, has_ended) = oneshot::channel();
    match writable(store.data_mut(), fd, position)? {
        Ok(file) => {
            let bound = store.data_mut().quotas().of(fd);
            // What appends has a handle of its own, which may be open for longer than the guest's.
            if let (Some(bound), None) = (&bound, position) {
                bound.opened(&file);
            }
            let writer = Writer {
                file,
                bound,
                position,
                waiting: None,
                writing: None,
                ended: Some(ended),
            };
            data.pipe(&mut store, writer)?;
        }
        Err(code) => {
            data.close(&mut store)?;
            // The guest may not care.
            let _ = ended.send(Err(code));
        }
    }
    Ok((FutureReader::new(&mut store, has_ended)?,))
}

/// The file behind a descriptor, if it may be written.
fn writable(
    ctx: &mut Ctx,
    fd: &Resource<Descriptor>,
    position: Option<u64>,
) -> Result<std::result::Result<Arc<File>, ErrorCode>> {
    let Descriptor::File(opened) = ctx.table().get(fd)? else {
        return Ok(Err(ErrorCode::BadDescriptor));
    };
    let file = opened.file.clone();
    let is_writable = opened.open_mode.contains(OpenMode::WRITE);
    if opened.perms.write_not_permitted() {
        count_refusal(ctx, fd.rep(), Call::Writes);
        return Ok(Err(ErrorCode::NotPermitted));
    }
    // The handle below is one that may be written, whatever this one is.
    if !is_writable {
        return Ok(Err(ErrorCode::BadDescriptor));
    }
    if position.is_some() {
        return Ok(Ok(file));
    }
    if !has_room(ctx) {
        return Ok(Err(ErrorCode::Quota));
    }
    // Another handle of the same file: only one that appends does so in one step.
    let path = by_handle(&file).ok_or(io::ErrorKind::Unsupported);
    let appends = path.map_err(io::Error::from);
    let appends = appends.and_then(|path| OpenOptions::new().append(true).open(path));
    let appends = appends.map(Arc::new);
    if let Ok(file) = &appends {
        ctx.quotas().open_files().add(file);
    }
    Ok(appends.map_err(ErrorCode::from))
}

impl Writer {
    fn end(&mut self, result: Ended) -> Poll<Result<StreamResult>> {
        if let Some(ended) = self.ended.take() {
            // The guest may not care.
            let _ = ended.send(result);
        }
        Poll::Ready(Ok(StreamResult::Dropped))
    }

    /// Begins to make room for so many more bytes.
    fn charge(&self, bytes: usize) -> Charging {
        charge_piece(self.bound.as_ref(), &self.file, self.position, bytes)
    }

    /// Begins to write a piece that there is room for.
    fn write(&self, piece: Vec<u8>, charged: Option<Charged>) -> Writing {
        let (file, position, length) = (self.file.clone(), self.position, piece.len());
        let write = move || match position {
            None => (&*file).write_all(&piece),
            Some(position) => file.write_all_at(&piece, position),
        };
        Writing {
            task: tokio::task::spawn_blocking(write),
            length,
            _charged: charged,
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.end(Ok(()));
    }
}

impl StreamConsumer<Ctx> for Writer {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'_, Ctx>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let mut source = source.as_direct(store);
        if self.writing.is_none() && self.waiting.is_none() {
            let waiting = source.remaining();
            let piece = waiting[..waiting.len().min(PIECE)].to_vec();
            if piece.is_empty() {
                return Poll::Ready(Ok(StreamResult::Completed));
            }
            self.waiting = Some((self.charge(piece.len()), piece));
        }
        if let Some((charging, piece)) = &mut self.waiting {
            let charged = match charging.as_mut().poll(cx) {
                Poll::Pending if finish => {
                    self.waiting = None;
                    return Poll::Ready(Ok(StreamResult::Cancelled));
                }
                charged => ready!(charged),
            };
            let piece = mem::take(piece);
            self.waiting = None;
            match charged {
                Ok(charged) => self.writing = Some(self.write(piece, charged)),
                Err(denied) => return self.end(Err(denied.into())),
            }
        }
        let Some(writing) = &mut self.writing else {
            return Poll::Pending;
        };
        let length = writing.length;
        if finish {
            // What has not begun is not done; what has is waited for.
            writing.task.abort();
        }
        let written = ready!(Pin::new(&mut writing.task).poll(cx));
        self.writing = None;
        match written {
            Ok(Ok(())) => {
                source.mark_read(length);
                self.position = self.position.map(|at| at.saturating_add(length as u64));
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Ok(Err(error)) => self.end(Err(error.into())),
            Err(_) if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }
}

impl Entries {
    fn end(&mut self, result: Ended) -> StreamResult {
        if let Some(ended) = self.ended.take() {
            // The guest may not care.
            let _ = ended.send(result);
        }
        StreamResult::Dropped
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        self.end(Ok(()));
    }
}

impl StreamProducer<Ctx> for Entries {
    type Item = DirectoryEntry;
    type Buffer = Option<DirectoryEntry>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, Ctx>,
        mut destination: Destination<'a, DirectoryEntry, Self::Buffer>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        // The guest asks only whether there may be one.
        if destination.remaining(&mut store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let found = match self.listing.poll_next(cx) {
            Poll::Ready(found) => found,
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
        };
        Poll::Ready(Ok(match found.map(entry) {
            Some(Ok(entry)) => {
                destination.set_buffer(Some(entry));
                StreamResult::Completed
            }
            Some(Err(code)) => self.end(Err(code)),
            None => self.end(Ok(())),
        }))
    }
}
