//! The rollout planner: which replica sets of a deployment to create, scale and delete now.
//!
//! Pure. It is asked again after every change, so it holds no state: what must be remembered (the
//! last set that was healthy) is read from the deployment's status.

/// How a new set takes over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Policy {
    /// The new set is fully ready before the old one goes.
    RollingUpdate,
    /// The old set is gone before the new one comes.
    Recreate,
}

/// A replica set that exists.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Set {
    /// Its name.
    pub name: String,
    /// `spec.replicas`.
    pub replicas: i32,
    /// Replicas that are ready.
    pub ready: i32,
    /// Whether its status speaks of its newest spec and calls it ready.
    pub complete: bool,
    /// When it was created, in any unit.
    pub created: i64,
    /// Whether it is being deleted.
    pub terminating: bool,
}

/// What the planner is asked.
#[derive(Clone, Debug)]
pub(crate) struct Situation<'a> {
    /// How the new set takes over.
    pub policy: Policy,
    /// Replicas wanted.
    pub replicas: i32,
    /// Name of the set for the newest template. `None`: it can't be known now (a ConfigMap is
    /// missing), or must not be built.
    pub desired: Option<&'a str>,
    /// All sets of the deployment.
    pub sets: &'a [Set],
    /// Whether workloads of sets other than the desired one are still there.
    pub others_linger: bool,
    /// The set that `status.previousReplicaSet` names.
    pub previous: Option<&'a str>,
}

/// How far the rollout is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stage {
    /// The desired set is complete and alone.
    Done,
    /// The desired set is complete, old ones are going.
    CleaningUp,
    /// The desired set is not ready yet.
    Starting,
    /// Old sets must go first.
    Emptying,
    /// There is no desired set.
    Held,
}

/// What to do now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Plan {
    /// Whether to create the desired set.
    pub create: bool,
    /// Sets to scale.
    pub scale: Vec<(String, i32)>,
    /// Sets to delete.
    pub delete: Vec<String>,
    /// The old set that is kept until the desired one is ready.
    pub keep: Option<String>,
    /// How far the rollout is.
    pub stage: Stage,
}

/// Decides what to do now.
pub(crate) fn plan(situation: &Situation<'_>) -> Plan {
    let wanted = situation.replicas;
    let is_desired = |set: &Set| Some(set.name.as_str()) == situation.desired;
    let desired = situation.sets.iter().find(|set| is_desired(set));
    let others: Vec<&Set> = situation
        .sets
        .iter()
        .filter(|set| !is_desired(set) && !set.terminating)
        .collect();
    let complete =
        desired.is_some_and(|set| set.complete && set.replicas == wanted && !set.terminating);

    let recreates = situation.policy == Policy::Recreate && situation.desired.is_some();
    let keep = if complete || recreates {
        None
    } else {
        keeper(&others, situation.previous)
    };
    let kept = keep.map(|set| set.name.clone());
    let delete: Vec<String> = if situation.desired.is_none() {
        Vec::new()
    } else {
        let going = others.iter().filter(|set| Some(&set.name) != kept.as_ref());
        going.map(|set| set.name.clone()).collect()
    };
    let emptying = situation.policy == Policy::Recreate
        && desired.is_none()
        && (!others.is_empty() || situation.others_linger);
    let create = situation.desired.is_some() && desired.is_none() && !emptying;
    let scale = desired
        .into_iter()
        .chain(keep)
        .filter(|set| !set.terminating && set.replicas != wanted)
        .map(|set| (set.name.clone(), wanted))
        .collect();
    let stage = if situation.desired.is_none() {
        Stage::Held
    } else if emptying {
        Stage::Emptying
    } else if !complete {
        Stage::Starting
    } else if others.is_empty() && !situation.others_linger {
        Stage::Done
    } else {
        Stage::CleaningUp
    };
    Plan {
        create,
        scale,
        delete,
        keep: kept,
        stage,
    }
}

/// The old set that serves until the desired one does: the one with most ready replicas, at equal
/// numbers the one that was kept before, then the newest. One is kept even if none is ready now:
/// after a restart of the hosts nothing is ready for a moment.
fn keeper<'a>(others: &[&'a Set], previous: Option<&str>) -> Option<&'a Set> {
    others
        .iter()
        .copied()
        .max_by_key(|set| (set.ready, Some(set.name.as_str()) == previous, set.created))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, replicas: i32, ready: i32, created: i64) -> Set {
        Set {
            name: name.into(),
            replicas,
            ready,
            complete: ready >= replicas,
            created,
            terminating: false,
        }
    }

    fn situation<'a>(desired: &'a str, sets: &'a [Set]) -> Situation<'a> {
        Situation {
            policy: Policy::RollingUpdate,
            replicas: 2,
            desired: Some(desired),
            sets,
            others_linger: false,
            previous: None,
        }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).into()).collect()
    }

    #[test]
    fn the_first_set_is_created_then_done() {
        let first = plan(&situation("a", &[]));
        assert!(first.create);
        assert_eq!(first.stage, Stage::Starting);
        let sets = [set("a", 2, 1, 0)];
        let starting = plan(&situation("a", &sets));
        assert_eq!((starting.create, starting.stage), (false, Stage::Starting));
        let sets = [set("a", 2, 2, 0)];
        assert_eq!(plan(&situation("a", &sets)).stage, Stage::Done);
    }

    #[test]
    fn rolling_keeps_the_old_set_until_the_new_one_is_fully_ready() {
        let sets = [set("a", 2, 2, 0), set("b", 2, 1, 1)];
        let half = plan(&situation("b", &sets));
        assert_eq!((half.delete, half.keep), (vec![], Some("a".into())));
        let sets = [set("a", 2, 2, 0), set("b", 2, 2, 1)];
        let over = plan(&situation("b", &sets));
        assert_eq!((over.delete, over.keep), (names(&["a"]), None));
        assert_eq!(over.stage, Stage::CleaningUp);
    }

    #[test]
    fn two_quick_updates_never_drop_the_only_healthy_set() {
        let sets = [set("a", 2, 2, 0), set("b", 2, 0, 1)];
        let third = plan(&situation("c", &sets));
        assert!(third.create);
        assert_eq!(
            (third.delete, third.keep),
            (names(&["b"]), Some("a".into()))
        );
    }

    #[test]
    fn after_a_restart_the_set_that_was_kept_stays_though_nothing_is_ready() {
        let sets = [set("a", 2, 0, 0), set("b", 2, 0, 1), set("c", 2, 0, 2)];
        let mut restarted = situation("c", &sets);
        restarted.previous = Some("a");
        let planned = plan(&restarted);
        assert_eq!(
            (planned.delete, planned.keep),
            (names(&["b"]), Some("a".into()))
        );
    }

    #[test]
    fn recreate_waits_until_the_old_workloads_are_gone() {
        let sets = [set("a", 2, 2, 0)];
        let mut recreate = situation("b", &sets);
        recreate.policy = Policy::Recreate;
        let first = plan(&recreate);
        assert_eq!((first.create, first.delete), (false, names(&["a"])));
        assert_eq!(first.stage, Stage::Emptying);
        recreate.sets = &[];
        recreate.others_linger = true;
        assert_eq!(plan(&recreate).stage, Stage::Emptying);
        recreate.others_linger = false;
        assert!(plan(&recreate).create);
    }

    #[test]
    fn scaling_reaches_the_set_that_still_serves() {
        let sets = [set("a", 1, 1, 0), set("b", 1, 0, 1)];
        let scaled = plan(&situation("b", &sets));
        assert_eq!(scaled.scale, [("b".into(), 2), ("a".into(), 2)]);
    }

    #[test]
    fn going_back_takes_the_old_set_up_again() {
        let sets = [set("a", 2, 2, 0), set("b", 2, 0, 1)];
        let back = plan(&situation("a", &sets));
        assert_eq!((back.create, back.delete), (false, names(&["b"])));
    }

    #[test]
    fn without_a_desired_set_nothing_goes() {
        let sets = [set("a", 1, 1, 0), set("b", 2, 0, 1)];
        let mut held = situation("", &sets);
        held.desired = None;
        let planned = plan(&held);
        assert!(!planned.create && planned.delete.is_empty());
        assert_eq!(planned.scale, [("a".into(), 2)]);
        assert_eq!(planned.stage, Stage::Held);
    }

    #[test]
    fn scaled_to_zero_is_complete() {
        let sets = [set("a", 0, 0, 0)];
        let mut empty = situation("a", &sets);
        empty.replicas = 0;
        assert_eq!(plan(&empty).stage, Stage::Done);
    }
}
