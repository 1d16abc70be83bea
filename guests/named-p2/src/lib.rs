//! Imports `wasi:keyvalue/store` twice, under names of its own, `wasi:config/store` and
//! `wasmcloud:messaging/consumer` under one each. Which backend is behind each name says the entry of
//! its manifest with that name.
//!
//! | path | does |
//! |---|---|
//! | `/set?NAME&BUCKET&KEY&VALUE`, `/get?NAME&BUCKET&KEY` | of `cache` or `durable` |
//! | `/config?KEY` | the value of `settings` |
//! | `/publish?SUBJECT&BODY` | by `jobs` |

use wasip2::http::types::{IncomingRequest, ResponseOutparam};

wit_bindgen::generate!({
    inline: "
        package waft:named;

        world named {
            import cache: wasi:keyvalue/store@0.2.0-draft;
            import durable: wasi:keyvalue/store@0.2.0-draft;
            import settings: wasi:config/store@0.2.0-rc.1;
            import jobs: wasmcloud:messaging/consumer@0.2.0;
        }
    ",
    path: ["../wit/keyvalue.wit", "../wit/config.wit", "../wit/messaging.wit"],
    generate_all,
});
wasip2::http::proxy::export!(Named);

struct Named;

impl wasip2::exports::http::incoming_handler::Guest for Named {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, query) = http_answer::path_and_query(&request);
        let parts: Vec<&str> = query.split('&').collect();
        http_answer::text(out, 200, &act(&path, &parts));
    }
}

fn act(path: &str, parts: &[&str]) -> String {
    let part = |at: usize| parts.get(at).copied().unwrap_or_default();
    match (path, part(0)) {
        ("/set", "cache") => {
            told(cache::open(part(1)).and_then(|bucket| bucket.set(part(2), part(3).as_bytes())))
        }
        ("/set", _) => {
            told(durable::open(part(1)).and_then(|bucket| bucket.set(part(2), part(3).as_bytes())))
        }
        ("/get", "cache") => value(cache::open(part(1)).and_then(|bucket| bucket.get(part(2)))),
        ("/get", _) => value(durable::open(part(1)).and_then(|bucket| bucket.get(part(2)))),
        ("/config", key) => format!("{:?}", settings::get(key)),
        ("/publish", subject) => {
            let message = wasmcloud::messaging::types::BrokerMessage {
                subject: subject.into(),
                body: part(1).into(),
                reply_to: None,
            };
            told(jobs::publish(&message))
        }
        _ => "nothing".into(),
    }
}

fn told<E: std::fmt::Debug>(result: Result<(), E>) -> String {
    result.map_or_else(|error| format!("{error:?}"), |()| "done".into())
}

fn value<E: std::fmt::Debug>(found: Result<Option<Vec<u8>>, E>) -> String {
    match found {
        Ok(Some(value)) => String::from_utf8_lossy(&value).into_owned(),
        Ok(None) => "none".into(),
        Err(error) => format!("{error:?}"),
    }
}
