//! What every guest of wasi:http 0.2 does: split the request's path from its query, and send a
//! whole response.

use std::io::Write as _;

use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

/// Path and query of a request; the query is empty if there is none.
pub fn path_and_query(request: &IncomingRequest) -> (String, String) {
    let target = request.path_with_query().unwrap_or_else(|| "/".into());
    match target.split_once('?') {
        Some((path, query)) => (path.into(), query.into()),
        None => (target, String::new()),
    }
}

/// Sends headers with a status, and gives the body to write. `body.finish()` ends the response.
pub fn start(out: ResponseOutparam, status: u16, content_type: &str) -> OutgoingBody {
    start_with(
        out,
        status,
        &[("content-type", vec![content_type.as_bytes().to_vec()])],
    )
}

/// The same with any headers; those without values are left out.
pub fn start_with(
    out: ResponseOutparam,
    status: u16,
    fields: &[(&str, Vec<Vec<u8>>)],
) -> OutgoingBody {
    let headers = Fields::new();
    for (name, values) in fields.iter().filter(|(_, values)| !values.is_empty()) {
        headers.set(name, values).expect("the header may be set");
    }
    let response = OutgoingResponse::new(headers);
    response.set_status_code(status).expect("a valid status");
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(out, Ok(response));
    body
}

/// Sends a whole text response. A client that left is no error.
pub fn text(out: ResponseOutparam, status: u16, text: &str) {
    let body = start(out, status, "text/plain; charset=utf-8");
    {
        let mut stream = body.write().expect("the stream is taken once");
        if stream.write_all(text.as_bytes()).is_err() || stream.flush().is_err() {
            return;
        }
    }
    let _ = OutgoingBody::finish(body, None);
}
