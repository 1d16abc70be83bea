//! Hands the request's body and trailers on as the response's.

use wasip3::{
    http::types::{ErrorCode, Fields, Request, Response},
    wit_future,
};

wasip3::http::service::export!(Echo);

struct Echo;

impl wasip3::exports::http::handler::Guest for Echo {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        // HTTP/1.1 sends only trailers that the headers announce.
        let headers = Fields::new();
        let announced = request.get_headers().get("trailer");
        headers
            .set("trailer", &announced)
            .expect("trailer may be set");
        let (done, done_reader) = wit_future::new(|| Ok(()));
        let (body, trailers) = Request::consume_body(request, done_reader);
        drop(done);
        let (response, _sent) = Response::new(headers, Some(body), trailers);
        Ok(response)
    }
}
