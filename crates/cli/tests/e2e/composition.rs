//! Components of a workload that import what others export.

use crate::support::{
    manifest,
    waft::{Up, Waft},
};

/// A WorkloadDeployment of these (component, guest), which serves `NAME.localhost`.
fn deployment(name: &str, components: &[(&str, &str)]) -> String {
    let mut components = components.iter().map(|(component, guest)| {
        let image = format!("file:{}", waft_guests::path(guest).display());
        (component, image)
    });
    let (_, first) = components.next().unwrap();
    let rest = components
        .map(|(component, image)| format!("        - {{name: {component}, image: \"{image}\"}}\n"));
    manifest::deployment(name, &first) + &rest.collect::<String>()
}

#[test]
fn the_example_is_one_instance_of_two_members_with_their_own_grants() {
    let waft = Waft::up(["examples/composition"]);
    assert_eq!(
        waft.get_ok("greetings.localhost", "/Ada"),
        "Bonjour, Ada!\n"
    );
    let own = waft.get_ok("greetings.localhost", "/?env");
    assert_eq!(own, "GREETING=not the greeter's\n");
    waft.wait_for_line(&["greetings", "/front ", "asked for a greeting"]);
    waft.wait_for_line(&["greetings", "/greeter ", "made a greeter"]);
}

#[test]
fn what_can_not_be_linked_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("refused.yaml");
    let manifests = [
        deployment("alone", &[("front", "greeted-p2")]),
        deployment(
            "choice",
            &[
                ("front", "greeted-p2"),
                ("one", "greeter-p2"),
                ("two", "greeter-p2"),
            ],
        ),
        deployment("handlers", &[("front", "hello-p2"), ("other", "hello-p3")]),
        deployment(
            "good",
            &[("front", "greeted-p2"), ("greeter", "greeter-p2")],
        ),
    ];
    std::fs::write(&file, manifests.join("---\n")).unwrap();
    let waft = Up::default()
        .arg(&file)
        .arg("--file-root")
        .arg(waft_guests::path("greeted-p2").parent().unwrap())
        .start();
    for (name, parts) in [
        (
            "alone",
            [
                "component `alone`",
                "example:greetings/greetings@1.0.0",
                "compose it",
            ],
        ),
        (
            "choice",
            [
                "component `choice`",
                "example:greetings/greetings@1.0.0",
                "`one`",
            ],
        ),
        (
            "handlers",
            ["`handlers`, `other`", "HTTP handler", "WorkloadDeployment"],
        ),
    ] {
        let mut all = vec![name];
        all.extend(parts);
        waft.wait_for_line(&all);
    }
    assert_eq!(waft.get_ok("good.localhost", "/x"), "(no greeting), x!\n");
}
