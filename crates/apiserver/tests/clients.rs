//! The tools that people bring: more of kubectl, kustomize, Helm, and a controller on kube-rs.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::cluster::{Cluster, program, text};

/// Waits until a command prints what is wanted.
fn until(k: &Cluster, line: &str, wanted: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let output = k.run(line, "");
        let out = text(&output.stdout);
        if out.contains(wanted) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "kubectl {line}: {out}{}",
            text(&output.stderr)
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: 'i:1'}]}
";

#[test]
fn kubectl_explains_edits_rolls_out_and_scales() {
    let Some(k) = Cluster::start() else { return };
    let out = k.ok("explain deployment.spec.replicas");
    assert!(out.contains("GROUP:      apps"), "{out}");
    assert!(
        k.ok("explain widget.spec.color")
            .contains("What it looks like")
    );
    assert!(k.ok("explain rolebinding --recursive").contains("roleRef"));
    let resources = k.ok("api-resources -o name");
    for name in [
        "widgets.test.waft.dev",
        "cronjobs.batch",
        "networkpolicies.networking.k8s.io",
        "poddisruptionbudgets.policy",
        "rolebindings.rbac.authorization.k8s.io",
        "validatingwebhookconfigurations.admissionregistration.k8s.io",
    ] {
        assert!(resources.contains(name), "{resources}");
    }
    k.ok_with("apply -f -", DEPLOYMENT);
    assert_eq!(
        k.ok("scale deployment web --replicas=3"),
        "deployment.apps/web scaled\n"
    );
    assert_eq!(
        k.ok("set image deployment/web c=i:2"),
        "deployment.apps/web image updated\n"
    );
    assert_eq!(
        k.ok("rollout restart deployment/web"),
        "deployment.apps/web restarted\n"
    );
    assert_eq!(
        k.ok("rollout pause deployment/web"),
        "deployment.apps/web paused\n"
    );
    assert_eq!(
        k.ok("rollout resume deployment/web"),
        "deployment.apps/web resumed\n"
    );
    k.ok("rollout history deployment/web");
    assert_eq!(k.ok("get deployment web -o jsonpath={.spec.replicas}"), "3");
    let editor = k.path().join("editor.sh");
    std::fs::write(&editor, "sed -i 's/i:2/i:3/' \"$1\"\n").expect("written");
    let child = std::process::Command::new(program("kubectl").expect("kubectl"))
        .args(["edit", "deployment", "web"])
        .env("KUBECONFIG", k.path().join("kubeconfig"))
        .env("HOME", k.path())
        .env("KUBE_EDITOR", format!("bash {}", editor.display()))
        .output()
        .expect("kubectl ends");
    assert_eq!(
        text(&child.stdout),
        "deployment.apps/web edited\n",
        "{}",
        text(&child.stderr)
    );
    let image = "get deployment web -o jsonpath={.spec.template.spec.containers[0].image}";
    assert_eq!(k.ok(image), "i:3");
    assert!(k.ok("describe deployment web").contains("i:3"));
    k.ok("expose deployment web --port=80");
    k.ok_with(
        "apply -f -",
        "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: web}\nspec: {maxReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}\n",
    );
    assert!(k.ok("get hpa web").contains("Deployment/web"));
    k.ok("create cronjob tick --image=i --schedule='* * * * *'");
    k.ok("create job once --from=cronjob/tick");
    k.ok("create quota q --hard=pods=3");
    k.ok("create ingress in --rule=a.b/x=web:80");
    assert!(k.ok("get ingress in").contains("a.b"));
    k.ok("create poddisruptionbudget p --selector=app=web --min-available=1");
    assert!(k.ok("get all -A").contains("deployment.apps/web"));
    k.ok("wait --for=jsonpath={.spec.replicas}=3 deployment/web --timeout=60s");
}

#[test]
fn kubectl_knows_who_may_do_what() {
    let Some(k) = Cluster::start() else { return };
    k.ok("create namespace team");
    until(
        &k,
        "get serviceaccount -n team -o name",
        "serviceaccount/default",
    );
    k.ok("create serviceaccount robot -n team");
    let token = k.ok("create token robot -n team --duration=1h");
    let token = token.trim();
    let as_robot = |line: &str| {
        format!("--token={token} --client-certificate= --client-key= --kubeconfig=robot {line}")
    };
    // A kubeconfig with the authority only, so that the token is what counts.
    let config = std::fs::read_to_string(k.path().join("kubeconfig")).expect("a kubeconfig");
    let stripped: String = config
        .lines()
        .filter(|line| !line.contains("client-"))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(
        k.path().join("robot"),
        stripped
            .replace("    user:\n", "    user: {}\n")
            .replace("  user:\ncontexts", "  user: {}\ncontexts"),
    )
    .expect("written");
    let refused = k.fails(&as_robot("get pods -n team"), "");
    assert_eq!(
        refused,
        "Error from server (Forbidden): pods is forbidden: User \"system:serviceaccount:team:robot\" cannot list resource \"pods\" in API group \"\" in the namespace \"team\"\n"
    );
    assert_eq!(
        text(&k.run(&as_robot("auth can-i list pods -n team"), "").stdout),
        "no\n"
    );
    k.ok("create role reader -n team --verb=get,list --resource=pods");
    k.ok("create rolebinding reader -n team --role=reader --serviceaccount=team:robot");
    assert_eq!(k.ok(&as_robot("auth can-i list pods -n team")), "yes\n");
    k.ok(&as_robot("get pods -n team"));
    assert!(
        k.ok(&as_robot("auth whoami"))
            .contains("system:serviceaccount:team:robot")
    );
    let refused = k.fails(
        &as_robot("create rolebinding more -n team --clusterrole=cluster-admin --user=me"),
        "",
    );
    assert!(
        refused.contains("(Forbidden)") || refused.contains("forbidden"),
        "{refused}"
    );
    assert!(
        k.ok("auth can-i --list --as=system:serviceaccount:team:robot -n team")
            .contains("pods")
    );
    assert_eq!(
        text(&k.run("auth can-i delete nodes --as=someone", "").stdout),
        "no\n"
    );
    k.ok_with(
        "auth reconcile -f -",
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: x}\nrules: [{apiGroups: [''], resources: [pods], verbs: [get]}]\n",
    );
    assert!(
        k.ok("get rolebinding -n team -o wide")
            .contains("team/robot")
    );
}

#[test]
fn kubectl_prunes_customises_and_watches() {
    let Some(k) = Cluster::start() else { return };
    let map = |name: &str| {
        format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{set: a}}}}\n"
        )
    };
    k.ok_with("apply -f - -l set=a --prune", &(map("one") + &map("two")));
    let out = k.ok_with("apply -f - -l set=a --prune", &map("one"));
    assert!(out.contains("configmap/two pruned"), "{out}");
    let base = k.path().join("base");
    std::fs::create_dir_all(&base).expect("a folder");
    std::fs::write(base.join("deployment.yaml"), DEPLOYMENT).expect("written");
    std::fs::write(
        base.join("kustomization.yaml"),
        "resources: [deployment.yaml]\nnamePrefix: my-\nconfigMapGenerator: [{name: settings, literals: [a=1]}]\nimages: [{name: i, newTag: '7'}]\n",
    )
    .expect("written");
    let out = k.ok("apply -k base");
    assert!(out.contains("deployment.apps/my-web created"), "{out}");
    let image = "get deployment my-web -o jsonpath={.spec.template.spec.containers[0].image}";
    assert_eq!(k.ok(image), "i:7");
    assert!(
        k.ok("apply -k base")
            .contains("deployment.apps/my-web unchanged")
    );
    k.ok("delete -k base --timeout=60s");
    let mut watching = k.start_program("kubectl", "get configmap -l set=a -w -o name", "");
    let mut lines = BufReader::new(watching.stdout.take().expect("a pipe")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    assert_eq!(next(), "configmap/one");
    k.ok_with("apply -f -", &map("three"));
    assert_eq!(next(), "configmap/three");
    watching.kill().expect("killed");
    watching.wait().expect("ended");
}

#[test]
fn helm_installs_upgrades_rolls_back_and_uninstalls() {
    let Some(k) = Cluster::start() else { return };
    if program("helm").is_none() {
        return;
    }
    let chart = k.path().join("chart");
    std::fs::create_dir_all(chart.join("templates")).expect("a folder");
    std::fs::create_dir_all(chart.join("crds")).expect("a folder");
    let write =
        |name: &str, content: &str| std::fs::write(chart.join(name), content).expect("written");
    write(
        "Chart.yaml",
        "apiVersion: v2\nname: chart\nversion: 0.1.0\n",
    );
    write("values.yaml", "greeting: hello\ndeploy: true\n");
    write(
        "templates/all.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-map}\ndata: {greeting: {{ .Values.greeting | quote }}}\n\
         ---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: {{ .Release.Name }}}\n\
         ---\napiVersion: v1\nkind: Service\nmetadata: {name: {{ .Release.Name }}}\nspec: {ports: [{port: 80}], selector: {app: x}}\n\
         ---\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: {{ .Release.Name }}}\nrules: [{apiGroups: [''], resources: [pods], verbs: [get]}]\n\
         {{ if .Values.deploy }}---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: {{ .Release.Name }}}\nspec:\n  replicas: 0\n  selector: {matchLabels: {app: x}}\n  template:\n    metadata: {labels: {app: x}}\n    spec: {containers: [{name: c, image: 'i:1'}]}\n{{ end }}\
         ---\napiVersion: test.waft.dev/v1\nkind: Widget\nmetadata: {name: {{ .Release.Name }}}\nspec: {color: blue}\n",
    );
    let helm = |line: &str| k.ok_program("helm", line);
    helm("install one chart");
    let greeting = "get configmap one-map -o jsonpath={.data.greeting}";
    assert_eq!(k.ok(greeting), "hello");
    assert_eq!(k.ok("get widget one -o jsonpath={.spec.color}"), "blue");
    helm("upgrade one chart --set greeting=hi");
    assert_eq!(k.ok(greeting), "hi");
    let list: Value = serde_json::from_str(&helm("list -o json")).expect("JSON");
    assert_eq!(
        (&list[0]["name"], &list[0]["revision"]),
        (&Value::from("one"), &Value::from("2"))
    );
    helm("rollback one 1");
    assert_eq!(k.ok(greeting), "hello");
    assert!(helm("history one").contains("Rollback to 1"));
    assert!(helm("get manifest one").contains("kind: Widget"));
    assert!(helm("status one").contains("STATUS: deployed"));
    // Nobody runs Deployments here, and --wait would wait for their pods.
    helm("upgrade one chart --set deploy=false");
    helm("upgrade one chart --set greeting=waited,deploy=false --wait --timeout 120s");
    assert_eq!(k.ok(greeting), "waited");
    helm("upgrade --install two chart --dry-run=server");
    helm("uninstall one --wait --timeout 120s");
    assert!(k.fails("get configmap one-map", "").contains("NotFound"));
    assert_eq!(helm("list -q"), "");
}

#[test]
fn kubectl_follows_rollouts_and_takes_them_back() {
    let Some(k) = Cluster::start() else { return };
    k.ok_with("apply -f -", DEPLOYMENT);
    let explained = k.ok("explain deployment.spec.template.spec.containers.ports");
    assert!(explained.contains("containerPort\t<integer> -required-"));
    let tree = k.ok("explain deployment.spec.strategy --recursive");
    assert!(tree.contains("  maxSurge\t<IntOrString>"), "{tree}");
    // No controller runs here: what it would write is written by hand.
    let status = |text: &str| {
        k.ok(&format!(
            "patch deployment web --subresource=status --type=merge -p '{{\"status\":{text}}}'"
        ));
    };
    let line = "rollout status deployment/web --timeout=60s";
    status(r#"{"observedGeneration":1,"replicas":1,"updatedReplicas":0}"#);
    let mut following = k.start_program("kubectl", line, "");
    let mut said = BufReader::new(following.stdout.take().expect("a pipe"));
    let mut waiting = String::new();
    said.read_line(&mut waiting).expect("a line");
    assert!(
        waiting.contains("0 out of 1 new replicas have been updated"),
        "{waiting}"
    );
    status(r#"{"updatedReplicas":1,"readyReplicas":1,"availableReplicas":1}"#);
    let done = "deployment \"web\" successfully rolled out\n";
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("text");
    assert!(rest.ends_with(done), "{rest}");
    assert!(following.wait().expect("it ends").success());
    assert_eq!(k.ok(line), done);
    let uid = k.ok("get deployment web -o jsonpath={.metadata.uid}");
    let set = |revision: u32| {
        format!(
            "---\napiVersion: apps/v1\nkind: ReplicaSet\nmetadata:\n  name: web-{revision}\n  labels: {{app: web}}\n  \
             annotations: {{deployment.kubernetes.io/revision: '{revision}'}}\n  \
             ownerReferences: [{{apiVersion: apps/v1, kind: Deployment, name: web, uid: {uid}, controller: true}}]\n\
             spec:\n  replicas: 0\n  selector: {{matchLabels: {{app: web}}}}\n  template:\n    \
             metadata: {{labels: {{app: web}}}}\n    spec: {{containers: [{{name: c, image: 'i:{revision}'}}]}}\n"
        )
    };
    k.ok_with("apply -f -", &(set(1) + &set(2)));
    let history = k.ok("rollout history deployment/web");
    assert!(history.contains("REVISION"), "{history}");
    assert_eq!(
        k.ok("rollout undo deployment/web --to-revision=2"),
        "deployment.apps/web rolled back\n"
    );
    let image = "get deployment web -o jsonpath={.spec.template.spec.containers[0].image}";
    assert_eq!(k.ok(image), "i:2");
}

#[test]
fn kubectl_shows_why_something_is_refused() {
    let Some(k) = Cluster::start() else { return };
    let refused = k.fails(
        "apply -f -",
        &DEPLOYMENT.replace("matchLabels: {app: web}", "matchLabels: {app: other}"),
    );
    assert_eq!(
        refused,
        "The Deployment \"web\" is invalid: spec.template.metadata.labels: Invalid value: \
         {\"app\":\"web\"}: `selector` does not match template `labels`\n"
    );
    k.ok_with("apply -f -", DEPLOYMENT);
    let other = DEPLOYMENT.replace("{app: web}", "{app: other}");
    let refused = k.fails("apply -f -", &other);
    assert!(
        refused.contains("spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"other\"}}: field is immutable"),
        "{refused}"
    );
    let text = DEPLOYMENT.replace("replicas: 1", "replicas: one");
    let refused = k.fails(
        "create --validate=false -f -",
        &text.replace("name: web", "name: x"),
    );
    assert!(
        refused.contains("json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"),
        "{refused}"
    );
    let refused = k.fails("create service clusterip s --tcp=0:80", "");
    assert!(
        refused.contains(
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"
        ),
        "{refused}"
    );
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80}, {port: 81}]}\n";
    let refused = k.fails("apply -f -", service);
    assert!(
        refused.contains("* spec.ports[0].name: Required value"),
        "{refused}"
    );
    // Two managers, one field.
    let map = |value: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m}}\ndata: {{k: {value}}}\n")
    };
    k.ok_with("apply --server-side --field-manager=one -f -", &map("a"));
    let conflict = k.fails("apply --server-side --field-manager=two -f -", &map("b"));
    assert!(
        conflict.contains("conflict with \"one\": .data.k"),
        "{conflict}"
    );
    k.ok_with(
        "apply --server-side --field-manager=two --force-conflicts -f -",
        &map("b"),
    );
    assert_eq!(k.ok("get configmap m -o jsonpath={.data.k}"), "b");
}
