//! HostGroups: on one machine all hosts are in the process of `waft up`, so a group is only stored.

use k8s_openapi::jiff::Timestamp;
use waft_api::{HostGroupStatus, Reason, conditions as types};

use crate::{
    condition::{Verdict, merge},
    context::Context,
    object::{HasStatus as _, is_terminating},
    queue::Next,
    write::{self, WriteError},
};

/// Says so.
pub(crate) async fn reconcile(
    context: &Context,
    namespace: &str,
    name: &str,
) -> Result<Next, WriteError> {
    let Some(group) = context.caches.host_groups.get(namespace, name) else {
        return Ok(Next::Await);
    };
    if is_terminating(group.as_ref()) {
        return Ok(Next::Await);
    }
    let message = "one machine runs one host, in the process of `waft up`";
    let verdicts = vec![(types::READY, Verdict::yes(Reason::InProcess, message))];
    let generation = group.metadata.generation;
    let status = HostGroupStatus {
        conditions: merge(group.conditions(), &verdicts, generation, Timestamp::now()),
        observed_generation: generation,
    };
    write::status(&context.client, group.as_ref(), status).await?;
    Ok(Next::Await)
}
