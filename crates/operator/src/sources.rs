//! From objects to the routes that they wish for.
//!
//! Pure. Which wishes are granted is decided in [`routes`](crate::routes); which replicas serve is
//! told by the caller.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use waft_api::{HostInterface, HttpTrigger, Reason, WorkloadSpec, names, parse_duration};
use waft_ir::Backend;

use crate::{
    config_layers::{Layers, Sources},
    events::Warning,
    key::Kind,
    object::{created, is_terminating},
    routes::{DEFAULT_TIMEOUT, Source, SourceKey, Wish},
};

/// Replicas of one source.
#[derive(Debug, Default)]
pub(crate) struct Serving {
    /// Those that serve.
    pub backends: Vec<Backend>,
    /// Whether one of them, serving or not, exports an HTTP handler.
    pub exports_http: bool,
    /// Whether one of them has nothing to serve and has ended well.
    pub has_completed: bool,
}

/// The routes of a trigger; none once it is being deleted.
pub(crate) fn of_trigger(trigger: &HttpTrigger, serving: Serving) -> Option<Source> {
    if is_terminating(trigger) {
        return None;
    }
    let spec = &trigger.spec;
    let ingress = spec.ingress.clone().unwrap_or_default();
    let host = ingress
        .host
        .filter(|host| !host.is_empty())
        .unwrap_or_else(|| default_host(&trigger.metadata));
    let mut wishes: Vec<Wish> = ingress
        .paths
        .iter()
        .map(|path| Wish {
            host: host.clone(),
            path_type: path.path_type.clone().unwrap_or_else(|| "Prefix".into()),
            path: path.path.clone().unwrap_or_else(|| "/".into()),
        })
        .collect();
    if wishes.is_empty() {
        wishes.push(Wish::all_of(host));
    }
    wishes.extend(service_names(&trigger.metadata, &spec.template.spec));
    let timeout = spec.timeout.as_deref();
    let timeout = timeout.and_then(|text| parse_duration(text).ok());
    let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT);
    Some(Source {
        key: SourceKey::of(Kind::Trigger, trigger),
        created: created(trigger),
        wishes,
        timeout: (!timeout.is_zero()).then_some(timeout),
        backends: serving.backends,
    })
}

/// The routes of an object that answers HTTP by itself; none once it is being deleted. Host names
/// are read from the entry's config and its ConfigMaps; while one of those is missing, the object
/// goes on under the names that are `known` of it. So does one without an entry, of which its replicas
/// said that they answer, while it has none that says otherwise.
pub(crate) fn of_spec(
    kind: Kind,
    meta: &ObjectMeta,
    spec: &WorkloadSpec,
    serving: Serving,
    config_maps: &Sources,
    known: Option<&[Wish]>,
) -> Option<Source> {
    if meta.deletion_timestamp.is_some() {
        return None;
    }
    let mut hosts: Vec<String> = Vec::new();
    let mut declared = false;
    let mut is_whole = true;
    for entry in inbound_http(spec) {
        declared = true;
        let layers = Layers {
            secrets: Vec::new(),
            ..Layers::of_interface(entry)
        };
        // A ConfigMap that is missing keeps the workload from starting, and is told there.
        let config = layers.resolve(config_maps);
        is_whole &= config.is_ok();
        let config = config.unwrap_or_else(|_| entry.config.clone());
        let named = config.get(names::CONFIG_HOST).into_iter();
        for list in named.chain(config.get(names::CONFIG_HOST_ALIASES)) {
            let list = list.split(',').map(str::trim);
            hosts.extend(list.filter(|name| !name.is_empty()).map(Into::into));
        }
    }
    let has_answered = known.is_some() && serving.backends.is_empty() && !serving.has_completed;
    if !declared && !serving.exports_http && !has_answered {
        return None;
    }
    if hosts.is_empty() {
        hosts.push(default_host(meta));
    }
    let mut wishes: Vec<Wish> = hosts.into_iter().map(Wish::all_of).collect();
    wishes.extend(service_names(meta, spec));
    if let Some(known) = known.filter(|_| !is_whole) {
        wishes = known.to_vec();
    }
    Some(Source {
        key: SourceKey::of_meta(kind, meta),
        created: meta
            .creation_timestamp
            .as_ref()
            .map_or(0, |time| time.0.as_second()),
        wishes,
        timeout: Some(DEFAULT_TIMEOUT),
        backends: serving.backends,
    })
}

/// The `wasi:http` entries that declare a handler.
pub(crate) fn inbound_http(spec: &WorkloadSpec) -> impl Iterator<Item = &HostInterface> {
    spec.host_interfaces.iter().filter(|entry| {
        (entry.namespace.as_str(), entry.package.as_str()) == names::WASI_HTTP
            && entry
                .interfaces
                .iter()
                .any(|name| name == "incoming-handler" || name == "handler")
    })
}

/// The names under which a Service of the cluster would be reached.
fn service_names(meta: &ObjectMeta, spec: &WorkloadSpec) -> Vec<Wish> {
    let service = spec.kubernetes.as_ref().and_then(|k| k.service.as_ref());
    let Some(service) = service.filter(|service| !service.name.is_empty()) else {
        return Vec::new();
    };
    let base = format!(
        "{}.{}",
        service.name,
        meta.namespace.as_deref().unwrap_or_default()
    );
    let names = [
        base.clone(),
        format!("{base}.svc"),
        format!("{base}.svc.cluster.local"),
    ];
    names.into_iter().map(Wish::all_of).collect()
}

fn default_host(meta: &ObjectMeta) -> String {
    let name = meta.name.as_deref().unwrap_or_default();
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    format!("{name}.{namespace}.localhost")
}

/// The warning for a listen address, which is accepted but not listened on.
pub(crate) fn address_warning(spec: &WorkloadSpec) -> Option<Warning> {
    let address = inbound_http(spec).find_map(|entry| entry.config.get(names::CONFIG_ADDRESS))?;
    Some(Warning {
        reason: Reason::AddressIgnored.as_str().into(),
        message: format!(
            "`config.address` `{address}` is not listened on: requests are routed by host name \
             from the port of the host; name one in `config.host`"
        ),
    })
}

/// The warning for host names in the template of a trigger, whose own `ingress` names them.
pub(crate) fn host_warning(spec: &WorkloadSpec) -> Option<Warning> {
    let keys = [names::CONFIG_HOST, names::CONFIG_HOST_ALIASES];
    let is_http = |entry: &&HostInterface| {
        (entry.namespace.as_str(), entry.package.as_str()) == names::WASI_HTTP
    };
    let mut entries = spec.host_interfaces.iter().filter(is_http);
    let (key, named) = entries.find_map(|entry| {
        let mut found = keys.iter().map(|key| (*key, entry.config.get(*key)));
        found.find_map(|(key, named)| Some((key, named?)))
    })?;
    Some(Warning {
        reason: Reason::HostIgnored.as_str().into(),
        message: format!(
            "`config.{key}` `{named}` of the template's `wasi:http` entry is not routed: the host \
             of an HTTPTrigger is that of `spec.ingress.host`; name it there, others in a trigger \
             of their own"
        ),
    })
}

#[cfg(test)]
mod tests;
