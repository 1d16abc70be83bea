//! Hosts: one object per host that reports, kept in step with what it says of itself.
//!
//! A report is written only when something changed that a reader would notice: a processor that is
//! a little busier is no news. A Host object that nobody reports for stays, and says so.

mod build;

use std::sync::Arc;

use kube::ResourceExt as _;
use waft_api::Host;
use waft_ir::HostInfo;

use crate::{
    context::Context,
    object::is_terminating,
    queue::Next,
    write::{self, WriteError},
};

/// Brings one Host object in step.
pub(crate) async fn reconcile(context: &Context, name: &str) -> Result<Next, WriteError> {
    let namespace = &context.config.operator_namespace;
    let object = context.caches.hosts.get(namespace, name);
    let hosts = context.link.hosts().borrow().clone();
    let info = hosts.values().find(|host| host.name == name);
    match (object, info) {
        (None, Some(info)) => {
            let wanted = build::host(namespace, info, None);
            write::create(&context.client, &wanted).await?;
        }
        (Some(object), info) => update(context, object, info).await?,
        (None, None) => {}
    }
    Ok(Next::Await)
}

async fn update(
    context: &Context,
    object: Arc<Host>,
    info: Option<&HostInfo>,
) -> Result<(), WriteError> {
    if is_terminating(object.as_ref()) {
        return Ok(());
    }
    if let Some(info) = info {
        let namespace = object.namespace().unwrap_or_default();
        let wanted = build::host(&namespace, info, Some(&object));
        if wanted != *object {
            return write::replace(&context.client, &wanted).await;
        }
    }
    let status = build::status(&object, info, k8s_openapi::jiff::Timestamp::now());
    write::status(&context.client, object.as_ref(), status).await?;
    Ok(())
}
