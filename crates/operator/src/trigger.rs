//! HTTPTriggers: a workload and the routes that lead to it.
//!
//! *Dereference* asks what the images export, *validate* and *build* (pure) make the owned
//! WorkloadDeployment, *apply* writes it, *status* sums up what became of it and of the routes. The
//! routes themselves are gathered in [`routing`](crate::routing).

mod apply;
mod build;
mod dereference;
mod status;
mod validate;

use std::time::Duration;

use kube::ResourceExt as _;

use dereference::Found;
pub(crate) use dereference::Looked;

use crate::{
    context::Context,
    object::{is_in_the_way, is_owned_by, is_terminating},
    queue::Next,
    write::{self, WriteError},
};

/// Brings one trigger closer to what it should be.
pub(crate) async fn reconcile(
    context: &Context,
    namespace: &str,
    name: &str,
    waited: Duration,
) -> Result<Next, WriteError> {
    let Some(trigger) = context.caches.triggers.get(namespace, name) else {
        return Ok(Next::Await);
    };
    if is_terminating(trigger.as_ref()) {
        return Ok(Next::Await);
    }
    let checked = validate::check(&trigger);
    let deployment = context.caches.deployments.get(namespace, name);
    let taken = deployment
        .as_ref()
        .is_some_and(|deployment| is_in_the_way(deployment.as_ref(), trigger.as_ref()));
    let owned = deployment.filter(|deployment| is_owned_by(deployment.as_ref(), trigger.as_ref()));
    let mut applied = apply::Applied::default();
    let mut hindrance = None;
    let mut next = Next::Await;
    if checked.is_ok() && !taken {
        // Only a changed template needs another look at the images, and a guess.
        let of_owned = || build::handler_of(&trigger, owned.as_ref()?);
        let found = match build::declared_handler(&trigger).or_else(of_owned) {
            Some(handler) => Found::Handler(handler),
            None => dereference::handler(context, &trigger).await?,
        };
        let is_guess = |owned| build::is_guess(&trigger, owned);
        match found {
            Found::Handler(handler) => {
                let wanted = build::deployment(&trigger, Some(&handler));
                applied = apply::apply(context, &wanted, owned.as_deref()).await?;
            }
            Found::Nothing(rest) => {
                let wanted = build::deployment(&trigger, None);
                applied = apply::apply(context, &wanted, owned.as_deref()).await?;
                next = Next::After(rest);
            }
            // It goes on with the guess until something better is known.
            Found::Asked(_) if owned.as_deref().is_some_and(is_guess) => {
                let wanted = build::deployment(&trigger, None);
                applied = apply::apply(context, &wanted, owned.as_deref()).await?;
                next = Next::Pending;
            }
            Found::Hindered(problem) => hindrance = Some(problem.verdict()),
            // Most images are there at once.
            Found::Asked(_) if waited < write::PATIENCE => {
                return Ok(Next::PutOff(write::PATIENCE));
            }
            Found::Asked(awaited) => {
                hindrance = Some(awaited);
                next = Next::Pending;
            }
            Found::Unseen => return Ok(Next::Await),
        }
    }
    status::write(
        context,
        &trigger,
        &status::Observed {
            checked: checked.as_ref().err(),
            taken,
            hindrance: hindrance.as_ref(),
            // What was just changed does not count as ready.
            deployment: owned.as_deref().filter(|_| !applied.changed),
            refused: applied.refused,
        },
    )
    .await?;
    Ok(next)
}

/// Name of the owned deployment: that of the trigger.
fn deployment_name(trigger: &waft_api::HttpTrigger) -> String {
    trigger.name_any()
}
