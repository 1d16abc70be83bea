//! One request through `wasi:http/handler@0.3`.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
};

use tokio::sync::oneshot;
use wasmtime::{Store, component::Accessor};
use wasmtime_wasi_http::{
    Error, WasiBody,
    p3::{Request, bindings::Service},
};

use crate::{Ctx, call::Answer, error::name_of};

/// Calls the handler of an instance that serves one request at a time. It goes on until the
/// response body has been read or dropped and the guest has no task left.
pub(crate) async fn call(
    store: &mut Store<Ctx>,
    service: &Service,
    request: http::Request<WasiBody>,
    answer: oneshot::Sender<Answer>,
) -> wasmtime::Result<()> {
    store
        .run_concurrent(async |accessor| {
            handle(accessor, service, request, answer).await?;
            poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
            Ok(())
        })
        .await?
}

/// Calls the handler within a running event loop, until the response body has been read or dropped.
pub(crate) async fn handle(
    accessor: &Accessor<Ctx>,
    service: &Service,
    request: http::Request<WasiBody>,
    answer: oneshot::Sender<Answer>,
) -> wasmtime::Result<()> {
    let (request, request_read) = accessor.with(|mut store| {
        let ctx = store.data_mut();
        ctx.receive(|view| {
            let (request, read) = Request::from_http(view.hooks, request);
            let read: Pin<Box<dyn Future<Output = Result<(), Error>> + Send>> = Box::pin(read);
            (request, read)
        })
    });
    let response = match service.handle(accessor, request).await? {
        Ok(response) => response,
        Err(code) => {
            // Nobody waits any more when the deadline has passed.
            let _ = answer.send(Err(name_of(&code)));
            return Ok(());
        }
    };
    // The guest learns of errors while its request body was read and its response body was sent.
    let (sent, was_sent) = oneshot::channel();
    let (body_done, body_is_done) = oneshot::channel::<()>();
    let transmitted = async move {
        was_sent.await.map_err(|_| Error::ConnectionTerminated)?;
        request_read.await
    };
    let response = accessor.with(|store| response.into_http(store, transmitted))?;
    if answer.send(Ok((response, Some(body_done)))).is_ok() && body_is_done.await.is_ok() {
        let _ = sent.send(());
    }
    Ok(())
}
