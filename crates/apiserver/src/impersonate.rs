//! Acting for someone else, with the `Impersonate-…` headers, for those who may.

use http::HeaderMap;
use waft_apimachinery::request::Info;
use waft_apimachinery::status::Status;

use crate::identity::{AUTHENTICATED, User, account, account_groups};
use crate::open::ApiServer;

const USER: &str = "impersonate-user";
const UID: &str = "impersonate-uid";
const GROUP: &str = "impersonate-group";
const EXTRA: &str = "impersonate-extra-";

impl ApiServer {
    /// The user that the headers ask to be, if `user` may be that; `None` without such headers.
    pub(crate) fn impersonated(
        &self,
        user: &User,
        headers: &HeaderMap,
    ) -> Result<Option<User>, Status> {
        let all = |name: &str| -> Result<Vec<String>, Status> {
            let values = headers.get_all(name).iter().map(|value| {
                value
                    .to_str()
                    .map(str::to_owned)
                    .map_err(|_| Status::bad_request(format!("the header {name} is not text")))
            });
            values.collect()
        };
        let name = all(USER)?.into_iter().next().unwrap_or_default();
        let uid = all(UID)?.into_iter().next().unwrap_or_default();
        let groups = all(GROUP)?;
        let mut extra: Vec<(String, Vec<String>)> = Vec::new();
        for header in headers.keys() {
            if let Some(key) = header.as_str().strip_prefix(EXTRA) {
                extra.push((decoded(key), all(header.as_str())?));
            }
        }
        if name.is_empty() {
            return match uid.is_empty() && groups.is_empty() && extra.is_empty() {
                true => Ok(None),
                false => Err(Status::internal(
                    "requested attributes without impersonating a user",
                )),
            };
        }
        let ask = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
            self.authorize(
                user,
                &Info {
                    verb: "impersonate".into(),
                    resource_request: true,
                    group: group.into(),
                    version: "v1".into(),
                    resource: resource.into(),
                    subresource: subresource.into(),
                    namespace: namespace.into(),
                    name: name.into(),
                    path: String::new(),
                },
            )
        };
        match account(&name) {
            Some((namespace, name)) => ask("", "serviceaccounts", "", namespace, name)?,
            None => ask("", "users", "", "", &name)?,
        }
        for group in &groups {
            ask("", "groups", "", "", group)?;
        }
        let authentication = "authentication.k8s.io";
        if !uid.is_empty() {
            ask(authentication, "uids", "", "", &uid)?;
        }
        for (key, values) in &extra {
            for value in values {
                ask(authentication, "userextras", key, "", value)?;
            }
        }
        let mut groups = match account(&name) {
            Some((namespace, _)) if groups.is_empty() => account_groups(namespace),
            _ => groups,
        };
        let nobody = name == "system:anonymous";
        if nobody && groups.is_empty() {
            groups.push("system:unauthenticated".into());
        }
        if !nobody && !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.into());
        }
        Ok(Some(User {
            name,
            uid,
            groups,
            extra: extra.into_iter().collect(),
        }))
    }
}

/// Keys of extra fields come percent-encoded, as header names allow few characters.
fn decoded(key: &str) -> String {
    let bytes = key.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let hex = bytes
            .get(index + 1..index + 3)
            .filter(|_| bytes[index] == b'%');
        let hex = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match hex {
            Some(byte) => {
                out.push(byte);
                index += 3;
            }
            None => {
                out.push(bytes[index]);
                index += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn extra_keys_are_decoded() {
        assert_eq!(super::decoded("a%2fb%zz%4"), "a/b%zz%4");
    }
}
