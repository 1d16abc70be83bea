//! Answers each request with how often its path was visited. A fresh instance serves each request;
//! the service of the workload remembers. `/journal` is what the service has written into the volume
//! that both see.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Write},
    net::TcpStream,
};

use wasip2::http::types::{IncomingRequest, ResponseOutparam};

wasip2::http::proxy::export!(Visitors);

struct Visitors;

impl wasip2::exports::http::incoming_handler::Guest for Visitors {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, _) = http_answer::path_and_query(&request);
        let answer = match path.as_str() {
            "/journal" => journal(),
            path => visit(path).map(|count| format!("visit {count} of {path}\n")),
        };
        match answer {
            Ok(text) => http_answer::text(out, 200, &text),
            Err(error) => http_answer::text(out, 503, &format!("nobody counts: {error}\n")),
        }
    }
}

fn journal() -> io::Result<String> {
    fs::read_to_string(env::var("JOURNAL").unwrap_or_else(|_| "/journal/visits".into()))
}

fn visit(path: &str) -> io::Result<String> {
    let service = env::var("SERVICE").unwrap_or_else(|_| "service.wasmcloud.internal:7000".into());
    let mut stream = TcpStream::connect(service)?;
    stream.write_all(format!("{path}\n").as_bytes())?;
    let mut count = String::new();
    BufReader::new(stream).read_line(&mut count)?;
    Ok(count.trim_end().to_owned())
}
