//! Imports interfaces under names of its own, two of each that can have several backends. Which backend
//! is behind a name says the entry of its manifest with that name.
//!
//! | path | does |
//! |---|---|
//! | `/put?NAME&CONTAINER&OBJECT&TEXT`, `/read?NAME&CONTAINER&OBJECT` | of the objects of `photos` or `archive` |
//! | `/add?NAME&BUCKET&KEY` | adds to a counter, by `fast` or `lasting` |
//! | `/many?NAME&BUCKET&KEY` | sets a key and reads it again, by `some` or `more` |
//! | `/get?BUCKET&KEY` | a value, by `wasi:keyvalue/store` under its own name |
//! | `/log?TEXT` | writes a line by `audit` and one by `chatter` |
//! | `/tell?TEXT` | a span by `traced`, a record by `told`, a metric by `metered` |

use wasip2::http::types::{IncomingRequest, ResponseOutparam};

wit_bindgen::generate!({
    inline: "
        package waft:labels;

        world labels {
            import photos: wasi:blobstore/blobstore@0.2.0-draft;
            import archive: wasi:blobstore/blobstore@0.2.0-draft;
            import fast: wasi:keyvalue/atomics@0.2.0-draft;
            import lasting: wasi:keyvalue/atomics@0.2.0-draft;
            import some: wasi:keyvalue/batch@0.2.0-draft;
            import more: wasi:keyvalue/batch@0.2.0-draft;
            import audit: wasi:logging/logging@0.1.0-draft;
            import chatter: wasi:logging/logging@0.1.0-draft;
            import traced: wasi:otel/tracing@0.2.0-rc.2;
            import told: wasi:otel/logs@0.2.0-rc.2;
            import metered: wasi:otel/metrics@0.2.0-rc.2;
        }
    ",
    path: ["../wit/keyvalue.wit", "../wit/logging.wit", "../wit/otel.wit", "../wit/blobstore"],
    with: { "wasi:io/streams@0.2.1": wasip2::io::streams },
    generate_all,
});
wasip2::http::proxy::export!(Labels);

use wasi::{
    blobstore::{container::Container, types::OutgoingValue},
    clocks::wall_clock::Datetime,
    keyvalue::store,
    otel::types::{InstrumentationScope, Resource},
};

struct Labels;

impl wasip2::exports::http::incoming_handler::Guest for Labels {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, query) = http_answer::path_and_query(&request);
        let parts: Vec<&str> = query.split('&').collect();
        let answer = act(&path, &parts).unwrap_or_else(|error| error);
        http_answer::text(out, 200, &answer);
    }
}

fn act(path: &str, parts: &[&str]) -> Result<String, String> {
    let part = |at: usize| parts.get(at).copied().unwrap_or_default();
    let said = |error: store::Error| format!("{error:?}");
    match (path, part(0)) {
        ("/put", name) => {
            let container = match name {
                "photos" => photos::create_container(part(1)),
                _ => archive::create_container(part(1)),
            };
            put(&container?, part(2), part(3))
        }
        ("/read", name) => {
            let container = match name {
                "photos" => photos::get_container(part(1)),
                _ => archive::get_container(part(1)),
            };
            let value = container?.get_data(part(2), 0, u64::MAX)?;
            let bytes = wasi::blobstore::types::IncomingValue::incoming_value_consume_sync(value)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
        ("/add", name) => {
            let bucket = store::open(part(1)).map_err(said)?;
            let sum = match name {
                "fast" => fast::increment(&bucket, part(2), 1),
                _ => lasting::increment(&bucket, part(2), 1),
            };
            Ok(sum.map_err(said)?.to_string())
        }
        ("/many", name) => {
            let bucket = store::open(part(1)).map_err(said)?;
            let key = part(2).to_owned();
            let found = match name {
                "some" => some::set_many(&bucket, &[(key.clone(), b"set".to_vec())])
                    .and_then(|()| some::get_many(&bucket, &[key])),
                _ => more::set_many(&bucket, &[(key.clone(), b"set".to_vec())])
                    .and_then(|()| more::get_many(&bucket, &[key])),
            };
            Ok(format!(
                "{} found",
                found.map_err(said)?.into_iter().flatten().count()
            ))
        }
        ("/get", bucket) => {
            let found = store::open(bucket).and_then(|bucket| bucket.get(part(1)));
            let found = found.map_err(said)?.unwrap_or_else(|| b"none".to_vec());
            Ok(String::from_utf8_lossy(&found).into_owned())
        }
        ("/log", text) => {
            audit::log(audit::Level::Warn, "audit", text);
            chatter::log(chatter::Level::Debug, "chatter", text);
            Ok("logged".into())
        }
        ("/tell", text) => tell(text),
        _ => Ok("nothing".into()),
    }
}

fn put(container: &Container, object: &str, text: &str) -> Result<String, String> {
    let value = OutgoingValue::new_outgoing_value();
    let stream = value
        .outgoing_value_write_body()
        .map_err(|()| "no stream")?;
    container.write_data(object, &value)?;
    let written = stream.blocking_write_and_flush(text.as_bytes());
    written.map_err(|error| format!("{error:?}"))?;
    drop(stream);
    OutgoingValue::finish(value)?;
    Ok("stored".into())
}

fn tell(text: &str) -> Result<String, String> {
    let now = Datetime {
        seconds: 1,
        nanoseconds: 0,
    };
    let scope = InstrumentationScope {
        name: "labels-p2".into(),
        version: None,
        schema_url: None,
        attributes: Vec::new(),
    };
    let context = traced::SpanContext {
        trace_id: "1".repeat(32),
        span_id: "2".repeat(16),
        trace_flags: traced::TraceFlags::SAMPLED,
        is_remote: false,
        trace_state: Vec::new(),
    };
    traced::on_start(&context);
    traced::on_end(&traced::SpanData {
        span_context: context,
        parent_span_id: String::new(),
        span_kind: traced::SpanKind::Internal,
        name: text.into(),
        start_time: now,
        end_time: now,
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
        status: traced::Status::Unset,
        instrumentation_scope: scope,
        dropped_attributes: 0,
        dropped_events: 0,
        dropped_links: 0,
    });
    told::on_emit(&told::LogRecord {
        timestamp: Some(now),
        observed_timestamp: None,
        severity_text: None,
        severity_number: None,
        body: Some(format!("{text:?}")),
        attributes: None,
        event_name: None,
        resource: None,
        instrumentation_scope: None,
        trace_id: None,
        span_id: None,
        trace_flags: None,
    });
    metered::export(&metered::ResourceMetrics {
        resource: Resource {
            attributes: Vec::new(),
            schema_url: None,
        },
        scope_metrics: Vec::new(),
    })?;
    Ok("told".into())
}
