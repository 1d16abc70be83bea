//! Writing a trigger's deployment.

use kube::ResourceExt as _;
use serde_json::Value;
use waft_api::WorkloadDeployment;

use super::build::ANNOTATION_TRIGGER_HASH;
use crate::{
    context::Context,
    write::{self, WriteError},
};

/// What became of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Applied {
    /// Whether it was written.
    pub changed: bool,
    /// What the API server said, if it refused.
    pub refused: Option<String>,
}

/// Creates the deployment, or replaces it if it is not as wanted. The number of replicas stays as
/// whoever scales has set it, unless the trigger sets it.
pub(crate) async fn apply(
    context: &Context,
    wanted: &WorkloadDeployment,
    owned: Option<&WorkloadDeployment>,
) -> Result<Applied, WriteError> {
    let written = match owned {
        None => {
            let mut first = wanted.clone();
            first.spec.replicas.get_or_insert(1);
            write::create(&context.client, &first).await.map(drop)
        }
        Some(owned) if is_as_wanted(owned, wanted) => return Ok(Applied::default()),
        Some(owned) => {
            let mut next = wanted.clone();
            next.spec.replicas = next.spec.replicas.or(owned.spec.replicas);
            next.metadata.resource_version = owned.resource_version();
            next.metadata.finalizers = owned.metadata.finalizers.clone();
            write::replace(&context.client, &next).await
        }
    };
    match written {
        Ok(()) => Ok(Applied {
            changed: true,
            refused: None,
        }),
        Err(WriteError::Refused(answer)) => Ok(Applied {
            changed: true,
            refused: Some(answer),
        }),
        Err(error) => Err(error),
    }
}

/// Whether the deployment holds everything that is wanted, built from the same template. Defaults
/// that the server filled in don't count as a difference.
fn is_as_wanted(owned: &WorkloadDeployment, wanted: &WorkloadDeployment) -> bool {
    let hash = |deployment: &WorkloadDeployment| {
        deployment
            .annotations()
            .get(ANNOTATION_TRIGGER_HASH)
            .cloned()
    };
    let json = |deployment: &WorkloadDeployment| {
        serde_json::json!({
            "labels": deployment.labels(),
            "annotations": deployment.annotations(),
            "spec": deployment.spec,
        })
    };
    hash(owned) == hash(wanted) && holds(&json(owned), &json(wanted))
}

/// Whether `whole` has everything that `part` has.
fn holds(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(key, part)| whole.get(key).is_some_and(|whole| holds(whole, part))),
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(w, p)| holds(w, p))
        }
        (whole, part) => whole == part,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_of_the_server_are_no_difference() {
        let whole = json!({"a": [{"b": 1, "default": true}], "c": 2});
        assert!(holds(&whole, &json!({"a": [{"b": 1}]})));
        assert!(!holds(&whole, &json!({"a": [{"b": 2}]})));
        assert!(!holds(&whole, &json!({"a": []})));
        assert!(!holds(&whole, &json!({"d": 1})));
    }
}
