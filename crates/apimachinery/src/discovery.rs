//! What is served, as clients ask for it: the aggregated form, and the older one in pieces.

use serde_json::{Map, Value, json};

use crate::registry::{Registry, Resource};

/// `APIGroupDiscoveryList` of the core group or of all others.
pub fn aggregated(registry: &Registry, core: bool) -> Value {
    let groups = match core {
        true => vec![(String::new(), vec!["v1".to_owned()])],
        false => registry.groups(),
    };
    let items: Vec<Value> = groups
        .into_iter()
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| {
                    let resources = registry.group_version(&group, version).unwrap_or_default();
                    let resources: Vec<Value> =
                        resources.iter().map(|resource| entry(resource)).collect();
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            let mut metadata = Map::new();
            if !group.is_empty() {
                metadata.insert("name".into(), group.into());
            }
            metadata.insert("creationTimestamp".into(), Value::Null);
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn entry(resource: &Resource) -> Value {
    let verbs: Vec<&str> = resource.verbs.iter().map(|verb| verb.as_str()).collect();
    let mut entry = Map::new();
    entry.insert("resource".into(), resource.plural.clone().into());
    entry.insert(
        "responseKind".into(),
        json!({"group": resource.group, "version": resource.version, "kind": resource.kind}),
    );
    entry.insert("scope".into(), scope(resource).into());
    entry.insert("singularResource".into(), resource.singular.clone().into());
    entry.insert("verbs".into(), json!(verbs));
    if !resource.short_names.is_empty() {
        entry.insert("shortNames".into(), json!(resource.short_names));
    }
    if !resource.categories.is_empty() {
        entry.insert("categories".into(), json!(resource.categories));
    }
    if !resource.subresources.is_empty() {
        entry.insert("subresources".into(), json!(resource.subresources));
    }
    Value::Object(entry)
}

fn scope(resource: &Resource) -> &'static str {
    if resource.namespaced {
        "Namespaced"
    } else {
        "Cluster"
    }
}

/// `APIVersions`, the answer of `/api`.
pub fn core_versions() -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [],
    })
}

/// `APIGroupList`, the answer of `/apis`.
pub fn groups(registry: &Registry) -> Value {
    let groups: Vec<Value> = registry
        .groups()
        .iter()
        .map(|(group, versions)| group_body(group, versions))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `APIGroup`, the answer of `/apis/GROUP`.
pub fn group(registry: &Registry, name: &str) -> Option<Value> {
    let (group, versions) = registry
        .groups()
        .into_iter()
        .find(|(group, _)| group == name)?;
    let mut body = json!({"kind": "APIGroup", "apiVersion": "v1"});
    if let (Some(body), Value::Object(rest)) = (body.as_object_mut(), group_body(&group, &versions))
    {
        body.extend(rest);
    }
    Some(body)
}

fn group_body(group: &str, versions: &[String]) -> Value {
    let version = |version: &String| json!({"groupVersion": format!("{group}/{version}"), "version": version});
    json!({
        "name": group,
        "versions": versions.iter().map(version).collect::<Vec<_>>(),
        "preferredVersion": versions.first().map(version),
    })
}

/// `APIResourceList`, the answer of `/api/v1` and `/apis/GROUP/VERSION`.
pub fn resources(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let mut list = Vec::new();
    for resource in registry.group_version(group, version)? {
        let verbs: Vec<&str> = resource.verbs.iter().map(|verb| verb.as_str()).collect();
        let mut entry = json!({
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": verbs,
        });
        for (key, names) in [
            ("shortNames", &resource.short_names),
            ("categories", &resource.categories),
        ] {
            if !names.is_empty() {
                entry[key] = json!(names);
            }
        }
        list.push(entry);
        for sub in &resource.subresources {
            let of = &sub["responseKind"];
            let mut entry = json!({
                "name": format!("{}/{}", resource.plural, sub["subresource"].as_str().unwrap_or_default()),
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": of["kind"],
                "verbs": sub["verbs"],
            });
            if of["group"]
                .as_str()
                .is_some_and(|of| of != resource.group && !of.is_empty())
            {
                entry["group"] = of["group"].clone();
                entry["version"] = of["version"].clone();
            }
            list.push(entry);
        }
    }
    let name = crate::registry::GroupVersion::new(group, version).api_version();
    Some(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": list}),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_aggregated_form_and_the_pieces_name_the_same() {
        let registry = Registry::builtin();
        let mut named = 0;
        for (list, core) in [
            (aggregated(&registry, true), true),
            (aggregated(&registry, false), false),
        ] {
            for group in list["items"].as_array().expect("groups") {
                let name = group["metadata"]["name"].as_str().unwrap_or_default();
                assert_eq!(name.is_empty(), core);
                for version in group["versions"].as_array().expect("versions") {
                    let version_name = version["version"].as_str().expect("a name");
                    let pieces = resources(&registry, name, version_name).expect("served");
                    let pieces = pieces["resources"].as_array().expect("resources").clone();
                    for entry in version["resources"].as_array().expect("resources") {
                        let piece = pieces
                            .iter()
                            .find(|piece| piece["name"] == entry["resource"])
                            .expect("listed");
                        assert_eq!(piece["kind"], entry["responseKind"]["kind"]);
                        assert_eq!(piece["namespaced"] == true, entry["scope"] == "Namespaced");
                        assert_eq!(piece["verbs"], entry["verbs"]);
                        named += 1;
                    }
                }
            }
        }
        assert_eq!(named, registry.all().count());
    }

    #[test]
    fn scale_is_of_another_group() {
        let list = resources(&Registry::builtin(), "apps", "v1").expect("served");
        let scale = list["resources"]
            .as_array()
            .expect("a list")
            .iter()
            .find(|r| r["name"] == "deployments/scale")
            .cloned();
        let scale = scale.expect("listed");
        assert_eq!(
            (&scale["group"], &scale["kind"]),
            (&json!("autoscaling"), &json!("Scale"))
        );
        assert!(group(&Registry::builtin(), "nope").is_none());
        assert_eq!(
            group(&Registry::builtin(), "apps").expect("served")["preferredVersion"]["groupVersion"],
            "apps/v1"
        );
    }
}
