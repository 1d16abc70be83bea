//! Names of WIT interfaces: `namespace:package/interface@version`.

use std::{fmt, str::FromStr};

use semver::Version;
use serde::{Deserialize, Serialize};

/// `namespace:package[/interface][@version]`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct InterfaceName {
    /// For example `wasi`.
    pub namespace: String,
    /// For example `http`.
    pub package: String,
    /// For example `incoming-handler`; `None` names the whole package.
    pub interface: Option<String>,
    /// The version; `None` matches any.
    pub version: Option<Version>,
}

/// A text that is no interface name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not an interface name: expected `namespace:package/interface@version`")]
pub struct ParseInterfaceError(pub String);

impl InterfaceName {
    /// A name without a version.
    pub fn new(namespace: &str, package: &str, interface: Option<&str>) -> Self {
        Self {
            namespace: namespace.into(),
            package: package.into(),
            interface: interface.map(Into::into),
            version: None,
        }
    }

    /// Whether something of version `offered` satisfies a wish for `self`: same package and
    /// interface, and a semver-compatible version. Pre-releases (drafts) match exactly, and below
    /// 1.0 the minor number must agree, as WIT and semver have it.
    pub fn accepts(&self, offered: &Self) -> bool {
        self.namespace == offered.namespace
            && self.package == offered.package
            && (self.interface.is_none() || self.interface == offered.interface)
            && match (&self.version, &offered.version) {
                (None, _) | (_, None) => true,
                (Some(want), Some(have)) => compatible(want, have),
            }
    }
}

/// Whether the two versions share a semver-compatible track.
fn compatible(a: &Version, b: &Version) -> bool {
    if !a.pre.is_empty() || !b.pre.is_empty() {
        return a == b;
    }
    if a.major != b.major {
        return false;
    }
    a.major > 0 || (a.minor == b.minor && (a.minor > 0 || a.patch == b.patch))
}

impl FromStr for InterfaceName {
    type Err = ParseInterfaceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || ParseInterfaceError(text.into());
        let (path, version) = match text.split_once('@') {
            Some((path, version)) => (path, Some(Version::parse(version).map_err(|_| bad())?)),
            None => (text, None),
        };
        let (package, interface) = match path.split_once('/') {
            Some((package, interface)) => (package, Some(interface.to_owned())),
            None => (path, None),
        };
        let (namespace, package) = package.split_once(':').ok_or_else(bad)?;
        if namespace.is_empty() || package.is_empty() || interface.as_deref() == Some("") {
            return Err(bad());
        }
        Ok(Self {
            namespace: namespace.into(),
            package: package.into(),
            interface,
            version,
        })
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.namespace, self.package)?;
        if let Some(interface) = &self.interface {
            write!(f, "/{interface}")?;
        }
        if let Some(version) = &self.version {
            write!(f, "@{version}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> InterfaceName {
        text.parse().unwrap()
    }

    #[test]
    fn prints_what_it_parses() {
        for text in [
            "wasi:http",
            "wasi:http/types@0.2.3",
            "a:b@1.0.0",
            "wasi:logging/logging@0.1.0-draft",
        ] {
            assert_eq!(name(text).to_string(), text);
        }
        for text in ["wasi", "wasi:", ":http", "wasi:http/", "wasi:http@x"] {
            assert!(text.parse::<InterfaceName>().is_err(), "{text}");
        }
    }

    #[test]
    fn versions_match_as_semver_has_it() {
        let cases = [
            ("wasi:http/types@0.2.0", "wasi:http/types@0.2.6", true),
            ("wasi:http/types@0.2.0", "wasi:http/types@0.3.0", false),
            ("wasi:http", "wasi:http/types@0.3.0", true),
            ("a:b@1.2.0", "a:b@1.9.0", true),
            ("a:b@0.1.0-draft", "a:b@0.1.0", false),
            ("a:b@0.1.0-draft", "a:b@0.1.0-draft", true),
            ("a:b@0.0.1", "a:b@0.0.2", false),
        ];
        for (want, have, expected) in cases {
            assert_eq!(name(want).accepts(&name(have)), expected, "{want} {have}");
        }
    }
}
