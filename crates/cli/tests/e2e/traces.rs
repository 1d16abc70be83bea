//! Spans at a collector: what is told of a request, and that a trace goes through.

use std::{
    io::{BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::{metric::Data, number_data_point},
    resource::v1::Resource,
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
struct Collector(
    Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    Arc<Mutex<Vec<ExportLogsServiceRequest>>>,
    Arc<Mutex<Vec<ExportMetricsServiceRequest>>>,
);

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
            let signal = line.strip_prefix("POST /v1/").unwrap().to_owned();
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
            match signal.as_str() {
                "traces HTTP/1.1\r\n" => self.0.lock().unwrap().push(decode(&body)),
                "logs HTTP/1.1\r\n" => self.1.lock().unwrap().push(decode(&body)),
                "metrics HTTP/1.1\r\n" => self.2.lock().unwrap().push(decode(&body)),
                other => panic!("{other}"),
            }
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

fn decode<M: Message + Default>(body: &[u8]) -> M {
    M::decode(body).unwrap()
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
    waft.get_ok("trap.localhost", "/ok");
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
fn what_components_say_goes_to_the_collector_as_theirs() {
    let (collector, address) = Collector::start();
    let up = Up::default()
        .under([
            "env".to_owned(),
            format!("OTEL_EXPORTER_OTLP_ENDPOINT=http://{address}"),
            "OTEL_BSP_SCHEDULE_DELAY=50".into(),
            "OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=test,service.name=mine".into(),
        ])
        .arg("examples/otel");
    let waft = up.start();
    waft.get_ok("telemetry.localhost", "/warm-up");
    let said = traced(&waft, "telemetry.localhost", "/seen").text();
    let words: Vec<_> = said.split_whitespace().collect();
    let [outer_trace, outer_span, own_trace, own_span, "Ok(())"] = words[..] else {
        panic!("{said}");
    };
    assert_eq!((outer_trace, own_trace), (TRACE, TRACE));
    // The guest's span is below that of the host, which is below that of the client.
    let host = collector.span("url.path", "/seen");
    assert_eq!(hex(&host.span_id), outer_span);
    let span = collector.span("path", "/seen");
    assert_eq!(hex(&span.span_id), own_span);
    assert_eq!(hex(&span.parent_span_id), outer_span);
    assert_eq!(
        (span.name.as_str(), span.kind()),
        ("work", SpanKind::Internal)
    );
    assert_eq!(attribute(&span.attributes, "answer"), "42");

    let whose = |resource: &Option<Resource>| {
        let attributes = &resource.as_ref().unwrap().attributes;
        assert_eq!(attribute(attributes, "service.name"), "telemetry");
        assert_eq!(attribute(attributes, "service.namespace"), "default");
        assert_eq!(attribute(attributes, "waft.component"), "telemetry");
        assert_eq!(attribute(attributes, "deployment.environment.name"), "test");
        let workload = attribute(attributes, "waft.workload");
        assert!(workload.starts_with("telemetry-"), "{workload}");
        attribute(attributes, "team")
    };
    let guests = collector.0.lock().unwrap().clone();
    let guests = guests.iter().flat_map(|export| &export.resource_spans);
    let guests = guests.filter(|spans| {
        let scope = spans.scope_spans[0].scope.as_ref();
        scope.is_some_and(|scope| scope.name == "otel-p2")
    });
    let guests: Vec<_> = guests.map(|spans| whose(&spans.resource)).collect();
    assert!(guests.len() >= 2, "{guests:?}");
    eventually("a log record comes", || {
        let exports = collector.1.lock().unwrap();
        let all = exports.iter().flat_map(|export| &export.resource_logs);
        let mut all = all.flat_map(|of| Some((of, &of.scope_logs[0].log_records[0])));
        let found = all.find(|(_, record)| hex(&record.trace_id) == TRACE);
        let (of, record) = found.ok_or_else(|| format!("{exports:?}"))?;
        whose(&of.resource);
        // Though the guest did not say so, it belongs to the call's span.
        assert_eq!(hex(&record.span_id), outer_span);
        let body = record.body.clone().unwrap().value;
        assert_eq!(body, Some(Value::StringValue("asked for /seen".into())));
        assert_eq!(record.severity_number, 9);
        Ok(())
    });
    eventually("a metric comes", || {
        let exports = collector.2.lock().unwrap();
        let mut all = exports.iter().flat_map(|export| &export.resource_metrics);
        let of = all.next().ok_or("none")?;
        assert_eq!(whose(&of.resource), "blue");
        let metric = &of.scope_metrics[0].metrics[0];
        let Some(Data::Sum(sum)) = &metric.data else {
            panic!("{metric:?}");
        };
        assert!(sum.is_monotonic && metric.name == "requests");
        let value = sum.data_points[0].value;
        assert_eq!(value, Some(number_data_point::Value::AsInt(1)));
        Ok(())
    });
    // What the guest's sampler left out is not sent; nothing is lost.
    waft.get_ok("telemetry.localhost", "/unseen?unsampled");
    waft.get_ok("telemetry.localhost", "/last");
    collector.span("path", "/last");
    let spans = format!("{:?}", collector.0.lock().unwrap());
    assert!(
        !spans.contains("\"path\", value: Some(AnyValue { value: Some(StringValue(\"/unseen\"")
    );
    let metrics = http::get(waft.admin, "localhost", "/metrics")
        .unwrap()
        .text();
    assert!(
        metrics.contains("waft_telemetry_dropped_total 0"),
        "{metrics}"
    );
    waft.interrupt();
}

#[test]
fn without_a_collector_what_components_say_is_nobodys() {
    let waft = Waft::up(["examples/otel"]);
    waft.get_ok("telemetry.localhost", "/warm-up");
    let said = traced(&waft, "telemetry.localhost", "/").text();
    let came = format!("{TRACE} {SPAN}\n{TRACE} ");
    assert!(
        said.starts_with(&came) && said.ends_with("Ok(())\n"),
        "{said}"
    );
    let said = waft.get_ok("telemetry.localhost", "/");
    assert!(
        said.starts_with(&format!("{} {}\n", "0".repeat(32), "0".repeat(16))),
        "{said}"
    );
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
