//! Keeps objects in `wasi:blobstore`, and streams them in and out.
//!
//! | request | does |
//! |---|---|
//! | `POST /CONTAINER/OBJECT` | stores the body, in a new container if there is none |
//! | `GET /CONTAINER/OBJECT` | streams the object back; `?FIRST-LAST`: some of its bytes |
//! | `DELETE /CONTAINER/OBJECT`, `DELETE /CONTAINER` | deletes an object, or a container with all of them |
//! | `GET /CONTAINER` | answers the names of the objects |
//! | `GET /CONTAINER/OBJECT?info` | answers what is known of an object |
//! | `POST /CONTAINER/OBJECT?copy=CONTAINER/OBJECT`, `?move=…` | what they are called |
//! | `POST /CONTAINER?clear` | deletes all objects |
//! | `POST /CONTAINER/OBJECT?late` | writes all of the body before it says where it goes |
//! | `POST /CONTAINER/OBJECT?lost` | writes the body and never finishes it |
//! | `POST /CONTAINER/OBJECT?orphan` | keeps the stream of a value that it drops, and answers whether that is closed |
//! | `GET /CONTAINER/OBJECT?held` | opens values of an object until it can't, and answers how many |
//! | `GET /CONTAINER?held` | the same with lists of its objects |

use wasip2::{
    http::types::{IncomingRequest, Method, OutgoingBody, ResponseOutparam},
    io::streams::{InputStream, OutputStream, StreamError},
};

wit_bindgen::generate!({
    path: "../wit/blobstore",
    with: { "wasi:io/streams@0.2.1": wasip2::io::streams },
    generate_all,
});
wasip2::http::proxy::export!(Keeper);

use wasi::blobstore::{
    blobstore::{self, ObjectId},
    container::Container,
    types::{IncomingValue, OutgoingValue},
};

/// Bytes moved at a time.
const PART: u64 = 64 << 10;

struct Keeper;

/// What a path and a query name.
struct Wanted<'a> {
    container: &'a str,
    object: Option<&'a str>,
    query: &'a str,
}

impl wasip2::exports::http::incoming_handler::Guest for Keeper {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, query) = http_answer::path_and_query(&request);
        let path = path.trim_start_matches('/');
        let (container, object) = match path.split_once('/') {
            Some((container, object)) => (container, Some(object)),
            None => (path, None),
        };
        let wanted = Wanted {
            container,
            object,
            query: &query,
        };
        let answer = match (request.method(), object) {
            (Method::Get, Some(object)) if !matches!(&*query, "info" | "held") => {
                match find(container, object, &query) {
                    Ok(value) => return send(value, out),
                    Err(error) => Err(error),
                }
            }
            (Method::Get, _) => show(&wanted),
            (Method::Post, _) => change(&request, &wanted),
            (Method::Delete, Some(object)) => delete(container, object),
            (Method::Delete, None) => blobstore::delete_container(container).map(|()| done()),
            _ => Err("GET, POST or DELETE".into()),
        };
        match answer {
            Ok(text) => http_answer::text(out, 200, &text),
            Err(error) => http_answer::text(out, 400, &error),
        }
    }
}

fn done() -> String {
    "done".into()
}

fn find(container: &str, object: &str, range: &str) -> Result<IncomingValue, String> {
    let (first, last) = range.split_once('-').unwrap_or_default();
    let first = first.parse().unwrap_or(0);
    let last = last.parse().unwrap_or(u64::MAX);
    blobstore::get_container(container)?.get_data(object, first, last)
}

fn send(value: IncomingValue, out: ResponseOutparam) {
    let body = http_answer::start(out, 200, "application/octet-stream");
    {
        let stream = body.write().expect("the stream is taken once");
        // A client that left, or a store that fails, ends the answer before its end.
        if IncomingValue::incoming_value_consume_async(value)
            .and_then(|bytes| pipe(&bytes, &stream))
            .is_err()
        {
            return;
        }
    }
    let _ = OutgoingBody::finish(body, None);
}

fn show(wanted: &Wanted<'_>) -> Result<String, String> {
    let container = blobstore::get_container(wanted.container)?;
    match (wanted.object, wanted.query) {
        (Some(object), "held") => {
            let open = |_| container.get_data(object, 0, u64::MAX).ok();
            // All of them stay open meanwhile.
            let held: Vec<_> = (0..10_000).map_while(open).collect();
            Ok(held.len().to_string())
        }
        (None, "held") => {
            let open = |_| container.list_objects().ok();
            let held: Vec<_> = (0..10_000).map_while(open).collect();
            Ok(held.len().to_string())
        }
        (Some(object), _) => {
            let info = container.object_info(object)?;
            let (of, made) = (
                container.info()?,
                info.created_at >= container.info()?.created_at,
            );
            Ok(format!(
                "{}/{}: {} bytes, made after: {made}",
                of.name, info.name, info.size
            ))
        }
        (None, _) => {
            let names = container.list_objects()?;
            let mut all = Vec::new();
            loop {
                let (some, ended) = names.read_stream_object_names(2)?;
                all.extend(some);
                if ended {
                    all.sort();
                    return Ok(all.join(" "));
                }
            }
        }
    }
}

fn change(request: &IncomingRequest, wanted: &Wanted<'_>) -> Result<String, String> {
    let Some(object) = wanted.object else {
        blobstore::get_container(wanted.container)?.clear()?;
        return Ok(done());
    };
    if let Some((act, target)) = wanted.query.split_once('=') {
        let (to, name) = target.split_once('/').unwrap_or((target, object));
        let id = |container: &str, object: &str| ObjectId {
            container: container.into(),
            object: object.into(),
        };
        let (from, to) = (id(wanted.container, object), id(to, name));
        match act {
            "copy" => blobstore::copy_object(&from, &to)?,
            _ => blobstore::move_object(&from, &to)?,
        }
        return Ok(done());
    }
    let container = blobstore::create_container(wanted.container)?;
    store(request, &container, object, wanted.query)
}

fn store(
    request: &IncomingRequest,
    container: &Container,
    object: &str,
    how: &str,
) -> Result<String, String> {
    let body = request.consume().map_err(|()| "no body")?;
    let bytes = body.stream().map_err(|()| "no body")?;
    let value = OutgoingValue::new_outgoing_value();
    if how != "late" {
        container.write_data(object, &value)?;
    }
    if how == "orphan" {
        let stream = value.outgoing_value_write_body();
        drop(value);
        let is_closed = matches!(
            stream.map(|s| s.check_write()),
            Ok(Err(StreamError::Closed))
        );
        return Ok(format!("closed: {is_closed}"));
    }
    let written = {
        let Ok(stream) = value.outgoing_value_write_body() else {
            OutgoingValue::finish(value)?;
            return Err("no stream".into());
        };
        pipe(&bytes, &stream)?
    };
    match how {
        "late" => container.write_data(object, &value)?,
        "lost" => return Ok("lost".into()),
        _ => {}
    }
    OutgoingValue::finish(value)?;
    Ok(format!("{written} bytes"))
}

fn delete(container: &str, object: &str) -> Result<String, String> {
    let container = blobstore::get_container(container)?;
    let was_there = container.has_object(object)?;
    container.delete_objects(&[object.to_owned(), "never-there".into()])?;
    Ok(format!("was there: {was_there}"))
}

/// Moves bytes from one stream to the other within the host, and says how many.
fn pipe(from: &InputStream, to: &OutputStream) -> Result<u64, String> {
    let mut moved = 0;
    loop {
        match to.blocking_splice(from, PART) {
            Ok(some) => moved += some,
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string()),
        }
    }
    match to.blocking_flush() {
        Ok(()) | Err(StreamError::Closed) => Ok(moved),
        Err(StreamError::LastOperationFailed(error)) => Err(error.to_debug_string()),
    }
}
