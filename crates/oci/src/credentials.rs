//! Whose name a registry is asked in.
//!
//! A manifest's pull secret is the whole truth when there is one: the user's own configuration is
//! not looked at, and no program that a secret names is ever run. Without one, the user's docker
//! configuration counts, credential helpers included; without that, nobody's.

mod config;
mod helper;

use std::{fmt, io, path::PathBuf};

use waft_ir::{Credentials, Failure, FailureReason};

use self::config::ConfigFile;

/// Where the user's own registry credentials are.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum DockerConfig {
    /// `$DOCKER_CONFIG/config.json`, or `~/.docker/config.json`.
    #[default]
    User,
    /// This file.
    File(PathBuf),
    /// Nowhere.
    None,
}

/// What a registry is shown.
#[derive(Clone, Eq, Hash, PartialEq)]
pub(crate) enum Credential {
    /// Nothing.
    Anonymous,
    /// A user name and a password.
    Basic { username: String, password: String },
    /// An OAuth2 refresh token, exchanged for access tokens.
    Identity(String),
    /// An access token, sent as it is.
    Bearer(String),
}

/// A credential and, for messages, where it was looked for.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) credential: Credential,
    /// For example "the pull secret has no entry for `ghcr.io`".
    pub(crate) origin: String,
}

/// The credential of a pull secret for a registry's host and repository.
pub(crate) fn from_secret(
    secret: &Credentials,
    host: &str,
    repository: &str,
) -> Result<Found, Failure> {
    let unusable = |why: &str| {
        Failure::new(
            FailureReason::ImagePullUnauthorized,
            format!("the pull secret is not usable: {why}"),
        )
    };
    let config =
        ConfigFile::parse(secret.docker_config_json.as_bytes()).map_err(|e| unusable(&e))?;
    let Some((key, entry)) = config.entry(host, repository) else {
        return Ok(Found {
            credential: Credential::Anonymous,
            origin: format!("the pull secret has no entry for `{host}`"),
        });
    };
    let credential = entry.credential(key).map_err(|e| unusable(&e))?;
    Ok(Found {
        credential: credential.unwrap_or(Credential::Anonymous),
        origin: format!("the credentials are the pull secret's for `{key}`"),
    })
}

/// The user's own credential for a registry's host and repository. Trouble with the configuration
/// is no failure, since most images need no credentials; it is told when the registry refuses.
pub(crate) async fn from_user(source: &DockerConfig, host: &str, repository: &str) -> Found {
    let anonymous = |origin: String| Found {
        credential: Credential::Anonymous,
        origin,
    };
    let none = format!("there are no credentials for `{host}`; `docker login {host}` adds some");
    let Some(path) = source.path() else {
        return anonymous(none);
    };
    let place = path.display();
    let config = match tokio::fs::read(&path).await {
        Ok(bytes) => ConfigFile::parse(&bytes),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return anonymous(none),
        Err(e) => Err(e.to_string()),
    };
    let config = match config {
        Ok(config) => config,
        Err(e) => return anonymous(format!("`{place}` can't be read: {e}")),
    };
    let mut trouble = None;
    if let Some(name) = config.helper(host) {
        match helper::get(name, config::server(host)).await {
            Ok(Some(credential)) => {
                let origin = format!("the credentials are those of `docker-credential-{name}`");
                return Found { credential, origin };
            }
            Ok(None) => {}
            Err(e) => trouble = Some(e),
        }
    }
    let entry = config.entry(host, repository);
    match entry.map(|(key, entry)| entry.credential(key)) {
        Some(Ok(Some(credential))) => Found {
            credential,
            origin: format!("the credentials are those of `{place}`"),
        },
        Some(Err(e)) => anonymous(format!("`{place}` is not usable: {e}")),
        Some(Ok(None)) | None => anonymous(trouble.unwrap_or(none)),
    }
}

impl DockerConfig {
    fn path(&self) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(path.clone()),
            Self::None => None,
            Self::User => {
                let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
                let folder = set("DOCKER_CONFIG").map(PathBuf::from);
                let folder = folder.or_else(|| Some(PathBuf::from(set("HOME")?).join(".docker")));
                Some(folder?.join("config.json"))
            }
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Basic { .. } => "Basic(…)",
            Self::Identity(_) => "Identity(…)",
            Self::Bearer(_) => "Bearer(…)",
        })
    }
}

#[cfg(test)]
mod tests;
