//! The distribution protocol's client: manifests and blobs of one repository, over HTTP.
//!
//! Each request is authorised when the registry asks for it, tried again when trouble may pass,
//! and fails in words that say what the registry did. Digests are the callers' business.

mod auth;
mod blob;
mod challenge;
mod client;
mod failure;

use std::time::Duration;

use bytes::Bytes;
use oci_client::Reference;
use parking_lot::Mutex;
use reqwest::{Method, Response, StatusCode, header};
use url::Url;
use waft_ir::{Credentials, Failure};

use self::{
    auth::{Access, Tokens},
    client::Clients,
};
use crate::{
    credentials::{self, DockerConfig, Found},
    digest::Digest,
    manifest,
    mirror::{Mirror, canonical_host},
};

pub(crate) use self::auth::Access as RepositoryAccess;

/// Largest manifest that is read; registries refuse larger ones as well.
const MANIFEST_LIMIT: u64 = 4 << 20;
/// Longest wait for a whole answer that is small.
const SMALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest pause that a registry's `Retry-After` is followed for.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How often and at what pace requests are tried again after trouble that may pass: a refused
/// connection, a timeout, 429, 5xx.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Retry {
    /// Tries in all, at least 1.
    pub attempts: u32,
    /// Pause after the first try; it doubles after each.
    pub pause: Duration,
}

/// All registries.
#[derive(Debug)]
pub(crate) struct Registries {
    clients: Clients,
    mirrors: Vec<Mirror>,
    docker_config: DockerConfig,
    retry: Retry,
    tokens: Mutex<Tokens>,
}

/// One repository of a registry, with the credentials it is asked with.
#[derive(Debug)]
pub(crate) struct Repository<'a> {
    registries: &'a Registries,
    /// `http://HOST/v2/`.
    base: Url,
    /// Path of the repository below the base.
    name: String,
    access: Access,
    found: Found,
    /// The reference as the user wrote it, for messages.
    reference: String,
}

/// One request, ready to be sent any number of times.
struct Ask<'a> {
    method: Method,
    url: Url,
    headers: &'a [(header::HeaderName, &'a str)],
    body: Option<Bytes>,
    timeout: Option<Duration>,
}

impl Retry {
    /// The pause after try number `attempt` (the first is 1); `None`: give up.
    fn pause_after(self, attempt: u32, wanted: Option<Duration>) -> Option<Duration> {
        let pause = || self.pause * 2_u32.saturating_pow(attempt - 1);
        (attempt < self.attempts).then(|| wanted.unwrap_or_else(pause).min(LONGEST_PAUSE))
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 4,
            pause: Duration::from_millis(200),
        }
    }
}

impl Registries {
    pub(crate) fn new(mirrors: Vec<Mirror>, docker_config: DockerConfig, retry: Retry) -> Self {
        Self {
            clients: Clients::default(),
            mirrors,
            docker_config,
            retry,
            tokens: Mutex::default(),
        }
    }

    /// Opens the repository of a reference. No request is made yet.
    pub(crate) async fn open(
        &self,
        reference: &Reference,
        written: &str,
        credentials: Option<&Credentials>,
        access: Access,
    ) -> Result<Repository<'_>, Failure> {
        let (base, name) = self.locate(reference, written)?;
        let authority = client::authority(&base);
        // Who stands in for a registry is asked in its own name: the registry's credentials are
        // for nobody else, least of all in plain HTTP.
        let host = match self.mirror(reference.registry()) {
            Some(_) => authority,
            None => canonical_host(reference.registry()).into(),
        };
        let found = match credentials {
            Some(secret) => credentials::from_secret(secret, &host, reference.repository())?,
            None => {
                credentials::from_user(&self.docker_config, &host, reference.repository()).await
            }
        };
        Ok(Repository {
            registries: self,
            base,
            name,
            access,
            found,
            reference: written.into(),
        })
    }

    fn mirror(&self, host: &str) -> Option<&Mirror> {
        let host = canonical_host(host);
        self.mirrors.iter().find(|mirror| mirror.host == host)
    }

    /// Base address and repository path of a reference.
    fn locate(&self, reference: &Reference, written: &str) -> Result<(Url, String), Failure> {
        let repository = reference.repository();
        let (base, name) = match self.mirror(reference.registry()) {
            Some(mirror) => {
                let prefix = mirror.url.path().trim_matches('/');
                let name = match prefix {
                    "" => repository.into(),
                    prefix => format!("{prefix}/{repository}"),
                };
                (mirror.url.join("/v2/"), name)
            }
            None => {
                let host = match canonical_host(reference.registry()) {
                    "docker.io" => "registry-1.docker.io",
                    host => host,
                };
                let scheme = match client::is_loopback(host) {
                    true => "http",
                    false => "https",
                };
                let base = Url::parse(&format!("{scheme}://{host}/v2/"));
                (base, repository.into())
            }
        };
        let base = base.map_err(|e| failure::bad_address(written, &e))?;
        Ok((base, name))
    }
}

impl Repository<'_> {
    /// The digest that a tag or digest stands for, without its content. `None` if the registry
    /// does not tell.
    pub(crate) async fn resolve(&self, target: &str) -> Result<Option<Digest>, Failure> {
        let response = self.send_for_manifest(Method::HEAD, target).await?;
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            return Ok(None);
        }
        let response = self.expect(response).await?;
        Ok(content_digest(&response))
    }

    /// The bytes of the manifest that a tag or digest stands for, and the digest that the registry
    /// says they have.
    pub(crate) async fn manifest(&self, target: &str) -> Result<(Bytes, Option<Digest>), Failure> {
        let response = self.send_for_manifest(Method::GET, target).await?;
        let response = self.expect(response).await?;
        let digest = content_digest(&response);
        let bytes = client::read(response, MANIFEST_LIMIT).await;
        Ok((bytes.map_err(|e| self.broken_off(&e))?, digest))
    }

    async fn send_for_manifest(&self, method: Method, target: &str) -> Result<Response, Failure> {
        let ask = Ask {
            method,
            url: self.url(&format!("manifests/{target}"))?,
            headers: &[(header::ACCEPT, manifest::ACCEPT)],
            body: None,
            timeout: Some(SMALL_TIMEOUT),
        };
        self.send(&ask).await
    }

    /// Address of something in the repository.
    fn url(&self, path: &str) -> Result<Url, Failure> {
        let url = self.base.join(&format!("{}/{path}", self.name));
        url.map_err(|e| failure::bad_address(&self.reference, &e))
    }

    /// Sends a request until it is answered: authorised when asked for, again after trouble that
    /// may pass. The answer may be any status but 401, 403, 429 and 5xx.
    async fn send(&self, ask: &Ask<'_>) -> Result<Response, Failure> {
        let retry = self.registries.retry;
        let mut attempt = 1;
        let mut authorised = false;
        loop {
            let (failure, wanted) = match self.send_once(ask).await {
                Ok(response) => match response.status() {
                    StatusCode::UNAUTHORIZED if !authorised => {
                        authorised = true;
                        self.authorise(&response).await?;
                        continue;
                    }
                    status if client::may_pass(status) => {
                        let wanted = client::retry_after(&response);
                        (self.refused(response).await, wanted)
                    }
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                        return Err(self.refused(response).await);
                    }
                    _ => return Ok(response),
                },
                Err(error) => (self.unreachable(&error), None),
            };
            let Some(pause) = retry.pause_after(attempt, wanted) else {
                return Err(failure);
            };
            tracing::debug!(reference = self.reference, attempt, %failure, "trying again");
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    async fn send_once(&self, ask: &Ask<'_>) -> Result<Response, client::SendError> {
        let mut request = self
            .registries
            .clients
            .of(&ask.url)?
            .request(ask.method.clone(), ask.url.clone());
        for (name, value) in ask.headers {
            request = request.header(name, *value);
        }
        if let Some(body) = &ask.body {
            request = request.body(body.clone());
        }
        if let Some(timeout) = ask.timeout {
            request = request.timeout(timeout);
        }
        // An upload may go to another address, which has no business with the credentials.
        if ask.url.origin() == self.base.origin()
            && let Some(authorization) = self.authorization()
        {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        Ok(request.send().await?)
    }

    /// Turns every status but success into a failure.
    async fn expect(&self, response: Response) -> Result<Response, Failure> {
        match response.status().is_success() {
            true => Ok(response),
            false => Err(self.refused(response).await),
        }
    }
}

fn content_digest(response: &Response) -> Option<Digest> {
    let header = response.headers().get("docker-content-digest")?;
    header.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locate(reference: &str) -> (String, String) {
        let mirrors = [
            "ghcr.io=http://127.0.0.1:5000",
            "docker.io=https://m.example/hub/",
        ];
        let mirrors = mirrors.map(|text| text.parse().unwrap()).into();
        let registries = Registries::new(mirrors, DockerConfig::None, Retry::default());
        let parsed = reference.parse().unwrap();
        let (base, name) = registries.locate(&parsed, reference).unwrap();
        (base.into(), name)
    }

    #[test]
    fn addresses_follow_mirrors_and_loopback() {
        for (reference, base, name) in [
            ("quay.io/a/b:1", "https://quay.io/v2/", "a/b"),
            ("ghcr.io/a/b:1", "http://127.0.0.1:5000/v2/", "a/b"),
            ("hello", "https://m.example/v2/", "hub/library/hello"),
            ("localhost:5000/a", "http://localhost:5000/v2/", "a"),
            ("127.0.0.1:5000/a", "http://127.0.0.1:5000/v2/", "a"),
            (
                "registry.local:5000/a",
                "https://registry.local:5000/v2/",
                "a",
            ),
        ] {
            assert_eq!(locate(reference), (base.into(), name.into()), "{reference}");
        }
    }

    #[test]
    fn pauses_double_and_end() {
        let retry = Retry {
            attempts: 3,
            pause: Duration::from_secs(1),
        };
        let seconds = |attempt, wanted: Option<u64>| {
            let wanted = wanted.map(Duration::from_secs);
            retry.pause_after(attempt, wanted).map(|p| p.as_secs())
        };
        assert_eq!(seconds(1, None), Some(1));
        assert_eq!(seconds(2, None), Some(2));
        assert_eq!(seconds(3, None), None);
        assert_eq!(seconds(1, Some(3)), Some(3));
        assert_eq!(seconds(1, Some(9999)), Some(10));
    }
}
