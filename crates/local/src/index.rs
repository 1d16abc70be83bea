//! Which workloads there are, by the name of their Pod and by their id: what logs, connections and
//! printed lines need to know of them.

use std::{collections::BTreeMap, sync::Arc};

use kube::ResourceExt as _;
use parking_lot::RwLock;
use waft_api::{Workload, names::LABEL_WORKLOAD_DEPLOYMENT};
use waft_ir::WorkloadId;

use crate::waiting;

/// What is known of one workload.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Known {
    /// Under what id its host runs it.
    pub(crate) id: WorkloadId,
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its own name, which is that of its Pod.
    pub(crate) name: String,
    /// The name a person gave it: that of its WorkloadDeployment if it has one.
    pub(crate) shown: String,
    /// Names of its components and its service, in the order of its Pod's containers.
    pub(crate) containers: Vec<String>,
    /// What it waits for while it is on no host.
    pub(crate) waits_for: String,
}

/// The workloads, shared by whoever asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index(Arc<RwLock<Maps>>);

#[derive(Debug, Default)]
struct Maps {
    by_name: BTreeMap<(String, String), Arc<Known>>,
    by_id: BTreeMap<WorkloadId, Arc<Known>>,
}

impl Known {
    /// What an object says.
    pub(crate) fn of(workload: &Workload) -> Self {
        let name = workload.name_any();
        let spec = &workload.spec;
        let components = spec.components.iter().map(|c| c.name.clone());
        let service = spec.service.as_ref().map(|s| s.called().to_owned());
        Self {
            id: WorkloadId(workload.uid().unwrap_or_default()),
            namespace: workload.namespace().unwrap_or_default(),
            shown: workload
                .labels()
                .get(LABEL_WORKLOAD_DEPLOYMENT)
                .unwrap_or(&name)
                .clone(),
            name,
            containers: components.chain(service).collect(),
            waits_for: waiting::of_object(workload).0,
        }
    }
}

impl Index {
    /// Adds a workload, or replaces what was known of its name.
    pub(crate) fn insert(&self, known: Known) {
        let known = Arc::new(known);
        let mut maps = self.0.write();
        let key = (known.namespace.clone(), known.name.clone());
        if let Some(old) = maps.by_name.insert(key, known.clone()) {
            maps.by_id.remove(&old.id);
        }
        maps.by_id.insert(known.id.clone(), known);
    }

    /// Forgets a workload.
    pub(crate) fn remove(&self, namespace: &str, name: &str) {
        let mut maps = self.0.write();
        if let Some(old) = maps.by_name.remove(&(namespace.into(), name.into())) {
            maps.by_id.remove(&old.id);
        }
    }

    /// The workload of a name.
    pub(crate) fn named(&self, namespace: &str, name: &str) -> Option<Arc<Known>> {
        let key = (namespace.to_owned(), name.to_owned());
        self.0.read().by_name.get(&key).cloned()
    }

    /// The workload of an id.
    pub(crate) fn by_id(&self, id: &WorkloadId) -> Option<Arc<Known>> {
        self.0.read().by_id.get(id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_its_newest_workload_only() {
        let workload = |uid: &str| {
            let mut workload = Workload::default();
            workload.metadata.name = Some("hello-x".into());
            workload.metadata.namespace = Some("default".into());
            workload.metadata.uid = Some(uid.into());
            workload.metadata.labels =
                Some([(LABEL_WORKLOAD_DEPLOYMENT.to_owned(), "hello".to_owned())].into());
            Known::of(&workload)
        };
        let index = Index::default();
        index.insert(workload("1"));
        index.insert(workload("2"));
        assert!(index.by_id(&WorkloadId("1".into())).is_none());
        let known = index.named("default", "hello-x").unwrap();
        assert_eq!((known.id.0.as_str(), known.shown.as_str()), ("2", "hello"));
        index.remove("default", "hello-x");
        assert!(index.named("default", "hello-x").is_none());
        assert!(index.by_id(&known.id).is_none());
    }
}
