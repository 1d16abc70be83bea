use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::policy::Policy;
use super::webhook::Webhook;
use super::*;
use crate::registry::Registry;
use crate::request::Info;

/// Allows one thing, and keeps what it was asked.
#[derive(Default)]
struct Keeper {
    asked: Mutex<Vec<(Option<String>, Info)>>,
}

impl Judge for Keeper {
    fn judge(&self, account: Option<(&str, &str)>, asked: &Info) -> Access {
        let account = account.map(|(namespace, name)| format!("{namespace}/{name}"));
        self.asked.lock().unwrap().push((account, asked.clone()));
        Access {
            allowed: asked.verb == "get",
            reason: "because".into(),
        }
    }
}

fn request(plural: &str, operation: Operation, object: Value) -> Attributes {
    let registry = Registry::builtin();
    let (group, version) = match plural {
        "deployments" => ("apps", "v1"),
        _ => ("", "v1"),
    };
    let resource = registry.get(group, version, plural).unwrap().clone();
    Attributes {
        operation,
        kind_of: GroupVersion::new(group, version),
        kind: resource.kind.clone(),
        subresource: String::new(),
        namespace: if resource.namespaced { "web" } else { "" }.into(),
        name: object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .into(),
        resource,
        user: json!({"username": "u", "groups": ["g"]}),
        dry_run: false,
        options: json!({}),
        object,
        old_object: Value::Null,
    }
}

fn pod(name: &str) -> Attributes {
    let object = json!({"kind": "Pod", "metadata": {"name": name, "labels": {"app": "x"}}});
    request("pods", Operation::Create, object)
}

fn policy(validations: &[&str], more: Value) -> Policy {
    let validations: Vec<Value> = validations
        .iter()
        .map(|text| json!({"expression": text}))
        .collect();
    let mut spec = json!({"validations": validations});
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    Policy::read(&json!({"metadata": {"name": "p"}, "spec": spec}))
}

fn messages(policy: &Policy, request: &Attributes, params: Option<&Value>) -> Vec<String> {
    let judge: Arc<dyn Judge> = Arc::new(Keeper::default());
    let namespace = json!({"metadata": {"name": "web", "labels": {"a": "b"}}});
    let facts = Facts::new(request, &request.resource, Some(&namespace), &judge);
    let found = policy.violations(&facts, params);
    found
        .into_iter()
        .map(|violation| violation.message)
        .collect()
}

#[test]
fn rules_name_operations_resources_subresources_and_scopes() {
    let matches = |rule: Value, request: &Attributes| {
        let criteria = Criteria::of_webhook(&json!({"rules": [rule]}));
        criteria.matches(request, &[], None).unwrap().is_some()
    };
    let rule = |operation: &str, resources: &str, scope: &str| json!({"operations": [operation], "apiGroups": ["*"], "apiVersions": ["v1"], "resources": [resources], "scope": scope});
    let whole = pod("a");
    let mut status = pod("a");
    status.subresource = "status".into();
    let cases = [
        ("CREATE", "pods", "*", true, false),
        ("*", "*", "Namespaced", true, false),
        ("*", "*/*", "*", true, true),
        ("*", "pods/*", "*", true, true),
        ("*", "*/status", "*", false, true),
        ("*", "pods/status", "*", false, true),
        ("*", "services", "*", false, false),
        ("UPDATE", "pods", "*", false, false),
        ("CREATE", "pods", "Cluster", false, false),
    ];
    for (operation, resources, scope, of_whole, of_status) in cases {
        let rule = rule(operation, resources, scope);
        assert_eq!(matches(rule.clone(), &whole), of_whole, "{rule}");
        assert_eq!(matches(rule.clone(), &status), of_status, "{rule}");
    }
    let mut namespace = request(
        "namespaces",
        Operation::Create,
        json!({"metadata": {"name": "n"}}),
    );
    namespace.namespace = "n".into();
    assert!(matches(rule("*", "*", "Cluster"), &namespace));
    assert!(!matches(rule("*", "*", "Namespaced"), &namespace));
}

#[test]
fn selectors_leave_requests_out() {
    let rules = json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}]);
    let criteria = |field: &str, label: &str| {
        let mut webhook = json!({"rules": rules});
        webhook[field] = json!({"matchLabels": {"app": label}});
        Criteria::of_webhook(&webhook)
    };
    let request = pod("a");
    let matches = |criteria: Criteria, namespace: Option<&Value>| {
        criteria
            .matches(&request, &[], namespace)
            .map(|found| found.is_some())
    };
    let namespace = json!({"metadata": {"labels": {"app": "x"}}});
    assert_eq!(matches(criteria("objectSelector", "x"), None), Ok(true));
    assert_eq!(matches(criteria("objectSelector", "y"), None), Ok(false));
    assert_eq!(
        matches(criteria("namespaceSelector", "x"), Some(&namespace)),
        Ok(true)
    );
    assert_eq!(
        matches(criteria("namespaceSelector", "y"), Some(&namespace)),
        Ok(false)
    );
    // Without the namespace nothing can be said, unless the rest leaves the request out.
    let missing = matches(criteria("namespaceSelector", "x"), None).unwrap_err();
    assert_eq!(missing.code, 404);
    let elsewhere = json!({"rules": [], "namespaceSelector": {"matchLabels": {"app": "x"}}});
    assert_eq!(matches(Criteria::of_webhook(&elsewhere), None), Ok(false));
    // The old object counts, too.
    let mut updated = pod("a");
    updated.old_object = json!({"metadata": {"labels": {"app": "old"}}});
    let found = criteria("objectSelector", "old").matches(&updated, &[], None);
    assert!(found.unwrap().is_some());
}

#[test]
fn policies_see_object_request_namespace_parameters_and_variables() {
    let held = [
        "object.metadata.name == 'a'",
        "oldObject == null",
        "request.operation == 'CREATE' && request.kind.kind == 'Pod'",
        "request.resource.resource == 'pods' && !has(request.subResource)",
        "request.namespace == 'web' && request.userInfo.groups == ['g']",
        "namespaceObject.metadata.labels['a'] == 'b'",
        "params.size == 3",
        "variables.twice == 2 && variables.four == 4",
        "object.metadata.?labels.?nothing.orValue('x') == 'x'",
    ];
    let more = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "variables": [{"name": "twice", "expression": "1 + 1"}, {"name": "four", "expression": "variables.twice * 2"}],
    });
    let params = json!({"size": 3});
    assert_eq!(
        messages(&policy(&held, more), &pod("a"), Some(&params)),
        Vec::<String>::new()
    );
}

#[test]
fn fields_of_what_has_none_are_errors_and_optional_ones_are_absent() {
    let held = [
        "object.metadata.?labels.app.orValue('') == 'x'",
        "object.metadata.?nothing.app.orValue('none') == 'none'",
        "!object.?spec.?containers.hasValue()",
        "object.metadata.?name.value() == 'a'",
        "has(object.metadata.name) && !has(object.spec)",
        "object.metadata.labels.all(key, object.metadata.labels[key] == 'x')",
    ];
    assert_eq!(
        messages(&policy(&held, json!({})), &pod("a"), None),
        Vec::<String>::new()
    );
    let wrong = messages(
        &policy(&["object.metadata.name.first != true"], json!({})),
        &pod("a"),
        None,
    );
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert!(
        wrong[0].contains("resulted in error: no such overload"),
        "{wrong:?}"
    );
}

#[test]
fn failures_count_as_the_failure_policy_says() {
    let broken = ["object.spec.nothing == 1", "variables.bad == 1"];
    let variables = json!([{"name": "bad", "expression": "object.spec.x"}]);
    let found = messages(
        &policy(&broken, json!({"variables": variables})),
        &pod("a"),
        None,
    );
    assert_eq!(
        found,
        [
            "expression 'object.spec.nothing == 1' resulted in error: no such key: spec",
            "expression 'variables.bad == 1' resulted in error: composited variable \"bad\" fails to evaluate: no such key: spec",
        ]
    );
    let ignoring = json!({"variables": variables, "failurePolicy": "Ignore"});
    assert!(messages(&policy(&broken, ignoring), &pod("a"), None).is_empty());
    // A condition that is false decides, whatever else fails.
    let conditions = json!({"matchConditions": [{"name": "a", "expression": "object.x.y"}, {"name": "b", "expression": "false"}]});
    assert!(messages(&policy(&["false"], conditions), &pod("a"), None).is_empty());
    let conditions = json!({"matchConditions": [{"name": "a", "expression": "object.x.y"}]});
    assert_eq!(
        messages(&policy(&["true"], conditions), &pod("a"), None),
        ["expression 'object.x.y' resulted in error: no such key: x"]
    );
}

#[test]
fn access_is_asked_on_behalf_of_the_user_and_of_accounts() {
    let keeper = Arc::new(Keeper::default());
    let judge: Arc<dyn Judge> = keeper.clone();
    let request = pod("a");
    let facts = Facts::new(&request, &request.resource, None, &judge);
    let found = policy(
        &[
            "authorizer.group('apps').resource('deployments').subresource('scale').namespace('n').name('d').check('get').allowed()",
            "authorizer.path('/healthz').check('get').reason() == 'because'",
            "!authorizer.serviceAccount('s', 'robot').requestResource.check('delete').allowed() || true",
            "!authorizer.requestResource.check('delete').allowed()",
            "!authorizer.serviceAccount('s', 'robot').group('').resource('pods').check('list').allowed()",
        ],
        json!({}),
    )
    .violations(&facts, None);
    assert_eq!(found, []);
    let asked = keeper.asked.lock().unwrap();
    let of = |index: usize| {
        let (account, info) = &asked[index];
        (
            account.clone(),
            [
                &info.verb,
                &info.group,
                &info.resource,
                &info.subresource,
                &info.namespace,
                &info.name,
                &info.path,
            ]
            .map(String::as_str),
        )
    };
    assert_eq!(
        of(0),
        (None, ["get", "apps", "deployments", "scale", "n", "d", ""])
    );
    assert_eq!(of(1), (None, ["get", "", "", "", "", "", "/healthz"]));
    assert_eq!(of(2), (None, ["delete", "", "pods", "", "web", "a", ""]));
    assert_eq!(
        of(3),
        (Some("s/robot".into()), ["list", "", "pods", "", "", "", ""])
    );
}

#[test]
fn expressions_that_can_never_be_judged_are_refused() {
    let check = |expression: &str| {
        let rules = [
            json!({"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}),
        ];
        let object = json!({"metadata": {"name": "p"}, "spec": {
            "matchConstraints": {"resourceRules": rules},
            "validations": [{"expression": expression}],
        }});
        validate("validatingadmissionpolicies", &object, None)
    };
    let accepted = [
        "object.spec.replicas <= 5",
        "object.spec.containers.all(c, c.image.startsWith('x') && has(c.name))",
        "request.userInfo.groups.exists(g, g in ['a', 'b'])",
        "object.?spec.?x.orValue(1) == 1",
        "[1, 2].map(x, x + 1).filter(x, x > 1).size() > 1",
        "object.a + 1 > 2.5 || size(object.list) in [1, 2]",
        "quantity(object.size).isLessThan(quantity('2Gi')) && url('http://x').getHost() == 'x'",
        "authorizer.group('').resource('pods').check('get').allowed()",
        "timestamp(object.at) + duration('1h') > timestamp('2026-01-01T00:00:00Z')",
        "sets.contains(object.list, ['a']) && math.greatest(1, 2) == 2",
        "object.spec.x == null || namespaceObject.metadata.labels.exists(k, k == 'a')",
    ];
    for expression in accepted {
        assert_eq!(check(expression), [], "{expression}");
    }
    let refused = [
        ("object.spec.enabled", "must evaluate to bool but got dyn"),
        (
            "[1].map(x, 'a')",
            "must evaluate to bool but got list(string)",
        ),
        (
            "object.a && 'b'",
            "found no matching overload for '_&&_' applied to '(dyn, string)'",
        ),
        (
            "request.name < 1",
            "found no matching overload for '_<_' applied to '(string, int)'",
        ),
        (
            "request.userInfo.nothing == 'a'",
            "undefined field 'nothing'",
        ),
        ("object.nothing(1)", "undeclared reference to 'nothing'"),
        (
            "object.list.all(x, y, x == y)",
            "macro 'all' with 3 arguments is not supported by this server",
        ),
        (
            "authorizer.check('get').allowed()",
            "found no matching overload for 'check'",
        ),
        ("((", "compilation failed: ERROR"),
    ];
    for (expression, message) in refused {
        let errors = check(expression);
        assert_eq!(errors.len(), 1, "{expression}: {errors:?}");
        assert!(
            errors[0].message.contains(message),
            "{expression}: {}",
            errors[0]
        );
        assert_eq!(errors[0].field, "spec.validations[0].expression");
    }
}

#[test]
fn what_was_accepted_once_is_not_judged_again() {
    let object = json!({"spec": {
        "matchConstraints": {"resourceRules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}]},
        "matchConditions": [{"name": "a", "expression": "nothing"}],
        "validations": [{"expression": "nothing"}],
    }});
    assert_eq!(
        validate("validatingadmissionpolicies", &object, None).len(),
        2
    );
    assert_eq!(
        validate("validatingadmissionpolicies", &object, Some(&object)),
        []
    );
}

#[test]
fn answers_of_webhooks_are_looked_at_closely() {
    let read = |mutating| {
        let configuration = json!({"metadata": {"name": "c"}, "webhooks": [{
            "name": "h", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        }]});
        Webhook::read_all(&configuration, mutating).remove(0)
    };
    let request = pod("a");
    let verdict = |mutating: bool, answer: Value| {
        let webhook = read(mutating);
        let review = webhook
            .review(&request, &request.resource, "u1")
            .unwrap()
            .unwrap();
        webhook.verdict(&review, &answer)
    };
    let answer = |response: Value| json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    assert_eq!(
        verdict(true, json!([])).unwrap_err(),
        "webhook response was absent"
    );
    let wrong = [
        (
            true,
            json!({"uid": "u2", "allowed": true}),
            "expected response.uid=\"u1\", got \"u2\"",
        ),
        (
            true,
            json!({"uid": "u1", "allowed": true, "patch": "W10="}),
            "not response.patchType",
        ),
        (
            true,
            json!({"uid": "u1", "allowed": true, "patchType": "JSONPatch"}),
            "not response.patch",
        ),
        (
            false,
            json!({"uid": "u1", "allowed": true, "patch": "W10="}),
            "may not return response.patch",
        ),
        (
            true,
            json!({"uid": "u1", "allowed": true, "patch": "W10=", "patchType": "Merge"}),
            "unsupported patch type \"Merge\"",
        ),
        (
            true,
            json!({"uid": "u1", "allowed": true, "patch": "%", "patchType": "JSONPatch"}),
            "undecodable patch",
        ),
        (
            true,
            json!({"uid": "u1", "allowed": true, "patch": "e30=", "patchType": "JSONPatch"}),
            "undecodable patch",
        ),
    ];
    for (mutating, response, why) in wrong {
        let error = verdict(mutating, answer(response)).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    // No webhook makes a refusal a success.
    let refused =
        answer(json!({"uid": "u1", "allowed": false, "status": {"code": 200, "reason": "Why"}}));
    let status = verdict(false, refused).unwrap().refusal.unwrap();
    assert_eq!(status.code, 400);
    assert_eq!(
        status.message,
        "admission webhook \"h\" denied the request: Why"
    );
}

#[test]
fn dry_runs_reach_only_webhooks_without_side_effects() {
    let configuration = json!({"webhooks": [{"name": "h", "sideEffects": "Some", "admissionReviewVersions": ["v1"]}]});
    let webhook = Webhook::read_all(&configuration, false).remove(0);
    let mut request = pod("a");
    assert!(webhook.review(&request, &request.resource, "u").is_ok());
    request.dry_run = true;
    let refused = webhook
        .review(&request, &request.resource, "u")
        .unwrap_err();
    assert_eq!(
        (refused.code, &*refused.message),
        (400, "admission webhook \"h\" does not support dry run")
    );
}

#[test]
fn nonsense_in_expressions_is_an_error_and_never_a_panic() {
    let nonsense = [
        "[1, 2][5] == 1",
        "[1, 2][-1] == 1",
        "[1, 2]['a'] == 1",
        "'abc'[0] == 'a'",
        "{}['x'] == 1",
        "{1: 2}[[1]] == 2",
        "object[1] == 2",
        "object.metadata.name[0] == 'a'",
        "duration('x') == duration('1s')",
        "timestamp('never') > timestamp('2026-01-01T00:00:00Z')",
        "int('9223372036854775808') == 1",
        "int(1e300) == 1",
        "uint(-1) == 1u",
        "-(-9223372036854775807 - 1) == 1",
        "9223372036854775807 + 1 == 1",
        "9223372036854775807 * 9223372036854775807 == 1",
        "1 / 0 == 1",
        "1 % 0 == 1",
        "(-9223372036854775807 - 1) / -1 == 1",
        "(-9223372036854775807 - 1) % -1 == 1",
        "'a'.matches('(')",
        "'a'.charAt(50) == 'a'",
        "'a'.substring(5, 2) == 'a'",
        "'é'.substring(0, 1) == 'x'",
        "'a'.replace('', 'bb', -5) == 'x'",
        "quantity('x').isLessThan(quantity('1'))",
        "url('::').getHost() == ''",
        "ip('300.1.1.1').family() == 4",
        "cidr('1.1.1.1/99').prefixLength() == 99",
        "semver('x').major() == 1",
        "'%d'.format(['a']) == 'x'",
        "'%s %s'.format([1]) == 'x'",
        "optional.none().value() == 1",
        "lists.range(-5).size() == 1",
        "[1, 'a', null].max() == 1",
        "[].min() == 1",
        "[3, 1].slice(5, 9).size() == 1",
        "'x' in 5",
        "object.nothing.all(x, x)",
        "5.all(x, x)",
        "base64.decode('%') == b'x'",
        "type(object.nothing) == int",
        "size(null) == 1",
        "authorizer.check('get').allowed()",
        "authorizer.group('').group('').resource('').check('').allowed()",
        "authorizer == authorizer && authorizer.path('x') == authorizer",
        "request.userInfo.groups[7] == 'x'",
        "variables.nothing == 1",
        "params.nothing == 1",
    ];
    for expression in nonsense {
        for message in messages(&policy(&[expression], json!({})), &pod("a"), None) {
            assert!(!message.is_empty(), "{expression}");
        }
    }
    let deep = format!("{}true{}", "(".repeat(5000), ")".repeat(5000));
    assert_eq!(
        messages(&policy(&[&deep], json!({})), &pod("a"), None).len(),
        1
    );
    let wide = vec!["true"; 2000].join(" && ");
    assert!(messages(&policy(&[&wide], json!({})), &pod("a"), None).len() <= 1);
}
