//! The calls of a guest.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, ReadBuf},
    sync::OwnedSemaphorePermit,
};
use waft_ir::LogSource;
use waft_runtime::Refusal;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::pipe::AsyncReadStream;
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream};

use super::{
    Bound, Entry, Place, View,
    body::Body,
    check_writable,
    store::{Container, Info, PAGE, Reader, Span, StoreError, check_name, shown, unreadable},
    wit::{blobstore, container, types},
};
use crate::slots::BLOBSTORE;

/// A container that a guest has opened.
#[expect(unreachable_pub, reason = "the bindings re-export it")]
#[derive(Clone)]
pub struct Open {
    /// As the guest says it.
    identifier: String,
    container: Arc<dyn Container>,
    /// The entry that granted it, and its name there.
    entry: Arc<Entry>,
    name: String,
}

/// A value that a guest writes.
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct Outgoing {
    body: Body,
    /// The stream was given.
    is_open: bool,
    destination: Option<(Open, String)>,
    _permit: Option<OwnedSemaphorePermit>,
}

/// A value that a guest reads.
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct Incoming {
    size: u64,
    reader: Permitted,
}

/// The names of a container's objects, from some on.
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct Names {
    container: Arc<dyn Container>,
    /// Those that were asked for and not read.
    page: VecDeque<String>,
    /// The last that was asked for.
    last: Option<String>,
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

/// Reads while the guest has leave to.
struct Permitted {
    reader: Reader,
    _permit: OwnedSemaphorePermit,
}

/// Bytes of a value that is read at once.
const AT_ONCE: u64 = 16 << 20;

type Answer<T> = wasmtime::Result<Result<T, String>>;

impl View<'_> {
    fn bound(&self) -> wasmtime::Result<Arc<Bound>> {
        // Linking refuses components whose import was not granted, so this is the host's mistake.
        let bound = self.0.slot::<Arc<Bound>>(BLOBSTORE).cloned();
        bound.ok_or_else(|| wasmtime::format_err!("wasi:blobstore was not granted"))
    }

    /// What a handle is to, if `container` may be used on it.
    fn open(&mut self, handle: &Resource<Open>) -> wasmtime::Result<Result<Open, StoreError>> {
        let granted = &self.bound()?.granted;
        let open = self.0.table().get(handle)?.clone();
        Ok(
            match granted.permits(&open.entry, &open.name, "container") {
                true => Ok(open),
                false => Err(StoreError::NotListed(open.identifier)),
            },
        )
    }

    /// The answer to a guest. What it was refused is counted.
    fn said<T>(&self, result: Result<T, StoreError>) -> Answer<T> {
        Ok(result.map_err(|error| {
            let refusal = match &error {
                StoreError::NotGranted(_) | StoreError::NotListed(_) | StoreError::NotOwned => {
                    Some(Refusal::Bucket)
                }
                StoreError::ReadOnly(_) => Some(Refusal::ReadOnlyBucket),
                StoreError::Full(_) | StoreError::Staging(_) => Some(Refusal::StoreFull),
                StoreError::TooMany(_) => Some(Refusal::OpenFiles),
                StoreError::Name | StoreError::Gone | StoreError::Other(_) => None,
            };
            if let Some(refusal) = refusal {
                self.0.count_refusal(refusal);
            }
            error.to_string()
        }))
    }
}

/// What is granted, or else the answer that it is not.
macro_rules! granted {
    ($view:ident, $open:expr) => {
        match $open? {
            Ok(open) => open,
            Err(error) => return $view.said(Err(error)),
        }
    };
}

impl Open {
    fn new(place: &Place<'_>, container: Arc<dyn Container>) -> Self {
        Self {
            identifier: place.identifier.to_owned(),
            container,
            entry: place.entry.clone(),
            name: place.container.to_owned(),
        }
    }

    fn check_writable(&self) -> Result<(), StoreError> {
        check_writable(&self.identifier, self.entry.of.read_only)
    }
}

fn no_object(name: &str) -> StoreError {
    StoreError::Other(format!("there is no object `{}`", shown(name)))
}

impl blobstore::Host for View<'_> {
    async fn create_container(&mut self, name: String) -> Answer<Resource<Open>> {
        let bound = self.bound()?;
        match create(&bound, &name).await {
            Ok(open) => Ok(Ok(self.0.table().push(open)?)),
            Err(error) => self.said(Err(error)),
        }
    }

    async fn get_container(&mut self, name: String) -> Answer<Resource<Open>> {
        let bound = self.bound()?;
        match find(&bound, &name).await {
            Ok(open) => Ok(Ok(self.0.table().push(open)?)),
            Err(error) => self.said(Err(error)),
        }
    }

    async fn delete_container(&mut self, name: String) -> Answer<()> {
        let bound = self.bound()?;
        let done = delete(&bound, &name).await;
        self.said(done)
    }

    async fn container_exists(&mut self, name: String) -> Answer<bool> {
        let bound = self.bound()?;
        let exists = match bound.place(&name) {
            Ok(place) => place.look().await.map(|found| found.is_some()),
            Err(error) => Err(error),
        };
        self.said(exists)
    }

    async fn copy_object(&mut self, from: types::ObjectId, to: types::ObjectId) -> Answer<()> {
        let bound = self.bound()?;
        let done = copy(&bound, &from, &to, false).await;
        self.said(done)
    }

    async fn move_object(&mut self, from: types::ObjectId, to: types::ObjectId) -> Answer<()> {
        let bound = self.bound()?;
        let done = copy(&bound, &from, &to, true).await;
        self.said(done)
    }
}

async fn find(bound: &Bound, name: &str) -> Result<Open, StoreError> {
    let place = bound.place(name)?;
    Ok(Open::new(&place, place.find().await?))
}

async fn create(bound: &Bound, name: &str) -> Result<Open, StoreError> {
    let place = bound.place(name)?;
    let container = match place.look().await? {
        Some(known) => known,
        None => {
            place.check_writable()?;
            let store = &place.entry.of.store;
            store.create(place.namespace, place.container).await?
        }
    };
    Ok(Open::new(&place, container))
}

async fn delete(bound: &Bound, name: &str) -> Result<(), StoreError> {
    let place = bound.place(name)?;
    place.check_writable()?;
    let store = &place.entry.of.store;
    store.delete(place.namespace, place.container).await
}

/// Copies an object, and then deletes it if it is to be moved.
async fn copy(
    bound: &Bound,
    from: &types::ObjectId,
    to: &types::ObjectId,
    is_move: bool,
) -> Result<(), StoreError> {
    let (source, target) = (bound.place(&from.container)?, bound.place(&to.container)?);
    target.check_writable()?;
    if is_move {
        source.check_writable()?;
    }
    check_name(&to.object)?;
    let _permit = bound.one_more()?;
    let (old, new) = (source.find().await?, target.find().await?);
    let content = old.read(&from.object, Span::ALL).await?;
    let content = content.ok_or_else(|| no_object(&from.object))?;
    if source.is(&target) && from.object == to.object {
        return Ok(());
    }
    let staged = bound.staging.begin(&bound.granted.namespace);
    let staged = staged.read_from(content.reader).await?;
    new.write(&to.object, staged).await?;
    match is_move {
        true => old.delete(std::slice::from_ref(&from.object)).await,
        false => Ok(()),
    }
}

impl container::Host for View<'_> {}

impl container::HostContainer for View<'_> {
    async fn name(&mut self, container: Resource<Open>) -> Answer<String> {
        let open = granted!(self, self.open(&container));
        Ok(Ok(open.identifier))
    }

    async fn info(&mut self, container: Resource<Open>) -> Answer<types::ContainerMetadata> {
        let open = granted!(self, self.open(&container));
        Ok(Ok(types::ContainerMetadata {
            created_at: open.container.created(),
            name: open.identifier,
        }))
    }

    async fn get_data(
        &mut self,
        container: Resource<Open>,
        name: String,
        first: u64,
        last: u64,
    ) -> Answer<Resource<Incoming>> {
        let open = granted!(self, self.open(&container));
        let bound = self.bound()?;
        match read(&bound, &open, &name, Span { first, last }).await {
            Ok(incoming) => Ok(Ok(self.0.table().push(incoming)?)),
            Err(error) => self.said(Err(error)),
        }
    }

    async fn write_data(
        &mut self,
        container: Resource<Open>,
        name: String,
        value: Resource<Outgoing>,
    ) -> Answer<()> {
        let open = granted!(self, self.open(&container));
        let value = self.0.table().get_mut(&value)?;
        if value.destination.is_some() {
            return Ok(Err("the value is written to another object already".into()));
        }
        let allowed = open.check_writable();
        let allowed = allowed.and_then(|()| check_name(&name));
        if allowed.is_ok() {
            value.destination = Some((open, name));
        }
        self.said(allowed)
    }

    async fn list_objects(&mut self, container: Resource<Open>) -> Answer<Resource<Names>> {
        let open = granted!(self, self.open(&container));
        let permit = match self.bound()?.one_more() {
            Ok(permit) => permit,
            Err(error) => return self.said(Err(error)),
        };
        let names = Names {
            container: open.container,
            page: VecDeque::new(),
            last: None,
            ended: false,
            _permit: permit,
        };
        Ok(Ok(self.0.table().push(names)?))
    }

    async fn delete_object(&mut self, container: Resource<Open>, name: String) -> Answer<()> {
        self.delete_objects(container, vec![name]).await
    }

    async fn delete_objects(
        &mut self,
        container: Resource<Open>,
        names: Vec<String>,
    ) -> Answer<()> {
        let open = granted!(self, self.open(&container));
        let done = match open.check_writable() {
            Ok(()) => delete_all(&*open.container, &names).await,
            refused => refused,
        };
        self.said(done)
    }

    async fn has_object(&mut self, container: Resource<Open>, name: String) -> Answer<bool> {
        let open = granted!(self, self.open(&container));
        let info = open.container.info(&name).await;
        self.said(info.map(|info| info.is_some()))
    }

    async fn object_info(
        &mut self,
        container: Resource<Open>,
        name: String,
    ) -> Answer<types::ObjectMetadata> {
        let open = granted!(self, self.open(&container));
        let info = open.container.info(&name).await;
        let info = info.and_then(|info| info.ok_or_else(|| no_object(&name)));
        self.said(info.map(|Info { created, size }| types::ObjectMetadata {
            name,
            container: open.identifier,
            created_at: created,
            size,
        }))
    }

    async fn clear(&mut self, container: Resource<Open>) -> Answer<()> {
        let open = granted!(self, self.open(&container));
        let done = match open.check_writable() {
            Ok(()) => open.container.clear().await,
            refused => refused,
        };
        self.said(done)
    }

    async fn drop(&mut self, container: Resource<Open>) -> wasmtime::Result<()> {
        self.0.table().delete(container)?;
        Ok(())
    }
}

/// Deletes objects, some at a time: there may be many, and a store in memory never waits.
async fn delete_all(container: &dyn Container, names: &[String]) -> Result<(), StoreError> {
    for (at, some) in names.chunks(PAGE).enumerate() {
        if at > 0 {
            tokio::task::yield_now().await;
        }
        container.delete(some).await?;
    }
    Ok(())
}

async fn read(bound: &Bound, open: &Open, name: &str, span: Span) -> Result<Incoming, StoreError> {
    if span.first > span.last {
        let text = format!(
            "the range ends before it begins: {} to {}",
            span.first, span.last
        );
        return Err(StoreError::Other(text));
    }
    let permit = bound.one_more()?;
    let content = open.container.read(name, span).await?;
    let content = content.ok_or_else(|| no_object(name))?;
    Ok(Incoming {
        size: content.size,
        reader: Permitted {
            reader: content.reader,
            _permit: permit,
        },
    })
}

impl container::HostStreamObjectNames for View<'_> {
    async fn read_stream_object_names(
        &mut self,
        names: Resource<Names>,
        len: u64,
    ) -> Answer<(Vec<String>, bool)> {
        let next = self.0.table().get_mut(&names)?.next(len).await;
        self.said(next)
    }

    async fn skip_stream_object_names(
        &mut self,
        names: Resource<Names>,
        len: u64,
    ) -> Answer<(u64, bool)> {
        let names = self.0.table().get_mut(&names)?;
        let mut skipped = 0;
        loop {
            match names.next(len - skipped).await {
                Ok((some, ended)) => {
                    skipped += some.len() as u64;
                    if ended || skipped == len {
                        return Ok(Ok((skipped, ended)));
                    }
                    tokio::task::yield_now().await;
                }
                Err(error) => return self.said(Err(error)),
            }
        }
    }

    async fn drop(&mut self, names: Resource<Names>) -> wasmtime::Result<()> {
        self.0.table().delete(names)?;
        Ok(())
    }
}

impl Names {
    /// At most so many, at least one if there is one and any is wanted; and whether none is left.
    async fn next(&mut self, most: u64) -> Result<(Vec<String>, bool), StoreError> {
        if self.page.is_empty() {
            self.ask().await?;
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let some: Vec<_> = self.page.drain(..most.min(self.page.len())).collect();
        if self.page.is_empty() {
            // Whether these were the last is known when there are no others.
            self.ask().await?;
        }
        Ok((some, self.page.is_empty()))
    }

    async fn ask(&mut self) -> Result<(), StoreError> {
        if !self.ended {
            let names = self.container.list(self.last.as_deref()).await?;
            self.ended = names.len() < PAGE;
            self.last = names.last().cloned().or(self.last.take());
            self.page = names.into();
        }
        Ok(())
    }
}

impl types::Host for View<'_> {}

impl types::HostOutgoingValue for View<'_> {
    async fn new_outgoing_value(&mut self) -> wasmtime::Result<Resource<Outgoing>> {
        let bound = self.bound()?;
        // There is no other place to say that there are too many than where it is written.
        let (permit, staged) = match bound.one_more() {
            Ok(permit) => {
                let namespace = &bound.granted.namespace;
                (Some(permit), Ok(bound.staging.begin(namespace)))
            }
            Err(error) => (None, Err(error)),
        };
        let value = Outgoing {
            body: Body::new(staged),
            is_open: false,
            destination: None,
            _permit: permit,
        };
        Ok(self.0.table().push(value)?)
    }

    async fn outgoing_value_write_body(
        &mut self,
        value: Resource<Outgoing>,
    ) -> wasmtime::Result<Result<Resource<DynOutputStream>, ()>> {
        let value = self.0.table().get_mut(&value)?;
        if value.is_open || value.body.has_failed() {
            return Ok(Err(()));
        }
        value.is_open = true;
        let stream: DynOutputStream = Box::new(value.body.clone());
        Ok(Ok(self.0.table().push(stream)?))
    }

    async fn finish(&mut self, value: Resource<Outgoing>) -> Answer<()> {
        let value = self.0.table().delete(value)?;
        let staged = match value.body.take().await {
            Ok(staged) => staged,
            Err(error) => return self.said(Err(error)),
        };
        match value.destination {
            Some((open, name)) => {
                let stored = open.container.write(&name, staged).await;
                self.said(stored)
            }
            None => Ok(Err(
                "nothing was stored: call `write-data` before `finish`".into()
            )),
        }
    }

    async fn drop(&mut self, value: Resource<Outgoing>) -> wasmtime::Result<()> {
        let value = self.0.table().delete(value)?;
        value.body.discard();
        if let Some((open, name)) = value.destination {
            let text = format!(
                "wasi:blobstore: `{}` in `{}` was written and not stored: call `finish` on its \
                 outgoing-value",
                shown(&name),
                shown(&open.identifier)
            );
            self.0.log_line(LogSource::Host, &text);
        }
        Ok(())
    }
}

impl types::HostIncomingValue for View<'_> {
    async fn incoming_value_consume_sync(&mut self, value: Resource<Incoming>) -> Answer<Vec<u8>> {
        let Incoming { size, mut reader } = self.0.table().delete(value)?;
        if size > AT_ONCE {
            let text = format!(
                "the value has {size} bytes, and {AT_ONCE} is the most at once: use \
                 `incoming-value-consume-async`"
            );
            return Ok(Err(text));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        let read = reader.read_to_end(&mut bytes).await;
        self.said(read.map(|_| bytes).map_err(unreadable))
    }

    async fn incoming_value_consume_async(
        &mut self,
        value: Resource<Incoming>,
    ) -> Answer<Resource<DynInputStream>> {
        let value = self.0.table().delete(value)?;
        let stream: DynInputStream = Box::new(AsyncReadStream::new(value.reader));
        Ok(Ok(self.0.table().push(stream)?))
    }

    async fn size(&mut self, value: Resource<Incoming>) -> wasmtime::Result<u64> {
        Ok(self.0.table().get(&value)?.size)
    }

    async fn drop(&mut self, value: Resource<Incoming>) -> wasmtime::Result<()> {
        self.0.table().delete(value)?;
        Ok(())
    }
}

impl AsyncRead for Permitted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(context, buffer)
    }
}
