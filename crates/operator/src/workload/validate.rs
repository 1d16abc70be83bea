//! Whether a workload's spec makes sense, and its texts read as what they mean.
//!
//! Pure. What the schema refuses already is checked again where a wrong value would do harm:
//! objects may have been stored under another schema.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use waft_api::{
    Component, HostInterface, Limits, LocalResources, Reason, Service, WorkloadSpec, names,
    parse_duration,
};
use waft_ir::{
    InterfaceName, Pool, PullPolicy,
    catalog::{self, Described},
};

use super::volumes::{self, CheckedVolume};
use crate::{config_layers::wrong_variable, problem::Problem, unserved::unserved};

/// A spec that makes sense.
#[derive(Clone, Debug)]
pub(crate) struct Checked<'a> {
    /// The components, in manifest order.
    pub components: Vec<CheckedComponent<'a>>,
    /// The service, if there is one.
    pub service: Option<CheckedService<'a>>,
    /// The volumes, in manifest order.
    pub volumes: Vec<CheckedVolume<'a>>,
    /// The granted interfaces, in manifest order.
    pub interfaces: Vec<CheckedInterface<'a>>,
}

/// A component whose texts were read.
#[derive(Clone, Debug)]
pub(crate) struct CheckedComponent<'a> {
    /// As the manifest has it.
    pub raw: &'a Component,
    /// When to ask the registry.
    pub policy: PullPolicy,
    /// How instances are kept.
    pub pool: Pool,
    /// The limits.
    pub limits: waft_ir::Limits,
}

/// A service whose texts were read.
#[derive(Clone, Debug)]
pub(crate) struct CheckedService<'a> {
    /// As the manifest has it.
    pub raw: &'a Service,
    /// Its name beside the components'.
    pub name: &'a str,
    /// When to ask the registry.
    pub policy: PullPolicy,
    /// How often it may be started again.
    pub max_restarts: u32,
    /// The limits.
    pub limits: waft_ir::Limits,
}

/// A `hostInterfaces` entry whose texts were read.
#[derive(Clone, Debug)]
pub(crate) struct CheckedInterface<'a> {
    /// As the manifest has it.
    pub raw: &'a HostInterface,
    /// The package, with its version.
    pub package: InterfaceName,
}

/// Checks a workload's spec.
pub(crate) fn check(spec: &WorkloadSpec) -> Result<Checked<'_>, Problem> {
    let unserved = unserved(spec);
    if !unserved.is_empty() {
        return Err(Problem::new(
            Reason::NotSupportedYet,
            format!(
                "accepted but not served yet: `{}`; remove what is not needed",
                unserved.join("`, `")
            ),
        ));
    }
    if spec.components.is_empty() && spec.service.is_none() {
        return Err(Problem::invalid(
            "`components` is empty; name at least one component, or a `service`",
        ));
    }
    let mut seen = BTreeSet::new();
    let mut components = Vec::new();
    for component in &spec.components {
        check_name(&component.name)?;
        if !seen.insert(&component.name) {
            return Err(Problem::invalid(format!(
                "two components are named `{}`; names must be unique",
                component.name
            )));
        }
        components.push(check_component(component)?);
    }
    let service = spec.service.as_ref().map(check_service).transpose()?;
    if let Some(service) = &service
        && seen.iter().any(|name| *name == service.name)
    {
        return Err(Problem::invalid(format!(
            "a component and the service are both named `{}`; set `service.name` to another name",
            service.name
        )));
    }
    let volumes = volumes::check(spec)?;
    let interfaces = spec
        .host_interfaces
        .iter()
        .map(check_interface)
        .collect::<Result<_, _>>()?;
    Ok(Checked {
        volumes,
        components,
        service,
        interfaces,
    })
}

/// The number of replicas: one unless set, never negative.
pub(crate) fn replicas(wanted: Option<i32>) -> Result<i32, Problem> {
    let wanted = wanted.unwrap_or(1);
    if wanted < 0 {
        return Err(Problem::invalid(format!(
            "`replicas` is {wanted}; it must be 0 or more"
        )));
    }
    Ok(wanted)
}

/// A component's name is the name of a container, of a log file and of a log prefix.
fn check_name(name: &str) -> Result<(), Problem> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let good = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.len() <= 63
        && name.chars().all(fits);
    if good {
        return Ok(());
    }
    Err(Problem::invalid(format!(
        "component name `{name}` is refused; use up to 63 letters, digits, `-`, `_` and `.`, a \
         letter or digit first"
    )))
}

fn check_component(component: &Component) -> Result<CheckedComponent<'_>, Problem> {
    let path = format!("components[{}]", component.name);
    if component.image.trim().is_empty() {
        return Err(Problem::invalid(format!("`{path}.image` is empty")));
    }
    let policy = pull_policy(component.image_pull_policy.as_deref(), &path)?;
    let count = |value: Option<i32>, field: &str| {
        u32::try_from(value.unwrap_or(0)).map_err(|_| negative(&path, field))
    };
    let pool = Pool {
        size: count(component.pool_size, "poolSize")?,
        max_invocations: count(component.max_invocations, "maxInvocations")?,
        max_concurrency: count(component.max_concurrency, "maxConcurrency")?,
        reclaim_window_seconds: count(component.reclaim_window_seconds, "reclaimWindowSeconds")?,
        reclaim_min_instances: count(component.reclaim_min_instances, "reclaimMinInstances")?,
    };
    let limits = limits(
        component.limits.as_ref(),
        component.local_resources.as_ref(),
        &path,
    )?;
    Ok(CheckedComponent {
        raw: component,
        policy,
        pool,
        limits,
    })
}

fn check_service(service: &Service) -> Result<CheckedService<'_>, Problem> {
    let name = service.called();
    check_name(name)?;
    if service.image.trim().is_empty() {
        return Err(Problem::invalid("`service.image` is empty"));
    }
    let max_restarts = u32::try_from(service.max_restarts.unwrap_or(0))
        .map_err(|_| negative("service", "maxRestarts"))?;
    Ok(CheckedService {
        raw: service,
        name,
        policy: pull_policy(service.image_pull_policy.as_deref(), "service")?,
        max_restarts,
        limits: limits(
            service.limits.as_ref(),
            service.local_resources.as_ref(),
            "service",
        )?,
    })
}

/// The schema knows the forms of egress grants, but not which numbers are ports.
fn check_ports(resources: &LocalResources, path: &str) -> Result<(), Problem> {
    let of_hosts = resources.allowed_hosts.iter().filter_map(|entry| {
        let (_, port) = entry.trim_end_matches('/').rsplit_once(':')?;
        let is_number = port.bytes().all(|b| b.is_ascii_digit());
        is_number.then_some(("allowedHosts", entry, port))
    });
    let of_loopback = resources.allowed_host_loopback_ports.iter().map(|entry| {
        let port = entry
            .split_once('/')
            .map_or(entry.as_str(), |(port, _)| port);
        ("allowedHostLoopbackPorts", entry, port)
    });
    for (field, entry, port) in of_hosts.chain(of_loopback) {
        if !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return Err(Problem::invalid(format!(
                "`{path}.localResources.{field}` has the entry `{entry}`; a port is a number from \
                 1 to 65535"
            )));
        }
    }
    Ok(())
}

/// The schema can say nothing of names in a map.
fn check_environment(resources: &LocalResources, path: &str) -> Result<(), Problem> {
    let environment = resources.environment.as_ref();
    match environment.and_then(|layer| wrong_variable(&layer.config)) {
        Some(wrong) => Err(Problem::invalid(format!(
            "`{path}.localResources.environment.config`: {wrong}"
        ))),
        None => Ok(()),
    }
}

fn pull_policy(text: Option<&str>, path: &str) -> Result<PullPolicy, Problem> {
    Ok(match text.unwrap_or_default() {
        "" | names::PULL_IF_NOT_PRESENT => PullPolicy::IfNotPresent,
        names::PULL_ALWAYS => PullPolicy::Always,
        names::PULL_NEVER => PullPolicy::Never,
        other => {
            return Err(Problem::invalid(format!(
                "`{path}.imagePullPolicy` is `{other}`; use `Always`, `IfNotPresent` or `Never`"
            )));
        }
    })
}

fn limits(
    limits: Option<&Limits>,
    resources: Option<&LocalResources>,
    path: &str,
) -> Result<waft_ir::Limits, Problem> {
    if let Some(resources) = resources {
        check_ports(resources, path)?;
        check_environment(resources, path)?;
    }
    let mut checked = waft_ir::Limits::default();
    let memory = resources.and_then(|r| r.memory_limit_mb).unwrap_or(0);
    let memory =
        u64::try_from(memory).map_err(|_| negative(path, "localResources.memoryLimitMb"))?;
    if memory > 0 {
        checked.memory_bytes = memory << 20;
    }
    let cpu = resources.and_then(|r| r.cpu_limit).unwrap_or(0);
    let cpu = u32::try_from(cpu).map_err(|_| negative(path, "localResources.cpuLimit"))?;
    checked.cpu_millis = (cpu > 0).then_some(cpu);
    let Some(limits) = limits else {
        return Ok(checked);
    };
    let path = format!("{path}.limits");
    let time = |text: &Option<String>, field: &str| -> Result<Option<Duration>, Problem> {
        let Some(text) = text else { return Ok(None) };
        let time = parse_duration(text)
            .map_err(|error| Problem::invalid(format!("`{path}.{field}`: {error}")))?;
        Ok(Some(time))
    };
    let count = |value: Option<i32>, default: u32, field: &str| match value {
        None => Ok(default),
        Some(value) => u32::try_from(value).map_err(|_| negative(&path, field)),
    };
    let bytes = |value: i64, field: &str| u64::try_from(value).map_err(|_| negative(&path, field));
    if let Some(timeout) = time(&limits.request_timeout, "requestTimeout")? {
        checked.request_timeout = (!timeout.is_zero()).then_some(timeout);
        checked.own_request_timeout = true;
    }
    if let Some(cpu_time) = time(&limits.cpu_time, "cpuTime")? {
        if cpu_time.is_zero() {
            return Err(Problem::invalid(format!(
                "`{path}.cpuTime` is 0; a call needs some time"
            )));
        }
        checked.cpu_time = cpu_time;
    }
    if let Some(queue_timeout) = time(&limits.queue_timeout, "queueTimeout")? {
        checked.queue_timeout = queue_timeout;
    }
    checked.max_in_flight = count(limits.max_in_flight, checked.max_in_flight, "maxInFlight")?;
    if checked.max_in_flight == 0 {
        return Err(Problem::invalid(format!(
            "`{path}.maxInFlight` is 0; allow at least one call"
        )));
    }
    checked.queue = count(limits.queue, checked.queue, "queue")?;
    checked.table_elements = count(
        limits.table_elements,
        checked.table_elements,
        "tableElements",
    )?;
    checked.header_bytes = count(limits.header_bytes, checked.header_bytes, "headerBytes")?;
    checked.outbound_connections = count(
        limits.outbound_connections,
        checked.outbound_connections,
        "outboundConnections",
    )?;
    if let Some(body) = limits.body_bytes {
        checked.body_bytes = Some(bytes(body, "bodyBytes")?);
    }
    if let Some(rate) = limits.log_bytes_per_second {
        checked.log_bytes_per_second = bytes(rate, "logBytesPerSecond")?;
    }
    Ok(checked)
}

fn check_interface(entry: &HostInterface) -> Result<CheckedInterface<'_>, Problem> {
    let mut package = InterfaceName::new(&entry.namespace, &entry.package, None);
    check_config(&package, &entry.config, &entry.config)?;
    let version = entry.version.as_deref().unwrap_or_default();
    if !version.is_empty() {
        let text = format!("{package}@{version}");
        package = text.parse().map_err(|_| {
            Problem::invalid(format!(
                "`hostInterfaces[{package}].version` is `{version}`; write a full version such as \
                 `0.2.0`"
            ))
        })?;
    }
    Ok(CheckedInterface {
        raw: entry,
        package,
    })
}

/// Refuses what nobody would heed: a key that the package does not take, a backend that there is not.
/// `inline` is what the manifest says itself; other values come from ConfigMaps and Secrets, and no message
/// says what is in them.
pub(super) fn check_config(
    package: &InterfaceName,
    config: &BTreeMap<String, String>,
    inline: &BTreeMap<String, String>,
) -> Result<(), Problem> {
    let known = catalog::package(&package.namespace, &package.package);
    let Some((keys, backends)) = known.and_then(|known| Some((known.keys?, known.backends))) else {
        return Ok(());
    };
    let refuse = |key: &str, what: &str| {
        let source = match inline.contains_key(key) {
            true => "",
            false => ", from its configFrom or secretFrom,",
        };
        let text = format!("`hostInterfaces[{package}].config`{source} {what}");
        Err(Problem::invalid(text))
    };
    if let Some(key) = config.keys().find(|key| !is_listed(keys, key)) {
        let advice = match keys {
            [] => "it takes none".to_owned(),
            keys => format!("it takes {}", names(keys)),
        };
        return refuse(key, &format!("has the unknown key `{key}`; {advice}"));
    }
    match config.get("backend") {
        Some(backend) if !is_listed(backends, backend) => {
            let given = match inline.get("backend") == Some(backend) {
                true => format!("the backend `{backend}`"),
                false => "a backend".to_owned(),
            };
            let listed = names(backends);
            refuse(
                "backend",
                &format!("names {given} that is none; there are {listed}"),
            )
        }
        _ => Ok(()),
    }
}

fn is_listed(names: &[Described], name: &str) -> bool {
    !name.is_empty() && names.iter().any(|known| known.name == name)
}

/// Names for a message; the one of what is taken when nothing is named has none.
fn names(described: &[Described]) -> String {
    let names = described.iter().map(|each| each.name);
    let names = names.filter(|name| !name.is_empty());
    let quoted: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

fn negative(path: &str, field: &str) -> Problem {
    Problem::invalid(format!(
        "`{path}.{field}` is negative; it must be 0 or more"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(yaml: &str) -> Problem {
        let spec: WorkloadSpec = serde_saphyr::from_str(yaml).unwrap();
        check(&spec).unwrap_err()
    }

    #[test]
    fn values_that_are_refused_are_named_by_path() {
        let cases = [
            (
                "{name: a, image: i, poolSize: -1}",
                "components[a].poolSize",
            ),
            ("{name: a, image: i, maxInvocations: -1}", "maxInvocations"),
            (
                "{name: a, image: i, imagePullPolicy: Sometimes}",
                "`Sometimes`",
            ),
            ("{name: a, image: ''}", "components[a].image"),
            ("{name: ../a, image: i}", "`../a`"),
            (
                "{name: a, image: i, localResources: {allowedHosts: ['a.b:70000']}}",
                "`a.b:70000`",
            ),
            (
                "{name: a, image: i, localResources: {allowedHostLoopbackPorts: ['0/udp']}}",
                "`0/udp`",
            ),
            (
                "{name: a, image: i, limits: {cpuTime: 0s}}",
                "limits.cpuTime",
            ),
            (
                "{name: a, image: i, limits: {queueTimeout: x}}",
                "limits.queueTimeout",
            ),
            (
                "{name: a, image: i, limits: {bodyBytes: -1}}",
                "limits.bodyBytes",
            ),
            (
                "{name: a, image: i, limits: {maxInFlight: 0}}",
                "limits.maxInFlight",
            ),
            (
                "{name: a, image: i, localResources: {memoryLimitMb: -1}}",
                "memoryLimitMb",
            ),
        ];
        for (component, wanted) in cases {
            let problem = problem(&format!("components: [{component}]"));
            assert_eq!(problem.reason, Reason::InvalidSpec, "{component}");
            assert!(problem.message.contains(wanted), "{problem}");
        }
        let twice = "components: [{name: a, image: i}, {name: a, image: j}]";
        assert!(problem(twice).message.contains("two components"));
        assert!(problem("components: []").message.contains("empty"));
        let version = "{components: [{name: a, image: i}], hostInterfaces: \
             [{namespace: wasi, package: http, interfaces: [x], version: '1'}]}";
        assert!(problem(version).message.contains("full version"));
        let keys = |package: &str| {
            problem(&format!(
                "{{components: [{{name: a, image: i}}], hostInterfaces: [{{namespace: wasi, \
                 package: {package}, interfaces: [x], config: {{colour: red}}}}]}}"
            ))
        };
        assert!(keys("http").message.contains("`colour`; it takes `host`"));
        assert!(keys("logging").message.contains("`colour`; it takes none"));
    }

    #[test]
    fn what_is_not_served_is_said_first() {
        let problem = problem(
            "{components: [], hostInterfaces: [{namespace: cosmonic, package: kafka, interfaces: [x]}]}",
        );
        assert_eq!(problem.reason, Reason::NotSupportedYet);
        assert!(problem.message.contains("`hostInterfaces[cosmonic:kafka]`"));
    }

    #[test]
    fn services_are_checked_like_components() {
        for (service, wanted) in [
            ("{image: ' '}", "`service.image` is empty"),
            (
                "{image: i, maxRestarts: -1}",
                "`service.maxRestarts` is negative",
            ),
            (
                "{image: i, imagePullPolicy: Often}",
                "service.imagePullPolicy",
            ),
            ("{image: i, name: a}", "both named `a`"),
            ("{image: i, name: a/b}", "name `a/b` is refused"),
            (
                "{image: i, localResources: {memoryLimitMb: -1}}",
                "service.localResources",
            ),
        ] {
            let yaml = format!("{{components: [{{name: a, image: i}}], service: {service}}}");
            let problem = problem(&yaml);
            assert_eq!(problem.reason, Reason::InvalidSpec, "{service}");
            assert!(problem.message.contains(wanted), "{problem}");
        }
        let spec: WorkloadSpec = serde_saphyr::from_str("service: {image: i}").unwrap();
        let checked = check(&spec).unwrap();
        let service = checked.service.unwrap();
        assert_eq!((service.name, service.max_restarts), ("service", 0));
    }

    #[test]
    fn zero_timeouts_mean_no_bound() {
        let yaml = "components: [{name: a, image: i, limits: {requestTimeout: 0s}}]";
        let spec: WorkloadSpec = serde_saphyr::from_str(yaml).unwrap();
        let limits = &check(&spec).unwrap().components[0].limits;
        assert_eq!(limits.timeout_by(Some(Duration::from_secs(1))), None);
    }

    #[test]
    fn replicas_are_one_unless_set_and_never_negative() {
        assert_eq!((replicas(None), replicas(Some(0))), (Ok(1), Ok(0)));
        assert!(replicas(Some(-1)).is_err());
    }
}
