//! The one-way dependencies of `ARCHITECTURE.md`, checked against `cargo metadata`. Dev-dependencies
//! are free; everything else must stand in the table below.
#![forbid(unsafe_code)]
#![cfg(test)]

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

/// A crate of ours: what it may depend on of ours, and what it must never see of others'.
struct Layer {
    name: &'static str,
    may_use: &'static [&'static str],
    /// Not even through another crate.
    never: &'static [&'static str],
    /// Not directly; an allowed crate may bring it.
    never_directly: &'static [&'static str],
}

const LAYERS: &[Layer] = &[
    Layer {
        name: "waft-api",
        may_use: &[],
        never: &["wasmtime"],
        never_directly: &["tokio", "hyper", "reqwest", "axum"],
    },
    Layer {
        name: "waft-ir",
        may_use: &[],
        never: &["kube", "kube-client", "wasmtime", "tonic", "hyper"],
        never_directly: &[],
    },
    Layer {
        name: "waft-oci",
        may_use: &["waft-ir"],
        never: &["kube", "kube-client", "k8s-openapi", "wasmtime"],
        never_directly: &[],
    },
    Layer {
        name: "waft-runtime",
        may_use: &["waft-ir"],
        never: &[
            "kube",
            "kube-client",
            "k8s-openapi",
            "axum",
            "async-nats",
            "reqwest",
        ],
        never_directly: &["axum"],
    },
    Layer {
        name: "waft-capabilities",
        may_use: &["waft-ir", "waft-runtime"],
        never: &["kube", "kube-client", "k8s-openapi"],
        never_directly: &[],
    },
    Layer {
        name: "waft-host",
        may_use: &["waft-ir", "waft-oci", "waft-runtime", "waft-capabilities"],
        never: &["kube", "kube-client", "k8s-openapi"],
        never_directly: &[],
    },
    Layer {
        name: "waft-operator",
        may_use: &["waft-api", "waft-ir"],
        never: &["wasmtime", "tonic", "rusqlite"],
        never_directly: &["axum"],
    },
    Layer {
        name: "waft-apimachinery",
        may_use: &[],
        never: &[
            "kube-client",
            "tokio",
            "hyper",
            "axum",
            "rusqlite",
            "wasmtime",
        ],
        never_directly: &[],
    },
    Layer {
        name: "waft-apiserver",
        may_use: &["waft-apimachinery"],
        never: &["wasmtime", "kube-client"],
        never_directly: &[],
    },
    Layer {
        name: "waft-local",
        may_use: &[
            "waft-api",
            "waft-ir",
            "waft-oci",
            "waft-runtime",
            "waft-capabilities",
            "waft-host",
            "waft-operator",
            "waft-apimachinery",
            "waft-apiserver",
        ],
        never: &["tonic"],
        never_directly: &[],
    },
    Layer {
        name: "waft-cli",
        may_use: &[
            "waft-api",
            "waft-oci",
            "waft-local",
            "waft-operator",
            "waft-host",
            "waft-ir",
        ],
        never: &["tonic"],
        never_directly: &["wasmtime", "rusqlite"],
    },
    Layer {
        name: "waft-benches",
        may_use: &[
            "waft-capabilities",
            "waft-guests",
            "waft-host",
            "waft-ir",
            "waft-measure",
            "waft-oci",
            "waft-runtime",
            "waft-servers",
        ],
        never: &[],
        never_directly: &[],
    },
    Layer {
        name: "waft-bench-apiserver",
        may_use: &["waft-apiserver", "waft-measure"],
        // What is measured is the API server alone.
        never: &["wasmtime", "kube-client"],
        never_directly: &[],
    },
    Layer {
        name: "waft-measure",
        may_use: &[],
        never: &["wasmtime", "tokio"],
        never_directly: &[],
    },
    Layer {
        name: "waft-fuzz",
        may_use: &[],
        never: &["wasmtime", "tokio"],
        never_directly: &[],
    },
    Layer {
        name: "waft-guests",
        may_use: &[],
        never: &["wasmtime", "tokio"],
        never_directly: &[],
    },
    Layer {
        name: "waft-servers",
        may_use: &["waft-guests"],
        never: &["wasmtime", "tokio"],
        never_directly: &[],
    },
    Layer {
        name: "waft-layering",
        may_use: &[],
        never: &[],
        never_directly: &[],
    },
];

/// The dependencies that end up in what a crate builds: no dev-dependencies.
struct Graph {
    names: BTreeMap<String, String>,
    edges: BTreeMap<String, Vec<String>>,
    members: Vec<String>,
}

impl Graph {
    fn read() -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--format-version=1", "--locked"])
            .arg(format!(
                "--filter-platform={}-unknown-linux-gnu",
                std::env::consts::ARCH
            ))
            .current_dir(waft_guests::workspace())
            .output()
            .expect("cargo starts");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let list = |value: &Value| value.as_array().unwrap().clone();
        let names = list(&metadata["packages"])
            .iter()
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let edges = list(&metadata["resolve"]["nodes"])
            .iter()
            .map(|node| {
                let normal = list(&node["deps"])
                    .iter()
                    .filter(|dep| {
                        list(&dep["dep_kinds"])
                            .iter()
                            .any(|kind| kind["kind"] != "dev")
                    })
                    .map(|dep| text(&dep["pkg"]))
                    .collect();
                (text(&node["id"]), normal)
            })
            .collect();
        let members = list(&metadata["workspace_members"])
            .iter()
            .map(text)
            .collect();
        Self {
            names,
            edges,
            members,
        }
    }

    fn direct(&self, id: &str) -> BTreeSet<&str> {
        self.edges[id]
            .iter()
            .map(|id| self.names[id].as_str())
            .collect()
    }

    fn reachable(&self, id: &str) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut queue = vec![id];
        while let Some(id) = queue.pop() {
            for next in &self.edges[id] {
                if seen.insert(next.as_str()) {
                    queue.push(next);
                }
            }
        }
        seen.into_iter().map(|id| self.names[id].as_str()).collect()
    }
}

#[test]
fn dependencies_go_one_way() {
    let graph = Graph::read();
    let mut faults = Vec::new();
    for id in &graph.members {
        let name = graph.names[id].as_str();
        let Some(layer) = LAYERS.iter().find(|layer| layer.name == name) else {
            faults.push(format!("{name} stands in no row of the table"));
            continue;
        };
        let (direct, reachable) = (graph.direct(id), graph.reachable(id));
        for ours in direct.iter().filter(|name| name.starts_with("waft-")) {
            if !layer.may_use.contains(ours) {
                faults.push(format!("{name} depends on {ours}"));
            }
        }
        for other in layer.never.iter().filter(|n| reachable.contains(*n)) {
            faults.push(format!("{name} sees {other}"));
        }
        for other in layer.never_directly.iter().filter(|n| direct.contains(*n)) {
            faults.push(format!("{name} depends directly on {other}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(
        graph.members.len(),
        LAYERS.len(),
        "a row of the table has no crate"
    );
}
