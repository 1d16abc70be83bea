//! `authorizer` in expressions: questions about access, built step by step and judged by the server.

use std::fmt;
use std::sync::Arc;

use kube_cel::cel::extractors::This;
use kube_cel::cel::objects::{Key, Opaque};
use kube_cel::cel::{Context, ExecutionError, ResolveResult, Value as Cel};

use super::Attributes;
use crate::request::Info;

/// Who knows what a user may do.
pub trait Judge: Send + Sync {
    /// Whether the request's user, or this ServiceAccount (namespace and name), may do something.
    fn judge(&self, account: Option<(&str, &str)>, asked: &Info) -> Access;
}

/// What a question came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Whether it is allowed.
    pub allowed: bool,
    /// In words; may be empty.
    pub reason: String,
}

/// A question in the making.
#[derive(Clone)]
struct Question {
    judge: Arc<dyn Judge>,
    account: Option<(String, String)>,
    asked: Info,
    stage: Stage,
}

/// What may be asked next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Start,
    Path,
    Group,
    Resource,
}

#[derive(Debug, PartialEq, Eq)]
struct Answer(Access);

/// `authorizer`, and `authorizer.requestResource`.
pub(super) fn variable(judge: &Arc<dyn Judge>, request: &Attributes) -> Cel {
    let question = |asked, stage| Question {
        judge: judge.clone(),
        account: None,
        asked,
        stage,
    };
    let about_request = Info {
        resource_request: true,
        group: request.resource.group.clone(),
        version: request.resource.version.clone(),
        resource: request.resource.plural.clone(),
        subresource: request.subresource.clone(),
        namespace: request.namespace.clone(),
        name: request.name.clone(),
        ..Info::default()
    };
    let start = question(Info::default(), Stage::Start).into_cel();
    let fields = [
        (ITSELF, start),
        (
            "requestResource",
            question(about_request, Stage::Resource).into_cel(),
        ),
    ];
    let fields: std::collections::HashMap<String, Cel> = fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    fields.into()
}

/// Where the map that `authorizer` is keeps the authorizer itself. No field has such a name.
const ITSELF: &str = "\u{0}authorizer";

/// The functions on it.
pub(super) fn add_functions(context: &mut Context<'_>) {
    context.add_function("path", |This(this): This<Cel>, path: Arc<String>| {
        next(&this, "path", Stage::Start, Stage::Path, |asked| {
            asked.path = path.to_string();
        })
    });
    context.add_function("group", |This(this): This<Cel>, group: Arc<String>| {
        next(&this, "group", Stage::Start, Stage::Group, |asked| {
            asked.resource_request = true;
            asked.group = group.to_string();
            asked.version = "*".into();
        })
    });
    context.add_function(
        "resource",
        |This(this): This<Cel>, resource: Arc<String>| {
            next(&this, "resource", Stage::Group, Stage::Resource, |asked| {
                asked.resource = resource.to_string();
            })
        },
    );
    let refine = |name: &'static str, set: fn(&mut Info, String)| {
        move |This(this): This<Cel>, value: Arc<String>| {
            next(&this, name, Stage::Resource, Stage::Resource, |asked| {
                set(asked, value.to_string());
            })
        }
    };
    context.add_function(
        "subresource",
        refine("subresource", |asked, value| asked.subresource = value),
    );
    context.add_function(
        "namespace",
        refine("namespace", |asked, value| asked.namespace = value),
    );
    context.add_function("name", refine("name", |asked, value| asked.name = value));
    // Selectors narrow a question down; rules here know none, so that the whole is asked about.
    context.add_function("fieldSelector", refine("fieldSelector", |_, _| ()));
    context.add_function("labelSelector", refine("labelSelector", |_, _| ()));
    context.add_function(
        "serviceAccount",
        |This(this): This<Cel>, namespace: Arc<String>, name: Arc<String>| {
            let mut question = question(&this, "serviceAccount", &[Stage::Start])?;
            question.account = Some((namespace.to_string(), name.to_string()));
            ResolveResult::Ok(question.into_cel())
        },
    );
    context.add_function("check", |This(this): This<Cel>, verb: Arc<String>| {
        let mut question = question(&this, "check", &[Stage::Path, Stage::Resource])?;
        question.asked.verb = verb.to_string();
        let account = question.account.as_ref();
        let account = account.map(|(namespace, name)| (namespace.as_str(), name.as_str()));
        let access = question.judge.judge(account, &question.asked);
        ResolveResult::Ok(Cel::Opaque(Arc::new(Answer(access))))
    });
    context.add_function("allowed", |This(this): This<Cel>| {
        answer(&this, "allowed").map(|access| Cel::Bool(access.allowed))
    });
    context.add_function("denied", |This(this): This<Cel>| {
        answer(&this, "denied").map(|_| Cel::Bool(false))
    });
    context.add_function("errored", |This(this): This<Cel>| {
        answer(&this, "errored").map(|_| Cel::Bool(false))
    });
    context.add_function("error", |This(this): This<Cel>| {
        answer(&this, "error").map(|_| Cel::String(Arc::default()))
    });
    context.add_function("reason", |This(this): This<Cel>| {
        answer(&this, "reason").map(|access| Cel::String(Arc::new(access.reason.clone())))
    });
}

fn next(
    this: &Cel,
    function: &str,
    from: Stage,
    to: Stage,
    set: impl FnOnce(&mut Info),
) -> ResolveResult {
    let mut question = question(this, function, &[from])?;
    set(&mut question.asked);
    question.stage = to;
    Ok(question.into_cel())
}

fn question(this: &Cel, function: &str, stages: &[Stage]) -> Result<Question, ExecutionError> {
    let opaque = match this {
        Cel::Opaque(opaque) => Some(opaque),
        Cel::Map(map) => match map.map.get(&Key::from(ITSELF)) {
            Some(Cel::Opaque(opaque)) => Some(opaque),
            _ => None,
        },
        _ => None,
    };
    opaque
        .and_then(|opaque| opaque.downcast_ref::<Question>())
        .filter(|question| stages.contains(&question.stage))
        .cloned()
        .ok_or_else(|| ExecutionError::not_supported_as_method(function, this.clone()))
}

fn answer<'a>(this: &'a Cel, function: &str) -> Result<&'a Access, ExecutionError> {
    match this {
        Cel::Opaque(opaque) => opaque.downcast_ref::<Answer>().map(|answer| &answer.0),
        _ => None,
    }
    .ok_or_else(|| ExecutionError::not_supported_as_method(function, this.clone()))
}

impl Question {
    fn into_cel(self) -> Cel {
        Cel::Opaque(Arc::new(self))
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Question")
            .field("asked", &self.asked)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Question {
    fn eq(&self, other: &Question) -> bool {
        (&self.account, &self.asked, self.stage) == (&other.account, &other.asked, other.stage)
    }
}

impl Eq for Question {}

impl Opaque for Question {
    fn runtime_type_name(&self) -> &str {
        match self.stage {
            Stage::Start => "kubernetes.authorization.Authorizer",
            Stage::Path => "kubernetes.authorization.PathCheck",
            Stage::Group => "kubernetes.authorization.GroupCheck",
            Stage::Resource => "kubernetes.authorization.ResourceCheck",
        }
    }
}

impl Opaque for Answer {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.authorization.Decision"
    }
}
