//! Fetches the URL in its query, by wasi:http 0.2, and answers status and body, or the interface's
//! error.
//!
//! | path | does |
//! |---|---|
//! | `/?URL` | GET |
//! | `/late?URL` | GET, once it has computed for 20 ms |
//! | `/post?URL` | POST with `hello` |
//! | `/brief?URL` | GET, waiting no longer than 50 ms for an answer, or for more of it |
//! | `/connect?URL` | the method CONNECT |
//! | `/many?N&URL` | N GETs, one after another; answers how many got a 200 |
//! | `/hold?N&URL` | N GETs whose answers are left open; answers how many were answered |

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use wasip2::http::{
    outgoing_handler,
    types::{
        ErrorCode, Fields, IncomingBody, IncomingRequest, IncomingResponse, Method, OutgoingBody,
        OutgoingRequest, RequestOptions, ResponseOutparam, Scheme,
    },
};

wasip2::http::proxy::export!(Fetch);

struct Fetch;

impl wasip2::exports::http::incoming_handler::Guest for Fetch {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, query) = http_answer::path_and_query(&request);
        let (count, url) = match query.split_once('&') {
            Some((count, url)) => (count.parse().unwrap_or(1), url),
            None => (1, query.as_str()),
        };
        let answer = match path.as_str() {
            "/late" => {
                compute::compute(Duration::from_millis(20));
                text(send(Method::Get, url, b""))
            }
            "/brief" => text(send_with(Some(brief()), Method::Get, url, b"")),
            "/post" => text(send(Method::Post, url, b"hello")),
            "/connect" => text(send(Method::Connect, url, b"")),
            "/many" => {
                let fine = |_: &u32| text(send(Method::Get, url, b"")).starts_with("200");
                (0..count).filter(fine).count().to_string()
            }
            "/hold" => {
                let all: Vec<_> = (0..count).map(|_| send(Method::Get, url, b"")).collect();
                all.iter()
                    .filter(|answer| answer.is_ok())
                    .count()
                    .to_string()
            }
            _ => text(send(Method::Get, url, b"")),
        };
        http_answer::text(out, 200, &answer);
    }
}

/// Options of who doesn't wait for long.
fn brief() -> RequestOptions {
    let options = RequestOptions::new();
    options
        .set_first_byte_timeout(Some(50_000_000))
        .and_then(|()| options.set_between_bytes_timeout(Some(50_000_000)))
        .expect("the host knows these options");
    options
}

fn send(method: Method, url: &str, body: &[u8]) -> Result<IncomingResponse, ErrorCode> {
    send_with(None, method, url, body)
}

fn send_with(
    options: Option<RequestOptions>,
    method: Method,
    url: &str,
    body: &[u8],
) -> Result<IncomingResponse, ErrorCode> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let scheme = match scheme {
        "https" => Scheme::Https,
        "http" => Scheme::Http,
        other => Scheme::Other(other.into()),
    };
    let request = OutgoingRequest::new(Fields::new());
    request
        .set_method(&method)
        .and_then(|()| request.set_scheme(Some(&scheme)))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(if path.is_empty() { "/" } else { path })))
        .map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    let outgoing = request.body().expect("the body is taken once");
    let pending = outgoing_handler::handle(request, options)?;
    let mut stream = outgoing.write().expect("the stream is taken once");
    let _ = stream.write_all(body);
    drop(stream);
    OutgoingBody::finish(outgoing, None)?;
    pending.subscribe().block();
    pending
        .get()
        .expect("it is ready")
        .expect("it is taken once")
}

fn text(answer: Result<IncomingResponse, ErrorCode>) -> String {
    let response = match answer {
        Ok(response) => response,
        Err(code) => return format!("{code:?}"),
    };
    let status = response.status();
    let body: IncomingBody = response.consume().expect("the body is taken once");
    let mut stream = body.stream().expect("the stream is taken once");
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => format!("{status} {}", String::from_utf8_lossy(&bytes)),
        Err(error) => format!("{status} and then {error}"),
    }
}
