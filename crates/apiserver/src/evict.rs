//! Eviction: a deletion of a pod that asks its disruption budgets first.

use serde_json::{Value, json};
use waft_apimachinery::request::{DeleteOptions, WriteOptions};
use waft_apimachinery::selector::LabelSelector;
use waft_apimachinery::status::{Cause, Status};

use crate::open::ApiServer;
use crate::service::Text;
use crate::store::Stored;

const BUDGETS: &str = "policy/poddisruptionbudgets";

impl ApiServer {
    /// Deletes a pod unless a budget forbids it.
    pub(crate) async fn evict(
        &self,
        namespace: &str,
        name: &str,
        body: &Value,
        options: &WriteOptions,
        text: &mut Text,
    ) -> Result<Value, Status> {
        let given = body["metadata"]["name"].as_str().unwrap_or_default();
        if !given.is_empty() && given != name {
            return Err(Status::bad_request(
                "name in URL does not match name in Eviction object: \
                 the name in the body must be that of the pod",
            ));
        }
        let registry = self.registry();
        let pods = registry.get("", "v1", "pods");
        let pods = pods.ok_or_else(Status::unknown_resource)?;
        let mut deletion = DeleteOptions::default();
        if body["deleteOptions"].is_object() {
            deletion.merge_body(&body["deleteOptions"])?;
        }
        deletion.dry_run |= options.dry_run;
        let pod = self.get_value(pods, Some(namespace), name)?;
        let over = matches!(
            pod["status"]["phase"].as_str(),
            Some("Succeeded" | "Failed" | "Pending")
        );
        if !over && pod["metadata"]["deletionTimestamp"].is_null() {
            self.take_from_budget(namespace, name, &pod, deletion.dry_run)
                .await?;
        }
        self.delete(pods, Some(namespace), name, &deletion, text)
            .await?;
        Ok(json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
        }))
    }

    async fn take_from_budget(
        &self,
        namespace: &str,
        pod_name: &str,
        pod: &Value,
        dry_run: bool,
    ) -> Result<(), Status> {
        loop {
            let budgets = self.budgets_of(namespace, pod);
            let (stored, mut budget) = match &budgets[..] {
                [] => return Ok(()),
                [(stored, budget)] => (stored, budget.clone()),
                _ => {
                    return Err(Status::internal(
                        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
                    ));
                }
            };
            let status = &budget["status"];
            let number = |field: &str| status[field].as_i64().unwrap_or(0);
            // A pod that isn't ready is none of the healthy ones that the budget protects.
            let healthy = number("currentHealthy") >= number("desiredHealthy")
                && number("desiredHealthy") > 0;
            let always = budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
            if !is_ready(pod) && (always || healthy) {
                return Ok(());
            }
            let generation = budget["metadata"]["generation"].as_i64().unwrap_or(0);
            if number("observedGeneration") < generation {
                let why = "is still being processed by the server.";
                return Err(refused(format!(
                    "The disruption budget {} {why}",
                    stored.key.name
                )));
            }
            let allowed = number("disruptionsAllowed");
            if allowed < 0 {
                let why = "pdb disruptions allowed is negative";
                return Err(Status::forbidden(
                    "policy",
                    "poddisruptionbudgets",
                    &stored.key.name,
                    why,
                ));
            }
            if allowed <= 0 {
                return Err(exhausted(
                    &stored.key.name,
                    number("desiredHealthy"),
                    number("currentHealthy"),
                ));
            }
            if dry_run {
                return Ok(());
            }
            budget["status"]["disruptionsAllowed"] = (allowed - 1).into();
            budget["status"]["disruptedPods"][pod_name] = crate::write::now().into();
            if self.put(stored, &budget, false).await?.is_some() {
                return Ok(());
            }
        }
    }

    fn budgets_of(&self, namespace: &str, pod: &Value) -> Vec<(std::sync::Arc<Stored>, Value)> {
        let all = self.store.all(BUDGETS, Some(namespace)).into_iter();
        all.map(|stored| {
            let budget = stored.value();
            (stored, budget)
        })
        .filter(|(_, budget)| {
            LabelSelector::from_json(&budget["spec"]["selector"])
                .is_ok_and(|selector| selector.matches_object(pod))
        })
        .collect()
    }
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

fn exhausted(budget: &str, needed: i64, healthy: i64) -> Status {
    refused(format!(
        "The disruption budget {budget} needs {needed} healthy pods and has {healthy} currently"
    ))
}

fn refused(cause: String) -> Status {
    let message = "Cannot evict pod as it would violate the pod's disruption budget.";
    let mut status = Status::too_many_requests(message, 0);
    let mut details = status.details.take().unwrap_or_default();
    details.retry_after_seconds = None;
    details.causes = vec![Cause {
        reason: "DisruptionBudget".into(),
        message: cause,
        field: String::new(),
    }];
    status.details = Some(details);
    status
}
