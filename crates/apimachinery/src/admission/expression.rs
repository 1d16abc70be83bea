//! Expressions of webhooks and policies: what they see of a request, and running them.

use std::cell::LazyCell;
use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::cel::objects::{Key, Map};
use kube_cel::cel::{Context, Value as Cel};
use serde_json::Value;

use super::Attributes;
use super::authorizer::{self, Judge};
use super::typing::{self, Type, Variables};
use crate::registry::Resource;
use crate::schema::cel::{Program, convert_untyped, functions, why};

thread_local! {
    /// The functions, which are the same for every expression. A context can't cross threads.
    static FUNCTIONS: LazyCell<Context<'static>> = LazyCell::new(|| {
        let mut context = functions();
        authorizer::add_functions(&mut context);
        context
    });
}

/// One expression, compiled.
#[derive(Debug)]
pub(super) struct Expression {
    program: Program,
    text: String,
}

/// What a request shows to expressions. Made once per version in which the request is seen.
pub struct Facts {
    object: Cel,
    old_object: Cel,
    request: Cel,
    namespace: Cel,
    authorizer: Cel,
}

/// What the expressions of one policy or webhook see.
pub(super) struct Scope<'a> {
    context: Context<'a>,
    /// Variables whose expression failed, and why.
    failed: HashMap<String, String>,
}

impl Facts {
    /// The request as it is seen in a version; its objects are already of that version.
    pub fn new(
        request: &Attributes,
        seen_as: &Resource,
        namespace: Option<&Value>,
        judge: &Arc<dyn Judge>,
    ) -> Facts {
        // A namespace is not in itself.
        let namespace = namespace.filter(|_| request.resource.namespaced);
        Facts {
            object: convert_untyped(&request.object),
            old_object: convert_untyped(&request.old_object),
            request: convert_untyped(&Value::Object(request.request(seen_as))),
            namespace: convert_untyped(namespace.unwrap_or(&Value::Null)),
            authorizer: authorizer::variable(judge, request),
        }
    }

    /// Runs expressions that see the request, and a parameter where there can be one: null where a
    /// policy has a kind of parameters and a binding gives none.
    pub(super) fn enter<R>(
        &self,
        params: Option<&Value>,
        run: impl FnOnce(&mut Scope<'_>) -> R,
    ) -> R {
        FUNCTIONS.with(|functions| {
            let mut context = functions.new_inner_scope();
            for (name, value) in [
                ("object", &self.object),
                ("oldObject", &self.old_object),
                ("request", &self.request),
                ("namespaceObject", &self.namespace),
                ("authorizer", &self.authorizer),
            ] {
                context.add_variable_from_value(name, value.clone());
            }
            if let Some(params) = params {
                context.add_variable_from_value("params", convert_untyped(params));
            }
            run(&mut Scope {
                context,
                failed: HashMap::new(),
            })
        })
    }
}

impl Expression {
    /// Compiles what was accepted when it was stored.
    pub(super) fn stored(source: &str) -> Result<Expression, String> {
        let program = Program::dynamic(source)
            .map_err(|error| format!("compilation failed: {}", tidy(&error.to_string())))?;
        Ok(Expression {
            program,
            text: source.to_owned(),
        })
    }

    /// Compiles and judges what is about to be stored; the type that it evaluates to.
    pub(super) fn check(
        source: &str,
        variables: &Variables,
        wanted: &[Type],
    ) -> Result<Type, String> {
        let expression = Expression::stored(source)?;
        let found = typing::infer(expression.program.expression(), variables)
            .map_err(|fault| format!("compilation failed: {}", fault.shown(source)))?;
        if wanted.is_empty() || found == Type::Unknown || wanted.contains(&found) {
            return Ok(found);
        }
        Err(match wanted {
            [wanted] => format!("must evaluate to {wanted} but got {found}"),
            several => {
                let several: Vec<String> = several.iter().map(Type::to_string).collect();
                format!(
                    "must evaluate to one of [{}] but got {found}",
                    several.join(" ")
                )
            }
        })
    }

    /// As it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Runs it; an error names the expression, as the real server's do.
    pub(super) fn run(&self, scope: &Scope<'_>) -> Result<Cel, String> {
        self.evaluate(scope)
            .map_err(|why| format!("expression '{}' resulted in error: {why}", self.text))
    }

    fn evaluate(&self, scope: &Scope<'_>) -> Result<Cel, String> {
        self.program.execute(&scope.context).map_err(|failure| {
            let why = why(&failure);
            let variable = why.strip_prefix("no such key: ");
            match variable.and_then(|name| scope.failed.get(name)) {
                Some(reason) => reason.clone(),
                None => why,
            }
        })
    }
}

impl Scope<'_> {
    /// Evaluates a policy's variables, each of which may use those before it.
    pub(super) fn evaluate(&mut self, variables: &[(String, Expression)]) {
        if variables.is_empty() {
            return;
        }
        let mut known = HashMap::new();
        self.set_variables(&known);
        for (name, expression) in variables {
            match expression.evaluate(self) {
                Ok(value) => {
                    known.insert(Key::String(Arc::new(name.clone())), value);
                    self.set_variables(&known);
                }
                Err(why) => {
                    let why = format!("composited variable \"{name}\" fails to evaluate: {why}");
                    self.failed.insert(name.clone(), why);
                }
            }
        }
    }

    fn set_variables(&mut self, known: &HashMap<Key, Cel>) {
        let map = Arc::new(known.clone());
        self.context
            .add_variable_from_value("variables", Cel::Map(Map { map }));
    }
}

/// The compiler's message in the real server's layout.
fn tidy(message: &str) -> String {
    message.replace("\n| ", "\n | ")
}
