//! The manifests of `tests/manifests/`, unchanged, against a real registry that stands in for the
//! registries they name.

use std::fs;

use crate::support::{
    eventually,
    kubectl::Kubectl,
    registry::{self, Registry},
    waft::Up,
};

/// What becomes of one manifest.
struct Seed {
    file: &'static str,
    object: &'static str,
    outcome: Outcome,
}

enum Outcome {
    /// `Ready=True`.
    Ready,
    /// `Ready=True`, and this host answers from the component of this image.
    Serves(&'static str, &'static str),
    /// `Ready=False`, as no host reports for it.
    NobodyReports,
}

use Outcome::{NobodyReports, Ready, Serves};

const GREETER: &str = "wasmcloud/components/http-hello-world-rust:0.1.0";
const DEMO: &str = "cosmonic-labs/control-demos/hello-world:0.1.2";
const WORKER: &str = "example/task-worker:0.1.0";

const SEEDS: &[Seed] = &[
    Seed {
        file: "cosmonic-artifact.yaml",
        object: "artifact/http-hello-world",
        outcome: Ready,
    },
    Seed {
        file: "wasmcloud-artifact.yaml",
        object: "artifact/http-hello-world",
        outcome: Ready,
    },
    Seed {
        file: "cosmonic-host.yaml",
        object: "host/host-sample",
        outcome: NobodyReports,
    },
    Seed {
        file: "wasmcloud-host.yaml",
        object: "host/host-sample",
        outcome: NobodyReports,
    },
    Seed {
        file: "cosmonic-host-group.yaml",
        object: "hostgroup/default",
        outcome: Ready,
    },
    Seed {
        file: "cosmonic-http-trigger.yaml",
        object: "httptrigger/example",
        outcome: Serves("hello.localhost.cosmonic.sh", DEMO),
    },
    Seed {
        file: "cosmonic-task-worker.yaml",
        object: "workloaddeployment/task-worker",
        outcome: Ready,
    },
    Seed {
        file: "cosmonic-workload.yaml",
        object: "workload/hello-world",
        outcome: Serves("hello-world.default.localhost", GREETER),
    },
    Seed {
        file: "wasmcloud-workload.yaml",
        object: "workload/hello-world",
        outcome: Serves("hello-world.default.localhost", GREETER),
    },
    Seed {
        file: "cosmonic-workload-deployment.yaml",
        object: "workloaddeployment/hello-world",
        outcome: Serves("hello-world.default.localhost", GREETER),
    },
    Seed {
        file: "wasmcloud-workload-deployment.yaml",
        object: "workloaddeployment/hello-world",
        outcome: Serves("hello-world.default.localhost", GREETER),
    },
    Seed {
        file: "cosmonic-workload-replica-set.yaml",
        object: "workloadreplicaset/hello-world-v1",
        outcome: Serves("hello-world-v1.default.localhost", GREETER),
    },
    Seed {
        file: "wasmcloud-workload-replica-set.yaml",
        object: "workloadreplicaset/hello-world-v1",
        outcome: Serves("hello-world-v1.default.localhost", GREETER),
    },
];

#[test]
fn every_seed_runs_unchanged() {
    let Some(registry) = Registry::start() else {
        return;
    };
    for image in [GREETER, DEMO] {
        registry.push(image, waft_guests::with_image_name(image));
    }
    registry.push(WORKER, waft_guests::bytes("worker"));
    let waft = Up::default()
        .arg("--registry-mirror")
        .arg(registry.mirror_of("ghcr.io"))
        .start();
    let Some(kubectl) = Kubectl::new(&waft) else {
        return;
    };
    let login = registry::docker_config(registry.address, registry::USER, registry::PASSWORD);
    kubectl.ok(&[
        "create",
        "secret",
        "generic",
        "ghcr-secret",
        "--type=kubernetes.io/dockerconfigjson",
        &format!(
            "--from-literal=.dockerconfigjson={}",
            login.docker_config_json
        ),
    ]);

    let folder = waft_guests::workspace().join("tests/manifests");
    let artifact = folder.join("cosmonic-artifact.yaml");
    let mut seen = Vec::new();
    for seed in SEEDS {
        seen.push(seed.file.to_owned());
        let path = folder.join(seed.file);
        let path = path.to_str().unwrap();
        // The deployments name the Artifact.
        kubectl.ok(&["apply", "-f", artifact.to_str().unwrap()]);
        kubectl.ok(&["apply", "--validate=strict", "-f", path]);
        match seed.outcome {
            Ready => {
                kubectl.wait_condition(seed.object, "Ready", "True");
            }
            Serves(host, image) => {
                kubectl.wait_condition(seed.object, "Ready", "True");
                let answer = waft.get_ok(host, "/image");
                assert_eq!(answer, format!("{image}\n"), "{}", seed.file);
            }
            NobodyReports => {
                kubectl.wait_condition(seed.object, "Ready", "False");
            }
        }
        kubectl.ok(&["delete", "--timeout=300s", "-f", path]);
        eventually("nothing of it is left", || {
            let left = kubectl.ok(&["get", "workloads,workloadreplicasets,pods", "-o", "name"]);
            match left.is_empty() {
                true => Ok(()),
                false => Err(left),
            }
        });
    }

    let mut there: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    there.sort();
    seen.sort();
    assert_eq!(seen, there, "each file of tests/manifests has a row");
}
