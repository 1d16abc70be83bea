//! Registries reached under another address.

use std::{fmt, str::FromStr};

use url::Url;

/// One `--registry-mirror HOST=URL`: images of `HOST` are pulled from `URL`, under the same
/// repository (below the URL's path, if it has one) and with the credentials of the URL's host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mirror {
    /// The registry's host as references name it, with its port if they have one.
    pub host: String,
    /// Where it is reached instead; `http://` is allowed.
    pub url: Url,
}

/// A text that is no mirror.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParseMirrorError(pub String);

/// Docker Hub's host in references, whatever alias it is given by.
pub(crate) fn canonical_host(host: &str) -> &str {
    match host {
        "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => "docker.io",
        host => host,
    }
}

impl FromStr for Mirror {
    type Err = ParseMirrorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || ParseMirrorError(text.into());
        let (host, url) = text.split_once('=').ok_or_else(bad)?;
        let url = Url::parse(url).map_err(|_| bad())?;
        let plain = url.username().is_empty() && url.password().is_none();
        let usable = matches!(url.scheme(), "http" | "https") && url.host().is_some() && plain;
        if host.is_empty() || host.contains('/') || !usable || url.query().is_some() {
            return Err(bad());
        }
        Ok(Self {
            host: canonical_host(host).into(),
            url,
        })
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.host, self.url)
    }
}

impl fmt::Display for ParseMirrorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not a registry mirror: expected `HOST=URL`, for example \
             `ghcr.io=http://127.0.0.1:5000`, without user name or query",
            self.0
        )
    }
}

impl std::error::Error for ParseMirrorError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_read() {
        let mirror: Mirror = "ghcr.io=http://127.0.0.1:5000".parse().unwrap();
        assert_eq!(mirror.host, "ghcr.io");
        assert_eq!(mirror.to_string(), "ghcr.io=http://127.0.0.1:5000/");
        let hub: Mirror = "index.docker.io=https://m/hub".parse().unwrap();
        assert_eq!(hub.host, "docker.io");
        for bad in [
            "ghcr.io",
            "=http://a",
            "a/b=http://c",
            "a=ftp://b",
            "a=b",
            "a=http://u:p@b",
        ] {
            assert!(bad.parse::<Mirror>().is_err(), "{bad}");
        }
    }
}
