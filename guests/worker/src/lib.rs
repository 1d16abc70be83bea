//! Answers each message with its own body, on its `reply-to` subject.

use crate::{
    exports::wasmcloud::messaging::handler::Guest,
    wasmcloud::messaging::{consumer, types::BrokerMessage},
};

wit_bindgen::generate!({ path: "../wit/messaging.wit" });
export!(Worker);

struct Worker;

impl Guest for Worker {
    fn handle_message(message: BrokerMessage) -> Result<(), String> {
        let Some(subject) = message.reply_to else {
            return Ok(());
        };
        consumer::publish(&BrokerMessage {
            subject,
            body: message.body,
            reply_to: None,
        })
    }
}
