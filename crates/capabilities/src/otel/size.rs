//! How much there is in what a guest says. Its values are texts in JSON, which take much more room when
//! they are read: what has too many of them isn't.

use super::{logs, metrics as wit, metrics::MetricData, tracing, types};

/// Bytes of all attributes of one span, log record or export of metrics.
pub(super) const LARGEST: usize = 1 << 20;
/// Bytes that an attribute counts beside its own.
const PAIR: usize = 16;

fn of_pairs(pairs: &[types::KeyValue]) -> usize {
    let sizes = pairs.iter().map(|pair| pair.key.len() + pair.value.len());
    sizes.sum::<usize>() + pairs.len() * PAIR
}

fn of_scope(scope: &types::InstrumentationScope) -> usize {
    of_pairs(&scope.attributes)
}

pub(super) fn of_span(span: &tracing::SpanData) -> usize {
    let events = span.events.iter().map(|event| of_pairs(&event.attributes));
    let links = span.links.iter().map(|link| of_pairs(&link.attributes));
    of_pairs(&span.attributes)
        + of_scope(&span.instrumentation_scope)
        + events.sum::<usize>()
        + links.sum::<usize>()
}

pub(super) fn of_log(record: &logs::LogRecord) -> usize {
    let resource = record.resource.as_ref();
    record.body.as_ref().map_or(0, String::len)
        + record.attributes.as_deref().map_or(0, of_pairs)
        + record.instrumentation_scope.as_ref().map_or(0, of_scope)
        + resource.map_or(0, |resource| of_pairs(&resource.attributes))
}

pub(super) fn of_metrics(said: &wit::ResourceMetrics) -> usize {
    let scopes = said.scope_metrics.iter().map(|scope| {
        let metrics = scope.metrics.iter().map(|metric| of_data(&metric.data));
        of_scope(&scope.scope) + metrics.sum::<usize>()
    });
    of_pairs(&said.resource.attributes) + scopes.sum::<usize>()
}

fn of_data(data: &MetricData) -> usize {
    let point = |pairs: &[types::KeyValue], examples: &[wit::Exemplar]| {
        let examples = examples
            .iter()
            .map(|one| of_pairs(&one.filtered_attributes));
        of_pairs(pairs) + examples.sum::<usize>()
    };
    match data {
        MetricData::F64Gauge(of) | MetricData::U64Gauge(of) | MetricData::S64Gauge(of) => {
            let points = of.data_points.iter();
            points.map(|p| point(&p.attributes, &p.exemplars)).sum()
        }
        MetricData::F64Sum(of) | MetricData::U64Sum(of) | MetricData::S64Sum(of) => {
            let points = of.data_points.iter();
            points.map(|p| point(&p.attributes, &p.exemplars)).sum()
        }
        MetricData::F64Histogram(of)
        | MetricData::U64Histogram(of)
        | MetricData::S64Histogram(of) => {
            let points = of.data_points.iter();
            points.map(|p| point(&p.attributes, &p.exemplars)).sum()
        }
        MetricData::F64ExponentialHistogram(of)
        | MetricData::U64ExponentialHistogram(of)
        | MetricData::S64ExponentialHistogram(of) => {
            let points = of.data_points.iter();
            points.map(|p| point(&p.attributes, &p.exemplars)).sum()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_count_whatever_they_say() {
        let pair = |key: &str, value: &str| types::KeyValue {
            key: key.into(),
            value: value.into(),
        };
        assert_eq!(of_pairs(&[pair("a", "42")]), 3 + PAIR);
        assert!(of_pairs(&vec![pair("", ""); 100_000]) > LARGEST);
    }
}
