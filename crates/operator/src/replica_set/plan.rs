//! Which Workloads of a set to create and to delete: a pure function of those that exist.

use std::collections::BTreeSet;

use kube::ResourceExt as _;
use waft_api::{Workload, names::ANNOTATION_TEMPLATE_HASH};

use crate::{
    condition::is_ready,
    names,
    object::{HasStatus as _, is_terminating},
};

/// A Workload of the set.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Member {
    /// Its name.
    pub name: String,
    /// Whether it is of the newest template.
    pub current: bool,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
}

/// What to do now.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Plan {
    /// Names of Workloads to create.
    pub create: Vec<String>,
    /// Names of Workloads to delete.
    pub delete: Vec<String>,
    /// Names that belong to the set but are still being deleted, so that they come later.
    pub awaited: Vec<String>,
}

/// A Workload, as far as the plan cares.
pub(crate) fn member(workload: &Workload, template_hash: &str) -> Member {
    let of_template = workload.annotations().get(ANNOTATION_TEMPLATE_HASH);
    Member {
        name: workload.name_any(),
        current: of_template.is_some_and(|hash| hash == template_hash),
        ready: is_ready(workload.conditions(), workload.metadata.generation),
        terminating: is_terminating(workload),
    }
}

/// Decides. Those of the newest template are numbered from 0, and the highest number goes first
/// when the set shrinks. Those of an older template, of a set that was edited by hand, go once all
/// of the newest are ready.
pub(crate) fn plan(set: &str, template_hash: &str, wanted: usize, members: &[Member]) -> Plan {
    let names: BTreeSet<String> = (0..wanted)
        .map(|ordinal| names::replica(set, template_hash, ordinal))
        .collect();
    let find = |name: &String| members.iter().find(|member| member.name == *name);
    let create: Vec<_> = names
        .iter()
        .filter(|name| find(name).is_none())
        .cloned()
        .collect();
    let awaited = names
        .iter()
        .filter(|name| find(name).is_some_and(|member| member.terminating))
        .cloned()
        .collect();
    let all_ready = names
        .iter()
        .all(|name| find(name).is_some_and(|member| member.ready && !member.terminating));
    let delete = members
        .iter()
        .filter(|member| !member.terminating && !names.contains(&member.name))
        .filter(|member| all_ready || member.current)
        .map(|member| member.name.clone())
        .collect();
    Plan {
        create,
        delete,
        awaited,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(hash: &str, ordinals: std::ops::Range<usize>, ready: bool) -> Vec<Member> {
        ordinals
            .map(|ordinal| Member {
                name: names::replica("rs", hash, ordinal),
                current: hash != "old",
                ready,
                terminating: false,
            })
            .collect()
    }

    #[test]
    fn what_is_missing_is_created_and_the_highest_number_goes() {
        let grown = plan("rs", "a", 3, &members("a", 0..1, true));
        assert_eq!((grown.create.len(), grown.delete.len()), (2, 0));
        let shrunk = plan("rs", "a", 1, &members("a", 0..3, false));
        let last: Vec<_> = (1..3).map(|n| names::replica("rs", "a", n)).collect();
        assert_eq!((shrunk.create.len(), shrunk.delete), (0, last));
        assert_eq!(
            plan("rs", "a", 2, &members("a", 0..2, true)),
            Plan::default()
        );
    }

    #[test]
    fn a_name_that_is_still_going_is_awaited() {
        let mut going = members("a", 0..1, true);
        going[0].terminating = true;
        let planned = plan("rs", "a", 1, &going);
        assert_eq!((planned.create.len(), planned.awaited.len()), (0, 1));
    }

    #[test]
    fn older_templates_go_when_the_newest_is_ready() {
        let mut both = members("old", 0..2, true);
        both.extend(members("new", 0..2, false));
        assert_eq!(plan("rs", "new", 2, &both), Plan::default());
        both.iter_mut().for_each(|member| member.ready = true);
        assert_eq!(plan("rs", "new", 2, &both).delete.len(), 2);
    }
}
