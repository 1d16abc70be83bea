//! `/ok` answers; `/?MS` computes for that long, then answers; `/turns` computes for 50 ms, says a line,
//! waits for 10 ms, says a line, and does that once more, then answers; any other request never ends.

use std::{hint::black_box, thread, time::Duration};

use compute::compute;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

wasip2::http::proxy::export!(Spin);

struct Spin;

impl wasip2::exports::http::incoming_handler::Guest for Spin {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, query) = http_answer::path_and_query(&request);
        if path == "/ok" {
            return http_answer::text(out, 200, "ok\n");
        }
        if path == "/turns" {
            for _ in 0..2 {
                compute(Duration::from_millis(50));
                println!("computes");
                thread::sleep(Duration::from_millis(10));
                println!("waited");
            }
            return http_answer::text(out, 200, "done\n");
        }
        let Ok(milliseconds) = query.parse() else {
            let mut turns = 0u64;
            loop {
                turns = black_box(turns).wrapping_add(1);
            }
        };
        compute(Duration::from_millis(milliseconds));
        http_answer::text(out, 200, "done\n");
    }
}
