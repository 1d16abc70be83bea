//! Sends bytes to another component of the workload and looks at what comes back.

mod asked;

use wasip2::http::types::{IncomingRequest, ResponseOutparam};

wasip2::http::proxy::export!(Sender);

struct Sender;

impl wasip2::exports::http::incoming_handler::Guest for Sender {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, query) = http_answer::path_and_query(&request);
        http_answer::text(out, 200, &asked::answer(&path, &query));
    }
}
