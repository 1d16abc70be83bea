//! Hands the request's body and trailers on as the response's.

use wasip3::{
    http::types::{ErrorCode, Fields, Request, Response},
    wit_future,
};

wasip3::http::service::export!(Echo);

struct Echo;

impl wasip3::exports::http::handler::Guest for Echo {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let (done, done_reader) = wit_future::new(|| Ok(()));
        let (body, trailers) = Request::consume_body(request, done_reader);
        drop(done);
        let (response, _sent) = Response::new(Fields::new(), Some(body), trailers);
        Ok(response)
    }
}
