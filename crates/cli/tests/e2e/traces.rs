//! Spans at a collector: what is told of a request, and that a trace goes through.

use std::{
    io::{BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind},
};
use prost::Message;

use crate::support::{
    eventually, http, manifest,
    waft::{Up, Waft},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// Takes what exporters send over HTTP, as a collector does.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

impl Collector {
    fn start() -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let collector = Self::default();
        let taking = collector.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (taking, stream) = (taking.clone(), stream.unwrap());
                thread::spawn(move || taking.serve(stream));
            }
        });
        (collector, address)
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        loop {
            let mut line = String::new();
            if std::io::BufRead::read_line(&mut reader, &mut line).unwrap_or(0) == 0 {
                return;
            }
            assert_eq!(line, "POST /v1/traces HTTP/1.1\r\n");
            let mut length = 0;
            loop {
                let mut line = String::new();
                std::io::BufRead::read_line(&mut reader, &mut line).unwrap();
                match line.trim_end().split_once(": ") {
                    Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                        length = value.parse().unwrap();
                    }
                    Some(_) => {}
                    None => break,
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let export = ExportTraceServiceRequest::decode(&*body).unwrap();
            self.0.lock().unwrap().push(export);
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .unwrap();
        }
    }

    /// The span that has this attribute, once it came.
    fn span(&self, name: &str, value: &str) -> Span {
        eventually("a span comes", || {
            let exports = self.0.lock().unwrap();
            let scopes = exports.iter().flat_map(|e| &e.resource_spans);
            let mut spans = scopes
                .flat_map(|r| &r.scope_spans)
                .flat_map(|scope| &scope.spans);
            let found = spans.find(|span| attribute(&span.attributes, name) == value);
            found.cloned().ok_or_else(|| format!("{exports:?}"))
        })
    }

    fn service(&self) -> String {
        let exports = self.0.lock().unwrap();
        let resource = exports[0].resource_spans[0].resource.clone().unwrap();
        attribute(&resource.attributes, "service.name")
    }
}

fn attribute(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|pair| pair.key == name);
    match found.and_then(|pair| pair.value.clone()?.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        None => String::new(),
        other => panic!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `hello` and `trap`, and what fetches from `hello` by both generations.
fn platform(environment: &[String]) -> Waft {
    let image = |name: &str| format!("file:{}", waft_guests::path(name).display());
    let fetches = "localResources: {allowedHosts: [hello.localhost]}";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.yaml");
    let manifests = [
        manifest::deployment("hello", &image("hello-p2")),
        manifest::deployment("trap", &image("trap-p2")),
        manifest::deployment_with("fetch-p2", &image("fetch-p2"), fetches),
        manifest::deployment_with("fetch-p3", &image("fetch-p3"), fetches),
    ];
    std::fs::write(&file, manifests.join("---\n")).unwrap();
    let waft = Up::default()
        .under(["env".to_owned()].iter().chain(environment))
        .arg(&file)
        .arg("--file-root")
        .arg(waft_guests::path("hello-p2").parent().unwrap())
        .start();
    for name in ["hello", "fetch-p2", "fetch-p3"] {
        waft.get_ok(&format!("{name}.localhost"), "/");
    }
    waft
}

fn traced(waft: &Waft, host: &str, path: &str) -> http::Response {
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let headers = [("traceparent", &*parent), ("tracestate", "vendor=x")];
    http::request(waft.http, "GET", host, path, &headers, b"").unwrap()
}

#[test]
fn a_request_is_a_span_and_its_guest_is_below_it() {
    let (collector, address) = Collector::start();
    let waft = platform(&[
        format!("OTEL_EXPORTER_OTLP_ENDPOINT=http://{address}"),
        "OTEL_BSP_SCHEDULE_DELAY=50".into(),
    ]);

    let seen = traced(&waft, "hello.localhost", "/request?secret=1").text();
    let span = collector.span("url.path", "/request");
    assert_eq!(hex(&span.trace_id), TRACE);
    assert_eq!(hex(&span.parent_span_id), SPAN);
    assert_eq!(span.kind(), SpanKind::Server);
    assert_eq!(span.name, "GET");
    for (name, value) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("server.address", "hello.localhost"),
        ("k8s.namespace.name", "default"),
        ("waft.component", "hello"),
    ] {
        assert_eq!(attribute(&span.attributes, name), value, "{name}");
    }
    let workload = attribute(&span.attributes, "waft.workload");
    assert!(workload.starts_with("hello-"), "{workload}");
    assert!(!format!("{span:?}").contains("secret"));
    let own = format!("traceparent: 00-{TRACE}-{}-01", hex(&span.span_id));
    assert!(seen.contains(&own), "{seen}");
    assert!(seen.contains("tracestate: vendor=x"), "{seen}");
    assert_eq!(collector.service(), "waft");

    // What the host answers itself has a reason.
    traced(&waft, "trap.localhost", "/now");
    let span = collector.span("error.type", "Trap");
    assert_eq!(
        attribute(&span.attributes, "http.response.status_code"),
        "500"
    );

    // From one workload to another, though neither guest knows of traces.
    for fetcher in ["fetch-p2", "fetch-p3"] {
        let url = format!("/?http://hello.localhost/request?by-{fetcher}");
        let inner = traced(&waft, &format!("{fetcher}.localhost"), &url).text();
        assert!(
            inner.contains(&format!("traceparent: 00-{TRACE}-")),
            "{inner}"
        );
        assert!(!inner.contains(SPAN), "{inner}");
    }
    waft.interrupt();
}

#[test]
fn without_a_collector_a_trace_goes_through_as_it_came() {
    let waft = platform(&[]);
    let came = format!("traceparent: 00-{TRACE}-{SPAN}-01");
    let seen = traced(&waft, "hello.localhost", "/request").text();
    assert!(seen.contains(&came), "{seen}");
    for fetcher in ["fetch-p2", "fetch-p3"] {
        let url = "/?http://hello.localhost/request";
        let inner = traced(&waft, &format!("{fetcher}.localhost"), url).text();
        assert!(inner.contains(&came), "{inner}");
        assert!(inner.contains("tracestate: vendor=x"), "{inner}");
    }
}

#[test]
fn a_protocol_that_is_not_served_is_refused() {
    let ended = Up::default()
        .under([
            "env",
            "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1",
            "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
        ])
        .run();
    assert!(!ended.status.success());
    assert!(
        ended.stderr.contains("only `http/protobuf` is served"),
        "{}",
        ended.stderr
    );
}
