//! Fourteen things users get wrong, each as an argument of `waft up` and by kubectl: how it ends,
//! and what it says, word by word in `bad_inputs.golden`. A neighbour serves through all of it, and beside a registry that
//! hangs.
//!
//! `WAFT_UPDATE_GOLDEN=1` writes the file anew; read the difference before it is committed.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};

use tempfile::TempDir;

use crate::support::{
    eventually, free_address,
    kubectl::Kubectl,
    manifest::{deployment, deployment_with},
    registry::{PASSWORD, Registry, USER, docker_config},
    waft::{Up, Waft},
};

const NEIGHBOUR: &str = "neighbour.localhost";

/// One mistake.
struct Case {
    name: &'static str,
    manifest: String,
    /// The object to look at, and its condition; `None` if nothing is accepted.
    condition: Option<(&'static str, &'static str)>,
}

/// The folder with the files, and the registries.
struct Scene {
    folder: TempDir,
    open: Registry,
    closed: Registry,
    /// What stands in for the parts of messages that differ from run to run.
    names: Arc<Mutex<Vec<(String, &'static str)>>>,
}

impl Scene {
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let (open, closed) = (Registry::start()?, Registry::with_credentials()?);
        let hello = waft_guests::bytes("hello-p2");
        // Of one length, wherever it was built: messages tell where it is cut.
        let example = fs::read(waft_guests::workspace().join("examples/hello/hello.wasm")).unwrap();
        for (name, bytes) in [
            ("hello.wasm", &hello[..]),
            ("text.wasm", b"no WebAssembly at all\n"),
            ("module.wasm", &waft_guests::core_module()),
            ("truncated.wasm", &example[..example.len() / 2]),
            (
                "unsupported.wasm",
                &waft_guests::bytes("unsupported-import-p2"),
            ),
        ] {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        closed.push("team/hello:1", hello);
        let names = vec![
            (path_text(folder.path()), "FOLDER"),
            (open.address.to_string(), "OPEN-REGISTRY"),
            (closed.address.to_string(), "CLOSED-REGISTRY"),
        ];
        Some(Self {
            folder,
            open,
            closed,
            names: Arc::new(Mutex::new(names)),
        })
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn neighbour(&self) -> PathBuf {
        self.file(
            "neighbour.yaml",
            &deployment("neighbour", "file:hello.wasm"),
        )
    }

    /// A message with what differs from run to run replaced.
    fn normal(&self, text: &str) -> String {
        let names = self.names.lock().unwrap();
        let mut text = text.to_owned();
        for (from, to) in names.iter() {
            text = text.replace(from, to);
        }
        text
    }

    fn cases(&self) -> Vec<Case> {
        let ready = Some(("workloaddeployment/wrong", "Ready"));
        let image = |image: &str| deployment("wrong", image);
        let case = |name, manifest, condition| Case {
            name,
            manifest,
            condition,
        };
        let (open, closed) = (self.open.address, self.closed.address);
        let login = docker_config(closed, USER, &format!("not-{PASSWORD}")).docker_config_json;
        let wrong_secret = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: login}}\n\
             type: kubernetes.io/dockerconfigjson\nstringData:\n  .dockerconfigjson: '{login}'\n---\n{}",
            deployment_with(
                "wrong",
                &format!("{closed}/team/hello:1"),
                "imagePullSecret: {name: login}"
            )
        );
        let unknown = image("file:hello.wasm").replace("  replicas: 1", "  replicaz: 1");
        let wrong_type = image("file:hello.wasm").replace("  replicas: 1", "  replicas: one");
        let entry =
            "        - {namespace: wasi, package: http, interfaces: [incoming-handler], config";
        let by_rule = image("file:hello.wasm").replace(
            entry,
            &format!(
                "        - {{namespace: wasi, package: http, interfaces: [outgoing-handler]}}\n{entry}"
            ),
        );
        // Of two objects of the same second the first by name holds the route: `neighbour`.
        let collides = image("file:hello.wasm").replace("wrong.localhost", NEIGHBOUR);
        vec![
            case(
                "YAML that does not parse",
                "kind: [WorkloadDeployment\n".into(),
                None,
            ),
            case("unknown field", unknown, None),
            case("wrong type", wrong_type, None),
            case("CEL violation", by_rule, None),
            case("missing component file", image("file:missing.wasm"), ready),
            case("not-a-wasm", image("file:text.wasm"), ready),
            case(
                "core module instead of component",
                image("file:module.wasm"),
                ready,
            ),
            case(
                "component with an unsupported import",
                image("file:unsupported.wasm"),
                ready,
            ),
            case("truncated component", image("file:truncated.wasm"), ready),
            case(
                "image that does not exist",
                image(&format!("{open}/team/none:1")),
                ready,
            ),
            case(
                "registry that refuses",
                image(&format!("{closed}/team/hello:1")),
                ready,
            ),
            case("wrong pull secret", wrong_secret, ready),
            case(
                "two routes that collide",
                collides,
                Some(("workloaddeployment/wrong", "Ready")),
            ),
        ]
    }

    /// Starts with the neighbour, and says how it ended or what the condition is.
    fn by_argument(&self, case: &Case) -> String {
        let file = self.file("bad.yaml", &case.manifest);
        let up = Up::default().arg(self.neighbour()).arg(&file);
        let Some((object, condition)) = case.condition else {
            let ended = up.run();
            let code = ended.status.code();
            return format!(
                "exit {}\n{}",
                code.map_or("by a signal".into(), |code| code.to_string()),
                self.normal(ended.stderr.trim_end())
            );
        };
        let waft = up.start();
        waft.get_ok(NEIGHBOUR, "/");
        let kubectl = Kubectl::new(&waft).expect("checked before");
        let told = self.told(&kubectl, object, condition);
        let (reason, _) = kubectl.wait_condition(object, condition, "False");
        waft.wait_for_line(&["wrong", &reason]);
        assert_eq!(waft.get(NEIGHBOUR, "/").status, 200, "{}", case.name);
        told
    }

    /// Applies it to a platform that runs, and says what kubectl or the condition says.
    fn by_kubectl(&self, case: &Case, waft: &Waft, kubectl: &Kubectl) -> String {
        let applied = kubectl.apply(&case.manifest);
        let told = match case.condition {
            None => {
                assert!(!applied.status.success(), "{}: {applied:?}", case.name);
                self.normal(applied.stderr.trim_end())
            }
            Some((object, condition)) => {
                assert!(applied.status.success(), "{}: {applied:?}", case.name);
                self.told(kubectl, object, condition)
            }
        };
        assert_eq!(waft.get(NEIGHBOUR, "/").status, 200, "{}", case.name);
        kubectl.run_with(
            &["delete", "--ignore-not-found", "--timeout=300s", "-f", "-"],
            &case.manifest,
        );
        told
    }

    fn told(&self, kubectl: &Kubectl, object: &str, condition: &str) -> String {
        let (reason, message) = kubectl.wait_condition(object, condition, "False");
        format!("{condition}=False {reason}\n{}", self.normal(&message))
    }
}

fn path_text(path: &Path) -> String {
    path.canonicalize().unwrap().display().to_string()
}

#[test]
fn each_mistake_is_told_and_harms_nobody() {
    let Some(scene) = Scene::new() else { return };
    let waft = Up::default()
        .arg(scene.neighbour())
        .working_dir(scene.folder.path())
        .start();
    waft.get_ok(NEIGHBOUR, "/");
    let Some(kubectl) = Kubectl::new(&waft) else {
        return;
    };

    let mut told = String::new();
    for case in scene.cases() {
        told += &format!(
            "## {}\n# waft up\n{}\n# kubectl\n{}\n\n",
            case.name,
            scene.by_argument(&case),
            scene.by_kubectl(&case, &waft, &kubectl)
        );
    }
    let address = free_address();
    let _holder = TcpListener::bind(address).unwrap();
    let ended = Up::default().arg(scene.neighbour()).http(address).run();
    let stderr = ended.stderr.trim_end();
    let stderr = stderr.replace(&address.to_string(), "ADDRESS");
    told += &format!(
        "## a port in use\n# waft up\nexit {}\n{}\n",
        ended.status.code().unwrap_or(-1),
        scene.normal(&stderr)
    );

    let golden = waft_guests::workspace().join("crates/cli/tests/e2e/bad_inputs.golden");
    if std::env::var_os("WAFT_UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &told).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    assert!(told == expected, "what was said now:\n{told}");
}

/// A trigger that leaves it to the image which interface it serves.
fn trigger(name: &str, image: &str) -> String {
    format!(
        "\
apiVersion: control.cosmonic.io/v1alpha1
kind: HTTPTrigger
metadata: {{name: {name}}}
spec:
  ingress: {{host: {name}.localhost}}
  template:
    spec:
      components:
        - {{name: main, image: \"{image}\"}}
---
"
    )
}

#[test]
fn a_registry_that_never_answers_holds_nobody_else() {
    /// More than the operator reconciles at a time.
    const HANGING: usize = 40;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let registry = listener.local_addr().unwrap();
    let accepted = Arc::new(Mutex::new(Vec::new()));
    let held = accepted.clone();
    thread::spawn(move || {
        for connection in listener.incoming() {
            held.lock().unwrap().extend(connection);
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let hanging = (0..HANGING).map(|number| {
        let artifact = format!(
            "\
apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: Artifact
metadata: {{name: hangs-{number}}}
spec: {{image: \"{registry}/artifact/{number}:1\"}}
---
"
        );
        let image = format!("{registry}/trigger/{number}:1");
        artifact + &trigger(&format!("hangs-{number}"), &image)
    });
    let file = folder.path().join("hanging.yaml");
    fs::write(&file, hanging.collect::<String>()).unwrap();
    let up = Up::default().arg(&file).working_dir(folder.path());
    let waft = up.start();
    for number in 0..HANGING {
        for kind in ["artifact", "httptrigger"] {
            let name = format!("hangs-{number}");
            eventually(&format!("{kind} {name} waits"), || {
                let described = waft.cli(&["describe", kind, &name]).stdout;
                let waits = described.contains("Unknown   Pulling");
                waits.then_some(()).ok_or(described)
            });
        }
    }
    eventually("it is asked", || {
        let is_asked = !accepted.lock().unwrap().is_empty();
        is_asked.then_some(()).ok_or("nobody connects".to_owned())
    });

    let hello = waft_guests::bytes("hello-p2");
    fs::write(folder.path().join("hello.wasm"), hello).unwrap();
    let neighbour = folder.path().join("neighbour.yaml");
    fs::write(&neighbour, trigger("neighbour", "file:hello.wasm")).unwrap();
    let applied = waft.cli(&["apply", "-f", &path_text(&neighbour)]);
    assert!(applied.status.success(), "{applied:?}");
    waft.get_ok(NEIGHBOUR, "/");
    let (status, output) = waft.interrupt();
    assert!(status.success(), "{output}");
}
