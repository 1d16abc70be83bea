//! `/?TEXT` logs TEXT once at each level of wasi:logging, and to stdout and stderr. `/flood` logs as many
//! lines as go into one call, with a context as long.

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
        let (path, text) = http_answer::path_and_query(&request);
        if path == "/flood" {
            log(Level::Info, &"c".repeat(8 << 20), &"\n".repeat(8 << 20));
            return http_answer::text(out, 200, "logged\n");
        }
        for level in LEVELS {
            log(level, "logger", &text);
        }
        println!("{text}");
        eprintln!("{text}");
        http_answer::text(out, 200, "logged\n");
    }
}
