//! Whether a deployment's spec makes sense.

use kube::ResourceExt as _;
use waft_api::{WorkloadDeployment, names};

use super::plan::Policy;
use crate::{problem::Problem, workload};

/// Longest name: it is the value of a label.
const LONGEST_NAME: usize = 63;

/// A spec that makes sense.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Checked {
    /// Replicas wanted.
    pub replicas: i32,
    /// How a new set takes over.
    pub policy: Policy,
}

/// Checks a deployment. What its Artifacts replace is checked as it stands: images don't matter.
pub(crate) fn check(deployment: &WorkloadDeployment) -> Result<Checked, Problem> {
    let name = deployment.name_any();
    if name.len() > LONGEST_NAME {
        return Err(Problem::invalid(format!(
            "the name has {} characters; at most {LONGEST_NAME} fit into the label \
             `{}` of its workloads",
            name.len(),
            names::LABEL_WORKLOAD_DEPLOYMENT
        )));
    }
    let policy = match deployment.spec.deploy_policy.as_deref().unwrap_or_default() {
        "" | names::ROLLING_UPDATE => Policy::RollingUpdate,
        names::RECREATE => Policy::Recreate,
        other => {
            return Err(Problem::invalid(format!(
                "`deployPolicy` is `{other}`; use `RollingUpdate` or `Recreate`"
            )));
        }
    };
    let replicas = workload::replicas(deployment.spec.replicas)?;
    workload::check(&deployment.spec.template.spec)?;
    Ok(Checked { replicas, policy })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(yaml: &str) -> WorkloadDeployment {
        let spec = serde_saphyr::from_str(yaml).unwrap();
        WorkloadDeployment::new("d", spec)
    }

    #[test]
    fn what_is_refused_is_named() {
        let template = "template: {spec: {components: [{name: a, image: i}]}}";
        let good = deployment(&format!("{{deployPolicy: Recreate, {template}}}"));
        assert_eq!(check(&good).unwrap().policy, Policy::Recreate);
        for (field, wanted) in [
            ("deployPolicy: Rolling", "`Rolling`"),
            ("replicas: -1", "-1"),
        ] {
            let bad = deployment(&format!("{{{field}, {template}}}"));
            assert!(check(&bad).unwrap_err().message.contains(wanted));
        }
        let mut long = good;
        long.metadata.name = Some("x".repeat(64));
        assert!(check(&long).unwrap_err().message.contains("64 characters"));
    }
}
