//! Tells of itself: each request is a span below that of the host, a log record and a counter. It
//! answers the host's trace and span, and those of its own span.

use std::time::{SystemTime, UNIX_EPOCH};

use wasip2::{
    http::types::{IncomingRequest, ResponseOutparam},
    random::random::get_random_u64,
};

wit_bindgen::generate!({ path: "../wit/otel.wit", generate_all });
wasip2::http::proxy::export!(Told);

use wasi::{
    clocks::wall_clock::Datetime,
    otel::{
        logs::{self, LogRecord},
        metrics::{
            self, Metric, MetricData, MetricNumber, ResourceMetrics, ScopeMetrics, Sum,
            SumDataPoint, Temporality,
        },
        tracing::{self, SpanContext, SpanData, SpanKind, Status, TraceFlags},
        types::{InstrumentationScope, KeyValue, Resource},
    },
};

struct Told;

impl wasip2::exports::http::incoming_handler::Guest for Told {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let start = now();
        let (path, query) = http_answer::path_and_query(&request);
        let outer = tracing::outer_span_context();
        let own = SpanContext {
            trace_id: match outer.trace_id.bytes().all(|digit| digit == b'0') {
                true => format!("{:016x}{:016x}", get_random_u64(), get_random_u64()),
                false => outer.trace_id.clone(),
            },
            span_id: format!("{:016x}", get_random_u64()),
            trace_flags: match query.as_str() {
                "unsampled" => TraceFlags::empty(),
                _ => TraceFlags::SAMPLED,
            },
            is_remote: false,
            trace_state: outer.trace_state.clone(),
        };
        tracing::on_start(&own);
        logs::on_emit(&record(&path));
        let exported = metrics::export(&counter(start));
        tracing::on_end(&span(&own, &outer, &path, start));
        let text = format!(
            "{} {}\n{} {}\n{exported:?}\n",
            outer.trace_id, outer.span_id, own.trace_id, own.span_id
        );
        http_answer::text(out, 200, &text);
    }
}

fn now() -> Datetime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Datetime {
        seconds: since.as_secs(),
        nanoseconds: since.subsec_nanos(),
    }
}

fn pair(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: value.into(),
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "otel-p2".into(),
        version: Some("1".into()),
        schema_url: None,
        attributes: Vec::new(),
    }
}

fn span(own: &SpanContext, outer: &SpanContext, path: &str, start: Datetime) -> SpanData {
    SpanData {
        span_context: own.clone(),
        parent_span_id: outer.span_id.clone(),
        span_kind: SpanKind::Internal,
        name: "work".into(),
        start_time: start,
        end_time: now(),
        // Values are JSON.
        attributes: vec![pair("path", &format!("{path:?}")), pair("answer", "42")],
        events: Vec::new(),
        links: Vec::new(),
        status: Status::Ok,
        instrumentation_scope: scope(),
        dropped_attributes: 0,
        dropped_events: 0,
        dropped_links: 0,
    }
}

fn record(path: &str) -> LogRecord {
    LogRecord {
        timestamp: Some(now()),
        observed_timestamp: None,
        severity_text: Some("INFO".into()),
        severity_number: Some(9),
        body: Some(format!("{:?}", format!("asked for {path}"))),
        attributes: None,
        event_name: None,
        resource: None,
        instrumentation_scope: Some(scope()),
        trace_id: None,
        span_id: None,
        trace_flags: None,
    }
}

fn counter(start: Datetime) -> ResourceMetrics {
    let point = SumDataPoint {
        attributes: vec![pair("kind", "\"plain\"")],
        value: MetricNumber::U64(1),
        exemplars: Vec::new(),
    };
    let metric = Metric {
        name: "requests".into(),
        description: "Requests that were answered.".into(),
        unit: "1".into(),
        data: MetricData::U64Sum(Sum {
            data_points: vec![point],
            start_time: start,
            time: now(),
            temporality: Temporality::Delta,
            is_monotonic: true,
        }),
    };
    ResourceMetrics {
        // It may add to what it is, and not say that it is somebody else.
        resource: Resource {
            attributes: vec![pair("team", "\"blue\""), pair("service.name", "\"other\"")],
            schema_url: None,
        },
        scope_metrics: vec![ScopeMetrics {
            scope: scope(),
            metrics: vec![metric],
        }],
    }
}
