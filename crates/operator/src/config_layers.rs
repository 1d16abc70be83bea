//! Configuration out of layers: inline values, then ConfigMaps in order, then Secrets in order.
//! Later wins.
//!
//! Pure: what a name means is asked of [`Sources`]. Values of Secrets pass through here, so nothing
//! here is printed; errors name keys only.

use std::collections::BTreeMap;

use waft_api::{ConfigLayer, HostInterface, Reason};

use crate::problem::Problem;

/// A layer as the manifest has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Layers<'a> {
    /// Inline values.
    pub inline: Option<&'a BTreeMap<String, String>>,
    /// Names of ConfigMaps, in order.
    pub config_maps: Vec<&'a str>,
    /// Names of Secrets, in order.
    pub secrets: Vec<&'a str>,
}

/// A ConfigMap or a Secret: its text values, and those that are no text.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Source {
    /// The values.
    pub values: BTreeMap<String, String>,
    /// Values that are not UTF-8: files of a volume may be, configuration may not.
    pub binary: BTreeMap<String, Vec<u8>>,
}

/// The ConfigMaps and Secrets of one namespace that could be found, by name.
#[derive(Clone, Default)]
pub(crate) struct Sources {
    /// ConfigMaps.
    pub config_maps: BTreeMap<String, Source>,
    /// Secrets.
    pub secrets: BTreeMap<String, Source>,
}

impl<'a> Layers<'a> {
    /// The layers of an `environment`.
    pub(crate) fn of_layer(layer: &'a ConfigLayer) -> Self {
        Self {
            inline: Some(&layer.config),
            config_maps: layer.config_from.iter().map(|r| r.name.as_str()).collect(),
            secrets: layer.secret_from.iter().map(|r| r.name.as_str()).collect(),
        }
    }

    /// The layers of a `hostInterfaces` entry.
    pub(crate) fn of_interface(entry: &'a HostInterface) -> Self {
        Self {
            inline: Some(&entry.config),
            config_maps: entry.config_from.iter().map(|r| r.name.as_str()).collect(),
            secrets: entry.secret_from.iter().map(|r| r.name.as_str()).collect(),
        }
    }

    /// The merged values.
    pub(crate) fn resolve(&self, sources: &Sources) -> Result<BTreeMap<String, String>, Problem> {
        let mut merged = self.inline.cloned().unwrap_or_default();
        for (kind, name, source) in self.named(sources) {
            let source = source.ok_or_else(|| kind.missing(name))?;
            if let Some(key) = source.binary.keys().next() {
                return Err(Problem {
                    reason: Reason::InvalidConfigValue,
                    message: format!(
                        "the value of key `{key}` of {} `{name}` is not UTF-8; only text can be \
                         configuration",
                        kind.name()
                    ),
                });
            }
            merged.extend(source.values.clone());
        }
        Ok(merged)
    }

    /// The merged values, if each from a ConfigMap or Secret can be an environment variable. Those that
    /// stand in the manifest are checked with it.
    pub(crate) fn resolve_environment(
        &self,
        sources: &Sources,
    ) -> Result<BTreeMap<String, String>, Problem> {
        let merged = self.resolve(sources)?;
        for (kind, name, source) in self.named(sources) {
            if let Some(wrong) = source.and_then(|source| wrong_variable(&source.values)) {
                let message = format!("{} `{name}`: {wrong}", kind.name());
                return Err(Problem::new(Reason::InvalidConfigValue, message));
            }
        }
        Ok(merged)
    }

    /// The ConfigMaps and Secrets, in order, with what they hold if they are there.
    fn named<'s>(
        &'s self,
        sources: &'s Sources,
    ) -> impl Iterator<Item = (Kind, &'s str, Option<&'s Source>)> {
        let maps = self.config_maps.iter();
        let maps = maps.map(|name| (Kind::ConfigMap, *name, sources.config_maps.get(*name)));
        let secrets = self.secrets.iter();
        let secrets = secrets.map(|name| (Kind::Secret, *name, sources.secrets.get(*name)));
        maps.chain(secrets)
    }
}

/// What keeps one of some values from being an environment variable, without the value.
pub(crate) fn wrong_variable(values: &BTreeMap<String, String>) -> Option<String> {
    values.iter().find_map(|(name, value)| {
        let shown = name.escape_debug();
        if name.is_empty() || name.contains(['=', '\0']) {
            return Some(format!(
                "`{shown}` can't be the name of an environment variable; it must not be empty and \
                 must not contain `=` or NUL"
            ));
        }
        let is_text = !value.contains('\0');
        (!is_text).then(|| {
            format!(
                "the value of `{shown}` can't be that of an environment variable; it contains NUL"
            )
        })
    })
}

/// The error for a ConfigMap that does not exist.
pub(crate) fn missing_config_map(name: &str) -> Problem {
    Kind::ConfigMap.missing(name)
}

/// The error for a Secret that does not exist.
pub(crate) fn missing_secret(name: &str) -> Problem {
    Kind::Secret.missing(name)
}

#[derive(Clone, Copy)]
enum Kind {
    ConfigMap,
    Secret,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }

    fn missing(self, name: &str) -> Problem {
        Problem {
            reason: match self {
                Self::ConfigMap => Reason::ConfigMapNotFound,
                Self::Secret => Reason::SecretNotFound,
            },
            message: format!(
                "{} `{name}` does not exist; create it in the namespace of the workload",
                self.name()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(pairs: &[(&str, &str)]) -> Source {
        Source {
            values: map(pairs),
            binary: BTreeMap::new(),
        }
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect()
    }

    #[test]
    fn later_layers_win_and_later_names_within_one() {
        let sources = Sources {
            config_maps: [
                (
                    "one".to_owned(),
                    source(&[("a", "one"), ("b", "one"), ("c", "one")]),
                ),
                ("two".to_owned(), source(&[("b", "two")])),
            ]
            .into(),
            secrets: [
                (
                    "first".to_owned(),
                    source(&[("c", "first"), ("d", "first")]),
                ),
                ("second".to_owned(), source(&[("d", "second")])),
            ]
            .into(),
        };
        let inline = map(&[("a", "inline"), ("e", "inline")]);
        let layers = Layers {
            inline: Some(&inline),
            config_maps: vec!["one", "two"],
            secrets: vec!["first", "second"],
        };
        let wanted = [
            ("a", "one"),
            ("b", "two"),
            ("c", "first"),
            ("d", "second"),
            ("e", "inline"),
        ];
        assert_eq!(layers.resolve(&sources).unwrap(), map(&wanted));
    }

    #[test]
    fn an_environment_has_names_and_values_that_there_can_be() {
        for (name, value) in [
            ("GREETING=Hey", "there"),
            ("", "x"),
            ("A\0", "x"),
            ("A", "x\0y"),
        ] {
            let sources = Sources {
                secrets: [("s".to_owned(), source(&[(name, value)]))].into(),
                ..Sources::default()
            };
            let from = Layers {
                secrets: vec!["s"],
                ..Layers::default()
            };
            let error = from.resolve_environment(&sources).unwrap_err();
            assert_eq!(error.reason, Reason::InvalidConfigValue, "{name:?}");
            assert!(
                error.message.starts_with("Secret `s`: "),
                "{}",
                error.message
            );
            let shown = format!("`{}`", name.escape_debug());
            assert!(error.message.contains(&shown), "{}", error.message);
            assert!(!error.message.contains("x\0y"), "{}", error.message);
            // Other configuration has names of its own.
            assert!(from.resolve(&sources).is_ok(), "{name:?}");
        }
        assert_eq!(wrong_variable(&map(&[("a.b-c", "d=e"), ("1", "")])), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let layers = Layers {
            config_maps: vec!["absent"],
            ..Layers::default()
        };
        let error = layers.resolve(&Sources::default()).unwrap_err();
        assert_eq!(error.reason, Reason::ConfigMapNotFound);
        assert!(error.message.contains("ConfigMap `absent`"));
        let layers = Layers {
            secrets: vec!["gone"],
            ..Layers::default()
        };
        let error = layers.resolve(&Sources::default()).unwrap_err();
        assert_eq!(error.reason, Reason::SecretNotFound);
    }

    #[test]
    fn binary_values_are_refused_by_key_without_their_value() {
        let mut broken = source(&[("ok", "hunter2")]);
        broken.binary.insert("blob".into(), vec![255]);
        let sources = Sources {
            secrets: [("s".to_owned(), broken)].into(),
            ..Sources::default()
        };
        let layers = Layers {
            secrets: vec!["s"],
            ..Layers::default()
        };
        let error = layers.resolve(&sources).unwrap_err();
        assert_eq!(error.reason, Reason::InvalidConfigValue);
        assert!(error.message.contains("`blob`") && !error.message.contains("hunter2"));
    }
}
