//! The greeting of the first example. Other paths tell a test what the guest was given:
//!
//! | path | answer |
//! |---|---|
//! | `/` and any other | `Hello from Waft!` |
//! | `/env` | its environment, `KEY=VALUE` a line, sorted |
//! | `/request` | method, scheme, authority, target and headers, a line each |
//! | `/log?TEXT` | writes `TEXT` to stdout and `error: TEXT` to stderr |
//! | `/count` | how many requests this instance has seen |
//! | `/sleep?MS` | answers after that many milliseconds |
//! | `/status?CODE` | answers with that status |
//! | `/image` | the text that whoever published the component wrote over [`IMAGE`] |

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use wasip2::http::types::{IncomingRequest, Method, ResponseOutparam, Scheme};

wasip2::http::proxy::export!(Hello);

struct Hello;

/// Ninety-six bytes that a test may replace in the compiled file, to tell copies apart.
static IMAGE: [u8; 96] = *b"\
waft-image-name-................................\
................................................";

static REQUESTS: AtomicU64 = AtomicU64::new(0);

impl wasip2::exports::http::incoming_handler::Guest for Hello {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let count = REQUESTS.fetch_add(1, Ordering::Relaxed) + 1;
        let (path, query) = http_answer::path_and_query(&request);
        let mut status = 200;
        let text = match path.as_str() {
            "/env" => environment(),
            "/request" => describe(&request),
            "/log" => {
                println!("{query}");
                eprintln!("error: {query}");
                "logged\n".into()
            }
            "/count" => format!("{count}\n"),
            "/sleep" => {
                std::thread::sleep(Duration::from_millis(query.parse().unwrap_or(0)));
                "awake\n".into()
            }
            "/status" => {
                status = query.parse().unwrap_or(200);
                format!("{status}\n")
            }
            "/image" => image(),
            _ => "Hello from Waft!\n".into(),
        };
        http_answer::text(out, status, &text);
    }
}

fn environment() -> String {
    let sorted: BTreeMap<_, _> = std::env::vars().collect();
    sorted.iter().fold(String::new(), |mut text, (key, value)| {
        let _ = writeln!(text, "{key}={value}");
        text
    })
}

fn describe(request: &IncomingRequest) -> String {
    let method = match request.method() {
        Method::Other(name) => name,
        known => format!("{known:?}")
            .trim_start_matches("Method::")
            .to_uppercase(),
    };
    let scheme = match request.scheme() {
        Some(Scheme::Https) => "https".into(),
        Some(Scheme::Other(name)) => name,
        _ => "http".into(),
    };
    let authority = request.authority().unwrap_or_default();
    let target = request.path_with_query().unwrap_or_default();
    let mut text = format!("{method} {scheme} {authority} {target}\n");
    let mut headers = request.headers().entries();
    headers.sort();
    for (name, value) in headers {
        let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(&value));
    }
    text
}

/// The bytes as they stand in the file: read one by one as volatile, or the compiler would answer
/// with those of the source.
fn image() -> String {
    let bytes: Vec<u8> = IMAGE
        .iter()
        // SAFETY: each pointer comes from a reference into the array.
        .map(|byte| unsafe { std::ptr::read_volatile(byte) })
        .collect();
    let text = String::from_utf8_lossy(&bytes);
    format!("{}\n", text.trim_end_matches('.'))
}
