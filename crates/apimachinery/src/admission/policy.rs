//! ValidatingAdmissionPolicies and their bindings.

use kube_cel::cel::Value as Cel;
use serde_json::Value;

use super::expression::{Expression, Facts, Scope};
use super::{Attributes, Conditions, Criteria, FailurePolicy};
use crate::selector::LabelSelector;
use crate::status::Status;

/// The longest message that a `messageExpression` may make, bytes; as on the real server.
const LONGEST_MESSAGE: usize = 5 * 1024;

/// One policy, compiled.
#[derive(Debug)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Which requests it is about.
    pub criteria: Criteria,
    /// What happens when it can't be judged.
    pub failure: FailurePolicy,
    /// `apiVersion` and kind of its parameters.
    pub param_kind: Option<(String, String)>,
    conditions: Conditions,
    variables: Vec<(String, Expression)>,
    validations: Vec<Validation>,
    annotations: Vec<Expression>,
    /// Why it can't be run.
    broken: Option<String>,
}

#[derive(Debug)]
struct Validation {
    expression: Expression,
    message: String,
    message_expression: Option<Expression>,
    reason: String,
}

/// What makes a policy apply, and with which parameters.
#[derive(Debug)]
pub struct Binding {
    /// Its name.
    pub name: String,
    /// The policy's name.
    pub policy: String,
    /// To which of the policy's requests it applies.
    pub criteria: Criteria,
    /// Where parameters come from.
    pub params: Option<ParamRef>,
    actions: Vec<String>,
}

/// Which objects are a binding's parameters.
#[derive(Debug)]
pub struct ParamRef {
    /// By name…
    pub name: Option<String>,
    /// … or by labels.
    pub selector: Option<LabelSelector>,
    /// Empty: the request's own.
    pub namespace: String,
    /// Without any, the request is refused.
    pub required: bool,
}

/// One rule that is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// In words.
    pub message: String,
    /// The reason of the refusal; empty for `Invalid`.
    pub reason: String,
}

/// What a violation leads to.
#[derive(Debug, Default)]
pub struct Consequences {
    /// For the client's eyes.
    pub warnings: Vec<String>,
    /// The refusal.
    pub refusal: Option<Status>,
}

impl Policy {
    /// Compiles a stored policy.
    pub fn read(policy: &Value) -> Policy {
        let spec = &policy["spec"];
        let failure = FailurePolicy::read(&spec["failurePolicy"]);
        let mut broken = None;
        let mut compile = |source: &Value| {
            let compiled = Expression::stored(source.as_str().unwrap_or_default());
            compiled.map_err(|error| broken = Some(error)).ok()
        };
        let list = |field: &str| spec[field].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let variables = list("variables")
            .filter_map(|variable| {
                Some((text(&variable["name"]), compile(&variable["expression"])?))
            })
            .collect();
        let validations = list("validations")
            .filter_map(|validation| {
                let given = !validation["messageExpression"].is_null();
                Some(Validation {
                    expression: compile(&validation["expression"])?,
                    message: text(&validation["message"]).trim().to_owned(),
                    message_expression: match given {
                        true => compile(&validation["messageExpression"]),
                        false => None,
                    },
                    reason: text(&validation["reason"]),
                })
            })
            .collect();
        let annotations = list("auditAnnotations")
            .filter_map(|annotation| compile(&annotation["valueExpression"]))
            .collect();
        let kind = &spec["paramKind"];
        Policy {
            name: text(&policy["metadata"]["name"]),
            criteria: Criteria::of_policy(&spec["matchConstraints"]),
            failure,
            param_kind: kind
                .is_object()
                .then(|| (text(&kind["apiVersion"]), text(&kind["kind"]))),
            conditions: Conditions::read(&spec["matchConditions"], failure),
            variables,
            validations,
            annotations,
            broken,
        }
    }

    /// The rules that a request breaks, with one parameter or none.
    pub fn violations(&self, facts: &Facts, params: Option<&Value>) -> Vec<Violation> {
        let failed = |message: String| match self.failure {
            FailurePolicy::Ignore => None,
            FailurePolicy::Fail => Some(Violation {
                message,
                reason: String::new(),
            }),
        };
        if let Some(why) = &self.broken {
            return failed(why.clone()).into_iter().collect();
        }
        let params = params.unwrap_or(&Value::Null);
        let params = self.param_kind.as_ref().map(|_| params);
        facts.enter(params, |scope| {
            match self.conditions.hold_within(scope) {
                Ok(true) => {}
                Ok(false) => return Vec::new(),
                Err(why) => return failed(why).into_iter().collect(),
            }
            scope.evaluate(&self.variables);
            let mut found = Vec::new();
            for validation in &self.validations {
                match validation.expression.run(scope) {
                    Ok(Cel::Bool(true)) => {}
                    Ok(_) => found.push(Violation {
                        message: validation.message(scope),
                        reason: validation.reason.clone(),
                    }),
                    Err(why) => found.extend(failed(why)),
                }
            }
            // Nothing is audited here, but what can't be annotated is refused all the same.
            for annotation in &self.annotations {
                if let Err(why) = annotation.run(scope) {
                    found.extend(failed(why));
                }
            }
            found
        })
    }
}

impl Validation {
    fn message(&self, scope: &Scope<'_>) -> String {
        let made = self.message_expression.as_ref();
        let made = made.and_then(|expression| match expression.run(scope) {
            Ok(Cel::String(text)) => Some(text.trim().to_owned()),
            _ => None,
        });
        let fits = |text: &String| {
            !text.is_empty() && text.len() <= LONGEST_MESSAGE && !text.contains('\n')
        };
        made.filter(fits).unwrap_or_else(|| match &*self.message {
            "" => format!("failed expression: {}", self.expression.text().trim()),
            message => message.to_owned(),
        })
    }
}

impl Binding {
    /// Reads a stored binding.
    pub fn read(binding: &Value) -> Binding {
        let spec = &binding["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let params = &spec["paramRef"];
        Binding {
            name: text(&binding["metadata"]["name"]),
            policy: text(&spec["policyName"]),
            criteria: Criteria::of_policy(&spec["matchResources"]),
            params: params.is_object().then(|| ParamRef {
                name: params["name"].as_str().map(str::to_owned),
                selector: params["selector"]
                    .is_object()
                    .then(|| LabelSelector::from_json(&params["selector"]).ok())
                    .flatten(),
                namespace: text(&params["namespace"]),
                required: params["parameterNotFoundAction"] == "Deny",
            }),
            actions: spec["validationActions"]
                .as_array()
                .into_iter()
                .flatten()
                .map(text)
                .collect(),
        }
    }

    /// What violations of a policy lead to under this binding; only the first refusal counts.
    pub fn consequences(
        &self,
        request: &Attributes,
        violations: &[Violation],
        consequences: &mut Consequences,
    ) {
        for violation in violations {
            for action in &self.actions {
                match &**action {
                    "Deny" if consequences.refusal.is_none() => {
                        consequences.refusal = Some(self.refusal(request, violation));
                    }
                    "Warn" => consequences.warnings.push(format!(
                        "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {}",
                        self.policy, self.name, violation.message
                    )),
                    _ => {}
                }
            }
        }
    }

    /// A refusal because of a violation.
    pub fn refusal(&self, request: &Attributes, violation: &Violation) -> Status {
        refusal(
            request,
            violation,
            &format!(
                "ValidatingAdmissionPolicy '{}' with binding '{}' denied request: {}",
                self.policy, self.name, violation.message
            ),
        )
    }
}

impl ParamRef {
    /// Whether an object is a parameter.
    pub fn selects(&self, object: &Value) -> bool {
        match (&self.name, &self.selector) {
            (Some(name), _) => object["metadata"]["name"] == **name,
            (None, Some(selector)) => selector.matches_object(object),
            (None, None) => false,
        }
    }
}

/// A refusal because a policy can't be set up, whatever its bindings say.
pub fn unusable(request: &Attributes, policy: &Policy, why: &str) -> Status {
    let violation = Violation {
        message: String::new(),
        reason: String::new(),
    };
    refusal(
        request,
        &violation,
        &format!(
            "ValidatingAdmissionPolicy '{}' denied request: failed to configure policy: {why}",
            policy.name
        ),
    )
}

fn refusal(request: &Attributes, violation: &Violation, message: &str) -> Status {
    let mut status = request.forbidden(message);
    let (code, reason) = match &*violation.reason {
        "Forbidden" => (403, crate::status::Reason::Forbidden),
        "Unauthorized" => (401, crate::status::Reason::Unauthorized),
        "RequestEntityTooLarge" => (413, crate::status::Reason::RequestEntityTooLarge),
        _ => (422, crate::status::Reason::Invalid),
    };
    status.code = code;
    status.reason = Some(reason);
    if let Some(details) = &mut status.details {
        details.causes.push(crate::status::Cause {
            message: message.to_owned(),
            ..crate::status::Cause::default()
        });
    }
    status
}
