//! Which requests a webhook, a policy or a binding is about.

use std::sync::Arc;

use serde_json::Value;

use super::Attributes;
use crate::registry::Resource;
use crate::selector::{LabelSelector, SelectorError};
use crate::status::Status;

/// Rules and selectors, read once.
#[derive(Debug)]
pub struct Criteria {
    /// `None`: every resource.
    rules: Option<Vec<Rule>>,
    excluded: Vec<Rule>,
    equivalent: bool,
    namespaces: Result<LabelSelector, SelectorError>,
    objects: Result<LabelSelector, SelectorError>,
}

#[derive(Debug)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    scope: Scope,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Any,
    Namespaced,
    Cluster,
}

impl Criteria {
    /// Those of a webhook: without rules it is about nothing.
    pub fn of_webhook(webhook: &Value) -> Criteria {
        Criteria {
            rules: Some(rules(&webhook["rules"])),
            ..Criteria::selectors(webhook)
        }
    }

    /// Those of `matchConstraints` or `matchResources`: without rules they are about everything.
    pub fn of_policy(resources: &Value) -> Criteria {
        Criteria {
            rules: Some(rules(&resources["resourceRules"])).filter(|rules| !rules.is_empty()),
            excluded: rules(&resources["excludeResourceRules"]),
            ..Criteria::selectors(resources)
        }
    }

    fn selectors(value: &Value) -> Criteria {
        Criteria {
            rules: None,
            excluded: Vec::new(),
            equivalent: value["matchPolicy"] != "Exact",
            namespaces: LabelSelector::from_json(&value["namespaceSelector"]),
            objects: LabelSelector::from_json(&value["objectSelector"]),
        }
    }

    /// In which version of the resource the request matches, if it does. `versions` are all that
    /// show the same objects; `namespace` is the request's, where it is known.
    pub fn matches(
        &self,
        request: &Attributes,
        versions: &[Arc<Resource>],
        namespace: Option<&Value>,
    ) -> Result<Option<Arc<Resource>>, Status> {
        let in_namespaces = self.matches_namespace(request, namespace);
        let in_objects = self.matches_objects(request);
        if matches!(in_namespaces, Ok(false)) || matches!(in_objects, Ok(false)) {
            return Ok(None);
        }
        if self.find(&self.excluded, request, versions).is_some() {
            return Ok(None);
        }
        let found = match &self.rules {
            None => Some(request.resource.clone()),
            Some(rules) => self.find(rules, request, versions),
        };
        let Some(found) = found else { return Ok(None) };
        // Selectors that can't be judged stop only what they would have been about.
        in_namespaces?;
        in_objects?;
        Ok(Some(found))
    }

    fn find(
        &self,
        rules: &[Rule],
        request: &Attributes,
        versions: &[Arc<Resource>],
    ) -> Option<Arc<Resource>> {
        if rules
            .iter()
            .any(|rule| rule.matches(request, &request.resource))
        {
            return Some(request.resource.clone());
        }
        let others = versions.iter().filter(|other| {
            self.equivalent
                && (&other.group, &other.version)
                    != (&request.resource.group, &request.resource.version)
        });
        let others: Vec<_> = others.collect();
        let mut pairs = rules
            .iter()
            .flat_map(|rule| others.iter().map(move |other| (rule, *other)));
        pairs
            .find(|(rule, other)| rule.matches(request, other))
            .map(|(_, other)| other.clone())
    }

    fn matches_namespace(
        &self,
        request: &Attributes,
        namespace: Option<&Value>,
    ) -> Result<bool, Status> {
        let is_namespace = is_namespaces(&request.resource);
        if request.namespace.is_empty() && !is_namespace {
            return Ok(true);
        }
        let selector = self.namespaces.as_ref().map_err(Status::internal)?;
        if selector.is_everything() {
            return Ok(true);
        }
        if is_namespace && request.subresource.is_empty() && request.object.is_object() {
            return Ok(selector.matches_object(&request.object));
        }
        match namespace {
            Some(namespace) => Ok(selector.matches_object(namespace)),
            None => Err(Status::not_found("", "namespaces", &request.namespace)),
        }
    }

    fn matches_objects(&self, request: &Attributes) -> Result<bool, Status> {
        let selector = self.objects.as_ref().map_err(Status::internal)?;
        let matches = |object: &Value| object.is_object() && selector.matches_object(object);
        Ok(selector.is_everything() || matches(&request.object) || matches(&request.old_object))
    }
}

impl Rule {
    fn read(value: &Value) -> Rule {
        let texts = |field: &str| {
            let items = value[field].as_array().into_iter().flatten();
            items
                .filter_map(|item| item.as_str().map(str::to_owned))
                .collect()
        };
        Rule {
            operations: texts("operations"),
            groups: texts("apiGroups"),
            versions: texts("apiVersions"),
            resources: texts("resources"),
            names: texts("resourceNames"),
            scope: match value["scope"].as_str() {
                Some("Namespaced") => Scope::Namespaced,
                Some("Cluster") => Scope::Cluster,
                _ => Scope::Any,
            },
        }
    }

    fn matches(&self, request: &Attributes, resource: &Resource) -> bool {
        let any = |list: &[String], wanted: &str| {
            list.iter().any(|given| given == "*" || given == wanted)
        };
        let in_namespace = !is_namespaces(&request.resource) && !request.namespace.is_empty();
        any(&self.operations, request.operation.as_str())
            && any(&self.groups, &resource.group)
            && any(&self.versions, &resource.version)
            && self.resources.iter().any(|given| {
                let (of, part) = given.split_once('/').unwrap_or((given, ""));
                (of == "*" || of == resource.plural) && (part == "*" || part == request.subresource)
            })
            && (self.names.is_empty() || self.names.contains(&request.name))
            && match self.scope {
                Scope::Any => true,
                Scope::Namespaced => in_namespace,
                Scope::Cluster => !in_namespace,
            }
    }
}

fn rules(list: &Value) -> Vec<Rule> {
    list.as_array()
        .into_iter()
        .flatten()
        .map(Rule::read)
        .collect()
}

fn is_namespaces(resource: &Resource) -> bool {
    resource.group.is_empty() && resource.plural == "namespaces"
}
