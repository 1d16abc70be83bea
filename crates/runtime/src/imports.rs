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

/// Checks one import of a component against what is linked and granted. Returns the interface that
/// an entry of the manifest has to grant yet.
pub(crate) fn check(
    import: &str,
    grants: &[CapabilityGrant],
    offered: &[InterfaceName],
) -> Result<Option<InterfaceName>, Failure> {
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
            return Ok(None);
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
        let is_granted = is_granted(offer, grants, offered);
        return Ok((!is_granted).then_some(name));
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

/// Whether the manifest grants an interface: an entry lists it, or it is what the package's
/// interfaces have in common (`types`, of which each says what it hands out and takes) and an entry
/// lists one of those.
fn is_granted(
    offer: &InterfaceName,
    grants: &[CapabilityGrant],
    offered: &[InterfaceName],
) -> bool {
    let is_types = offer.interface.as_deref() == Some("types");
    let same_package = |other: &InterfaceName| {
        (&other.namespace, &other.package, &other.version)
            == (&offer.namespace, &offer.package, &offer.version)
    };
    let mut wanted = offered
        .iter()
        .filter(|other| *other == offer || is_types && same_package(other));
    wanted.any(|wanted| grants.iter().any(|grant| grants_it(grant, wanted)))
}

/// The failure of a component whose manifest does not grant these interfaces, with what to change.
pub(crate) fn not_granted(missing: &[InterfaceName], grants: &[CapabilityGrant]) -> Failure {
    let package = |name: &InterfaceName| InterfaceName {
        interface: None,
        ..name.clone()
    };
    let mut remedies: Vec<(InterfaceName, Vec<&str>)> = Vec::new();
    for name in missing {
        let interface = name.interface.as_deref().unwrap_or_default();
        match remedies
            .iter_mut()
            .find(|(known, _)| *known == package(name))
        {
            Some((_, interfaces)) => interfaces.push(interface),
            None => remedies.push((package(name), vec![interface])),
        }
    }
    let remedies = remedies.iter().map(|(package, interfaces)| {
        // A package has one entry without a name at most.
        let unnamed = grants.iter().find(|grant| {
            let known = (&grant.package.namespace, &grant.package.package);
            grant.name.is_none() && known == (&package.namespace, &package.package)
        });
        let Some(grant) = unnamed else {
            return format!("Add to spec.hostInterfaces: {}", entry(package, interfaces));
        };
        let mut steps = Vec::new();
        let unlisted = interfaces.iter().filter(|name| {
            let mut listed = grant.interfaces.iter();
            !grant.interfaces.is_empty() && !listed.any(|known| known == *name)
        });
        let unlisted: Vec<_> = unlisted.collect();
        if !unlisted.is_empty() {
            steps.push(format!("add {} to the `interfaces`", quoted(&unlisted)));
        }
        if !grant.package.accepts(package) {
            steps.push("leave out the `version`".into());
        }
        format!(
            "In its entry of {}:{} in spec.hostInterfaces, {}",
            package.namespace,
            package.package,
            steps.join(" and ")
        )
    });
    let remedies: Vec<_> = remedies.collect();
    Failure::new(
        FailureReason::UnsupportedImport,
        format!(
            "the component imports {}, which its manifest does not grant. {}",
            quoted(missing),
            remedies.join(". ")
        ),
    )
}

fn quoted<T: std::fmt::Display>(names: &[T]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
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
        entry(&name, &[name.interface.as_deref().unwrap_or_default()]).replacen(
            '{',
            &format!("{{name: {label}, "),
            1
        )
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

/// The manifest entry that grants interfaces of a package, on one line so that a condition's message
/// can hold it.
fn entry(package: &InterfaceName, interfaces: &[&str]) -> String {
    let mut entry = format!(
        "{{namespace: {}, package: {}, interfaces: [{}]",
        package.namespace,
        package.package,
        interfaces.join(", ")
    );
    if let Some(version) = &package.version {
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
            assert_eq!(reason(import, grants, &offered()), expected, "{import}");
        }
    }

    /// Why an import is refused.
    fn reason(
        import: &str,
        grants: &[CapabilityGrant],
        offered: &[InterfaceName],
    ) -> Option<FailureReason> {
        match check(import, grants, offered) {
            Ok(None) => None,
            Ok(Some(name)) => Some(not_granted(&[name], grants).reason),
            Err(failure) => Some(failure.reason),
        }
    }

    #[test]
    fn the_refusal_prints_the_entry_to_add() {
        let store = "wasi:config/store@0.2.0-rc.1";
        let name = check(store, &[], &offered()).unwrap().unwrap();
        let refused = not_granted(&[name], &[]);
        assert!(
            refused.message.ends_with(
                "{namespace: wasi, package: config, interfaces: [store], version: \"0.2.0-rc.1\"}"
            ),
            "{}",
            refused.message
        );
    }

    #[test]
    fn the_refusal_names_all_that_is_missing_and_the_entry_that_is_there() {
        let names = |texts: &[&str]| -> Vec<InterfaceName> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let missing = names(&["a:b/c@0.2.0", "x:y/z@0.1.0", "a:b/d@0.2.0"]);
        let refused = |grants: &[CapabilityGrant]| not_granted(&missing, grants).message;
        let begin = "the component imports `a:b/c@0.2.0`, `x:y/z@0.1.0`, `a:b/d@0.2.0`, which its \
                     manifest does not grant. ";
        let new = "Add to spec.hostInterfaces: {namespace: x, package: y, interfaces: [z], version: \
                   \"0.1.0\"}";
        let known = "In its entry of a:b in spec.hostInterfaces, ";
        let add = "add `c`, `d` to the `interfaces`";
        assert_eq!(
            refused(&[grant("a:b", &["e"])]),
            format!("{begin}{known}{add}. {new}")
        );
        assert_eq!(
            refused(&[grant("a:b@0.1.0", &["e"])]),
            format!("{begin}{known}{add} and leave out the `version`. {new}")
        );
        assert_eq!(
            refused(&[grant("a:b@0.1.0", &["c", "d"])]),
            format!("{begin}{known}leave out the `version`. {new}")
        );
        let named = CapabilityGrant {
            name: Some("n".into()),
            ..grant("a:b", &["e"])
        };
        let entry = "Add to spec.hostInterfaces: {namespace: a, package: b, interfaces: [c, d], \
                     version: \"0.2.0\"}";
        assert_eq!(refused(&[named]), format!("{begin}{entry}. {new}"));
    }

    #[test]
    fn types_come_with_any_interface_of_their_package() {
        let offered: Vec<InterfaceName> = [
            "wasi:blobstore/types@0.2.0-draft",
            "wasi:blobstore/container@0.2.0-draft",
            "wasi:tls/types@0.3.0-draft",
        ]
        .map(|text| text.parse().unwrap())
        .into();
        let types = "wasi:blobstore/types@0.2.0-draft";
        let granted = [grant("wasi:blobstore", &["container"])];
        assert_eq!(reason(types, &granted, &offered), None);
        for other in [
            vec![],
            vec![grant("wasi:tls", &["types"])],
            vec![grant("wasi:blobstore", &["nothing"])],
            vec![grant("wasi:blobstore@0.1.0", &["container"])],
        ] {
            let refused = reason(types, &other, &offered);
            assert_eq!(refused, Some(FailureReason::UnsupportedImport));
        }
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
            assert_eq!(check(&name.to_string(), &[], &[]).unwrap(), None);
        }
    }
}
