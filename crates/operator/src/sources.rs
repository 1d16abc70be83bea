//! From objects to the routes that they wish for.
//!
//! Pure. Which wishes are granted is decided in [`routes`](crate::routes); which replicas serve is
//! told by the caller.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use waft_api::{HostInterface, HttpTrigger, Reason, WorkloadSpec, names, parse_duration};
use waft_ir::{Backend, HostPattern};

use crate::{
    config_layers::{Layers, Sources},
    events::Warning,
    key::Kind,
    object::{created, is_terminating},
    problem::Problem,
    routes::{DEFAULT_TIMEOUT, Source, SourceKey, Wish},
};

/// Keys under which an entry of `wasi:http` names hosts.
const HOST_KEYS: [&str; 2] = [names::CONFIG_HOST, names::CONFIG_HOST_ALIASES];

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
    let timeout = spec.timeout.as_deref();
    let timeout = timeout.and_then(|text| parse_duration(text).ok());
    let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT);
    Some(Source {
        key: SourceKey::of(Kind::Trigger, trigger),
        created: created(trigger),
        wishes: trigger_wishes(trigger),
        timeout: (!timeout.is_zero()).then_some(timeout),
        backends: serving.backends,
        missing_service: None,
    })
}

/// The routes that a trigger names.
fn trigger_wishes(trigger: &HttpTrigger) -> Vec<Wish> {
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
    wishes
}

/// The routes of an object that answers HTTP by itself; none once it is being deleted. Host names
/// are read from the config of its `wasi:http` entries and their ConfigMaps; while one of those is
/// missing, the object goes on under the names that are `known` of it. So does one without an entry,
/// of which its replicas said that they answer, while it has none that says otherwise.
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
    let declared = inbound_http(spec).next().is_some();
    let has_answered = known.is_some() && serving.backends.is_empty() && !serving.has_completed;
    if !declared && !serving.exports_http && !has_answered {
        return None;
    }
    let mut hosts: Vec<String> = Vec::new();
    let mut is_whole = true;
    for entry in naming(spec) {
        // A ConfigMap that is missing keeps the workload from starting, and is told there.
        let config = shown(entry, config_maps);
        is_whole &= config.is_ok();
        let config = config.unwrap_or_else(|_| entry.config.clone());
        hosts.extend(
            HOST_KEYS
                .iter()
                .flat_map(|key| listed(&config, key))
                .map(Into::into),
        );
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
        missing_service: None,
    })
}

/// The `wasi:http` entries.
pub(crate) fn http(spec: &WorkloadSpec) -> impl Iterator<Item = &HostInterface> {
    let is_http = |entry: &&HostInterface| {
        (entry.namespace.as_str(), entry.package.as_str()) == names::WASI_HTTP
    };
    spec.host_interfaces.iter().filter(is_http)
}

/// Those of them that declare a handler.
fn inbound_http(spec: &WorkloadSpec) -> impl Iterator<Item = &HostInterface> {
    let is_handler = |name: &String| name == "incoming-handler" || name == "handler";
    http(spec).filter(move |entry| entry.interfaces.iter().any(is_handler))
}

/// The entries that name the hosts by which an object is reached: those for requests that come in, and
/// where none says so, all.
fn naming(spec: &WorkloadSpec) -> Vec<&HostInterface> {
    let inbound: Vec<_> = inbound_http(spec).collect();
    match inbound[..] {
        [] => http(spec).collect(),
        _ => inbound,
    }
}

/// What an entry and its ConfigMaps say. What Secrets say is left out: a host name stands in status.
fn shown(entry: &HostInterface, sources: &Sources) -> Result<BTreeMap<String, String>, Problem> {
    let layers = Layers {
        secrets: Vec::new(),
        ..Layers::of_interface(entry)
    };
    layers.resolve(sources)
}

/// The names that stand under a key, with commas between them.
fn listed<'a>(config: &'a BTreeMap<String, String>, key: &str) -> impl Iterator<Item = &'a str> {
    let lists = config.get(key).into_iter();
    let names = lists.flat_map(|list| list.split(',')).map(str::trim);
    names.filter(|name| !name.is_empty())
}

/// The names under which a Service of the cluster would be reached.
fn service_names(meta: &ObjectMeta, spec: &WorkloadSpec) -> Vec<Wish> {
    let Some(service) = service(spec) else {
        return Vec::new();
    };
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let base = format!("{service}.{namespace}");
    let names = [
        base.clone(),
        format!("{base}.svc"),
        format!("{base}.svc.cluster.local"),
    ];
    names.into_iter().map(Wish::all_of).collect()
}

/// The Service of the cluster that a workload names.
pub(crate) fn service(spec: &WorkloadSpec) -> Option<&str> {
    let service = spec.kubernetes.as_ref()?.service.as_ref()?;
    Some(service.name.as_str()).filter(|name| !name.is_empty())
}

fn default_host(meta: &ObjectMeta) -> String {
    let name = meta.name.as_deref().unwrap_or_default();
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    format!("{name}.{namespace}.localhost")
}

/// The warnings for what `wasi:http` entries say in vain: a listen address, host names that stand in a
/// Secret, and those in the template of a trigger, whose own `ingress` names them.
pub(crate) fn warnings(
    spec: &WorkloadSpec,
    sources: &Sources,
    of_trigger: Option<&HttpTrigger>,
) -> Vec<Warning> {
    let config =
        |entry: &HostInterface| shown(entry, sources).unwrap_or_else(|_| entry.config.clone());
    let mut routed: Vec<HostPattern> = Vec::new();
    if let Some(trigger) = of_trigger {
        let wishes = trigger_wishes(trigger).into_iter();
        routed.extend(wishes.filter_map(|wish| HostPattern::parse(&wish.host)));
    } else {
        for config in naming(spec).into_iter().map(config) {
            let names = HOST_KEYS.iter().flat_map(|key| listed(&config, key));
            routed.extend(names.filter_map(HostPattern::parse));
        }
    }
    let is_routed = |host: &HostPattern| routed.iter().any(|pattern| pattern.covers(host));
    let is_ignored = |name: &&str| !HostPattern::parse(name).as_ref().is_some_and(is_routed);
    let mut warnings = Vec::new();
    for entry in http(spec) {
        let config = config(entry);
        warnings.extend(
            config
                .get(names::CONFIG_ADDRESS)
                .map(|address| ignored_address(address)),
        );
        for key in HOST_KEYS {
            let ignored: Vec<&str> = listed(&config, key).filter(is_ignored).collect();
            if of_trigger.is_some() && !ignored.is_empty() {
                warnings.push(ignored_in_template(key, &ignored.join(",")));
            }
            let secrets = entry.secret_from.iter().map(|secret| secret.name.as_str());
            warnings.extend(secrets.filter_map(|name| {
                let values = &sources.secrets.get(name)?.values;
                listed(values, key).find(is_ignored)?;
                Some(ignored_in_secret(key, name, of_trigger.is_some()))
            }));
        }
    }
    warnings
}

fn ignored_address(address: &str) -> Warning {
    Warning {
        reason: Reason::AddressIgnored.as_str().into(),
        message: format!(
            "`config.address` `{address}` is not listened on: requests are routed by host name \
             from the port of the host; name one in `config.host`"
        ),
    }
}

fn ignored_in_template(key: &str, named: &str) -> Warning {
    Warning {
        reason: Reason::HostIgnored.as_str().into(),
        message: format!(
            "`config.{key}` `{named}` of the template's `wasi:http` entry is not routed: the host \
             of an HTTPTrigger is that of `spec.ingress.host`; name it there, others in a trigger \
             of their own"
        ),
    }
}

/// Does not say the name: it is a value of a Secret.
fn ignored_in_secret(key: &str, secret: &str, has_trigger: bool) -> Warning {
    let place = match has_trigger {
        true => "`spec.ingress.host`",
        false => "`config` or a ConfigMap",
    };
    Warning {
        reason: Reason::HostIgnored.as_str().into(),
        message: format!(
            "`{key}` of Secret `{secret}` is not routed: routes and status show host names to \
             everybody; name it in {place}"
        ),
    }
}

#[cfg(test)]
mod tests;
