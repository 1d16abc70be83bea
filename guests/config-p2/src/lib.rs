//! `/?KEY` answers the value of that key in wasi:config, or 404; `/` answers all, `KEY=VALUE` a
//! line, sorted.

use std::fmt::Write as _;

use wasip2::http::types::{IncomingRequest, ResponseOutparam};

wit_bindgen::generate!({ path: "../wit/config.wit" });
wasip2::http::proxy::export!(Config);

struct Config;

impl wasip2::exports::http::incoming_handler::Guest for Config {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (_, key) = http_answer::path_and_query(&request);
        let (status, text) = if key.is_empty() {
            match wasi::config::store::get_all() {
                Ok(mut all) => {
                    all.sort();
                    let mut text = String::new();
                    for (key, value) in all {
                        let _ = writeln!(text, "{key}={value}");
                    }
                    (200, text)
                }
                Err(error) => (500, format!("{error:?}\n")),
            }
        } else {
            match wasi::config::store::get(&key) {
                Ok(Some(value)) => (200, format!("{value}\n")),
                Ok(None) => (404, format!("no {key}\n")),
                Err(error) => (500, format!("{error:?}\n")),
            }
        };
        http_answer::text(out, status, &text);
    }
}
