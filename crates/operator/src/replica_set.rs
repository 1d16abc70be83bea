//! WorkloadReplicaSets: so many Workloads of one template.
//!
//! *Validate* and *plan* (pure) say which Workloads to create and delete; their names are decided
//! by template and ordinal, so nothing is counted twice. *Build* (pure) makes them, *status* sums
//! them up.

mod build;
mod plan;
mod status;

use std::time::Duration;

use kube::ResourceExt as _;
use waft_api::{Reason, WorkloadReplicaSet};

use crate::{
    context::Context,
    names::Hasher,
    object::{is_in_the_way, is_terminating},
    problem::Problem,
    queue::Next,
    workload::{check, replicas},
    write::{self, Created, WriteError},
};

/// Brings one set closer to what it should be.
pub(crate) async fn reconcile(
    context: &Context,
    namespace: &str,
    name: &str,
    waited: Duration,
) -> Result<Next, WriteError> {
    let Some(set) = context.caches.replica_sets.get(namespace, name) else {
        return Ok(Next::Await);
    };
    let Some(uid) = set.uid().filter(|_| !is_terminating(set.as_ref())) else {
        return Ok(Next::Await);
    };
    let hash = template_hash(&set);
    let owned: Vec<_> = context.caches.workloads.owned_by(&uid);
    let members: Vec<plan::Member> = owned.iter().map(|w| plan::member(w, &hash)).collect();
    let wanted = validate(&set);
    let planned = match &wanted {
        Ok(wanted) => plan::plan(name, &hash, *wanted, &members),
        Err(_) => plan::Plan::default(),
    };

    let mut hindrance = None;
    for missing in &planned.create {
        let workload = build::workload(&set, &hash, missing);
        match write::create(&context.client, &workload).await {
            Ok(Created::New) => {}
            Ok(Created::Exists) => {
                let other = context.caches.workloads.get(namespace, missing);
                if other.is_some_and(|other| is_in_the_way(other.as_ref(), set.as_ref())) {
                    hindrance = Some(status::name_taken(missing));
                }
            }
            // Refused for what the template says: so will be the others.
            Err(WriteError::Refused(answer)) => {
                hindrance = Some(Problem::new(Reason::ApplyFailed, answer));
                break;
            }
            Err(error) => return Err(error),
        }
    }
    for workload in &owned {
        if planned.delete.contains(&workload.name_any()) {
            write::delete(&context.client, workload.as_ref()).await?;
        }
    }
    let observed = status::Observed {
        wanted: &wanted,
        plan: &planned,
        owned: &owned,
        hindrance,
    };
    status::write(context, &set, waited, &observed).await
}

/// The number of replicas, if the set makes sense.
fn validate(set: &WorkloadReplicaSet) -> Result<usize, Problem> {
    let wanted = replicas(set.spec.replicas)?;
    check(&set.spec.template.spec)?;
    // Not negative, so it fits.
    Ok(usize::try_from(wanted).unwrap_or_default())
}

/// The hash of a set's template: its own, whatever its deployment thinks of it.
fn template_hash(set: &WorkloadReplicaSet) -> String {
    Hasher::default().value(&set.spec.template).template()
}
