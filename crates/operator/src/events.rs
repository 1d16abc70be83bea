//! Events: what a user should be warned of, deduplicated and counted.
//!
//! An Event's name is a hash of what it says about which object, so that saying it again finds the
//! first one and counts it up. Failing to write one is only logged: nothing depends on Events.

use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use waft_api::{Condition, Reason, conditions, names::MANAGER_OPERATOR};

use crate::{
    condition::find,
    context::Context,
    names,
    object::{HasStatus, Object},
    write::{self, WriteError},
};

/// Longest message that is sent; the condition has all of it.
const LONGEST_MESSAGE: usize = 1024;

/// A warning about an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Warning {
    /// CamelCase.
    pub reason: String,
    /// What to do about it.
    pub message: String,
}

/// Writes a status, if it differs from the object's, and tells what it newly warns of, and `more`.
pub(crate) async fn write_status<K: HasStatus>(
    context: &Context,
    object: &K,
    status: K::Status,
    more: impl IntoIterator<Item = Warning>,
) -> Result<(), WriteError> {
    let mut warnings = warnings(object.conditions(), K::conditions_of(&status));
    warnings.extend(more);
    if write::status(&context.client, object, status).await? {
        warn(&context.client, object, &warnings).await;
    }
    Ok(())
}

/// What new conditions warn of that the old ones did not. Aspects that only wait or are under way
/// are no warnings, and `Ready` only repeats another condition.
fn warnings(old: &[Condition], new: &[Condition]) -> Vec<Warning> {
    let mut found: Vec<Warning> = Vec::new();
    for condition in new {
        let bad = if condition.type_ == conditions::DEGRADED {
            "True"
        } else {
            "False"
        };
        let reason = condition.reason.clone().unwrap_or_default();
        let quiet = [
            Reason::Waiting,
            Reason::Stopping,
            Reason::Reconciling,
            Reason::RollingOut,
            Reason::ScalingUp,
            Reason::ScalingDown,
        ];
        if condition.status != bad || quiet.iter().any(|quiet| quiet.as_str() == reason) {
            continue;
        }
        let before = find(old, &condition.type_);
        let warning = Warning {
            reason,
            message: condition.message.clone().unwrap_or_default(),
        };
        let same = before.is_some_and(|before| {
            let reason = before.reason.as_deref().unwrap_or_default();
            let told = (reason, before.message.as_deref().unwrap_or_default());
            before.status == condition.status
                && Reason::goes_on(&warning.reason, &warning.message, told)
        });
        if !same && !found.contains(&warning) {
            found.push(warning);
        }
    }
    found
}

/// Tells an object's warnings.
async fn warn<K: Object>(client: &Client, object: &K, warnings: &[Warning]) {
    for warning in warnings {
        if let Err(error) = write(client, object, warning).await {
            tracing::debug!(%error, reason = warning.reason, "an Event could not be written");
        }
    }
}

async fn write<K: Object>(
    client: &Client,
    object: &K,
    warning: &Warning,
) -> Result<(), kube::Error> {
    let namespace = object.namespace().unwrap_or_else(|| "default".into());
    let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
    let event = build(object, &namespace, warning, Timestamp::now());
    let name = event.name_any();
    let parameters = PostParams {
        field_manager: Some(MANAGER_OPERATOR.into()),
        ..PostParams::default()
    };
    match events.create(&parameters, &event).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let known = events.get(&name).await?;
            let patch = json!({
                "count": known.count.unwrap_or(1).saturating_add(1),
                "lastTimestamp": event.last_timestamp,
                "message": event.message,
            });
            let parameters = PatchParams {
                field_manager: Some(MANAGER_OPERATOR.into()),
                ..PatchParams::default()
            };
            events
                .patch(&name, &parameters, &Patch::Merge(patch))
                .await?;
            Ok(())
        }
        other => other.map(drop),
    }
}

fn build<K: Object>(object: &K, namespace: &str, warning: &Warning, now: Timestamp) -> Event {
    let uid = object.uid().unwrap_or_default();
    let name = object.name_any();
    let kind = K::kind(&()).into_owned();
    // A crash loop tells how often and with which pause; it is one and the same all the same.
    let told = match warning.reason == Reason::CrashLoopBackOff.as_str() {
        true => "",
        false => &warning.message,
    };
    let hash = names::short(&[&kind, &uid, &warning.reason, told]);
    let mut message = warning.message.clone();
    if message.len() > LONGEST_MESSAGE {
        let cut = (0..=LONGEST_MESSAGE)
            .rev()
            .find(|at| message.is_char_boundary(*at));
        message.truncate(cut.unwrap_or(0));
    }
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{hash}")),
            namespace: Some(namespace.into()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(K::api_version(&()).into_owned()),
            kind: Some(kind),
            name: Some(name),
            namespace: Some(namespace.into()),
            uid: Some(uid),
            ..ObjectReference::default()
        },
        type_: Some("Warning".into()),
        reason: Some(warning.reason.clone()),
        message: Some(message),
        count: Some(1),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        source: Some(EventSource {
            component: Some(MANAGER_OPERATOR.into()),
            ..EventSource::default()
        }),
        reporting_component: Some(MANAGER_OPERATOR.into()),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use waft_api::ConditionStatus;

    use super::*;

    fn condition(type_: &str, status: ConditionStatus, reason: Reason) -> Condition {
        Condition::new(type_, status, reason, "m")
    }

    #[test]
    fn only_what_is_newly_wrong_is_told_and_once() {
        let failed = [
            condition("Sync", ConditionStatus::False, Reason::NotWasm),
            condition("Scale", ConditionStatus::False, Reason::Waiting),
            condition("Ready", ConditionStatus::False, Reason::NotWasm),
        ];
        assert_eq!(warnings(&[], &failed).len(), 1);
        assert!(warnings(&failed, &failed).is_empty());
        let degraded = [condition(
            "Degraded",
            ConditionStatus::True,
            Reason::AddressIgnored,
        )];
        assert_eq!(warnings(&failed, &degraded)[0].reason, "AddressIgnored");
        let good = [condition("Ready", ConditionStatus::True, Reason::Available)];
        assert!(warnings(&failed, &good).is_empty());
    }

    #[test]
    fn a_service_that_fails_again_and_again_is_told_once() {
        let restart = |count: u32| {
            let reason = Reason::CrashLoopBackOff;
            let text = format!("restart {count} of 9");
            [Condition::new(
                "Sync",
                ConditionStatus::False,
                reason,
                &text,
            )]
        };
        let good = [condition("Sync", ConditionStatus::True, Reason::Available)];
        assert_eq!(warnings(&good, &restart(1))[0].message, "restart 1 of 9");
        assert!(warnings(&restart(1), &restart(2)).is_empty());
        assert_eq!(warnings(&good, &restart(3)).len(), 1);
        // And then it is the same Event, counted.
        let event = |count| {
            let warning = &warnings(&good, &restart(count))[0];
            build(
                &waft_api::Workload::new("w", Default::default()),
                "ns",
                warning,
                Timestamp::UNIX_EPOCH,
            )
        };
        assert_eq!(event(1).name_any(), event(3).name_any());
        assert_ne!(event(1).message, event(3).message);
    }
}
