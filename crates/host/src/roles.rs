//! What each member of a workload does: serve HTTP, take messages, run, or be part of others. And what is
//! in a manifest that nothing of it uses.

use waft_ir::{CapabilityGrant, Failure, FailureReason, InterfaceName, Workload};
use waft_runtime::{Compiled, grants_it};

use crate::{composition::Composition, member::Member};

/// The keys of an entry that say which messages are taken, and how.
const SUBSCRIBER_KEYS: [&str; 4] = [
    "subscriptions",
    "consumer_group",
    "max_in_flight",
    "admission_wait",
];

/// Which member does what, by their places.
#[derive(Debug)]
pub(crate) struct Roles {
    pub(crate) http: Option<usize>,
    /// Those that take messages.
    pub(crate) messages: Vec<usize>,
    /// The service, if it exports `wasi:cli/run`.
    pub(crate) runs: Option<usize>,
}

/// The interface by which a workload's manifest says that it takes requests.
fn inbound_http(workload: &Workload) -> Option<InterfaceName> {
    workload.grants.iter().find_map(|grant| {
        let package = &grant.package;
        let is_http = package.namespace == "wasi" && package.package == "http";
        let mut interfaces = grant.interfaces.iter().filter(|_| is_http);
        let interface = interfaces.find(|name| matches!(&***name, "incoming-handler" | "handler"));
        Some(InterfaceName {
            interface: Some(interface?.clone()),
            ..package.clone()
        })
    })
}

/// Whether an interface is that of an HTTP handler.
fn is_http(name: &str) -> bool {
    name.starts_with("wasi:http/")
}

/// Whether an interface is that of a handler of messages or a watcher of buckets.
fn is_for_deliveries(name: &str) -> bool {
    name.starts_with("wasmcloud:messaging/") || name.starts_with("wasi:keyvalue/watcher")
}

/// Whether a component is called for messages, or for changes of buckets.
fn takes_deliveries(compiled: &Compiled) -> bool {
    compiled.messaging().is_some() || compiled.watches()
}

impl Roles {
    /// Whether a member has one.
    pub(crate) fn are_of(&self, at: usize) -> bool {
        self.http == Some(at) || self.runs == Some(at) || self.messages.contains(&at)
    }

    /// The roles, by what the members export.
    pub(crate) fn of(
        workload: &Workload,
        members: &[Member<'_>],
        compiled: &[Compiled],
        composition: &Composition,
    ) -> Result<Self, Failure> {
        let refused = |reason, text: String| Err(Failure::new(reason, text));
        let service = members.iter().position(|member| member.is_service);
        let serves: Vec<usize> = (0..compiled.len())
            .filter(|at| compiled[*at].http().is_some())
            // One that another component hands its requests on to does not serve them itself.
            .filter(|at| !composition.is_used(*at, is_http))
            .collect();
        let messages: Vec<usize> = (0..compiled.len())
            .filter(|at| takes_deliveries(&compiled[*at]))
            .filter(|at| !composition.is_used(*at, is_for_deliveries))
            .collect();
        let runs = service.filter(|at| compiled[*at].run().is_some());
        let names = |positions: &[usize]| {
            let names = positions
                .iter()
                .map(|at| format!("`{}`", members[*at].name));
            names.collect::<Vec<_>>().join(", ")
        };
        if let Some(at) = service
            && runs.is_none()
            && compiled[at].http().is_none()
            && !takes_deliveries(&compiled[at])
        {
            return refused(
                FailureReason::MissingExport,
                format!(
                    "service {} exports neither `wasi:cli/run` nor a handler of HTTP or of messages: \
                     a service must export one of them",
                    names(&[at])
                ),
            );
        }
        if let Some(at) = runs
            && (serves.contains(&at) || messages.contains(&at))
        {
            return refused(
                FailureReason::NotSupportedYet,
                format!(
                    "service {} exports both `wasi:cli/run` and a handler of HTTP or of messages, \
                     which is not served yet: make it two components",
                    names(&[at])
                ),
            );
        }
        if let (Some(entry), []) = (inbound_http(workload), &serves[..]) {
            let all: Vec<usize> = (0..compiled.len()).collect();
            return refused(
                FailureReason::MissingExport,
                format!(
                    "the workload takes requests by `{entry}`, and none of its components ({}) \
                     exports a handler of HTTP: leave that entry out of spec.hostInterfaces, and \
                     where an HTTPTrigger adds it, make the trigger a WorkloadDeployment",
                    names(&all)
                ),
            );
        }
        match serves[..] {
            [one] => Ok(Self {
                http: Some(one),
                messages,
                runs,
            }),
            [] if runs.is_some() || !messages.is_empty() => Ok(Self {
                http: None,
                messages,
                runs,
            }),
            [] => {
                let all: Vec<usize> = (0..compiled.len()).collect();
                refused(
                    FailureReason::MissingExport,
                    format!(
                        "no component of the workload ({}) exports a handler of HTTP or of messages: \
                         one must export `wasi:http/incoming-handler@0.2`, `wasi:http/handler@0.3` \
                         or `wasmcloud:messaging/handler`{}",
                        names(&all),
                        to_be_a_service(compiled)
                    ),
                )
            }
            _ => refused(
                FailureReason::MultipleHttpHandlers,
                format!(
                    "components {} all export an HTTP handler, and a workload serves HTTP with \
                     one: give each its own WorkloadDeployment",
                    names(&serves)
                ),
            ),
        }
    }

    /// What the manifest has that nobody uses, as reasons and messages of warnings.
    pub(crate) fn unused(
        &self,
        workload: &Workload,
        members: &[Member<'_>],
        compiled: &[Compiled],
        composition: &Composition,
    ) -> Vec<(String, String)> {
        let idle = (0..members.len())
            .filter(|at| !self.are_of(*at) && !composition.is_used(*at, |_| true))
            .map(|at| {
                let text = format!(
                    "component `{}` is never called: it exports no handler of HTTP or of messages, and \
                     no component imports what it exports{}",
                    members[at].name,
                    to_be_a_service(&compiled[at..=at])
                );
                ("ComponentUnused", text)
            });
        let entries = workload.grants.iter().filter_map(|grant| {
            let text = unused_entry(grant, compiled)?;
            let text = format!("`hostInterfaces[{}]` {text}", grant.package);
            Some(("EntryUnused", text))
        });
        idle.chain(entries)
            .map(|(reason, text)| (reason.to_owned(), text))
            .collect()
    }
}

/// What an entry of `hostInterfaces` wants to be called for, if no component can be.
fn unused_entry(grant: &CapabilityGrant, compiled: &[Compiled]) -> Option<String> {
    let has = |name: &str| grant.interfaces.iter().any(|listed| listed == name);
    let package = (&*grant.package.namespace, &*grant.package.package);
    match package {
        ("wasmcloud", "messaging") => {
            let is_said = |key: &&str| grant.config.get(*key).is_some_and(|v| !v.trim().is_empty());
            let key = SUBSCRIBER_KEYS.into_iter().find(is_said)?;
            if !grant.interfaces.is_empty() && !has("handler") {
                return Some(format!(
                    "has `{key}` and does not list the interface `handler`, which takes messages"
                ));
            }
            let mut exports = compiled.iter().flat_map(Compiled::exports);
            let is_taken = exports.any(|export| takes_by(grant, export));
            (!is_taken).then(|| {
                format!("has `{key}`, and no component exports a handler of messages that fits")
            })
        }
        ("wasi", "keyvalue") if has("watcher") && !compiled.iter().any(Compiled::watches) => {
            Some("lists `watcher`, and no component exports one".to_owned())
        }
        _ => None,
    }
}

/// Whether messages of an entry are taken by an export.
fn takes_by(grant: &CapabilityGrant, export: &InterfaceName) -> bool {
    export.interface.as_deref() == Some("handler") && grants_it(grant, export)
}

/// What to do with components one of which runs by itself.
fn to_be_a_service(compiled: &[Compiled]) -> &'static str {
    match compiled.iter().any(|one| one.run().is_some()) {
        true => "; one that exports `wasi:cli/run` is to be the workload's `service`",
        false => "",
    }
}
