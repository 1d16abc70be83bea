//! The greeting, by wasi:http 0.3. `/env`, `/log?TEXT`, `/count` and `/sleep?MS` as in `hello-p2`;
//! a sleeping call lets the instance serve others.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

use wasip3::{
    clocks::monotonic_clock,
    http::types::{ErrorCode, Request, Response},
};

wasip3::http::service::export!(Hello);

struct Hello;

static REQUESTS: AtomicU64 = AtomicU64::new(0);

impl wasip3::exports::http::handler::Guest for Hello {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let count = REQUESTS.fetch_add(1, Ordering::Relaxed) + 1;
        let target = request.get_path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let text = match path {
            "/env" => environment(),
            "/log" => {
                println!("{query}");
                eprintln!("error: {query}");
                "logged\n".into()
            }
            "/count" => format!("{count}\n"),
            "/sleep" => {
                let milliseconds: u64 = query.parse().unwrap_or(0);
                monotonic_clock::wait_for(milliseconds * 1_000_000).await;
                "awake\n".into()
            }
            _ => "Hello from Waft, by WASI 0.3!\n".into(),
        };
        Ok(http_answer_async::text(text))
    }
}

fn environment() -> String {
    let sorted: BTreeMap<_, _> = std::env::vars().collect();
    sorted.iter().fold(String::new(), |mut text, (key, value)| {
        let _ = writeln!(text, "{key}={value}");
        text
    })
}
