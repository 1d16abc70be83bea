//! `/ok` answers; `/?MIB` takes that much memory and answers; `/refused` takes memory until it is
//! refused, and answers how many MiB it got; any other request takes memory until it traps.

use core::arch::wasm32::{memory_grow, unreachable};

use wasip2::http::types::{IncomingRequest, ResponseOutparam};

wasip2::http::proxy::export!(Grow);

struct Grow;

const PAGES_PER_MIB: usize = 16;

impl wasip2::exports::http::incoming_handler::Guest for Grow {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, query) = http_answer::path_and_query(&request);
        match path.as_str() {
            "/ok" => return http_answer::text(out, 200, "ok\n"),
            "/refused" => {
                let got = grow(usize::MAX);
                return http_answer::text(out, 200, &format!("{got}\n"));
            }
            _ => {}
        }
        let wanted = query.parse().unwrap_or(usize::MAX);
        if grow(wanted) < wanted {
            unreachable();
        }
        http_answer::text(out, 200, "taken\n");
    }
}

/// Takes up to `mib` MiB, and says how many it got.
fn grow(mib: usize) -> usize {
    (0..mib)
        .take_while(|_| memory_grow::<0>(PAGES_PER_MIB) != usize::MAX)
        .count()
}
