//! The server as the real kubectl sees it, over TLS.

mod support;

use std::io::{BufRead, BufReader};
use std::process::Command;

use serde_json::Value;
use support::cluster::{Cluster, text};

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: \"1\"}\n";

#[test]
fn everyday_commands_on_builtin_kinds() {
    let Some(k) = Cluster::start() else { return };
    assert!(k.ok("version -o json").contains("\"gitVersion\": \"v1."));
    assert_eq!(
        k.ok("create configmap m --from-literal=a=1"),
        "configmap/m created\n"
    );
    assert_eq!(
        k.ok("create secret generic s --from-literal=a=1"),
        "secret/s created\n"
    );
    assert_eq!(k.ok("get secret s -o jsonpath={.data.a}"), "MQ==");
    assert_eq!(k.ok("create namespace space"), "namespace/space created\n");
    assert_eq!(
        k.ok("create serviceaccount robot -n space"),
        "serviceaccount/robot created\n"
    );
    assert_eq!(k.ok_with("apply -f -", MAP), "configmap/c created\n");
    assert_eq!(k.ok_with("apply -f -", MAP), "configmap/c unchanged\n");
    let changed = MAP.replace("\"1\"", "\"2\"");
    let diff = k.run("diff -f -", &changed);
    assert_eq!(diff.status.code(), Some(1), "{}", text(&diff.stderr));
    assert!(text(&diff.stdout).contains("+  a: \"2\""));
    assert_eq!(
        k.ok_with("apply -f -", &changed),
        "configmap/c configured\n"
    );
    assert_eq!(
        k.ok_with("apply --server-side -f -", &changed),
        "configmap/c serverside-applied\n"
    );
    assert_eq!(k.ok("label configmap c x=y"), "configmap/c labeled\n");
    assert_eq!(k.ok("annotate configmap c x=y"), "configmap/c annotated\n");
    assert_eq!(k.ok("get configmap -l x=y -o name"), "configmap/c\n");
    assert_eq!(k.ok("get configmap c -o jsonpath={.data.a}"), "2");
    assert_eq!(
        k.ok(r#"patch configmap c --type=json -p '[{"op":"remove","path":"/data/a"}]'"#),
        "configmap/c patched\n"
    );
    assert!(k.ok("describe configmap c").contains("Labels:       x=y"));
    assert_eq!(k.ok("auth can-i create pods"), "yes\n");
    assert!(k.ok("auth whoami").contains("waft-admin"));
    assert_eq!(
        k.ok("delete namespace space --timeout=60s"),
        "namespace \"space\" deleted\n"
    );
    assert_eq!(
        k.ok_with("delete -f - --timeout=60s", MAP),
        "configmap \"c\" deleted\n"
    );
    assert!(
        k.fails("get configmap c", "")
            .contains("(NotFound): configmaps \"c\" not found")
    );
}

#[test]
fn tables_look_like_those_of_a_cluster() {
    let Some(k) = Cluster::start() else { return };
    let words = |table: String| -> Vec<Vec<String>> {
        table
            .lines()
            .map(|line| line.split_whitespace().map(str::to_owned).collect())
            .collect()
    };
    let namespaces = words(k.ok("get namespaces"));
    assert_eq!(namespaces[0], ["NAME", "STATUS", "AGE"]);
    assert_eq!(namespaces[1][..2], ["default", "Active"]);
    k.ok("create deployment web --image=nginx --replicas=2");
    assert_eq!(
        words(k.ok("get deployments -o wide"))[1][..4],
        ["web", "0/2", "0", "0"]
    );
    assert_eq!(
        k.ok("scale deployment/web --replicas=3"),
        "deployment.apps/web scaled\n"
    );
    assert_eq!(k.ok("get deployment web -o jsonpath={.spec.replicas}"), "3");
    assert_eq!(
        k.ok("rollout restart deployment/web"),
        "deployment.apps/web restarted\n"
    );
    k.ok_with(
        "apply -f -",
        "apiVersion: test.waft.dev/v1\nkind: Widget\nmetadata: {name: w}\nspec: {size: 2}\n",
    );
    let widgets = words(k.ok("get wd"));
    assert_eq!(widgets[0], ["NAME", "COLOR", "READY"]);
    assert_eq!(widgets[1], ["w", "red"]);
    assert!(k.ok("get all").contains("widget.test.waft.dev/w"));
    assert!(
        k.ok("api-resources --api-group=test.waft.dev")
            .contains("wd")
    );
    let mut watching = k.start_program("kubectl", "get widgets -w", "");
    let lines = BufReader::new(watching.stdout.take().expect("a pipe")).lines();
    let watched: Vec<String> = lines.take(2).map(|line| line.expect("text")).collect();
    watching.kill().expect("killed");
    watching.wait().expect("ended");
    assert_eq!(words(watched.join("\n"))[1], ["w", "red"]);
}

#[test]
fn custom_kinds_from_apply_to_delete() {
    let Some(k) = Cluster::start() else { return };
    let widget = |spec: &str| {
        format!("apiVersion: test.waft.dev/v1\nkind: Widget\nmetadata: {{name: w}}\nspec: {spec}\n")
    };
    assert_eq!(
        k.ok_with("apply -f -", &widget("{size: 2}")),
        "widget.test.waft.dev/w created\n"
    );
    assert_eq!(
        k.ok_with("apply -f -", &widget("{size: 3}")),
        "widget.test.waft.dev/w configured\n"
    );
    assert_eq!(
        k.ok("scale widget/w --replicas=4"),
        "widget.test.waft.dev/w scaled\n"
    );
    let unknown = k.fails(
        "create -f -",
        &widget("{sise: 3}").replace("name: w", "name: x"),
    );
    assert!(
        unknown.contains("strict decoding error: unknown field \"spec.sise\""),
        "{unknown}"
    );
    let rule = k.fails("apply -f -", &widget("{size: 300}"));
    assert!(rule.contains("size must stay below 100"), "{rule}");
    let kind = k.fails(
        "apply -f -",
        "apiVersion: test.waft.dev/v1\nkind: Gadget\nmetadata: {name: g}\n",
    );
    assert!(kind.contains("no matches for kind \"Gadget\""), "{kind}");
    let explained = k.ok("explain widget.spec.color");
    assert!(explained.contains("What it looks like."), "{explained}");
    let waiting = k.fails("wait --for=condition=Ready widget/w --timeout=1s", "");
    assert!(waiting.contains("timed out waiting"), "{waiting}");
    let ready = r#"patch widget w --subresource=status --type=merge -p '{"status":{"conditions":[{"type":"Ready","status":"True"}]}}'"#;
    k.ok(ready);
    assert_eq!(
        k.ok("wait --for=condition=Ready widget/w --timeout=60s"),
        "widget.test.waft.dev/w condition met\n"
    );
    assert!(k.ok("describe widget w").contains("Color:     red"));
    assert_eq!(k.ok("create -f - --dry-run=server 2>&1 <<< '{\"apiVersion\":\"test.waft.dev/v1\",\"kind\":\"Widget\",\"metadata\":{\"name\":\"dry\"}}'"), "widget.test.waft.dev/dry created (server dry run)\n");
    let object: Value = serde_json::from_str(&k.ok("get widget w -o json")).expect("JSON");
    assert_eq!(object["spec"]["replicas"], 4);
    assert_eq!(
        k.ok("delete widget w --cascade=foreground --timeout=60s"),
        "widget.test.waft.dev \"w\" deleted\n"
    );
    assert!(
        k.ok("delete crd widgets.test.waft.dev --timeout=60s")
            .contains("deleted")
    );
    assert!(
        k.fails("get --raw /apis/test.waft.dev/v1", "")
            .contains("NotFound")
    );
}

#[test]
fn strangers_may_only_probe() {
    let Some(k) = Cluster::start() else { return };
    let get = |path: &str| {
        let url = format!("https://{}{path}", k.address);
        let output = Command::new("curl")
            .args(["-sk", "-w", "\n%{http_code}", &url])
            .output()
            .expect("curl");
        let body = text(&output.stdout);
        let (body, code) = body.rsplit_once('\n').expect("a code");
        (body.to_owned(), code.to_owned())
    };
    assert_eq!(get("/readyz"), ("ok".to_owned(), "200".to_owned()));
    assert_eq!(get("/livez").1, "200");
    for path in ["/api/v1/secrets", "/version", "/openapi/v3", "/apis"] {
        let (body, code) = get(path);
        assert_eq!(code, "401", "{path}");
        let status: Value = serde_json::from_str(&body).expect("a Status");
        assert_eq!(status["reason"], "Unauthorized");
    }
    // Heads have a ceiling in both versions of HTTP.
    let many: String = (0..300).map(|index| format!("x{index}: y\n")).collect();
    let long = format!("x: {}\n", "y".repeat(100 << 10));
    for (headers, version) in [
        (&many, "--http1.1"),
        (&long, "--http1.1"),
        (&long, "--http2"),
    ] {
        let file = k.path().join("headers");
        std::fs::write(&file, headers).expect("written");
        let url = format!("https://{}/readyz", k.address);
        let code = || {
            let output = Command::new("curl")
                .args(["-sk", version, "-H"])
                .arg(format!("@{}", file.display()))
                .args(["-o", "/dev/null", "-w", "%{http_code}", &url])
                .output()
                .expect("curl");
            text(&output.stdout)
        };
        // The connection ends, and what was said before may be lost to who is still sending. Over
        // HTTP/2 a head that is much too large only ends the connection.
        let (tries, silence) = match version {
            "--http2" => (1, "431"),
            _ => (50, "000"),
        };
        let said = (0..tries).map(|_| code()).find(|code| code != "000");
        assert_eq!(said.as_deref().unwrap_or(silence), "431", "{version}");
    }
    assert_eq!(get("/readyz").1, "200");
    for file in [
        "kubeconfig",
        "data/state.db",
        "data/pki/ca.key",
        "data/pki/client.key",
    ] {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(k.path().join(file))
            .expect(file)
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

const POLICY: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: replica-limit.example.com}
spec:
  failurePolicy: Fail
  paramKind: {apiVersion: v1, kind: ConfigMap}
  matchConstraints:
    resourceRules:
    - apiGroups: [apps]
      apiVersions: [v1]
      operations: [CREATE, UPDATE]
      resources: [deployments]
  variables:
  - name: limit
    expression: "int(params.data.replicas)"
  validations:
  - expression: "object.spec.replicas <= variables.limit"
    messageExpression: "'at most ' + string(variables.limit) + ' replicas here'"
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: limited.example.com}
spec:
  policyName: replica-limit.example.com
  validationActions: [Deny]
  paramRef: {name: limit, namespace: default, parameterNotFoundAction: Deny}
  matchResources:
    namespaceSelector:
      matchLabels: {limited: "yes"}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: warned.example.com}
spec:
  policyName: replica-limit.example.com
  validationActions: [Warn]
  paramRef: {name: limit, namespace: default, parameterNotFoundAction: Allow}
"#;

#[test]
fn policies_are_judged_from_the_moment_they_are_applied() {
    let Some(k) = Cluster::start() else { return };
    k.ok("create configmap limit --from-literal=replicas=3");
    k.ok("create namespace tight");
    k.ok("label namespace tight limited=yes");
    let applied = k.ok_with("apply -f -", POLICY);
    assert_eq!(applied.matches(" created\n").count(), 3, "{applied}");
    // On the real server, too, the default in a rule makes kubectl send the rules again.
    let again = k.ok_with("apply -f -", POLICY);
    assert_eq!(again.matches(" unchanged\n").count(), 2, "{again}");
    let table = k.ok("get validatingadmissionpolicies");
    let row: Vec<&str> = table
        .lines()
        .nth(1)
        .expect("a row")
        .split_whitespace()
        .collect();
    assert_eq!(row[..3], ["replica-limit.example.com", "1", "v1/ConfigMap"]);
    let refused = k.fails("create deployment web --image=i --replicas=4 -n tight", "");
    assert_eq!(
        refused.trim().lines().last().expect("a line"),
        "error: failed to create deployment: deployments.apps \"web\" is forbidden: \
         ValidatingAdmissionPolicy 'replica-limit.example.com' with binding 'limited.example.com' denied request: at most 3 replicas here"
    );
    k.ok("create deployment web --image=i --replicas=3 -n tight");
    let scaled = k.run("scale deployment web --replicas=9 -n tight", "");
    // A rule for deployments is none for deployments/scale.
    assert!(scaled.status.success(), "{}", text(&scaled.stderr));
    let patch = r#"patch deployment web -n tight -p '{"metadata":{"labels":{"a":"b"}}}'"#;
    assert!(k.fails(patch, "").contains("at most 3 replicas here"));
    let warned = k.run("create deployment web --image=i --replicas=4", "");
    assert!(warned.status.success(), "{}", text(&warned.stderr));
    assert_eq!(
        text(&warned.stderr),
        "Warning: Validation failed for ValidatingAdmissionPolicy 'replica-limit.example.com' with binding 'warned.example.com': at most 3 replicas here\n"
    );
    k.ok(r#"patch configmap limit -p '{"data":{"replicas":"9"}}'"#);
    k.ok(patch);
    let wrong = POLICY.replace("object.spec.replicas <=", "object.spec.replicas +");
    let wrong = k.fails("apply -f -", &wrong);
    assert!(
        wrong.contains("spec.validations[0].expression: Invalid value: \"object.spec.replicas + variables.limit\": must evaluate to bool but got int"),
        "{wrong}"
    );
    assert!(
        k.ok("explain validatingadmissionpolicy.spec.validations")
            .contains("messageExpression")
    );
    k.ok_with("delete -f -", POLICY);
    k.ok("create deployment other --image=i --replicas=20 -n tight");
}
