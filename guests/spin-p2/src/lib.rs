//! `/ok` answers; `/?MS` computes for that long, then answers; any other request never ends.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use wasip2::http::types::{IncomingRequest, ResponseOutparam};

wasip2::http::proxy::export!(Spin);

struct Spin;

impl wasip2::exports::http::incoming_handler::Guest for Spin {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, query) = http_answer::path_and_query(&request);
        if path == "/ok" {
            return http_answer::text(out, 200, "ok\n");
        }
        let Ok(milliseconds) = query.parse() else {
            let mut turns = 0u64;
            loop {
                turns = black_box(turns).wrapping_add(1);
            }
        };
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(milliseconds) {
            (0..10_000u32).for_each(|turn| {
                black_box(turn);
            });
        }
        http_answer::text(out, 200, "done\n");
    }
}
