//! Fetches the URL in its query, by wasi:http 0.3, and answers status and body, or the interface's
//! error. `/post` sends a POST with `hello`.

use wasip3::{
    http::{
        client,
        types::{ErrorCode, Fields, Method, Request, Response, Scheme},
    },
    wit_bindgen, wit_future, wit_stream,
};

wasip3::http::service::export!(Fetch);

struct Fetch;

impl wasip3::exports::http::handler::Guest for Fetch {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let (path, url) = http_answer_async::path_and_query(&request);
        let text = match fetch(&url, path == "/post").await {
            Ok(text) => text,
            Err(code) => format!("{code:?}"),
        };
        Ok(http_answer_async::text(text))
    }
}

async fn fetch(url: &str, post: bool) -> Result<String, ErrorCode> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let scheme = match scheme {
        "https" => Scheme::Https,
        _ => Scheme::Http,
    };
    let (mut body, reader) = wit_stream::new();
    let (trailers, trailers_reader) = wit_future::new(|| Ok(None));
    let contents = post.then_some(reader);
    let (request, _sent) = Request::new(Fields::new(), contents, trailers_reader, None);
    drop(trailers);
    let path = if path.is_empty() { "/" } else { path };
    let method = if post { Method::Post } else { Method::Get };
    request
        .set_method(&method)
        .and_then(|()| request.set_scheme(Some(&scheme)))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(path)))
        .map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    if post {
        wit_bindgen::spawn_local(async move {
            let _ = body.write_all(b"hello".to_vec()).await;
        });
    }
    let response = client::send(request).await?;
    let status = response.get_status_code();
    let (done, done_reader) = wit_future::new(|| Ok(()));
    let (contents, _trailers) = Response::consume_body(response, done_reader);
    drop(done);
    let bytes = contents.collect().await;
    Ok(format!("{status} {}", String::from_utf8_lossy(&bytes)))
}
