//! What a registry did wrong, in words for the user.

use reqwest::{Response, StatusCode};
use serde::Deserialize;
use waft_ir::{Failure, FailureReason};

use super::{
    Repository,
    client::{self, SendError},
};
use crate::registry::auth::Access;

/// Largest error body that is read.
const BODY_LIMIT: u64 = 16 << 10;
/// Most characters of a registry's own words that are passed on.
const WORDS: usize = 200;

#[derive(Deserialize)]
struct Errors {
    errors: Vec<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// The failure of a reference whose registry has no address.
pub(super) fn bad_address(reference: &str, error: &url::ParseError) -> Failure {
    Failure::new(
        FailureReason::InvalidImageReference,
        format!("`{reference}` names no registry's address: {error}"),
    )
}

impl Repository<'_> {
    /// No answer came.
    pub(super) fn unreachable(&self, error: &SendError) -> Failure {
        let cause = error.to_string();
        let tls = ["certificate", "InvalidContentType", "handshake", "TLS"];
        let hint = if tls.iter().any(|word| cause.contains(word)) {
            "plain HTTP is spoken only to localhost and to a `--registry-mirror HOST=http://…`; \
             for a private CA set `SSL_CERT_FILE`"
        } else {
            "is it running, and its name right? It can be reached elsewhere with \
             `--registry-mirror HOST=URL`"
        };
        Failure::new(
            FailureReason::ImagePullFailed,
            format!(
                "{}: the registry `{}` can't be reached: {cause}; {hint}",
                self.attempted(),
                self.host()
            ),
        )
    }

    /// An answer ended before it was whole.
    pub(super) fn broken_off(&self, error: &SendError) -> Failure {
        Failure::new(
            FailureReason::ImagePullFailed,
            format!(
                "{}: the answer of the registry `{}` broke off: {error}",
                self.attempted(),
                self.host()
            ),
        )
    }

    /// The credentials, or their absence, were refused.
    pub(super) fn unauthorised(&self, why: Option<&str>) -> Failure {
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        Failure::new(
            FailureReason::ImagePullUnauthorized,
            format!(
                "{}: the registry `{}` refused{why}: {}; or there is no such repository",
                self.attempted(),
                self.host(),
                self.found.origin
            ),
        )
    }

    /// An answer other than success.
    pub(super) async fn refused(&self, response: Response) -> Failure {
        let status = response.status();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.unauthorised(None),
            StatusCode::NOT_FOUND => Failure::new(
                FailureReason::ImageNotFound,
                format!(
                    "{}: the registry `{}` has no such repository, tag or digest; \
                     push the image, or correct the reference",
                    self.attempted(),
                    self.host()
                ),
            ),
            status => {
                let words = match words(response).await {
                    Some(words) => format!(": {words}"),
                    None => String::new(),
                };
                let message = format!(
                    "{}: the registry `{}` answered {status}{words}",
                    self.attempted(),
                    self.host()
                );
                Failure::new(FailureReason::ImagePullFailed, message)
            }
        }
    }

    fn attempted(&self) -> String {
        let verb = match self.access {
            Access::Pull => "pulled",
            Access::Push => "pushed",
        };
        let attempted = format!("`{}` can't be {verb}", self.reference);
        match may_be_a_file(&self.reference) {
            true => format!(
                "{attempted} (the file of that name is `file:{}`)",
                self.reference
            ),
            false => attempted,
        }
    }

    fn host(&self) -> String {
        client::authority(&self.base)
    }
}

/// Whether a reference looks like the name of a file, and its author has forgotten to say so.
fn may_be_a_file(reference: &str) -> bool {
    reference.ends_with(".wasm") && !reference.contains('/')
}

/// The registry's own words, if it has some, without control characters.
async fn words(response: Response) -> Option<String> {
    let bytes = client::read(response, BODY_LIMIT).await.ok()?;
    let errors: Errors = serde_json::from_slice(&bytes).ok()?;
    let first = errors.errors.into_iter().next()?;
    let text = format!("{} {}", first.code, first.message);
    let clean = text.trim().chars().filter(|c| !c.is_control());
    Some(clean.take(WORDS).collect())
}
