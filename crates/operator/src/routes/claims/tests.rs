//! Claims that are kept, against routes that are decided anew from all objects.

use std::{collections::HashSet, time::Duration};

use waft_ir::{Backend, HostId, RouteTable, WorkloadId};

use super::*;
use crate::{key::Kind, routes::Wish};

/// Numbers without a pattern, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn one_of<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[self.below(texts.len() as u64) as usize]
    }

    fn key(&mut self) -> SourceKey {
        SourceKey {
            kind: [Kind::Trigger, Kind::Deployment, Kind::Workload][self.below(3) as usize],
            namespace: self.one_of(&["a", "b"]).into(),
            name: self.one_of(&["x", "y"]).into(),
        }
    }

    fn source(&mut self, key: &SourceKey) -> Source {
        let wish = |numbers: &mut Self| Wish {
            host: numbers
                .one_of(&["p.test", "q.test", "*.test", "*", "not a host"])
                .into(),
            path_type: numbers.one_of(&["Prefix", "Exact", "Other"]).into(),
            path: numbers.one_of(&["/", "/a", "/a/", "b"]).into(),
        };
        let backend = |number| Backend {
            host: HostId("h".into()),
            workload: WorkloadId(format!("w{number}")),
        };
        Source {
            key: key.clone(),
            created: self.below(3) as i64,
            wishes: (0..self.below(5)).map(|_| wish(self)).collect(),
            timeout: Some(Duration::from_secs(self.below(2))),
            backends: (0..self.below(3)).map(backend).collect(),
            missing_service: None,
        }
    }
}

/// Decides every route, looking at all objects by age.
fn anew(sources: &BTreeMap<SourceKey, Source>) -> (Vec<Route>, BTreeMap<SourceKey, Outcome>) {
    let mut by_age: Vec<&Source> = sources.values().collect();
    by_age.sort_by_key(|source| {
        let SourceKey {
            kind,
            namespace,
            name,
        } = &source.key;
        (source.created, namespace, name, *kind)
    });
    let mut held: BTreeMap<RouteKey, (&SourceKey, Route)> = BTreeMap::new();
    let mut outcomes = BTreeMap::new();
    for source in by_age {
        let mut outcome = Outcome::default();
        let mut own = HashSet::new();
        for wish in &source.wishes {
            match wish.key() {
                Err(refusal) => outcome.refused.push(refusal),
                Ok(key) if own.contains(&key) => {}
                Ok(key) => match held.get(&key) {
                    Some((holder, _)) => outcome.refused.push(conflict(&key, holder)),
                    None => {
                        let route = Route {
                            key: key.clone(),
                            source: source.key.to_string(),
                            timeout: source.timeout,
                            backends: source.backends.clone(),
                        };
                        held.insert(key.clone(), (&source.key, route));
                        outcome.accepted.push(key.clone());
                        own.insert(key);
                    }
                },
            }
        }
        outcomes.insert(source.key.clone(), outcome);
    }
    let routes = held.into_values().map(|(_, route)| route);
    (routes.collect(), outcomes)
}

#[test]
fn after_any_changes_all_is_as_if_decided_anew() {
    let mut numbers = Numbers(0x0077_6166_7400);
    let mut sources: BTreeMap<SourceKey, Source> = BTreeMap::new();
    let (mut claims, mut table) = (Claims::default(), RouteTable::default());
    let (mut told, mut conflicts) = (0, 0);
    for step in 0..4000 {
        let (_, before) = anew(&sources);
        let key = numbers.key();
        let source = (numbers.below(3) > 0).then(|| numbers.source(&key));
        match &source {
            Some(source) => sources.insert(key.clone(), source.clone()),
            None => sources.remove(&key),
        };
        let mut changes = Changes::default();
        claims.set(&key, source, &mut changes);
        for (key, route) in changes.routes {
            table.set(&key, route);
        }

        let (routes, outcomes) = anew(&sources);
        let mut published: Vec<Route> = table.iter().cloned().collect();
        published.sort_by(|a, b| a.key.cmp(&b.key));
        assert_eq!(published, routes, "step {step}");
        let others = before.keys().chain(outcomes.keys());
        let others = others.filter(|key| before.get(*key) != outcomes.get(*key));
        let others: BTreeSet<&SourceKey> = others.collect();
        let woken: BTreeSet<&SourceKey> = changes.outcomes.iter().map(AsRef::as_ref).collect();
        assert_eq!(woken, others, "step {step}");
        for key in others {
            let outcome = outcomes.get(key).cloned().unwrap_or_default();
            assert_eq!(claims.outcome(key), outcome, "step {step}");
            told += 1;
            conflicts += usize::from(outcome.blocked().is_some());
        }
    }
    // The changes were such that something could go wrong.
    assert!(told > 4000 && conflicts > 100, "{told} {conflicts}");
}

#[test]
fn the_last_object_leaves_nothing() {
    let mut numbers = Numbers(7);
    let mut claims = Claims::default();
    let keys: Vec<SourceKey> = (0..100).map(|_| numbers.key()).collect();
    for key in &keys {
        let source = numbers.source(key);
        claims.set(key, Some(source), &mut Changes::default());
    }
    for key in &keys {
        claims.set(key, None, &mut Changes::default());
    }
    assert!(claims.sources.is_empty() && claims.by_route.is_empty());
}
