//! Who is asking: out of a client certificate, a token, or because it is this process.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The group that may do everything.
pub(crate) const MASTERS: &str = "system:masters";

/// The group of everyone who is known.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";

/// The kubeconfig's own user, and this process.
pub(crate) const ADMIN: &str = "waft-admin";

const ACCOUNT: &str = "system:serviceaccount:";

/// Someone who is known to the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) groups: Vec<String>,
    pub(crate) extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// This process, which may do everything.
    pub(crate) fn internal() -> Arc<User> {
        Arc::new(User {
            name: ADMIN.into(),
            groups: vec![MASTERS.into(), AUTHENTICATED.into()],
            ..User::default()
        })
    }

    /// The subject of a certificate whose signature was checked: its common name and organisations.
    pub(crate) fn of_certificate(der: &[u8]) -> Option<User> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let mut groups: Vec<String> = subject
            .iter_organization()
            .filter_map(|organization| organization.as_str().ok().map(str::to_owned))
            .collect();
        groups.push(AUTHENTICATED.into());
        (!name.is_empty()).then(|| User {
            name,
            groups,
            ..User::default()
        })
    }

    /// A ServiceAccount.
    pub(crate) fn of_account(namespace: &str, name: &str, uid: &str) -> User {
        User {
            name: user_of_account(namespace, name),
            uid: uid.to_owned(),
            groups: account_groups(namespace),
            extra: BTreeMap::new(),
        }
    }

    /// Whether there is nothing that it may not do.
    pub(crate) fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS)
    }

    /// The form that reviews and webhooks show.
    pub(crate) fn to_json(&self) -> Value {
        let mut info = Map::new();
        info.insert("username".into(), json!(self.name));
        if !self.uid.is_empty() {
            info.insert("uid".into(), json!(self.uid));
        }
        if !self.groups.is_empty() {
            info.insert("groups".into(), json!(self.groups));
        }
        if !self.extra.is_empty() {
            info.insert("extra".into(), json!(self.extra));
        }
        Value::Object(info)
    }
}

/// Namespace and name of a ServiceAccount's user name.
pub(crate) fn account(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix(ACCOUNT)?
        .split_once(':')
        .filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty())
}

/// The user name of a ServiceAccount.
pub(crate) fn user_of_account(namespace: &str, name: &str) -> String {
    format!("{ACCOUNT}{namespace}:{name}")
}

/// The groups that ServiceAccounts of a namespace are in.
pub(crate) fn account_groups(namespace: &str) -> Vec<String> {
    vec![
        "system:serviceaccounts".into(),
        format!("system:serviceaccounts:{namespace}"),
        AUTHENTICATED.into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_have_names_and_groups() {
        let user = User::of_account("web", "robot", "u1");
        assert_eq!(user.name, "system:serviceaccount:web:robot");
        assert_eq!(account(&user.name), Some(("web", "robot")));
        assert!(user.groups.contains(&"system:serviceaccounts:web".into()));
        assert_eq!(account("system:serviceaccount:web:"), None);
        assert_eq!(account("someone"), None);
        assert!(!user.is_master() && User::internal().is_master());
    }

    #[test]
    fn garbage_is_nobody() {
        assert_eq!(User::of_certificate(b"no certificate"), None);
    }
}
