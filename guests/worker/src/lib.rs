//! Answers each message with its text in capitals, on its `reply-to` subject, and writes a line.
//! Five texts are special: `panic`, `spin`, which never ends, `wait`, with which it waits for a moment, `refuse`, and
//! `quiet`, with which it does nothing.

use crate::{
    exports::wasmcloud::messaging::handler::Guest,
    wasmcloud::messaging::{consumer, types::BrokerMessage},
};

wit_bindgen::generate!({ path: "../wit/messaging.wit", world: "worker" });
export!(Worker);

struct Worker;

impl Guest for Worker {
    fn handle_message(message: BrokerMessage) -> Result<(), String> {
        let text = String::from_utf8_lossy(&message.body);
        match &*text {
            "panic" => panic!("as told"),
            "spin" => loop {
                std::hint::black_box(());
            },
            "wait" => {
                std::thread::sleep(std::time::Duration::from_millis(20));
                return Ok(());
            }
            "quiet" => return Ok(()),
            "refuse" => return Err("refused, as told".into()),
            _ => {}
        }
        println!("{}: {} bytes", message.subject, message.body.len());
        let Some(subject) = message.reply_to else {
            return Ok(());
        };
        consumer::publish(&BrokerMessage {
            subject,
            body: text.to_uppercase().into_bytes(),
            reply_to: None,
        })
    }
}
