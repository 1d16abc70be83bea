//! `/ok` answers; `/checked?STATUS` answers with that status and a body of 64 KiB, and traps if it does not get rid of
//! all of it; `/large` answers with 2 MiB, whatever becomes of them; `/panic` panics with a secret in its text;
//! `/after-headers` sends headers and a piece of the body, waits until they must have left, then traps;
//! `/after-headers?MIB` fills that much memory before it traps; any other path traps at once.

use std::{hint::black_box, thread, time::Duration};

use wasip2::http::types::{IncomingRequest, OutgoingBody, ResponseOutparam};

wasip2::http::proxy::export!(Trap);

struct Trap;

impl wasip2::exports::http::incoming_handler::Guest for Trap {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, query) = http_answer::path_and_query(&request);
        match path.as_str() {
            "/ok" => http_answer::text(out, 200, "ok\n"),
            "/checked" => {
                let status = query.parse().unwrap_or(200);
                let length = [("content-length", vec![b"65536".to_vec()])];
                let body = http_answer::start_with(out, status, &length);
                {
                    let stream = body.write().expect("the stream is taken once");
                    for _ in 0..16 {
                        stream
                            .blocking_write_and_flush(&[b'x'; 4096])
                            .expect("what is written is taken");
                    }
                }
                OutgoingBody::finish(body, None).expect("all of it was written");
            }
            "/large" => {
                let body = http_answer::start(out, 200, "text/plain");
                if let Ok(stream) = body.write() {
                    let piece = [b'x'; 4096];
                    let _ = (0..512).try_for_each(|_| stream.blocking_write_and_flush(&piece));
                }
                let _ = OutgoingBody::finish(body, None);
            }
            "/panic" => panic!("the text of this panic is for the log, not for the client"),
            "/after-headers" => {
                let body = http_answer::start(out, 200, "text/plain");
                let stream = body.write().expect("the stream is taken once");
                let _ = stream.blocking_write_and_flush(b"half of ");
                thread::sleep(Duration::from_millis(50));
                let mib: usize = query.parse().unwrap_or(0);
                black_box(vec![1_u8; mib << 20]);
                core::arch::wasm32::unreachable()
            }
            _ => core::arch::wasm32::unreachable(),
        }
    }
}
