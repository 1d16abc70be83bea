//! Takes messages and answers requests: with what the last message said.

use std::sync::Mutex;

use wasip2::http::types::{IncomingRequest, ResponseOutparam};

use crate::{
    exports::wasmcloud::messaging::handler::Guest, wasmcloud::messaging::types::BrokerMessage,
};

wit_bindgen::generate!({ path: "../wit/messaging.wit", world: "worker" });
wasip2::http::proxy::export!(Both);
export!(Both);

struct Both;

static LAST: Mutex<String> = Mutex::new(String::new());

impl Guest for Both {
    fn handle_message(message: BrokerMessage) -> Result<(), String> {
        let mut last = LAST.lock().map_err(|error| error.to_string())?;
        *last = String::from_utf8_lossy(&message.body).into_owned();
        Ok(())
    }
}

impl wasip2::exports::http::incoming_handler::Guest for Both {
    fn handle(_: IncomingRequest, out: ResponseOutparam) {
        let last = LAST
            .lock()
            .map_or_else(|error| error.to_string(), |last| last.clone());
        http_answer::text(out, 200, &last);
    }
}
