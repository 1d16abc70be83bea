//! What a trigger's status says.

use k8s_openapi::jiff::Timestamp;
use waft_api::{
    ConditionStatus, HttpTrigger, HttpTriggerStatus, Reason, WorkloadDeployment,
    conditions as types, names,
};

use crate::{
    condition::{Verdict, Verdicts, degraded, merge, summary},
    context::Context,
    events,
    key::Kind,
    object::HasStatus as _,
    problem::Problem,
    routes::{Outcome, SourceKey},
    routing,
    write::WriteError,
};

/// What was found out about a trigger.
#[derive(Clone, Debug)]
pub(crate) struct Observed<'a> {
    /// What is wrong with its spec.
    pub checked: Option<&'a Problem>,
    /// Whether the name of its deployment belongs to someone else.
    pub taken: bool,
    /// What its deployment waits for before it is written.
    pub hindrance: Option<&'a Verdict>,
    /// Its deployment, if it is as the trigger wants it.
    pub deployment: Option<&'a WorkloadDeployment>,
    /// What the API server said when it refused the deployment.
    pub refused: Option<String>,
}

/// Writes it, if it changed, and tells new warnings.
pub(crate) async fn write(
    context: &Context,
    trigger: &HttpTrigger,
    observed: &Observed<'_>,
) -> Result<(), WriteError> {
    let routes = context
        .routing
        .outcome(&SourceKey::of(Kind::Trigger, trigger));
    let url = routing::url(context, &routes);
    let status = build(trigger, observed, &routes, url, Timestamp::now());
    let spec = &trigger.spec.template.spec;
    let warnings = routing::warnings(context, trigger, spec, Some(trigger));
    events::write_status(context, trigger, status, warnings).await
}

/// Sums the trigger up.
pub(crate) fn build(
    trigger: &HttpTrigger,
    observed: &Observed<'_>,
    routes: &Outcome,
    url: Option<String>,
    now: Timestamp,
) -> HttpTriggerStatus {
    let generation = trigger.metadata.generation;
    let before = trigger.status.clone().unwrap_or_default();
    let of_deployment = observed
        .deployment
        .and_then(|deployment| deployment.status.as_ref());
    let selector = format!(
        "{}={}",
        names::LABEL_WORKLOAD_DEPLOYMENT,
        super::deployment_name(trigger)
    );
    HttpTriggerStatus {
        conditions: merge(
            trigger.conditions(),
            &judge(observed, routes),
            generation,
            now,
        ),
        current_replicas: of_deployment
            .and_then(|status| status.current_replicas)
            .or(before.current_replicas)
            .or(Some(0)),
        selector: Some(selector),
        url,
        observed_generation: generation,
    }
}

fn judge(observed: &Observed<'_>, routes: &Outcome) -> Verdicts {
    let waiting = || Verdict::unknown(Reason::Waiting, "");
    let refusal = routes
        .refused
        .first()
        .map(|refusal| Verdict::no(refusal.reason, refusal.message.clone()));
    let spec = observed.checked.map(Problem::verdict);
    let taken = observed.taken.then(|| {
        Verdict::no(
            Reason::NameTaken,
            "a WorkloadDeployment of this name exists and is not of this trigger; rename the \
             trigger or delete it",
        )
    });
    let answer = observed
        .refused
        .as_ref()
        .map(|answer| Verdict::no(Reason::ApplyFailed, answer.clone()));
    let accepted = [spec, taken, refusal, answer].into_iter().flatten().next();
    let accepted = accepted.unwrap_or_else(Verdict::good);
    let programmed = if !routes.accepted.is_empty() {
        Verdict::good()
    } else if routes.refused.is_empty() {
        waiting()
    } else {
        Verdict::no(Reason::Waiting, "none of its routes is accepted")
    };
    let serving = match (observed.hindrance, observed.deployment) {
        (Some(hindrance), _) => hindrance.clone(),
        (None, Some(deployment)) => {
            let generation = deployment.metadata.generation;
            Verdict::of_child(deployment.conditions(), types::READY, generation)
        }
        (None, None) => Verdict::unknown(Reason::Reconciling, "its deployment is being written"),
    };
    // Routes that are refused don't keep the others from serving.
    let partly = !accepted.is_good() && !routes.accepted.is_empty() && !blocks(observed);
    let ready = if partly {
        summary([&programmed, &serving])
    } else {
        summary([&accepted, &programmed, &serving])
    };
    let mut verdicts = vec![
        (types::ACCEPTED, accepted.clone()),
        (types::PROGRAMMED, programmed),
        (types::READY, ready),
    ];
    let refused = partly.then(|| {
        let mut refused = accepted;
        refused.truth = ConditionStatus::True;
        refused
    });
    let of_deployment = || degraded(observed.deployment?.conditions());
    let degraded = refused.or_else(|| routes.lacks_service());
    let degraded = degraded.or_else(of_deployment);
    verdicts.extend(degraded.map(|verdict| (types::DEGRADED, verdict)));
    verdicts
}

/// Whether more than a route is wrong.
fn blocks(observed: &Observed<'_>) -> bool {
    observed.checked.is_some() || observed.taken || observed.refused.is_some()
}
