//! Conditions: what a controller found out, merged into what an object's status said before.
//!
//! Pure. The rules are the same for every kind: the order is the controller's, observedGeneration
//! is always set, lastTransitionTime moves only with `status`, and the first status after a change
//! of spec never says that the object is ready. A new object has no old state to be mistaken for.

use std::borrow::Cow;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use waft_api::{
    Condition, ConditionStatus, Reason,
    conditions::{DEGRADED, READY},
};

/// What a controller found out about one aspect of an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Verdict {
    /// Whether it is as wanted.
    pub truth: ConditionStatus,
    /// Why.
    pub reason: Cow<'static, str>,
    /// What to do about it, or what is going on; may be empty.
    pub message: String,
}

/// The verdicts about an object, in the order of its condition types.
pub(crate) type Verdicts = Vec<(&'static str, Verdict)>;

impl Verdict {
    /// Whether it is known not to be as wanted.
    pub(crate) fn is_bad(&self) -> bool {
        self.truth == ConditionStatus::False
    }

    /// As wanted.
    pub(crate) fn good() -> Self {
        Self::new(ConditionStatus::True, Reason::Available, "")
    }

    /// As wanted, for a particular reason.
    pub(crate) fn yes(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(ConditionStatus::True, reason, message)
    }

    /// Not as wanted.
    pub(crate) fn no(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(ConditionStatus::False, reason, message)
    }

    /// Under way.
    pub(crate) fn unknown(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(ConditionStatus::Unknown, reason, message)
    }

    fn new(truth: ConditionStatus, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            truth,
            reason: reason.as_str().into(),
            message: message.into(),
        }
    }

    /// What a child's condition says, for its parent. A condition that speaks of an older spec, or
    /// none at all, is under way.
    pub(crate) fn of_child(conditions: &[Condition], type_: &str, generation: Option<i64>) -> Self {
        let Some(condition) = find(conditions, type_) else {
            return Self::unknown(Reason::Reconciling, "");
        };
        if condition.observed_generation < generation {
            return Self::unknown(Reason::Reconciling, "");
        }
        Self {
            truth: match condition.status.as_str() {
                "True" => ConditionStatus::True,
                "False" => ConditionStatus::False,
                _ => ConditionStatus::Unknown,
            },
            reason: condition
                .reason
                .clone()
                .map_or(Reason::Reconciling.as_str().into(), Cow::Owned),
            message: condition.message.clone().unwrap_or_default(),
        }
    }

    /// Whether it is as wanted.
    pub(crate) fn is_good(&self) -> bool {
        self.truth == ConditionStatus::True
    }
}

/// Sums verdicts up: good if all are, else what the first definite failure says, else what the
/// first that is under way says. What only waits for another says nothing.
pub(crate) fn summary<'a>(verdicts: impl IntoIterator<Item = &'a Verdict>) -> Verdict {
    let waiting = Reason::Waiting.as_str();
    let mut open: Vec<&Verdict> = verdicts
        .into_iter()
        .filter(|verdict| !verdict.is_good())
        .collect();
    open.sort_by_key(|verdict| {
        (
            verdict.reason == waiting,
            verdict.truth != ConditionStatus::False,
        )
    });
    open.first()
        .map_or_else(Verdict::good, |&first| first.clone())
}

/// One condition of a list.
pub(crate) fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// What a child's conditions say a user must know although it works, for its parent.
pub(crate) fn degraded(conditions: &[Condition]) -> Option<Verdict> {
    let condition = find(conditions, DEGRADED).filter(|condition| condition.is_true())?;
    Some(Verdict {
        truth: ConditionStatus::True,
        reason: condition.reason.clone().unwrap_or_default().into(),
        message: condition.message.clone().unwrap_or_default(),
    })
}

/// Whether a list says that its object, at this generation, is ready.
pub(crate) fn is_ready(conditions: &[Condition], generation: Option<i64>) -> bool {
    find(conditions, READY)
        .is_some_and(|ready| ready.status == "True" && ready.observed_generation >= generation)
}

/// The new list of conditions. If the old one speaks of an older generation, `Ready` is held back
/// once, so that whoever waits for it can't pass on the old state.
pub(crate) fn merge(
    old: &[Condition],
    verdicts: &Verdicts,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let fresh = find(old, READY).is_none_or(|ready| ready.observed_generation >= generation);
    verdicts
        .iter()
        .map(|(type_, verdict)| {
            let held = Verdict::unknown(Reason::Reconciling, "the change of the spec was seen");
            let hold = *type_ == READY && !fresh && verdict.is_good();
            let verdict = if hold { &held } else { verdict };
            let status = verdict.truth.as_str();
            let since = find(old, type_)
                .filter(|before| before.status == status)
                .and_then(|before| before.last_transition_time.clone())
                .unwrap_or(Time(now));
            Condition {
                type_: (*type_).into(),
                status: status.into(),
                observed_generation: generation,
                last_transition_time: Some(since),
                reason: Some(verdict.reason.clone().into_owned()),
                message: (!verdict.message.is_empty()).then(|| verdict.message.clone()),
                ..Condition::default()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn statuses(conditions: &[Condition]) -> Vec<(&str, &str)> {
        conditions
            .iter()
            .map(|condition| (condition.type_.as_str(), condition.status.as_str()))
            .collect()
    }

    #[test]
    fn the_first_status_after_a_change_is_never_ready() {
        let good = vec![("Sync", Verdict::good()), (READY, Verdict::good())];
        let new = merge(&[], &good, Some(1), at(1));
        assert!(is_ready(&new, Some(1)), "there was no change");
        let changed = merge(&new, &good, Some(2), at(3));
        assert_eq!(statuses(&changed), [("Sync", "True"), (READY, "Unknown")]);
        assert!(changed.iter().all(|c| c.observed_generation == Some(2)));
        assert!(is_ready(&merge(&changed, &good, Some(2), at(4)), Some(2)));
    }

    #[test]
    fn transition_times_move_only_with_the_status() {
        let wait = |message| vec![(READY, Verdict::no(Reason::Waiting, message))];
        let first = merge(&[], &wait("a"), Some(1), at(1));
        let second = merge(&first, &wait("b"), Some(1), at(2));
        assert_eq!(second[0].last_transition_time, Some(Time(at(1))));
        assert_eq!(second[0].message.as_deref(), Some("b"));
        let good = vec![(READY, Verdict::good())];
        let third = merge(&second, &good, Some(1), at(3));
        assert_eq!(third[0].last_transition_time, Some(Time(at(3))));
        assert_eq!(merge(&third, &good, Some(1), at(4)), third);
    }

    #[test]
    fn a_summary_prefers_failures_to_what_is_under_way() {
        let waiting = Verdict::no(Reason::Waiting, "");
        let pulling = Verdict::unknown(Reason::Pulling, "");
        let failed = Verdict::no(Reason::NoMatchingHost, "");
        assert_eq!(summary([&Verdict::good()]), Verdict::good());
        assert_eq!(summary([&waiting, &pulling]), pulling);
        assert_eq!(summary([&waiting, &pulling, &failed]), failed);
    }

    #[test]
    fn what_a_child_said_about_an_older_spec_does_not_count() {
        let old = merge(
            &[],
            &vec![(READY, Verdict::no(Reason::Waiting, ""))],
            Some(1),
            at(1),
        );
        let seen = Verdict::of_child(&old, READY, Some(2));
        assert_eq!(seen.reason, Reason::Reconciling.as_str());
        assert_eq!(
            Verdict::of_child(&old, READY, Some(1)).truth,
            ConditionStatus::False
        );
    }
}
