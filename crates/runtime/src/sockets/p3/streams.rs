//! Connections, and what flows through them, as streams of the component model.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::BytesMut;
use tokio::sync::oneshot;
use wasmtime::{
    AsContextMut as _, StoreContextMut,
    component::{Destination, Resource, Source, StreamConsumer, StreamProducer, StreamResult},
};

use super::bindings::wasi::sockets::types::ErrorCode;
use crate::{
    Ctx,
    sockets::{
        error::Code,
        stream::{Incoming, Outgoing},
        tcp::{Acceptor, TcpSocket},
    },
};

/// Tells the guest how one direction ended.
pub(super) type Ended = oneshot::Sender<Result<(), ErrorCode>>;

/// One direction, until it has ended.
pub(super) struct Direction<T>(Option<(T, Ended)>);

/// The connections that a listener takes.
pub(super) struct Accepted(pub(super) Acceptor);

/// What a stream says when nothing can be done now.
fn later(finish: bool) -> Poll<wasmtime::Result<StreamResult>> {
    if finish {
        Poll::Ready(Ok(StreamResult::Cancelled))
    } else {
        Poll::Pending
    }
}

impl<T> Direction<T> {
    pub(super) fn new(direction: T, ended: Ended) -> Self {
        Self(Some((direction, ended)))
    }

    fn end(&mut self, result: Result<(), Code>) -> Poll<wasmtime::Result<StreamResult>> {
        if let Some((direction, ended)) = self.0.take() {
            drop(direction);
            // The guest may not care.
            let _ = ended.send(result.map_err(ErrorCode::from));
        }
        Poll::Ready(Ok(StreamResult::Dropped))
    }
}

impl<T> Drop for Direction<T> {
    fn drop(&mut self) {
        let _ = self.end(Ok(()));
    }
}

impl StreamProducer<Ctx> for Accepted {
    type Item = Resource<TcpSocket>;
    type Buffer = Option<Self::Item>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, Ctx>,
        mut into: Destination<'a, Self::Item, Self::Buffer>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if into.remaining(&mut store) == Some(0) {
            return match self.0.poll_ready(cx) {
                Poll::Ready(()) => Poll::Ready(Ok(StreamResult::Completed)),
                Poll::Pending => later(finish),
            };
        }
        let Poll::Ready(socket) = self.0.poll_accept(cx) else {
            return later(finish);
        };
        let socket = store.data_mut().table().push(socket)?;
        into.set_buffer(Some(socket));
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

impl StreamProducer<Ctx> for Direction<Incoming> {
    type Item = u8;
    type Buffer = BytesMut;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, Ctx>,
        into: Destination<'a, Self::Item, Self::Buffer>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let Some((incoming, _)) = &mut self.0 else {
            return Poll::Ready(Ok(StreamResult::Dropped));
        };
        if into.remaining(store.as_context_mut()) == Some(0) {
            return match incoming.poll_ready(cx) {
                Poll::Ready(()) => Poll::Ready(Ok(StreamResult::Completed)),
                Poll::Pending => later(finish),
            };
        }
        let mut into = into.as_direct(store, 8 << 10);
        match incoming.poll_read(cx, into.remaining()) {
            Poll::Pending => later(finish),
            Poll::Ready(Ok(0)) => self.end(Ok(())),
            Poll::Ready(Ok(length)) => {
                into.mark_written(length);
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Poll::Ready(Err(code)) => self.end(Err(code)),
        }
    }
}

impl StreamConsumer<Ctx> for Direction<Outgoing> {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'_, Ctx>,
        source: Source<'_, Self::Item>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let Some((outgoing, _)) = &mut self.0 else {
            return Poll::Ready(Ok(StreamResult::Dropped));
        };
        let mut source = source.as_direct(store);
        if source.remaining().is_empty() {
            return match outgoing.poll_room(cx) {
                Poll::Ready(_) => Poll::Ready(Ok(StreamResult::Completed)),
                Poll::Pending => later(finish),
            };
        }
        match outgoing.poll_write(cx, source.remaining()) {
            Poll::Pending => later(finish),
            Poll::Ready(Ok(length)) => {
                source.mark_read(length);
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Poll::Ready(Err(code)) => self.end(Err(code)),
        }
    }
}
