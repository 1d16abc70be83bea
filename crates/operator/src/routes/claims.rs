//! Who holds which route, kept while objects come, change and go: a change costs what it touches,
//! however many objects there are.
//!
//! Pure. Of two claims to the same key (host, type, path) the older object's holds: by
//! creationTimestamp, then namespace and name. The other keeps its other routes.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use waft_api::Reason;
use waft_ir::{Route, RouteKey};

use super::{Outcome, Refusal, Source, SourceKey, Wish};

/// All wishes, by object and by route.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    sources: HashMap<Arc<SourceKey>, Source>,
    /// Who wishes for a route: its holder first, the others by age.
    by_route: HashMap<RouteKey, Vec<Claim>>,
}

/// One object's wish for one route.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Claim {
    created: i64,
    source: Arc<SourceKey>,
}

/// What became of some changes.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Routes that may be others than before; `None`: it is gone.
    pub routes: BTreeMap<RouteKey, Option<Route>>,
    /// Objects whose wishes met another fate than before.
    pub outcomes: BTreeSet<Arc<SourceKey>>,
}

impl Claims {
    /// What became of an object's wishes; nothing for one that has none.
    pub(crate) fn outcome(&self, key: &SourceKey) -> Outcome {
        self.judge(key).unwrap_or_default()
    }

    /// What an object wishes for.
    pub(crate) fn wishes(&self, key: &SourceKey) -> Option<&[Wish]> {
        Some(&self.sources.get(key)?.wishes)
    }

    /// Replaces what an object wishes for.
    pub(crate) fn set(&mut self, key: &SourceKey, source: Option<Source>, changes: &mut Changes) {
        if self.sources.get(key) == source.as_ref() {
            return;
        }
        let before = self.judge(key);
        let old = self.sources.remove_entry(key);
        let own = match &old {
            Some((own, _)) => own.clone(),
            None => Arc::new(key.clone()),
        };
        let old = old.map(|(_, source)| source);
        let mut touched: BTreeMap<RouteKey, Option<Arc<SourceKey>>> = BTreeMap::new();
        for route in old.iter().chain(&source).flat_map(routes_of) {
            let holder = self.holder(&route).cloned();
            touched.insert(route, holder);
        }
        for route in old.iter().flat_map(routes_of) {
            self.leave(&route, &own);
        }
        for route in source.iter().flat_map(routes_of) {
            let claim = Claim {
                created: source.as_ref().map_or(0, |source| source.created),
                source: own.clone(),
            };
            self.claim(route, claim);
        }
        if let Some(source) = source {
            self.sources.insert(own.clone(), source);
        }
        for (route, was) in touched {
            let is = self.holder(&route);
            if is != was.as_ref() {
                // They hold it now, or are told of another holder.
                let claims = self.by_route.get(&route).into_iter().flatten();
                let others = claims.map(|claim| &claim.source).filter(|s| **s != own);
                changes.outcomes.extend(others.cloned());
            } else if is != Some(&own) {
                continue;
            }
            let is = self.route(&route);
            changes.routes.insert(route, is);
        }
        if self.judge(key) != before {
            changes.outcomes.insert(own);
        }
    }

    fn judge(&self, key: &SourceKey) -> Option<Outcome> {
        let source = self.sources.get(key)?;
        let mut outcome = Outcome {
            missing_service: source.missing_service.clone(),
            ..Outcome::default()
        };
        for wish in &source.wishes {
            let route = match wish.key() {
                Ok(route) => route,
                Err(refusal) => {
                    outcome.refused.push(refusal);
                    continue;
                }
            };
            match self.holder(&route) {
                Some(holder) if **holder != *key => outcome.refused.push(conflict(&route, holder)),
                // The same wish twice is one route.
                _ if outcome.accepted.contains(&route) => {}
                _ => outcome.accepted.push(route),
            }
        }
        Some(outcome)
    }

    fn holder(&self, route: &RouteKey) -> Option<&Arc<SourceKey>> {
        Some(&self.by_route.get(route)?.first()?.source)
    }

    /// The route as its holder wishes it.
    fn route(&self, key: &RouteKey) -> Option<Route> {
        let holder = self.holder(key)?;
        let source = self.sources.get(holder)?;
        Some(Route {
            key: key.clone(),
            source: holder.to_string(),
            timeout: source.timeout,
            backends: source.backends.clone(),
        })
    }

    fn claim(&mut self, route: RouteKey, claim: Claim) {
        // Most routes have one: no room for more is taken before they come.
        let claims = self
            .by_route
            .entry(route)
            .or_insert_with(|| Vec::with_capacity(1));
        if let Err(at) = claims.binary_search(&claim) {
            claims.insert(at, claim);
        }
    }

    fn leave(&mut self, route: &RouteKey, source: &SourceKey) {
        if let Some(claims) = self.by_route.get_mut(route) {
            claims.retain(|claim| *claim.source != *source);
            if claims.is_empty() {
                self.by_route.remove(route);
            }
        }
    }
}

/// The routes that an object wishes for, those of them that can be served.
fn routes_of(source: &Source) -> BTreeSet<RouteKey> {
    let keys = source.wishes.iter().map(Wish::key);
    keys.filter_map(Result::ok).collect()
}

fn conflict(RouteKey { host, path }: &RouteKey, holder: &SourceKey) -> Refusal {
    Refusal {
        reason: Reason::RouteConflict,
        message: format!(
            "route `{host}{path}` is held by the older {holder}; choose another host or path"
        ),
    }
}

impl Claim {
    fn rank(&self) -> (i64, &str, &str, crate::key::Kind) {
        let SourceKey {
            kind,
            namespace,
            name,
        } = &*self.source;
        (self.created, namespace, name, *kind)
    }
}

impl Ord for Claim {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Claim {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The routes of some objects, and what becomes of each one's wishes.
#[cfg(test)]
pub(crate) fn decided(sources: Vec<Source>) -> (Vec<Route>, BTreeMap<SourceKey, Outcome>) {
    let (mut claims, mut changes) = (Claims::default(), Changes::default());
    let keys: Vec<SourceKey> = sources.iter().map(|source| source.key.clone()).collect();
    for source in sources {
        claims.set(&source.key.clone(), Some(source), &mut changes);
    }
    let outcomes = keys.into_iter().map(|key| {
        let outcome = claims.outcome(&key);
        (key, outcome)
    });
    let routes = changes.routes.into_values().flatten();
    (routes.collect(), outcomes.collect())
}

#[cfg(test)]
mod tests;
