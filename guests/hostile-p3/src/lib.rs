//! Misbehaves, by wasi:http 0.3.
//!
//! | path | does |
//! |---|---|
//! | `/trap?MIB` | fills so much memory, then traps |
//! | `/after-headers?MIB` | sends headers and a piece of the body, waits a little, then does the same |
//! | `/open` | sends headers and a piece of the body, and never ends it |
//! | `/large` | answers with 2 MiB, whatever becomes of them |
//! | `/spin` | never ends, and never gives way |
//! | `/turns` | computes for 50 ms, says a line, waits for 10 ms, says a line, once more, then answers |
//! | `/grow` | takes memory until it traps |
//! | `/error?MIB` | answers with an error code, and so much text |
//! | `/sleep?MS` | waits, then answers |
//! | `/linger` | answers, and goes on for ever after its response |
//! | `/pass?N` | passes N bytes to the host in one call |
//! | `/handles?N` | holds N resources at a time |
//! | `/log?N` | writes N lines |
//! | `/lines?MIB` | writes so many bytes to stdout at once, all of them ends of lines |
//! | `/print` | has the host print the request's body |
//! | `/unended` | begins a line and does not end it |

use core::arch::wasm32::{memory_grow, unreachable};
use std::{future, hint::black_box, mem, time::Duration};

use compute::compute;
use wasip3::{
    cli::stdout,
    clocks::monotonic_clock,
    http::types::{ErrorCode, Fields, Request, Response},
    wit_bindgen, wit_future, wit_stream,
};

wasip3::http::service::export!(Hostile);

struct Hostile;

impl wasip3::exports::http::handler::Guest for Hostile {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let (path, query) = http_answer_async::path_and_query(&request);
        let number: u64 = query.parse().unwrap_or(0);
        match path.as_str() {
            "/trap" => trap(number),
            "/after-headers" => {
                return Ok(begin(b"ok\n".to_vec(), async move {
                    monotonic_clock::wait_for(20_000_000).await;
                    trap(number)
                }));
            }
            "/open" => {
                let never = monotonic_clock::wait_for(u64::MAX / 2);
                return Ok(begin(b"ok\n".to_vec(), never));
            }
            "/large" => return Ok(begin(vec![b'x'; 2 << 20], future::ready(()))),
            "/spin" => spin(),
            "/turns" => {
                for _ in 0..2 {
                    compute(Duration::from_millis(50));
                    println!("computes");
                    monotonic_clock::wait_for(10_000_000).await;
                    println!("waited");
                }
            }
            "/grow" => {
                while memory_grow::<0>(16) != usize::MAX {}
                unreachable();
            }
            "/error" => {
                let text = "é".repeat((number as usize) << 19);
                return Err(ErrorCode::InternalError(Some(text)));
            }
            "/sleep" => {
                monotonic_clock::wait_for(number * 1_000_000).await;
            }
            "/linger" => wit_bindgen::spawn_local(monotonic_clock::wait_for(u64::MAX / 2)),
            "/pass" => {
                let _ = Fields::new().append("x-large", &vec![b'x'; number as usize]);
            }
            "/handles" => (0..number).for_each(|_| mem::forget(Fields::new())),
            "/unended" => eprint!("not ended"),
            "/log" => (0..number).for_each(|at| println!("line {at}")),
            "/lines" => {
                let (mut lines, reader) = wit_stream::new();
                let printed = stdout::write_via_stream(reader);
                lines.write_all(vec![b'\n'; (number as usize) << 20]).await;
                drop(lines);
                let _ = printed.await;
            }
            "/print" => {
                let (_done, done_reader) = wit_future::new(|| Ok(()));
                let (body, _trailers) = Request::consume_body(request, done_reader);
                let _ = stdout::write_via_stream(body).await;
            }
            _ => {}
        }
        Ok(http_answer_async::text("ok\n".into()))
    }
}

fn spin() -> ! {
    let mut turns = 0u64;
    loop {
        turns = black_box(turns).wrapping_add(1);
    }
}

/// Fills memory, which takes longer to be given back then.
fn trap(mib: u64) -> ! {
    black_box(vec![1_u8; (mib as usize) << 20]);
    unreachable()
}

/// A response of one piece, and what happens after it was written.
fn begin(piece: Vec<u8>, then: impl Future<Output = ()> + 'static) -> Response {
    let (mut body, reader) = wit_stream::new();
    let (trailers, trailers_reader) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(Fields::new(), Some(reader), trailers_reader);
    drop(trailers);
    wit_bindgen::spawn_local(async move {
        let _ = body.write_all(piece).await;
        then.await;
    });
    response
}
