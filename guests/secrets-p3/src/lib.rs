//! Uses secrets: `/check?NAME&WORD` says whether the word is the secret of that name, without
//! telling it; `/length?NAME` tells how long it is; `/reveal?NAME` tells it, as nobody should.

use wasip3::http::types::{ErrorCode, Request, Response};

use crate::wasmcloud::secrets::{
    reveal::reveal,
    store::{SecretValue, SecretsError, get},
};

wit_bindgen::generate!({ path: "../wit/secrets.wit" });
wasip3::http::service::export!(Keeper);

struct Keeper;

impl wasip3::exports::http::handler::Guest for Keeper {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let (path, query) = http_answer_async::path_and_query(&request);
        let (name, word) = query.split_once('&').unwrap_or((&query, ""));
        let text = match value(name).await {
            Ok(value) => match path.as_str() {
                "/check" if value == word.as_bytes() => "yes".into(),
                "/check" => "no".into(),
                "/length" => value.len().to_string(),
                "/reveal" => String::from_utf8_lossy(&value).into_owned(),
                _ => "nothing".into(),
            },
            Err(error) => format!("{error:?}"),
        };
        Ok(http_answer_async::text(text))
    }
}

async fn value(name: &str) -> Result<Vec<u8>, SecretsError> {
    let secret = get(name.to_owned()).await?;
    Ok(match reveal(&secret).await {
        SecretValue::String(text) => text.into_bytes(),
        SecretValue::Bytes(bytes) => bytes,
    })
}
