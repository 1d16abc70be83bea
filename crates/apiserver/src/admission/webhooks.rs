//! Asking webhooks: those that may change the object one after another, the others at once.

use std::sync::Arc;

use serde_json::Value;
use waft_apimachinery::admission::FailurePolicy;
use waft_apimachinery::admission::webhook::{Target, Verdict, Webhook, uncallable};
use waft_apimachinery::registry::Resource;
use waft_apimachinery::status::Status;

use super::{Gate, Hook};
use crate::open::ApiServer;
use crate::read::as_served;
use crate::service::Text;
use crate::store::Key;

impl ApiServer {
    /// Lets the mutating webhooks change the gate's object; says whether one did.
    pub(crate) async fn mutate(&self, gate: &mut Gate, text: &mut Text) -> Result<bool, Status> {
        let admission = gate.admission.clone();
        let before = gate.attributes.object.clone();
        let (mut asked, mut again) = (Vec::new(), Vec::new());
        for (index, hook) in admission.mutating.iter().enumerate() {
            let Some(changed) = self.mutate_by(hook, gate, text).await? else {
                continue;
            };
            if changed {
                again.append(&mut asked);
            }
            if hook.webhook.reinvoked {
                asked.push(index);
            }
        }
        again.sort_unstable();
        for index in again {
            self.mutate_by(&admission.mutating[index], gate, text)
                .await?;
        }
        Ok(gate.attributes.object != before)
    }

    /// Asks one; `None` when it is not concerned, else whether it changed the object.
    async fn mutate_by(
        &self,
        hook: &Hook,
        gate: &mut Gate,
        text: &mut Text,
    ) -> Result<Option<bool>, Status> {
        let Some(resource) = self.concerned(hook, gate)? else {
            return Ok(None);
        };
        let verdict = self.ask(hook, gate, &resource).await?;
        text.warnings.extend(verdict.warnings);
        if let Some(refusal) = verdict.refusal {
            return Err(refusal);
        }
        let operations = verdict
            .patch
            .as_array()
            .is_some_and(|list| !list.is_empty());
        if !operations {
            return Ok(Some(false));
        }
        let seen = gate.seen_as(&resource, self);
        let mut patched = hook.webhook.patched(&seen.object, &verdict.patch)?;
        let asked = &gate.attributes.resource;
        if (&resource.group, &resource.version) != (&asked.group, &asked.version) {
            patched = as_served(
                self.to_stored(&patched, &resource).into_owned(),
                asked,
                false,
            );
        }
        let changed = patched != gate.attributes.object;
        gate.attributes.object = patched;
        Ok(Some(changed))
    }

    /// Asks the policies and then the validating webhooks.
    pub(crate) async fn judge(&self, gate: &Gate, text: &mut Text) -> Result<(), Status> {
        self.judge_by_policies(gate, text)?;
        let mut concerned_hooks = Vec::new();
        for hook in &gate.admission.validating {
            if let Some(resource) = self.concerned(hook, gate)? {
                concerned_hooks.push((hook, resource));
            }
        }
        let asked = concerned_hooks
            .iter()
            .map(|(hook, resource)| self.ask(hook, gate, resource));
        let mut refusal = None;
        for verdict in futures::future::join_all(asked).await {
            match verdict {
                Ok(verdict) => {
                    text.warnings.extend(verdict.warnings);
                    refusal = refusal.or(verdict.refusal);
                }
                Err(status) => refusal = refusal.or(Some(status)),
            }
        }
        refusal.map_or(Ok(()), Err)
    }

    /// In which version a webhook wants the request; `None` when it is not concerned.
    fn concerned(&self, hook: &Hook, gate: &Gate) -> Result<Option<Arc<Resource>>, Status> {
        let webhook = &hook.webhook;
        let namespace = gate.namespace.as_ref();
        let found = webhook
            .criteria
            .matches(&gate.attributes, &gate.versions, namespace)?;
        let Some(found) = found else { return Ok(None) };
        if webhook.conditions.is_empty() {
            return Ok(Some(found));
        }
        match webhook.conditions.hold(&gate.facts(&found, self)) {
            Ok(true) => Ok(Some(found)),
            Ok(false) => Ok(None),
            Err(why) => Err(gate.attributes.forbidden(&why)),
        }
    }

    /// Asks a webhook and deals with its failure as it wishes.
    async fn ask(
        &self,
        hook: &Hook,
        gate: &Gate,
        resource: &Arc<Resource>,
    ) -> Result<Verdict, Status> {
        let webhook = &hook.webhook;
        match self.call(hook, gate, resource).await? {
            Ok(verdict) => Ok(verdict),
            Err(why) if webhook.failure == FailurePolicy::Ignore => {
                tracing::warn!(webhook = webhook.name, %why, "a webhook could not be asked, the request goes on");
                Ok(Verdict::default())
            }
            Err(why) => Err(uncallable(webhook, &why)),
        }
    }

    async fn call(
        &self,
        hook: &Hook,
        gate: &Gate,
        resource: &Arc<Resource>,
    ) -> Result<Result<Verdict, String>, Status> {
        let webhook = &hook.webhook;
        let uid = uuid::Uuid::new_v4().to_string();
        let seen = gate.seen_as(resource, self);
        let review = match webhook.review(&seen, resource, &uid)? {
            Ok(review) => review,
            Err(why) => return Ok(Err(why)),
        };
        let url = url(webhook);
        let failed = |why: String| format!("failed to call webhook: Post \"{url}\": {why}");
        let backends = match &webhook.client.target {
            Target::Url(_) => Vec::new(),
            Target::Service {
                namespace,
                name,
                port,
                ..
            } => match self.backends(namespace, name, *port) {
                Ok(backends) => backends,
                Err(why) => return Ok(Err(failed(why))),
            },
        };
        let body = crate::answer::encode(&review.body);
        let call = hook.caller.post(&url, body, backends, self.body_bytes);
        let answer = tokio::time::timeout(webhook.timeout, call).await;
        let answer: Value = match answer {
            Err(_) => return Ok(Err(failed("context deadline exceeded".to_owned()))),
            Ok(Err(failure)) if failure.sent => {
                return Ok(Err(format!("failed to call webhook: {}", failure.why)));
            }
            Ok(Err(failure)) => return Ok(Err(failed(failure.why))),
            Ok(Ok(answer)) => answer,
        };
        Ok(webhook.verdict(&review, &answer))
    }

    /// The addresses behind a port of a Service.
    fn backends(&self, namespace: &str, name: &str, port: u16) -> Result<Vec<String>, String> {
        let key = Key::new(&"/services".into(), namespace, name);
        let Some(service) = self.store.get(&key) else {
            return Err(format!("service {name:?} not found"));
        };
        let service = service.value();
        let spec = &service["spec"];
        if spec["type"] == "ExternalName" {
            let host = spec["externalName"].as_str().unwrap_or_default();
            return Ok(vec![format!("{host}:{port}")]);
        }
        let ports = spec["ports"].as_array().into_iter().flatten();
        let Some(wanted) = ports.into_iter().find(|each| each["port"] == port) else {
            return Err(format!("no service port {port} found for service {name:?}"));
        };
        let port_name = wanted["name"].as_str().unwrap_or_default();
        let mut found = self.slices(namespace, name, port_name);
        if found.is_empty() {
            found = self.endpoints(namespace, name, port_name);
        }
        match found.is_empty() {
            true => Err(format!("no endpoints available for service {name:?}")),
            false => Ok(found),
        }
    }

    fn slices(&self, namespace: &str, service: &str, port_name: &str) -> Vec<String> {
        let slices = self
            .store
            .all("discovery.k8s.io/endpointslices", Some(namespace));
        let slices = slices.iter().map(|stored| stored.value());
        let of_service = slices
            .filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == *service);
        of_service
            .flat_map(|slice| {
                let endpoints = slice["endpoints"].as_array().into_iter().flatten();
                let ready = endpoints.filter(|each| each["conditions"]["ready"] != false);
                let ready: Vec<Value> = ready
                    .flat_map(|each| each["addresses"].as_array().cloned().unwrap_or_default())
                    .collect();
                joined(&ready, &slice["ports"], port_name)
            })
            .collect()
    }

    fn endpoints(&self, namespace: &str, service: &str, port_name: &str) -> Vec<String> {
        let key = Key::new(&"/endpoints".into(), namespace, service);
        let Some(endpoints) = self.store.get(&key).map(|stored| stored.value()) else {
            return Vec::new();
        };
        let subsets = endpoints["subsets"].as_array().into_iter().flatten();
        subsets
            .flat_map(|subset| {
                let addresses = subset["addresses"].as_array().into_iter().flatten();
                let addresses: Vec<Value> = addresses.map(|each| each["ip"].clone()).collect();
                joined(&addresses, &subset["ports"], port_name)
            })
            .collect()
    }
}

/// Every address with the port of a name.
fn joined(addresses: &[Value], ports: &Value, port_name: &str) -> Vec<String> {
    let ports = ports.as_array().into_iter().flatten();
    let mut ports = ports.filter(|port| port["name"].as_str().unwrap_or_default() == port_name);
    let Some(port) = ports.find_map(|port| port["port"].as_u64()) else {
        return Vec::new();
    };
    let addresses = addresses.iter().filter_map(Value::as_str);
    addresses
        .map(|address| match address.contains(':') {
            true => format!("[{address}]:{port}"),
            false => format!("{address}:{port}"),
        })
        .collect()
}

/// Where a webhook is asked, with its time in the query.
fn url(webhook: &Webhook) -> String {
    let base = match &webhook.client.target {
        Target::Url(url) => match url.splitn(4, '/').count() {
            // Without a path there is one.
            3 => format!("{url}/"),
            _ => url.clone(),
        },
        Target::Service {
            namespace,
            name,
            path,
            port,
        } => format!("https://{name}.{namespace}.svc:{port}{path}"),
    };
    format!("{base}?timeout={}s", webhook.timeout.as_secs())
}
