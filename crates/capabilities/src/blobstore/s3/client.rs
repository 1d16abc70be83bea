//! Signed requests to a server that speaks S3. A signed URL lets whoever has it do the same: none is
//! logged or told.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use reqwest::{Body, Method, Response, StatusCode, Url, header::HeaderMap, redirect};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use tokio::{sync::OnceCell, time::timeout};
use waft_ir::{Failure, FailureReason};

use crate::blobstore::store::StoreError;

/// How long the server may take to answer, or to go on with an answer while somebody waits for it.
const WITHIN: Duration = Duration::from_secs(10);
/// How long the server may take to put an object together of its parts: AWS speaks of minutes.
const COMPLETED_WITHIN: Duration = Duration::from_secs(600);
/// How long a connection may take.
const CONNECTED_WITHIN: Duration = Duration::from_secs(3);
/// Bytes that the server takes a second at least: an answer may be late by as much.
const SLOWEST: u64 = 64 << 10;
/// How long a signature counts.
const SIGNED_FOR: Duration = Duration::from_secs(300);
/// Bytes of an answer that is read at once: a list of a thousand keys of a KiB, encoded.
const ANSWER: usize = 8 << 20;

/// A server that speaks S3, and who Waft is there.
#[derive(Clone, Debug)]
pub struct S3Server {
    url: String,
    region: String,
    credentials: Credentials,
}

/// The server of a host.
pub(super) struct Client {
    endpoint: Url,
    region: String,
    credentials: Credentials,
    extra_ca: Vec<PathBuf>,
    http: OnceCell<reqwest::Client>,
}

/// Why the server did not do something.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("there is no such bucket in S3")]
    NoBucket,
    #[error("there is no such object in S3")]
    Missing,
    #[error(
        "S3 refuses: the bucket is not empty; old versions or objects of other programs may be in it"
    )]
    NotEmpty,
    /// It is there already, or somebody else changes it.
    #[error("S3 refuses: somebody else changes the same")]
    Conflict,
    #[error("S3 refuses: {0} {1}")]
    Other(StatusCode, String),
    /// Whether a change was made before is not known.
    #[error("S3 does not answer: {0}")]
    Lost(String),
}

impl S3Server {
    /// The server of a URL, with the credentials and the region that `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` and `AWS_REGION` name.
    ///
    /// # Errors
    /// If there are no credentials.
    pub fn new(url: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let (key, secret) = (set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY"));
        let (Some(key), Some(secret)) = (key, secret) else {
            return Err(refused(
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment",
            ));
        };
        Ok(Self {
            url: url.to_owned(),
            region: set("AWS_REGION").unwrap_or_else(|| "us-east-1".into()),
            credentials: match set("AWS_SESSION_TOKEN") {
                Some(token) => Credentials::new_with_token(key, secret, token),
                None => Credentials::new(key, secret),
            },
        })
    }

    /// Its URL, as it was given.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Client {
    pub(super) fn new(server: &S3Server, extra_ca: &[PathBuf]) -> Result<Self, Failure> {
        let endpoint = Url::parse(&server.url).ok();
        let endpoint = endpoint.filter(|url| {
            matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty()
        });
        let endpoint =
            endpoint.ok_or_else(|| refused("write it as http://HOST:PORT or https://HOST"))?;
        Ok(Self {
            endpoint,
            region: server.region.clone(),
            credentials: server.credentials.clone(),
            extra_ca: extra_ca.to_vec(),
            http: OnceCell::new(),
        })
    }

    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// A bucket, which may not be there. Only what can be one is asked for.
    pub(super) fn bucket(&self, name: &str) -> Result<Bucket, StoreError> {
        let is_fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let is_inner = |c: char| is_fine(c) || c == '-' || c == '.';
        let ends = name.starts_with(is_fine) && name.ends_with(is_fine);
        if !(3..=63).contains(&name.len()) || !ends || !name.chars().all(is_inner) {
            let text = "a bucket in S3 has a name of 3 to 63 small letters, digits, `-` and `.`";
            return Err(StoreError::Other(text.into()));
        }
        let (endpoint, region) = (self.endpoint.clone(), self.region.clone());
        let bucket = Bucket::new(endpoint, UrlStyle::Path, name.to_owned(), region);
        bucket.map_err(|error| StoreError::Other(error.to_string()))
    }

    /// Sends a request about a bucket, or something in it; the answer is a success.
    pub(super) async fn send<'a>(
        &self,
        method: Method,
        bucket: &Bucket,
        action: &impl S3Action<'a>,
        headers: Option<HeaderMap>,
        body: impl Into<Body>,
    ) -> Result<Response, Refused> {
        let body = body.into();
        let bytes = body.as_bytes().map_or(0, <[u8]>::len) as u64;
        let within = WITHIN + Duration::from_secs(bytes / SLOWEST);
        let asked = self.ask(method, bucket, action, headers, body, within);
        succeeded(asked.await?).await
    }

    /// Has an object put together of its parts; gives the text of the answer. A server that takes long
    /// for it may begin its answer as a success, send blanks meanwhile, and end it with an error.
    pub(super) async fn complete<'a>(
        &self,
        bucket: &Bucket,
        action: &impl S3Action<'a>,
        body: String,
    ) -> Result<String, Refused> {
        let done = async {
            let within = COMPLETED_WITHIN;
            let asked = self.ask(Method::POST, bucket, action, None, body.into(), within);
            let done = succeeded(asked.await?).await?;
            let status = done.status();
            Ok((status, text_within(done, COMPLETED_WITHIN).await?))
        };
        let done = timeout(COMPLETED_WITHIN, done).await;
        let (status, said) = done.map_err(|_| silent())??;
        match code(&said) {
            Some(_) => Err(refusal(status, &said)),
            None => Ok(said),
        }
    }

    async fn ask<'a>(
        &self,
        method: Method,
        bucket: &Bucket,
        action: &impl S3Action<'a>,
        headers: Option<HeaderMap>,
        body: Body,
        within: Duration,
    ) -> Result<Response, Refused> {
        let url = action.sign(SIGNED_FOR);
        // Whatever a name is, it leads to nothing outside of its bucket.
        let base = bucket.base_url();
        let path = format!("{}/", url.path());
        if url.origin() != base.origin() || !path.starts_with(base.path()) {
            return Err(Refused::Missing);
        }
        let http = self.http().await?;
        let mut request = http.request(method, url).body(body);
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        let response = timeout(within, request.send()).await;
        response.map_err(|_| silent())?.map_err(lost)
    }

    async fn http(&self) -> Result<&reqwest::Client, Refused> {
        let make = || async {
            let extra = self.extra_ca.clone();
            let tls = tokio::task::spawn_blocking(move || waft_runtime::client_tls(&extra));
            let tls = tls
                .await
                .map_err(|error| Refused::Lost(error.to_string()))?;
            let tls = tls.map_err(|error| Refused::Lost(error.to_string()))?;
            let client = reqwest::Client::builder()
                .user_agent(concat!("waft/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECTED_WITHIN)
                .redirect(redirect::Policy::none())
                .use_preconfigured_tls(tls)
                .build();
            client.map_err(lost)
        };
        self.http.get_or_try_init(make).await
    }
}

impl From<Refused> for StoreError {
    fn from(error: Refused) -> Self {
        match error {
            Refused::NoBucket => Self::Gone,
            error => {
                tracing::warn!("{error}");
                Self::Other(error.to_string())
            }
        }
    }
}

/// An answer, if it is a success.
async fn succeeded(response: Response) -> Result<Response, Refused> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let said = text(response).await.unwrap_or_default();
    Err(refusal(status, &said))
}

/// What an answer says that is no success.
fn refusal(status: StatusCode, said: &str) -> Refused {
    match (status, code(said).unwrap_or_default()) {
        (_, "NoSuchBucket") => Refused::NoBucket,
        (_, "BucketNotEmpty") => Refused::NotEmpty,
        (StatusCode::NOT_FOUND, _) => Refused::Missing,
        (StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED, _) => Refused::Conflict,
        (status, code) => Refused::Other(status, code.to_owned()),
    }
}

/// The next bytes of an answer. Only who asks for them waits: the server is not late because a guest
/// asks late.
pub(super) async fn chunk(response: &mut Response) -> Result<Option<Bytes>, Refused> {
    chunk_within(response, WITHIN).await
}

async fn chunk_within(response: &mut Response, within: Duration) -> Result<Option<Bytes>, Refused> {
    let next = timeout(within, response.chunk()).await;
    next.map_err(|_| silent())?.map_err(lost)
}

/// The text of an answer, which has a bound.
pub(super) async fn text(response: Response) -> Result<String, Refused> {
    text_within(response, WITHIN).await
}

/// The same of a server that may take so long to go on.
async fn text_within(mut response: Response, within: Duration) -> Result<String, Refused> {
    let mut bytes = Vec::new();
    while let Some(chunk) = chunk_within(&mut response, within).await? {
        if bytes.len() + chunk.len() > ANSWER {
            return Err(Refused::Lost("the answer is too long".into()));
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|_| Refused::Lost("the answer is no text".into()))
}

/// The first code of an error that an answer names.
pub(super) fn code(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let is_word = code.chars().all(|c| c.is_ascii_alphanumeric());
    is_word.then_some(code)
}

/// Bytes of what an answer is about.
pub(super) fn length(response: &Response) -> u64 {
    let length = response.headers().get(reqwest::header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    length.unwrap_or_default()
}

pub(super) fn malformed(error: impl std::fmt::Display) -> StoreError {
    tracing::warn!("S3: {error}");
    StoreError::Other("S3 does not answer as it should".into())
}

fn silent() -> Refused {
    Refused::Lost("it takes too long".into())
}

fn lost(error: reqwest::Error) -> Refused {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    Refused::Lost(cause.to_string())
}

fn refused(what: &str) -> Failure {
    Failure::new(FailureReason::StartFailed, format!("--s3: {what}"))
}
