//! The ConfigMap `kube-root-ca.crt` of every namespace: whom clients inside may trust.

use std::sync::Arc;

use serde_json::{Value, json};
use waft_apimachinery::status::Status;

use crate::open::ApiServer;
use crate::store::Key;

/// Where ConfigMaps are stored.
pub(crate) const STORAGE: &str = "/configmaps";

/// The map's name.
pub(crate) const NAME: &str = "kube-root-ca.crt";

const FILE: &str = "ca.crt";

const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
     endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
     distributions of Kubernetes clusters.";

impl ApiServer {
    /// Makes the authority known in every namespace, from now on.
    pub(crate) async fn publish_root(&self, certificate: &str) {
        *self.root_certificate.write() = Some(certificate.into());
        let namespaces = self.store.all("/namespaces", None);
        let all = namespaces
            .iter()
            .map(|namespace| self.make_root_map(&namespace.key.name));
        for result in futures::future::join_all(all).await {
            if let Err(status) = result {
                tracing::warn!(%status, "a namespace lacks {NAME}");
            }
        }
    }

    /// Gives a namespace its map, or puts right what it says. Nothing before the authority is known.
    pub(crate) async fn make_root_map(&self, namespace: &str) -> Result<(), Status> {
        let Some(certificate) = self.root_certificate.read().clone() else {
            return Ok(());
        };
        if !self.namespace_stays(namespace) {
            return Ok(());
        }
        let data = json!({FILE: &*certificate});
        let Some(stored) = self.store.get(&Key::new(&STORAGE.into(), namespace, NAME)) else {
            return self.create_root_map(namespace, data).await;
        };
        let mut value = stored.value();
        if value["data"] == data || stored.meta.terminating {
            return Ok(());
        }
        value["data"] = data;
        // If it changed meanwhile, that change's event brings the collector here again.
        self.put(&stored, &value, false).await.map(|_| ())
    }

    async fn create_root_map(&self, namespace: &str, data: Value) -> Result<(), Status> {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": NAME, "namespace": namespace,
                "annotations": {"kubernetes.io/description": DESCRIPTION},
            },
            "data": data,
        });
        match self
            .create_internal("", "configmaps", Some(namespace), map)
            .await
        {
            // Someone else made it, or the namespace has gone meanwhile.
            Err(status) if matches!(status.code, 403 | 404 | 409) => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// Whether a namespace is there and not about to go.
    pub(crate) fn namespace_stays(&self, namespace: &str) -> bool {
        self.store
            .get(&Key::new(&"/namespaces".into(), "", namespace))
            .is_some_and(|namespace| !namespace.meta.terminating)
    }
}

/// What is known of the authority.
pub(crate) type RootCertificate = parking_lot::RwLock<Option<Arc<str>>>;
