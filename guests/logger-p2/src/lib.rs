//! `/?TEXT` logs TEXT once at each level of wasi:logging, and to stdout and stderr.

use wasip2::http::types::{IncomingRequest, ResponseOutparam};

use crate::wasi::logging::logging::{Level, log};

wit_bindgen::generate!({ path: "../wit/logging.wit" });
wasip2::http::proxy::export!(Logger);

struct Logger;

const LEVELS: [Level; 6] = [
    Level::Trace,
    Level::Debug,
    Level::Info,
    Level::Warn,
    Level::Error,
    Level::Critical,
];

impl wasip2::exports::http::incoming_handler::Guest for Logger {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (_, text) = http_answer::path_and_query(&request);
        for level in LEVELS {
            log(level, "logger", &text);
        }
        println!("{text}");
        eprintln!("{text}");
        http_answer::text(out, 200, "logged\n");
    }
}
