//! Imports the secret `api-key` under its name, and answers how long it is.

use wasip3::http::types::{ErrorCode, Request, Response};

wit_bindgen::generate!({
    inline: "
        package waft:secret;

        world keeper {
            import api-key: wasmcloud:secrets/secret@2.1.0;
            import wasmcloud:secrets/reveal@2.1.0;
        }
    ",
    path: ["../wit/secrets.wit"],
    generate_all,
});
wasip3::http::service::export!(Keeper);

use wasmcloud::secrets::{reveal::reveal, store::SecretValue};

struct Keeper;

impl wasip3::exports::http::handler::Guest for Keeper {
    async fn handle(_: Request) -> Result<Response, ErrorCode> {
        let secret = api_key::get().await;
        let length = match reveal(&secret).await {
            SecretValue::String(text) => text.len(),
            SecretValue::Bytes(bytes) => bytes.len(),
        };
        Ok(http_answer_async::text(length.to_string()))
    }
}
