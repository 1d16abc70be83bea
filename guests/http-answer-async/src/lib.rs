//! What guests of wasi:http 0.3 do: split the request's path from its query, and give a text as a
//! response.

use wasip3::{
    http::types::{Fields, Request, Response},
    wit_bindgen, wit_future, wit_stream,
};

/// Path and query of a request; the query is empty if there is none.
pub fn path_and_query(request: &Request) -> (String, String) {
    let target = request.get_path_with_query().unwrap_or_else(|| "/".into());
    match target.split_once('?') {
        Some((path, query)) => (path.into(), query.into()),
        None => (target, String::new()),
    }
}

/// A text response whose body is written while it is sent.
pub fn text(text: String) -> Response {
    let headers = Fields::new();
    headers
        .set("content-type", &[b"text/plain; charset=utf-8".to_vec()])
        .expect("content-type may be set");
    let (mut body, reader) = wit_stream::new();
    let (trailers, trailers_reader) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(headers, Some(reader), trailers_reader);
    drop(trailers);
    wit_bindgen::spawn_local(async move {
        // What is left over was not wanted: the client has gone.
        let _ = body.write_all(text.into_bytes()).await;
    });
    response
}
