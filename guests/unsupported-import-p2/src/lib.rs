//! Asks for an interface that exists nowhere, before it answers.

use wasip2::http::types::{IncomingRequest, ResponseOutparam};

wit_bindgen::generate!({ path: "../wit/nowhere.wit" });
wasip2::http::proxy::export!(Stranger);

struct Stranger;

impl wasip2::exports::http::incoming_handler::Guest for Stranger {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, _) = http_answer::path_and_query(&request);
        let there = example::nowhere::teleport::jump(&path);
        http_answer::text(out, 200, &format!("{there}\n"));
    }
}
