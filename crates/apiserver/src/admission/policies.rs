//! Judging a request by policies, with the parameters of their bindings.

use serde_json::Value;
use waft_apimachinery::admission::FailurePolicy;
use waft_apimachinery::admission::policy::{Binding, Consequences, Policy, Violation, unusable};
use waft_apimachinery::status::Status;

use super::Gate;
use crate::open::ApiServer;
use crate::read::served;
use crate::service::Text;
use crate::store::Key;

impl ApiServer {
    /// Asks every policy; all warnings count, and the first refusal.
    pub(super) fn judge_by_policies(&self, gate: &Gate, text: &mut Text) -> Result<(), Status> {
        let mut consequences = Consequences::default();
        for (policy, bindings) in &gate.admission.policies {
            self.judge_by(policy, bindings, gate, &mut consequences)?;
        }
        text.warnings.extend(consequences.warnings);
        consequences.refusal.map_or(Ok(()), Err)
    }

    fn judge_by(
        &self,
        policy: &Policy,
        bindings: &[Binding],
        gate: &Gate,
        consequences: &mut Consequences,
    ) -> Result<(), Status> {
        let request = &gate.attributes;
        let namespace = gate.namespace.as_ref();
        let unusable = |why: &str, consequences: &mut Consequences| {
            if policy.failure == FailurePolicy::Fail && consequences.refusal.is_none() {
                consequences.refusal = Some(unusable(request, policy, why));
            }
        };
        let found = match policy.criteria.matches(request, &gate.versions, namespace) {
            Ok(None) => return Ok(()),
            Ok(Some(found)) => found,
            Err(status) => {
                unusable(&status.message, consequences);
                return Ok(());
            }
        };
        if let Some(why) = self.unknown_kind(policy) {
            unusable(&why, consequences);
            return Ok(());
        }
        let mut facts = None;
        for binding in bindings {
            let params = match binding.criteria.matches(request, &gate.versions, namespace) {
                Ok(None) => continue,
                Ok(Some(_)) => self.params(policy, binding, &request.namespace),
                Err(status) => Err(status.message),
            };
            let violations: Vec<Violation> = match params {
                Ok(params) => {
                    let facts = facts.get_or_insert_with(|| gate.facts(&found, self));
                    let each = params.iter();
                    each.flat_map(|params| policy.violations(facts, params.as_ref()))
                        .collect()
                }
                Err(why) => {
                    let violation = Violation {
                        message: format!("failed to configure binding: {why}"),
                        reason: String::new(),
                    };
                    // What isn't set up is refused whatever the binding's actions are.
                    if policy.failure == FailurePolicy::Fail && consequences.refusal.is_none() {
                        consequences.refusal = Some(binding.refusal(request, &violation));
                    }
                    continue;
                }
            };
            binding.consequences(request, &violations, consequences);
        }
        Ok(())
    }

    fn unknown_kind(&self, policy: &Policy) -> Option<String> {
        let (api_version, kind) = policy.param_kind.as_ref()?;
        let known = self.registry().of_kind(api_version, kind).is_some();
        // The core group is written with a slash in front here.
        let slash = if api_version.contains('/') { "" } else { "/" };
        (!known).then(|| {
            format!(
                "failed to find resource referenced by paramKind: '{slash}{api_version}, Kind={kind}'"
            )
        })
    }

    /// The parameters of a binding; `None` for a run without.
    fn params(
        &self,
        policy: &Policy,
        binding: &Binding,
        namespace: &str,
    ) -> Result<Vec<Option<Value>>, String> {
        let (Some((api_version, kind)), Some(wanted)) = (&policy.param_kind, &binding.params)
        else {
            return Ok(vec![None]);
        };
        let registry = self.registry();
        let Some(resource) = registry.of_kind(api_version, kind) else {
            return Err(format!(
                "paramKind kind `{api_version}, Kind={kind}` not known"
            ));
        };
        let namespace = match (resource.namespaced, &*wanted.namespace) {
            (false, "") => "",
            (false, _) => {
                return Err(
                    "paramRef.namespace must not be provided for a cluster-scoped `paramKind`"
                        .to_owned(),
                );
            }
            (true, "") if namespace.is_empty() => {
                return Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".to_owned());
            }
            (true, "") => namespace,
            (true, given) => given,
        };
        let stored = match &wanted.name {
            Some(name) => {
                let key = Key::new(&resource.storage, namespace, name);
                self.store.get(&key).into_iter().collect()
            }
            None => self.store.all(&resource.storage, Some(namespace)),
        };
        let found: Vec<Option<Value>> = stored
            .iter()
            .map(|stored| served(stored, resource))
            .filter(|object| wanted.selects(object))
            .map(Some)
            .collect();
        match found.is_empty() && wanted.required {
            true => Err(
                "no params found for policy binding with `Deny` parameterNotFoundAction".to_owned(),
            ),
            false => Ok(found),
        }
    }
}
