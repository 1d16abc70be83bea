//! As `sender-p2`, by wasi:http 0.3.

#[path = "../../sender-p2/src/asked.rs"]
mod asked;

use wasip3::http::types::{ErrorCode, Request, Response};

wasip3::http::service::export!(Sender);

struct Sender;

impl wasip3::exports::http::handler::Guest for Sender {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let (path, query) = http_answer_async::path_and_query(&request);
        Ok(http_answer_async::text(asked::answer(&path, &query)))
    }
}
