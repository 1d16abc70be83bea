//! The format of `config.json` and of `dockerconfigjson` secrets. Pure.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::Credential;
use crate::mirror::canonical_host;

/// How docker names Docker Hub in its configuration and to helpers.
const HUB: &str = "https://index.docker.io/v1/";

/// A configuration, as far as credentials go.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ConfigFile {
    auths: BTreeMap<String, Entry>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

/// The credentials of one registry.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl ConfigFile {
    /// Reads a configuration. The error never quotes the text, which holds secrets.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|e| {
            format!(
                "not a docker configuration in JSON (line {}, column {})",
                e.line(),
                e.column()
            )
        })
    }

    /// The entry for a registry: of those whose host matches and whose path, if they have one, is
    /// the repository or above it, the one with the longest path.
    pub(super) fn entry(&self, host: &str, repository: &str) -> Option<(&str, &Entry)> {
        let matching = self.auths.iter().filter_map(|(key, entry)| {
            let (key_host, key_path) = split(key);
            let matches = host_matches(key_host, host) && path_matches(key_path, repository);
            // An exact host wins over a pattern with an equally long path.
            matches.then_some(((key_path.len(), !key_host.contains('*')), key, entry))
        });
        let (_, key, entry) = matching.max_by_key(|(rank, ..)| *rank)?;
        Some((key, entry))
    }

    /// The credential helper in charge of a host.
    pub(super) fn helper(&self, host: &str) -> Option<&str> {
        let own = self.cred_helpers.iter().find(|(key, _)| {
            let (key_host, _) = split(key);
            canonical_host(key_host) == canonical_host(host)
        });
        let name = own.map(|(_, name)| name).or(self.creds_store.as_ref())?;
        (!name.is_empty()).then_some(name)
    }
}

impl Entry {
    /// The credential in an entry; `None` for an empty one, as docker writes beside a helper.
    pub(super) fn credential(&self, key: &str) -> Result<Option<Credential>, String> {
        if !self.registrytoken.is_empty() {
            return Ok(Some(Credential::Bearer(self.registrytoken.clone())));
        }
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credential::Identity(self.identitytoken.clone())));
        }
        if !self.auth.is_empty() {
            let decoded = STANDARD.decode(self.auth.trim()).ok();
            let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
            let pair = text.as_deref().and_then(|text| text.split_once(':'));
            let (username, password) = pair
                .ok_or_else(|| format!("the `auth` of `{key}` is not `user:password` in base64"))?;
            // Old dockers pad the password with zeros.
            return Ok(Some(login(username, password.trim_matches('\0'))));
        }
        if self.username.is_empty() && self.password.is_empty() {
            return Ok(None);
        }
        Ok(Some(login(&self.username, &self.password)))
    }
}

/// The credential of a user name and a password. Helpers write an identity token as a password.
pub(super) fn login(username: &str, password: &str) -> Credential {
    if username == "<token>" {
        return Credential::Identity(password.into());
    }
    Credential::Basic {
        username: username.into(),
        password: password.into(),
    }
}

/// What a helper is asked for.
pub(super) fn server(host: &str) -> &str {
    match canonical_host(host) {
        "docker.io" => HUB,
        _ => host,
    }
}

/// Host and path of a key: `https://HOST/v1/`, `HOST`, `HOST/PATH`.
fn split(key: &str) -> (&str, &str) {
    let key = key.strip_prefix("https://").unwrap_or(key);
    let key = key.strip_prefix("http://").unwrap_or(key);
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    let path = path.trim_matches('/');
    (
        host,
        if matches!(path, "v1" | "v2") {
            ""
        } else {
            path
        },
    )
}

/// Whether a key's host is a registry's; `*` stands for anything within one label.
fn host_matches(key: &str, host: &str) -> bool {
    let (key, host) = (canonical_host(key), canonical_host(host));
    if !key.contains('*') {
        return key.eq_ignore_ascii_case(host);
    }
    let (keys, hosts): (Vec<_>, Vec<_>) = (key.split('.').collect(), host.split('.').collect());
    let label = |(key, host): (&&str, &&str)| match key.split_once('*') {
        Some((before, after)) => {
            host.len() >= before.len() + after.len()
                && host.starts_with(before)
                && host.ends_with(after)
        }
        None => key.eq_ignore_ascii_case(host),
    };
    keys.len() == hosts.len() && keys.iter().zip(&hosts).all(label)
}

fn path_matches(key: &str, repository: &str) -> bool {
    let rest = repository.strip_prefix(key);
    key.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
