//! Answers each message by what 0.3 adds: it waits without keeping others from being handled. A text
//! is a number of milliseconds to wait for, then `ask:SUBJECT:TEXT` hands a question on, and any
//! other is answered in capitals. The answer ends with how many messages the instance has begun.

use std::sync::atomic::{AtomicU64, Ordering};

use wasip3::{clocks::monotonic_clock, wit_bindgen};

use crate::{
    exports::wasmcloud::messaging::handler::Guest,
    wasmcloud::messaging::{
        consumer,
        types::{BrokerMessage, Error},
    },
};

wit_bindgen::generate!({ path: "../wit/messaging-p3.wit", world: "worker" });
export!(Worker);

struct Worker;

static MESSAGES: AtomicU64 = AtomicU64::new(0);

impl Guest for Worker {
    async fn handle_message(message: BrokerMessage) -> Result<(), Error> {
        let count = MESSAGES.fetch_add(1, Ordering::Relaxed) + 1;
        let text = String::from_utf8_lossy(&message.body).into_owned();
        let answer = if let Ok(milliseconds) = text.parse::<u64>() {
            monotonic_clock::wait_for(milliseconds * 1_000_000).await;
            "awake".into()
        } else if let Some((subject, text)) = text
            .strip_prefix("ask:")
            .and_then(|rest| rest.split_once(':'))
        {
            let asked = consumer::request(subject.into(), text.as_bytes().to_vec(), 5000).await;
            match asked {
                Ok(answer) => String::from_utf8_lossy(&answer.body).into_owned(),
                Err(error) => format!("{error:?}"),
            }
        } else {
            text.to_uppercase()
        };
        let Some(subject) = message.reply_to else {
            return Ok(());
        };
        let body = format!("{answer} {count}").into_bytes();
        consumer::publish(BrokerMessage {
            subject,
            body,
            reply_to: None,
        })
        .await
    }
}
