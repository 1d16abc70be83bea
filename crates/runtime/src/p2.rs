//! One request through `wasi:http/incoming-handler@0.2`.

use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime_wasi_http::{
    WasiBody, WasiHttpView,
    p2::bindings::{Proxy, http::types::Scheme},
};

use crate::{Ctx, call::Answer};

/// Calls the handler. The answer is sent when the guest sets it; the call goes on until the guest
/// returns, usually after it has written the body.
pub(crate) async fn call(
    store: &mut Store<Ctx>,
    proxy: &Proxy,
    request: http::Request<WasiBody>,
    answer: oneshot::Sender<Answer>,
) -> wasmtime::Result<()> {
    let scheme = match request.uri().scheme_str() {
        Some("https") => Scheme::Https,
        _ => Scheme::Http,
    };
    let ctx = store.data_mut();
    let request = ctx.receive(|mut view| view.new_incoming_request(scheme, request))?;
    let mut view = ctx.http();
    let outparam = view.new_response_outparam_from_callback(move |result| {
        let result = result.map_err(|code| format!("{code:?}"));
        // Nobody waits any more when the deadline has passed.
        let _ = answer.send(result.map(|response| (response, None)));
    })?;
    proxy
        .wasi_http_incoming_handler()
        .call_handle(store, request, outparam)
        .await
}
