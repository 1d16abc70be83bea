//! What the images of a trigger's template export: `incoming-handler` or `handler`.

use std::{collections::HashMap, time::Duration};

use kube::ResourceExt as _;
use parking_lot::Mutex;
use waft_api::HttpTrigger;
use waft_ir::{Image, InterfaceName};

use super::build::{HANDLER, INCOMING_HANDLER, template_hash};
use crate::{
    artifacts,
    context::Context,
    dereference,
    workload::{check, credentials},
};

/// Longest wait for a registry. The handler is a detail that may be guessed; the workload itself
/// waits for the image and says so.
const PATIENCE: Duration = Duration::from_secs(30);

/// The handlers that were found, by the uid of the trigger and the hash of its template: the
/// deployment that tells them may not be seen yet when the trigger is looked at again.
pub(crate) type Handlers = Mutex<HashMap<String, (String, String)>>;

/// The inbound interface that a component of the template exports; if that can't be known, that of
/// `wasi:http@0.2`. Whatever is wrong with the image is told by the workload, which needs it.
pub(crate) async fn handler(context: &Context, trigger: &HttpTrigger) -> String {
    let uid = trigger.uid().unwrap_or_default();
    let template = template_hash(trigger);
    let known = context.handlers.lock().get(&uid).cloned();
    if let Some((_, handler)) = known.filter(|(of, _)| *of == template) {
        return handler;
    }
    let found = look_up(context, trigger).await;
    context
        .handlers
        .lock()
        .insert(uid, (template, found.clone()));
    found
}

async fn look_up(context: &Context, trigger: &HttpTrigger) -> String {
    let namespace = trigger.namespace().unwrap_or_default();
    let mut spec = trigger.spec.template.spec.clone();
    let known = dereference::artifacts(
        &context.caches,
        &namespace,
        &artifacts::names(&trigger.spec.template.spec, &[]),
    );
    let fallback = || INCOMING_HANDLER.to_owned();
    if artifacts::replace(&mut spec, &[], &known).is_err() {
        return fallback();
    }
    let inputs = dereference::inputs(&context.caches, &namespace, &spec);
    let Ok(checked) = check(&spec) else {
        return fallback();
    };
    for component in &checked.components {
        let raw = component.raw;
        let Ok(credentials) = credentials(raw.image_pull_secret.as_ref(), &inputs) else {
            continue;
        };
        let image = Image {
            reference: raw.image.clone(),
            policy: component.policy,
            credentials,
        };
        let resolved = tokio::time::timeout(PATIENCE, context.artifacts.resolve(&image)).await;
        let Ok(Ok(artifact)) = resolved else { continue };
        if let Some(found) = exported(&artifact.exports) {
            return found.into();
        }
    }
    fallback()
}

fn exported(exports: &[InterfaceName]) -> Option<&'static str> {
    let http = exports
        .iter()
        .filter(|export| export.namespace == "wasi" && export.package == "http");
    let names: Vec<&str> = http
        .filter_map(|export| export.interface.as_deref())
        .collect();
    [HANDLER, INCOMING_HANDLER]
        .into_iter()
        .find(|name| names.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_export_decides() {
        let names = |names: &[&str]| -> Vec<InterfaceName> {
            names.iter().map(|name| name.parse().unwrap()).collect()
        };
        let of = |list: &[&str]| exported(&names(list));
        assert_eq!(of(&["wasi:http/handler@0.3.0"]), Some(HANDLER));
        assert_eq!(
            of(&["wasi:http/incoming-handler@0.2.12"]),
            Some(INCOMING_HANDLER)
        );
        assert_eq!(of(&["wasi:cli/run@0.2.0", "my:http/handler"]), None);
    }
}
