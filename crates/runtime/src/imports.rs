//! Which imports a component may have: the ones every guest gets, the ones its manifest grants, and
//! what to tell the user about the others.

use waft_ir::{
    CapabilityGrant, Failure, FailureReason, InterfaceName,
    catalog::{self, Package},
};

use crate::capability::grants_it;

/// Namespaces that the platform knows and this version does not serve.
const NOT_SERVED_YET: &[&str] = &["wasmcloud", "cosmonic", "spin", "fermyon"];

/// The WASI interfaces that every guest may import and that need no entry in a manifest.
pub fn always_linked() -> Vec<InterfaceName> {
    let always = catalog::PACKAGES.iter().filter(|package| package.always);
    always.flat_map(Package::interfaces).collect()
}

/// Checks one import of a component against what is linked and granted.
pub(crate) fn check(
    import: &str,
    grants: &[CapabilityGrant],
    offered: &[InterfaceName],
) -> Result<(), Failure> {
    let refuse = |reason, text: String| Err(Failure::new(reason, text));
    let Ok(name) = import.parse::<InterfaceName>() else {
        return refuse(
            FailureReason::UnsupportedImport,
            format!("the component imports `{import}`, which is not an interface of this host"),
        );
    };
    if let Some(known) = wasi_packages(&name.package)
        && name.namespace == "wasi"
    {
        let version_is_known = match &name.version {
            None => false,
            Some(version) => version.pre.is_empty() && known.contains(&version.minor),
        };
        if version_is_known && name.version.as_ref().is_some_and(|v| v.major == 0) {
            return Ok(());
        }
        return refuse(
            FailureReason::UnsupportedImport,
            format!(
                "the component imports `{import}`; of wasi:{} this host serves {}: rebuild the \
                 component against that version",
                name.package,
                versions(known),
            ),
        );
    }
    // A name without a version is another name to the linker than one with it.
    let versioned = name.version.is_some();
    if let Some(offer) = offered.iter().find(|o| versioned && name.accepts(o)) {
        if grants.iter().any(|grant| grants_it(grant, offer)) {
            return Ok(());
        }
        return refuse(
            FailureReason::UnsupportedImport,
            format!(
                "the component imports `{import}`, which its manifest does not grant. \
                 Add to spec.hostInterfaces: {}",
                entry(&name)
            ),
        );
    }
    let other_version = offered
        .iter()
        .find(|offer| offer.namespace == name.namespace && offer.package == name.package);
    if let Some(other) = other_version {
        return refuse(
            FailureReason::UnsupportedImport,
            format!(
                "the component imports `{import}`; this host serves `{other}`: rebuild the \
                 component against that version"
            ),
        );
    }
    let (namespace, package) = (name.namespace.as_str(), name.package.as_str());
    if NOT_SERVED_YET.contains(&namespace)
        || catalog::NOT_YET.contains(&(namespace, package))
        || catalog::package(namespace, package).is_some()
    {
        return refuse(
            FailureReason::NotSupportedYet,
            format!("the component imports `{import}`, which Waft does not serve yet"),
        );
    }
    refuse(
        FailureReason::UnsupportedImport,
        format!(
            "the component imports `{import}`, which no host offers: build the component \
             without it, or compose it with a component that exports it"
        ),
    )
}

/// Checks an import under a name of its own, which an entry of that name must grant.
pub(crate) fn check_named(
    label: &str,
    implements: &str,
    grants: &[CapabilityGrant],
    offered: &[InterfaceName],
) -> Result<(), Failure> {
    let refuse = |text: String| {
        let text = format!("the component imports `{implements}` under the name `{label}`{text}");
        Err(Failure::new(FailureReason::UnsupportedImport, text))
    };
    let Ok(name) = implements.parse::<InterfaceName>() else {
        return refuse(", which is not an interface of this host".into());
    };
    let versioned = name.version.is_some();
    let Some(offer) = offered.iter().find(|o| versioned && name.accepts(o)) else {
        return refuse(
            "; of the interfaces that can have names this host offers none like it: import it \
             without one, or rebuild the component against a version that the host serves"
                .into(),
        );
    };
    let mut named = grants.iter().filter(|g| g.name.as_deref() == Some(label));
    if named.any(|grant| grants_it(grant, offer)) {
        return Ok(());
    }
    refuse(format!(
        ", and no entry of its manifest with that name grants it. Add to spec.hostInterfaces: {}",
        entry(&name).replacen('{', &format!("{{name: {label}, "), 1)
    ))
}

/// Minor versions of WASI in which a package is linked for every guest.
fn wasi_packages(package: &str) -> Option<&'static [u64]> {
    match package {
        "io" => Some(&[2]),
        "clocks" | "random" | "cli" | "filesystem" | "sockets" | "http" => Some(&[2, 3]),
        _ => None,
    }
}

fn versions(minors: &[u64]) -> &'static str {
    match minors {
        [2] => "0.2.x",
        _ => "0.2.x and 0.3.x",
    }
}

/// The manifest entry that grants an interface, on one line so that a condition's message can hold
/// it.
fn entry(name: &InterfaceName) -> String {
    let mut entry = format!(
        "{{namespace: {}, package: {}, interfaces: [{}]",
        name.namespace,
        name.package,
        name.interface.as_deref().unwrap_or_default()
    );
    if let Some(version) = &name.version {
        entry += &format!(", version: \"{version}\"");
    }
    entry + "}"
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn offered() -> Vec<InterfaceName> {
        vec!["wasi:config/store@0.2.0-rc.1".parse().unwrap()]
    }

    fn grant(package: &str, interfaces: &[&str]) -> CapabilityGrant {
        CapabilityGrant {
            name: None,
            package: package.parse().unwrap(),
            interfaces: interfaces.iter().map(|name| (*name).to_owned()).collect(),
            config: BTreeMap::new(),
        }
    }

    #[test]
    fn imports_are_checked() {
        use FailureReason::*;
        let granted = [grant("wasi:config", &["store"])];
        let cases: [(&str, &[CapabilityGrant], Option<FailureReason>); 13] = [
            ("wasi:http/types@0.2.0", &[], None),
            ("wasi:http/client@0.3.0", &[], None),
            ("wasi:io/poll@0.2.99", &[], None),
            ("wasi:io/poll@0.3.0", &[], Some(UnsupportedImport)),
            (
                "wasi:http/types@0.3.0-rc-2025-09-16",
                &[],
                Some(UnsupportedImport),
            ),
            ("wasi:config/store@0.2.0-rc.1", &[], Some(UnsupportedImport)),
            ("wasi:config/store@0.2.0-rc.1", &granted, None),
            (
                "wasi:config/store@0.2.0-draft",
                &granted,
                Some(UnsupportedImport),
            ),
            ("wasi:config/store", &granted, Some(UnsupportedImport)),
            (
                "wasi:keyvalue/store@0.2.0-draft",
                &[],
                Some(NotSupportedYet),
            ),
            ("fermyon:spin/http", &[], Some(NotSupportedYet)),
            ("my:own/thing", &[], Some(UnsupportedImport)),
            ("bare-function", &[], Some(UnsupportedImport)),
        ];
        for (import, grants, expected) in cases {
            let result = check(import, grants, &offered());
            assert_eq!(result.err().map(|f| f.reason), expected, "{import}");
        }
    }

    #[test]
    fn the_refusal_prints_the_entry_to_add() {
        let refused = check("wasi:config/store@0.2.0-rc.1", &[], &offered()).unwrap_err();
        assert!(
            refused.message.ends_with(
                "{namespace: wasi, package: config, interfaces: [store], version: \"0.2.0-rc.1\"}"
            ),
            "{}",
            refused.message
        );
    }

    #[test]
    fn a_name_of_its_own_needs_an_entry_of_that_name() {
        let interface = "wasi:config/store@0.2.0-rc.1";
        let unnamed = grant("wasi:config", &["store"]);
        let named = CapabilityGrant {
            name: Some("settings".into()),
            ..unnamed.clone()
        };
        let check = |label, interface, grant: &CapabilityGrant| {
            check_named(label, interface, std::slice::from_ref(grant), &offered())
        };
        check("settings", interface, &named).unwrap();
        let refused = check("settings", interface, &unnamed).unwrap_err();
        assert_eq!(refused.reason, FailureReason::UnsupportedImport);
        assert_eq!(
            refused.message,
            "the component imports `wasi:config/store@0.2.0-rc.1` under the name `settings`, and no \
             entry of its manifest with that name grants it. Add to spec.hostInterfaces: {name: \
             settings, namespace: wasi, package: config, interfaces: [store], version: \
             \"0.2.0-rc.1\"}"
        );
        check("other", interface, &named).unwrap_err();
        for unknown in ["wasi:cli/environment@0.2.0", "wasi:config/store", "bare"] {
            check("settings", unknown, &named).unwrap_err();
        }
    }

    #[test]
    fn what_is_always_linked_passes_the_check() {
        for name in always_linked() {
            check(&name.to_string(), &[], &[]).unwrap();
        }
    }
}
