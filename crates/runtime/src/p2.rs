//! One request through `wasi:http/incoming-handler@0.2`.

use tokio::sync::oneshot;
use wasmtime::{Store, component::Resource};
use wasmtime_wasi_http::{
    WasiBody, WasiHttpView,
    p2::bindings::{
        Proxy,
        http::types::{IncomingRequest, ResponseOutparam, Scheme},
    },
};

use crate::{Ctx, call::Answer, error::name_of};

/// What the handler is called with.
pub(crate) type Arguments = (Resource<IncomingRequest>, Resource<ResponseOutparam>);

/// Puts a request where the guest finds it. The answer is sent when the guest sets it.
pub(crate) fn take_in(
    store: &mut Store<Ctx>,
    request: http::Request<WasiBody>,
    answer: oneshot::Sender<Answer>,
) -> wasmtime::Result<Arguments> {
    let scheme = match request.uri().scheme_str() {
        Some("https") => Scheme::Https,
        _ => Scheme::Http,
    };
    let ctx = store.data_mut();
    let request = ctx.receive(|mut view| view.new_incoming_request(scheme, request))?;
    let mut view = ctx.http();
    let outparam = view.new_response_outparam_from_callback(move |result| {
        let result = result.map_err(|code| name_of(&code));
        // Nobody waits any more when the deadline has passed.
        let _ = answer.send(result.map(|response| (response, None)));
    })?;
    Ok((request, outparam))
}

/// Calls the handler. The call goes on until the guest returns, usually after it has written the
/// body.
pub(crate) async fn call(
    store: &mut Store<Ctx>,
    proxy: &Proxy,
    (request, outparam): Arguments,
) -> wasmtime::Result<()> {
    proxy
        .wasi_http_incoming_handler()
        .call_handle(store, request, outparam)
        .await
}
