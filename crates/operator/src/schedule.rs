//! Which host runs a workload: a pure function of what it asks and of the hosts that report.
//!
//! Least loaded first: fewest workloads, then most free memory, then the smaller id, so that the
//! same question always has the same answer.

use std::{cmp::Reverse, collections::BTreeMap};

use waft_ir::{HostId, InterfaceName, Placement};

/// A host that reports, as far as placement cares.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Candidate {
    /// The host.
    pub id: HostId,
    /// Name of its Host object.
    pub name: String,
    /// Labels it reports and labels of its Host object.
    pub labels: BTreeMap<String, String>,
    /// Its environment; `None` matches any.
    pub environment: Option<String>,
    /// Interfaces it offers.
    pub offers: Vec<InterfaceName>,
    /// Workloads placed on it.
    pub workloads: usize,
    /// Free memory, in bytes.
    pub memory_free: u64,
}

/// The host to use, or a message that says what no host satisfies and what would help.
pub(crate) fn schedule(wish: &Placement, hosts: &[Candidate]) -> Result<HostId, String> {
    if hosts.is_empty() {
        return Err("no host reports; start one with `waft up`".into());
    }
    let mut fitting = hosts.to_vec();
    if let Some(id) = &wish.host_id {
        fitting.retain(|host| host.id == *id || host.name == id.0);
        if fitting.is_empty() {
            return Err(format!(
                "no host has the id `{id}`; hosts that report: {}",
                names(hosts)
            ));
        }
    }
    for (key, value) in &wish.host_selector {
        fitting.retain(|host| host.labels.get(key) == Some(value));
        if fitting.is_empty() {
            return Err(format!(
                "no host carries the label `{key}={value}`; start one with \
                 `waft up --host-label {key}={value}`"
            ));
        }
    }
    if let Some(environment) = &wish.environment {
        fitting.retain(|host| {
            host.environment
                .as_ref()
                .is_none_or(|of_host| of_host == environment)
        });
        if fitting.is_empty() {
            return Err(format!(
                "no host is of the environment `{environment}`; start one with \
                 `waft up --environment {environment}`"
            ));
        }
    }
    for wanted in &wish.interfaces {
        fitting.retain(|host| host.offers.iter().any(|offered| is_met(wanted, offered)));
        if fitting.is_empty() {
            return Err(not_offered(wanted, hosts));
        }
    }
    fitting
        .into_iter()
        .min_by_key(|host| (host.workloads, Reverse(host.memory_free), host.id.clone()))
        .map(|host| host.id)
        .ok_or_else(|| "no host reports".into())
}

/// Whether an offer meets a wish; that of a package offers all of its interfaces.
fn is_met(wanted: &InterfaceName, offered: &InterfaceName) -> bool {
    let mut wanted = wanted.clone();
    if offered.interface.is_none() {
        wanted.interface = None;
    }
    wanted.accepts(offered)
}

/// What to say of an interface that no host offers.
fn not_offered(wanted: &InterfaceName, hosts: &[Candidate]) -> String {
    let offers = hosts.iter().flat_map(|host| &host.offers);
    let near = |offer: &&InterfaceName| {
        (&offer.namespace, &offer.package) == (&wanted.namespace, &wanted.package)
    };
    let mut near: Vec<_> = offers
        .filter(near)
        .map(|offer| format!("`{offer}`"))
        .collect();
    near.sort();
    near.dedup();
    let advice = if near.is_empty() {
        "remove its entry from `hostInterfaces`".to_owned()
    } else {
        format!("offered are {}", near.join(", "))
    };
    format!("no host offers the interface `{wanted}`; {advice}")
}

fn names(hosts: &[Candidate]) -> String {
    let names: Vec<_> = hosts.iter().map(|host| format!("`{}`", host.id)).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(id: &str, workloads: usize) -> Candidate {
        Candidate {
            id: HostId(id.into()),
            name: format!("name-of-{id}"),
            labels: [("hostgroup".to_owned(), "default".to_owned())].into(),
            environment: None,
            offers: vec!["wasi:http@0.2.6".parse().unwrap()],
            workloads,
            memory_free: 1,
        }
    }

    fn selector(key: &str, value: &str) -> Placement {
        Placement {
            host_selector: [(key.to_owned(), value.to_owned())].into(),
            ..Placement::default()
        }
    }

    #[test]
    fn the_least_loaded_host_is_taken_and_ties_are_stable() {
        let hosts = [host("c", 1), host("b", 0), host("a", 0)];
        assert_eq!(schedule(&Placement::default(), &hosts).unwrap().0, "a");
        let mut roomy = host("z", 0);
        roomy.memory_free = 2;
        let hosts = [host("a", 0), roomy];
        assert_eq!(schedule(&Placement::default(), &hosts).unwrap().0, "z");
    }

    #[test]
    fn a_refusal_names_the_flag_that_would_fix_it() {
        let mut production = host("a", 0);
        production.environment = Some("production".into());
        let hosts = [production];
        let error = |wish: &Placement| schedule(wish, &hosts).unwrap_err();
        assert!(error(&selector("zone", "eu")).contains("`waft up --host-label zone=eu`"));
        let staging = Placement {
            environment: Some("staging".into()),
            ..Placement::default()
        };
        assert!(error(&staging).contains("`waft up --environment staging`"));
        let keyvalue = Placement {
            interfaces: vec!["wasi:keyvalue".parse().unwrap()],
            ..Placement::default()
        };
        assert!(error(&keyvalue).contains("`wasi:keyvalue`"));
        let pinned = Placement {
            host_id: Some(HostId("q".into())),
            ..Placement::default()
        };
        assert!(error(&pinned).contains("`a`"));
        assert!(
            schedule(&Placement::default(), &[])
                .unwrap_err()
                .contains("waft up")
        );
    }

    #[test]
    fn every_wish_must_hold_on_one_host() {
        let mut labelled = host("a", 0);
        labelled.labels.insert("zone".into(), "eu".into());
        let mut wish = selector("zone", "eu");
        wish.host_id = Some(HostId("b".into()));
        assert!(schedule(&wish, &[labelled.clone(), host("b", 0)]).is_err());
        wish.host_id = Some(HostId("name-of-a".into()));
        wish.environment = Some("any".into());
        wish.interfaces = vec!["wasi:http@0.2.0".parse().unwrap()];
        assert_eq!(schedule(&wish, &[labelled, host("b", 0)]).unwrap().0, "a");
    }
}
