//! Authorisation: from a registry's challenge and a credential to an `Authorization` header.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{Response, header};
use serde::Deserialize;
use url::{Url, form_urlencoded};
use waft_ir::{Failure, FailureReason};

use super::{
    Repository, SMALL_TIMEOUT,
    challenge::{self, Challenge},
    client,
};
use crate::credentials::Credential;

/// Largest answer of a token service.
const TOKEN_LIMIT: u64 = 1 << 20;
/// Life of a token that doesn't say; from the token protocol.
const TOKEN_LIFE: u64 = 60;
/// Time before its end at which a token is no longer used.
const TOKEN_MARGIN: Duration = Duration::from_secs(5);
/// Most tokens remembered; past it, all are asked for again.
const MOST_TOKENS: usize = 1024;

/// What is done with a repository.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Access {
    /// Reading.
    Pull,
    /// Reading and writing.
    Push,
}

/// Headers that worked or were just granted, by base address, repository, access and credential.
pub(super) type Tokens = HashMap<(Url, String, Access, Credential), Token>;

/// One `Authorization` header.
pub(super) struct Token {
    header: String,
    expires: Option<Instant>,
}

#[derive(Deserialize)]
struct Granted {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    expires_in: Option<u64>,
}

impl Repository<'_> {
    /// The header to send, if one is known.
    pub(super) fn authorization(&self) -> Option<String> {
        if let Credential::Bearer(token) = &self.found.credential {
            return Some(format!("Bearer {token}"));
        }
        let tokens = self.registries.tokens.lock();
        let token = tokens.get(&self.key())?;
        let fresh = token.expires.is_none_or(|end| Instant::now() < end);
        fresh.then(|| token.header.clone())
    }

    /// Obtains a new header after a 401.
    pub(super) async fn authorise(&self, response: &Response) -> Result<(), Failure> {
        let values = response.headers().get_all(header::WWW_AUTHENTICATE);
        let texts = values.iter().filter_map(|value| value.to_str().ok());
        let challenges: Vec<_> = texts.flat_map(challenge::parse).collect();
        let of = |scheme: &str| challenges.iter().find(|c| c.scheme == scheme);
        let token = match (of("bearer"), of("basic"), &self.found.credential) {
            (_, _, Credential::Bearer(_)) => return Err(self.unauthorised(None)),
            (Some(challenge), _, _) => self.token(challenge).await?,
            (None, Some(_), Credential::Basic { username, password }) => Token {
                header: basic(username, password),
                expires: None,
            },
            _ => return Err(self.unauthorised(None)),
        };
        let mut tokens = self.registries.tokens.lock();
        if tokens.len() >= MOST_TOKENS {
            tokens.clear();
        }
        tokens.insert(self.key(), token);
        Ok(())
    }

    /// Asks the token service that a challenge names.
    async fn token(&self, challenge: &Challenge) -> Result<Token, Failure> {
        let parameter = |name: &str| challenge.parameters.get(name).map(String::as_str);
        let realm = parameter("realm").and_then(|realm| Url::parse(realm).ok());
        let Some(mut url) = realm else {
            return Err(self.unauthorised(Some("it names no token service")));
        };
        if self.base.scheme() == "https" && url.scheme() != "https" {
            return Err(self.unauthorised(Some("its token service is not on HTTPS")));
        }
        let actions = match self.access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        let own = format!("repository:{}:{actions}", self.name);
        let mut query = vec![("scope", parameter("scope").unwrap_or(&own))];
        query.extend(parameter("service").map(|service| ("service", service)));
        let clients = &self.registries.clients;
        let client = clients.of(&url).map_err(|e| self.unreachable(&e))?;
        let request = if let Credential::Identity(token) = &self.found.credential {
            query.extend([
                ("grant_type", "refresh_token"),
                ("client_id", "waft"),
                ("refresh_token", token),
            ]);
            let body = form_urlencoded::Serializer::new(String::new())
                .extend_pairs(query)
                .finish();
            let form = "application/x-www-form-urlencoded";
            let request = client.post(url).header(header::CONTENT_TYPE, form);
            request.body(body)
        } else {
            url.query_pairs_mut().extend_pairs(query);
            let request = client.get(url);
            match &self.found.credential {
                Credential::Basic { username, password } => {
                    request.header(header::AUTHORIZATION, basic(username, password))
                }
                _ => request,
            }
        };
        let response = request.timeout(SMALL_TIMEOUT).send().await;
        let response = response.map_err(|e| self.unreachable(&e.into()))?;
        let status = response.status();
        // 400 is how OAuth2 says that a refresh token is no good.
        if status.is_client_error() && !client::may_pass(status) {
            return Err(self.unauthorised(None));
        }
        let response = self.expect(response).await?;
        let bytes = client::read(response, TOKEN_LIMIT).await;
        let bytes = bytes.map_err(|e| self.broken_off(&e))?;
        self.granted(&bytes)
    }

    fn granted(&self, bytes: &[u8]) -> Result<Token, Failure> {
        let granted: Granted = serde_json::from_slice(bytes).map_err(|_| {
            Failure::new(
                FailureReason::ImagePullFailed,
                format!(
                    "`{}` can't be pulled: the token service of `{}` answered something else \
                     than a token",
                    self.reference,
                    client::authority(&self.base)
                ),
            )
        })?;
        let token = match granted.access_token.is_empty() {
            true => granted.token,
            false => granted.access_token,
        };
        if token.is_empty() {
            return Err(self.unauthorised(Some("its token service granted none")));
        }
        let life = Duration::from_secs(granted.expires_in.unwrap_or(TOKEN_LIFE));
        Ok(Token {
            header: format!("Bearer {token}"),
            expires: Instant::now().checked_add(life.saturating_sub(TOKEN_MARGIN)),
        })
    }

    fn key(&self) -> (Url, String, Access, Credential) {
        (
            self.base.clone(),
            self.name.clone(),
            self.access,
            self.found.credential.clone(),
        )
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

fn basic(username: &str, password: &str) -> String {
    format!(
        "Basic {}",
        STANDARD.encode(format!("{username}:{password}"))
    )
}
