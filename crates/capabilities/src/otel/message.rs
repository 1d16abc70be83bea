//! From the interface's records to OpenTelemetry's messages.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use opentelemetry_proto::tonic::{
    common::v1::{
        AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value,
    },
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    metrics::v1::{
        AggregationTemporality, Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint,
        Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
        ScopeMetrics, Sum, exemplar, exponential_histogram_data_point::Buckets, metric::Data,
        number_data_point,
    },
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span, status::StatusCode},
};
use serde_json::Value as Json;

use super::{
    bindings::wasi::clocks::wall_clock::Datetime,
    logs,
    metrics::{self as wit, MetricData},
    tracing, types,
};

/// What bytes begin with in an attribute's value, which is JSON.
const BYTES: &str = "data:application/octet-stream;base64,";

/// How deep values may stand within others. What is written is measured anew for each level above it.
const LEVELS: usize = 8;

/// A text as a value.
pub(super) fn string(text: &str) -> AnyValue {
    AnyValue {
        value: Some(Value::StringValue(text.into())),
    }
}

/// A value in JSON; what is none, or has too many values within values, is a text.
fn value(text: String) -> AnyValue {
    match serde_json::from_str(&text) {
        Ok(json) if is_level(&json, LEVELS) => of_json(json),
        _ => string(&text),
    }
}

/// Whether no value has more than so many others around it.
fn is_level(json: &Json, levels: usize) -> bool {
    let Some(below) = levels.checked_sub(1) else {
        return !(json.is_array() || json.is_object());
    };
    match json {
        Json::Array(values) => values.iter().all(|value| is_level(value, below)),
        Json::Object(pairs) => pairs.values().all(|value| is_level(value, below)),
        _ => true,
    }
}

fn of_json(json: Json) -> AnyValue {
    let value = match json {
        Json::Null => return AnyValue::default(),
        Json::Bool(value) => Value::BoolValue(value),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::IntValue(number),
            None => Value::DoubleValue(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => match text.strip_prefix(BYTES).map(|coded| STANDARD.decode(coded)) {
            Some(Ok(bytes)) => Value::BytesValue(bytes),
            _ => Value::StringValue(text),
        },
        Json::Array(values) => Value::ArrayValue(ArrayValue {
            values: values.into_iter().map(of_json).collect(),
        }),
        Json::Object(pairs) => Value::KvlistValue(KeyValueList {
            values: pairs
                .into_iter()
                .map(|(key, value)| pair(key, of_json(value)))
                .collect(),
        }),
    };
    AnyValue { value: Some(value) }
}

pub(super) fn pair(key: String, value: AnyValue) -> KeyValue {
    KeyValue {
        key,
        value: Some(value),
        ..KeyValue::default()
    }
}

pub(super) fn attributes(pairs: Vec<types::KeyValue>) -> Vec<KeyValue> {
    let pairs = pairs.into_iter();
    pairs
        .map(|said| pair(said.key, value(said.value)))
        .collect()
}

fn scope(said: types::InstrumentationScope) -> (InstrumentationScope, String) {
    let scope = InstrumentationScope {
        name: said.name,
        version: said.version.unwrap_or_default(),
        attributes: attributes(said.attributes),
        dropped_attributes_count: 0,
    };
    (scope, said.schema_url.unwrap_or_default())
}

/// Nanoseconds since 1970.
fn time(at: Datetime) -> u64 {
    at.seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(at.nanoseconds.into())
}

/// The bytes of an id in hexadecimal digits, which is not all zeros.
fn id<const N: usize>(text: &str) -> Option<Vec<u8>> {
    if text.len() != 2 * N || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let bytes = (0..N).filter_map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok());
    let bytes: Vec<_> = bytes.collect();
    bytes.iter().any(|byte| *byte != 0).then_some(bytes)
}

/// The context that the headers of W3C Trace Context say.
pub(super) fn context(parent: &str, state: Option<&str>) -> Option<tracing::SpanContext> {
    let mut parts = parent.split('-');
    let (_version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    id::<16>(trace)?;
    id::<8>(span)?;
    let flags = u8::from_str_radix(flags, 16).ok()?;
    let members = state.unwrap_or_default().split(',');
    let members = members.filter_map(|member| member.trim().split_once('='));
    Some(tracing::SpanContext {
        trace_id: trace.into(),
        span_id: span.into(),
        trace_flags: match flags & 1 {
            0 => tracing::TraceFlags::empty(),
            _ => tracing::TraceFlags::SAMPLED,
        },
        is_remote: true,
        trace_state: members
            .map(|(key, value)| (key.into(), value.into()))
            .collect(),
    })
}

fn flags(flags: tracing::TraceFlags) -> u32 {
    u32::from(flags.contains(tracing::TraceFlags::SAMPLED))
}

fn state(members: Vec<(String, String)>) -> String {
    let members = members
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"));
    members.collect::<Vec<_>>().join(",")
}

/// A span that ended. `None`, if its ids are none.
pub(super) fn span(said: tracing::SpanData, resource: Resource) -> Option<ResourceSpans> {
    use tracing::{SpanKind as Kind, Status as Said};
    let (scope, schema_url) = scope(said.instrumentation_scope);
    let links = said.links.into_iter().filter_map(|link| {
        Some(span::Link {
            trace_id: id::<16>(&link.span_context.trace_id)?,
            span_id: id::<8>(&link.span_context.span_id)?,
            trace_state: state(link.span_context.trace_state),
            attributes: attributes(link.attributes),
            dropped_attributes_count: 0,
            flags: flags(link.span_context.trace_flags),
        })
    });
    let events = said.events.into_iter().map(|event| span::Event {
        time_unix_nano: time(event.time),
        name: event.name,
        attributes: attributes(event.attributes),
        dropped_attributes_count: 0,
    });
    let (code, message) = match said.status {
        Said::Unset => (StatusCode::Unset, String::new()),
        Said::Ok => (StatusCode::Ok, String::new()),
        Said::Error(message) => (StatusCode::Error, message),
    };
    let kind = match said.span_kind {
        Kind::Client => span::SpanKind::Client,
        Kind::Server => span::SpanKind::Server,
        Kind::Producer => span::SpanKind::Producer,
        Kind::Consumer => span::SpanKind::Consumer,
        Kind::Internal => span::SpanKind::Internal,
    };
    let span = Span {
        trace_id: id::<16>(&said.span_context.trace_id)?,
        span_id: id::<8>(&said.span_context.span_id)?,
        trace_state: state(said.span_context.trace_state),
        parent_span_id: id::<8>(&said.parent_span_id).unwrap_or_default(),
        flags: flags(said.span_context.trace_flags),
        name: said.name,
        kind: kind.into(),
        start_time_unix_nano: time(said.start_time),
        end_time_unix_nano: time(said.end_time),
        attributes: attributes(said.attributes),
        dropped_attributes_count: said.dropped_attributes,
        events: events.collect(),
        dropped_events_count: said.dropped_events,
        links: links.collect(),
        dropped_links_count: said.dropped_links,
        status: Some(Status {
            message,
            code: code.into(),
        }),
    };
    Some(ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![ScopeSpans {
            scope: Some(scope),
            spans: vec![span],
            schema_url,
        }],
        schema_url: String::new(),
    })
}

/// A log record.
pub(super) fn log(said: logs::LogRecord, resource: Resource, schema_url: String) -> ResourceLogs {
    let (scope, of_scope) = said.instrumentation_scope.map(scope).unzip();
    let record = LogRecord {
        time_unix_nano: said.timestamp.map_or(0, time),
        observed_time_unix_nano: said.observed_timestamp.map_or(0, time),
        severity_number: said.severity_number.unwrap_or(0).min(24).into(),
        severity_text: said.severity_text.unwrap_or_default(),
        body: said.body.map(value),
        attributes: said.attributes.map(attributes).unwrap_or_default(),
        dropped_attributes_count: 0,
        flags: said.trace_flags.map_or(0, flags),
        trace_id: said
            .trace_id
            .and_then(|text| id::<16>(&text))
            .unwrap_or_default(),
        span_id: said
            .span_id
            .and_then(|text| id::<8>(&text))
            .unwrap_or_default(),
        event_name: said.event_name.unwrap_or_default(),
    };
    ResourceLogs {
        resource: Some(resource),
        scope_logs: vec![ScopeLogs {
            scope,
            log_records: vec![record],
            schema_url: of_scope.unwrap_or_default(),
        }],
        schema_url,
    }
}

/// Values of metrics.
pub(super) fn metrics(
    said: Vec<wit::ScopeMetrics>,
    resource: Resource,
    schema_url: String,
) -> ResourceMetrics {
    let scopes = said.into_iter().map(|said| {
        let (scope, schema_url) = scope(said.scope);
        ScopeMetrics {
            scope: Some(scope),
            metrics: said.metrics.into_iter().map(metric).collect(),
            schema_url,
        }
    });
    ResourceMetrics {
        resource: Some(resource),
        scope_metrics: scopes.collect(),
        schema_url,
    }
}

fn metric(said: wit::Metric) -> Metric {
    let data = match said.data {
        MetricData::F64Gauge(of) | MetricData::U64Gauge(of) | MetricData::S64Gauge(of) => gauge(of),
        MetricData::F64Sum(of) | MetricData::U64Sum(of) | MetricData::S64Sum(of) => sum(of),
        MetricData::F64Histogram(of)
        | MetricData::U64Histogram(of)
        | MetricData::S64Histogram(of) => histogram(of),
        MetricData::F64ExponentialHistogram(of)
        | MetricData::U64ExponentialHistogram(of)
        | MetricData::S64ExponentialHistogram(of) => exponential(of),
    };
    Metric {
        name: said.name,
        description: said.description,
        unit: said.unit,
        metadata: Vec::new(),
        data: Some(data),
    }
}

fn gauge(said: wit::Gauge) -> Data {
    let (start, at) = (said.start_time.map_or(0, time), time(said.time));
    let points = said.data_points.into_iter();
    let points = points.map(|p| point(p.attributes, p.value, p.exemplars, start, at));
    Data::Gauge(Gauge {
        data_points: points.collect(),
    })
}

fn sum(said: wit::Sum) -> Data {
    let (start, at) = (time(said.start_time), time(said.time));
    let points = said.data_points.into_iter();
    let points = points.map(|p| point(p.attributes, p.value, p.exemplars, start, at));
    Data::Sum(Sum {
        data_points: points.collect(),
        aggregation_temporality: temporality(said.temporality),
        is_monotonic: said.is_monotonic,
    })
}

fn point(
    pairs: Vec<types::KeyValue>,
    number: wit::MetricNumber,
    examples: Vec<wit::Exemplar>,
    start: u64,
    at: u64,
) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(pairs),
        start_time_unix_nano: start,
        time_unix_nano: at,
        exemplars: exemplars(examples),
        flags: 0,
        value: Some(match whole(number) {
            Ok(number) => number_data_point::Value::AsInt(number),
            Err(number) => number_data_point::Value::AsDouble(number),
        }),
    }
}

fn histogram(said: wit::Histogram) -> Data {
    let (start, at) = (time(said.start_time), time(said.time));
    let points = said.data_points.into_iter().map(|said| HistogramDataPoint {
        attributes: attributes(said.attributes),
        start_time_unix_nano: start,
        time_unix_nano: at,
        count: said.count,
        sum: Some(float(said.sum)),
        bucket_counts: said.bucket_counts,
        explicit_bounds: said.bounds,
        exemplars: exemplars(said.exemplars),
        flags: 0,
        min: said.min.map(float),
        max: said.max.map(float),
    });
    Data::Histogram(Histogram {
        data_points: points.collect(),
        aggregation_temporality: temporality(said.temporality),
    })
}

fn exponential(said: wit::ExponentialHistogram) -> Data {
    let (start, at) = (time(said.start_time), time(said.time));
    let buckets = |said: wit::ExponentialBucket| Buckets {
        offset: said.offset,
        bucket_counts: said.counts,
    };
    let points = said.data_points.into_iter();
    let points = points.map(|said| ExponentialHistogramDataPoint {
        attributes: attributes(said.attributes),
        start_time_unix_nano: start,
        time_unix_nano: at,
        count: said.count,
        sum: Some(float(said.sum)),
        scale: said.scale.into(),
        zero_count: said.zero_count,
        positive: Some(buckets(said.positive_bucket)),
        negative: Some(buckets(said.negative_bucket)),
        flags: 0,
        exemplars: exemplars(said.exemplars),
        min: said.min.map(float),
        max: said.max.map(float),
        zero_threshold: said.zero_threshold,
    });
    Data::ExponentialHistogram(ExponentialHistogram {
        data_points: points.collect(),
        aggregation_temporality: temporality(said.temporality),
    })
}

fn exemplars(said: Vec<wit::Exemplar>) -> Vec<Exemplar> {
    let all = said.into_iter().map(|said| Exemplar {
        filtered_attributes: attributes(said.filtered_attributes),
        time_unix_nano: time(said.time),
        span_id: id::<8>(&said.span_id).unwrap_or_default(),
        trace_id: id::<16>(&said.trace_id).unwrap_or_default(),
        value: Some(match whole(said.value) {
            Ok(number) => exemplar::Value::AsInt(number),
            Err(number) => exemplar::Value::AsDouble(number),
        }),
    });
    all.collect()
}

/// A number as an integer, or as a float if it is none that fits.
fn whole(number: wit::MetricNumber) -> Result<i64, f64> {
    match number {
        wit::MetricNumber::F64(number) => Err(number),
        wit::MetricNumber::S64(number) => Ok(number),
        wit::MetricNumber::U64(number) => i64::try_from(number).map_err(|_| number as f64),
    }
}

fn float(number: wit::MetricNumber) -> f64 {
    match number {
        wit::MetricNumber::F64(number) => number,
        wit::MetricNumber::S64(number) => number as f64,
        wit::MetricNumber::U64(number) => number as f64,
    }
}

fn temporality(said: wit::Temporality) -> i32 {
    let known = match said {
        wit::Temporality::Cumulative => AggregationTemporality::Cumulative,
        // Of low memory are the instruments whose values are deltas.
        wit::Temporality::Delta | wit::Temporality::LowMemory => AggregationTemporality::Delta,
    };
    known.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_json_and_what_is_none_is_a_text() {
        for (text, expected) in [
            ("\"a\"", Value::StringValue("a".into())),
            ("a b", Value::StringValue("a b".into())),
            ("true", Value::BoolValue(true)),
            ("-7", Value::IntValue(-7)),
            ("1.5", Value::DoubleValue(1.5)),
            (
                "\"data:application/octet-stream;base64,AAH/\"",
                Value::BytesValue(vec![0, 1, 255]),
            ),
            (
                "[1]",
                Value::ArrayValue(ArrayValue {
                    values: vec![of_json(1.into())],
                }),
            ),
        ] {
            assert_eq!(value(text.into()).value, Some(expected), "{text}");
        }
    }

    #[test]
    fn values_that_stand_too_deep_are_a_text() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            for (levels, is_text) in [(LEVELS, false), (LEVELS + 1, true)] {
                let text = format!("{}0{}", open.repeat(levels), close.repeat(levels));
                let read = value(text.clone()).value;
                assert_eq!(read == Some(Value::StringValue(text)), is_text, "{open}");
            }
        }
    }

    #[test]
    fn contexts_are_read_and_refused() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let read = context(parent, Some("a=b, c=d,e")).unwrap();
        assert_eq!(read.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(read.span_id, "00f067aa0ba902b7");
        assert!(read.trace_flags.contains(tracing::TraceFlags::SAMPLED));
        assert_eq!(state(read.trace_state), "a=b,c=d");
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ] {
            assert!(context(wrong, None).is_none(), "{wrong}");
        }
    }
}
