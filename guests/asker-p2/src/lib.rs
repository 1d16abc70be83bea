//! Turns requests into messages. The query is a subject, then the text of the message.
//!
//! | path | does |
//! |---|---|
//! | `/ask?SUBJECT&TEXT` | sends it and answers what the worker answers |
//! | `/publish?SUBJECT&TEXT` | sends it and waits for nothing |
//! | `/publish-lines?SUBJECT&TEXT` | publishes to that subject with a CR, an LF and the text behind it |
//! | `/reply-to?SUBJECT&SUBJECT` | publishes a message whose answer is to go to the second |
//! | `/many?SUBJECT&N`, `/many?SUBJECT&N&TEXT,TEXT` | publishes `quiet` N times, or these in turn, N in all |
//! | `/large?SUBJECT&BYTES` | publishes a message of that many bytes |

use wasip2::http::types::{IncomingRequest, ResponseOutparam};

wit_bindgen::generate!({ path: "../wit/messaging.wit", world: "asker" });
wasip2::http::proxy::export!(Asker);

use wasmcloud::messaging::{consumer, types::BrokerMessage};

/// How long an answer is waited for, in milliseconds.
const PATIENCE: u32 = 5000;

struct Asker;

impl wasip2::exports::http::incoming_handler::Guest for Asker {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, query) = http_answer::path_and_query(&request);
        let (subject, text) = query.split_once('&').unwrap_or((&query, ""));
        let result = match path.as_str() {
            "/publish" => publish(subject, text.into()),
            "/publish-lines" => publish(&format!("{subject}\r\n{text}"), Vec::new()),
            "/reply-to" => consumer::publish(&BrokerMessage {
                subject: subject.into(),
                body: Vec::new(),
                reply_to: Some(text.into()),
            })
            .map(|()| "published".into()),
            "/many" => {
                let (count, texts) = text.split_once('&').unwrap_or((text, "quiet"));
                let mut texts = texts.split(',').cycle().take(count.parse().unwrap_or(0));
                let all = texts.try_for_each(|text| publish(subject, text.into()).map(drop));
                all.map(|()| count.to_owned())
            }
            "/large" => publish(subject, vec![0; text.parse().unwrap_or(0)]),
            _ => consumer::request(subject, text.as_bytes(), PATIENCE)
                .map(|answer| String::from_utf8_lossy(&answer.body).into_owned()),
        };
        match result {
            Ok(text) => http_answer::text(out, 200, &text),
            Err(text) => http_answer::text(out, 502, &text),
        }
    }
}

fn publish(subject: &str, body: Vec<u8>) -> Result<String, String> {
    consumer::publish(&BrokerMessage {
        subject: subject.into(),
        body,
        reply_to: None,
    })
    .map(|()| "published".into())
}
