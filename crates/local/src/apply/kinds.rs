//! From `apiVersion` and `kind` to a resource of the API, by discovery.

use std::collections::HashMap;

use kube::{
    Client,
    api::{ApiResource, GroupVersionKind},
    discovery::{self, Scope},
};

use crate::{event::UpError, manifest::Object};

/// Groups whose kinds other issues of Waft will bring.
const NOT_SERVED_YET: [&str; 4] = [
    "core.spinkube.dev",
    "core.spinoperator.dev",
    "runtime.spinkube.dev",
    "k8s.wasmcloud.dev",
];

/// What discovery said about each kind that was asked for.
pub(crate) struct Kinds {
    client: Client,
    known: HashMap<GroupVersionKind, (ApiResource, bool)>,
}

impl Kinds {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            known: HashMap::new(),
        }
    }

    /// Whether objects of this kind lie in a namespace. A kind that is not served is refused.
    pub(super) async fn is_namespaced(&mut self, object: &Object) -> Result<bool, UpError> {
        let refused = |message| UpError::Refused {
            object: format!("{}/{} in {}", object.kind(), object.name(), object.origin),
            message,
        };
        match self.look_up(object.api_version(), object.kind()).await {
            Ok((_, namespaced)) => Ok(namespaced),
            Err(kube::Error::Api(status)) if status.code != 404 => Err(refused(status.message)),
            Err(kube::Error::Api(_) | kube::Error::Discovery(_)) => {
                Err(refused(not_served(object.api_version(), object.kind())))
            }
            Err(error) => Err(refused(error.to_string())),
        }
    }

    /// The resource of a kind.
    pub(super) async fn resource(
        &mut self,
        api_version: &str,
        kind: &str,
    ) -> Result<ApiResource, kube::Error> {
        Ok(self.look_up(api_version, kind).await?.0)
    }

    async fn look_up(
        &mut self,
        api_version: &str,
        kind: &str,
    ) -> Result<(ApiResource, bool), kube::Error> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let gvk = GroupVersionKind::gvk(group, version, kind);
        if let Some(known) = self.known.get(&gvk) {
            return Ok(known.clone());
        }
        let (resource, capabilities) = discovery::pinned_kind(&self.client, &gvk).await?;
        let found = (resource, capabilities.scope == Scope::Namespaced);
        self.known.insert(gvk, found.clone());
        Ok(found)
    }
}

/// What to say of a kind that is known and to come.
pub fn not_served_yet(api_version: &str, kind: &str) -> Option<String> {
    let group = api_version.split('/').next().unwrap_or_default();
    let known = NOT_SERVED_YET.contains(&group) || (group, kind) == ("core.oam.dev", "Application");
    known.then(|| format!("kind {kind} of {api_version} is not served yet"))
}

/// Why a kind is refused.
fn not_served(api_version: &str, kind: &str) -> String {
    not_served_yet(api_version, kind).unwrap_or_else(|| {
        format!("no kind {kind} in {api_version}: check both, or apply its definition as well")
    })
}

#[cfg(test)]
mod tests {
    use super::not_served;

    #[test]
    fn kinds_to_come_are_told_from_mistakes() {
        let spin = not_served("core.spinkube.dev/v1alpha1", "SpinApp");
        assert!(spin.ends_with("is not served yet"), "{spin}");
        let oam = not_served("core.oam.dev/v1beta1", "Application");
        assert!(oam.ends_with("is not served yet"), "{oam}");
        assert!(not_served("v1", "Pot").starts_with("no kind Pot in v1"));
    }
}
