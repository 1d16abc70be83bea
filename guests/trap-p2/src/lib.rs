//! `/ok` answers; `/panic` panics with a secret in its text; `/after-headers` sends headers and a
//! piece of the body, waits until they must have left, then traps; any other path traps at once.

use std::{thread, time::Duration};

use wasip2::http::types::{IncomingRequest, ResponseOutparam};

wasip2::http::proxy::export!(Trap);

struct Trap;

impl wasip2::exports::http::incoming_handler::Guest for Trap {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, _) = http_answer::path_and_query(&request);
        match path.as_str() {
            "/ok" => http_answer::text(out, 200, "ok\n"),
            "/panic" => panic!("the text of this panic is for the log, not for the client"),
            "/after-headers" => {
                let body = http_answer::start(out, 200, "text/plain");
                let stream = body.write().expect("the stream is taken once");
                let _ = stream.blocking_write_and_flush(b"half of ");
                thread::sleep(Duration::from_millis(50));
                core::arch::wasm32::unreachable()
            }
            _ => core::arch::wasm32::unreachable(),
        }
    }
}
