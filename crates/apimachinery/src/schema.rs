//! Structural schemas: compiled once, then used to prune, default, validate, merge and apply.
//!
//! One form serves custom resources (a CRD version's `openAPIV3Schema`) and built-in kinds (their
//! OpenAPI documents, with references). Which schema belongs to which request is for the caller.

pub(crate) mod cel;
mod compile;
mod defaulting;
mod formats;
mod metadata;
mod pruning;
mod rules;
mod validation;

use std::collections::HashMap;
use std::sync::Arc;

use regex::Regex;
use serde_json::{Value, json};

use crate::status::FieldError;
use rules::Rule;

/// A compiled schema. Cloning shares it.
#[derive(Clone)]
pub struct Schema {
    arena: Arc<[Node]>,
    root: NodeId,
    custom: bool,
}

pub(crate) type NodeId = usize;

/// What JSON type a node asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Type {
    #[default]
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

/// What a map says of keys that aren't among its properties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Additional {
    #[default]
    None,
    Any,
    Of(NodeId),
}

/// How lists of this node merge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ListType {
    #[default]
    Atomic,
    Set,
    Map(Arc<[String]>),
}

/// Strategic merge patch's own markers, which only built-in kinds carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PatchStrategy {
    pub(crate) merge: bool,
    pub(crate) retain_keys: bool,
    pub(crate) merge_key: Option<String>,
}

/// Bounds on a value, apart from its type.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bounds {
    pub(crate) format: Option<String>,
    pub(crate) pattern: Option<Regex>,
    pub(crate) allowed: Option<Arc<[Value]>>,
    pub(crate) minimum: Option<f64>,
    pub(crate) maximum: Option<f64>,
    pub(crate) exclusive_minimum: bool,
    pub(crate) exclusive_maximum: bool,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) min_length: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) min_items: Option<u64>,
    pub(crate) max_items: Option<u64>,
    pub(crate) unique_items: bool,
    pub(crate) min_properties: Option<u64>,
    pub(crate) max_properties: Option<u64>,
}

#[derive(Clone, Default)]
pub(crate) struct Node {
    pub(crate) kind: Type,
    pub(crate) nullable: bool,
    pub(crate) int_or_string: bool,
    pub(crate) preserve_unknown: bool,
    pub(crate) embedded: bool,
    pub(crate) quantity: bool,
    /// What the real server calls the type of a built-in kind's fields, such as `v1.PodSpec`.
    pub(crate) go_name: Option<Arc<str>>,
    /// Whether the schema is a Go type's, where a field may be there without being set.
    pub(crate) builtin: bool,
    pub(crate) properties: Arc<HashMap<String, NodeId>>,
    /// The properties' names in the order the schema gives them.
    pub(crate) order: Arc<[String]>,
    pub(crate) additional: Additional,
    pub(crate) items: Option<NodeId>,
    pub(crate) required: Arc<[String]>,
    pub(crate) default: Option<Value>,
    pub(crate) list_type: Option<ListType>,
    pub(crate) map_atomic: bool,
    pub(crate) patch: Option<PatchStrategy>,
    pub(crate) bounds: Arc<Bounds>,
    pub(crate) all_of: Arc<[NodeId]>,
    pub(crate) any_of: Arc<[NodeId]>,
    pub(crate) one_of: Arc<[NodeId]>,
    pub(crate) not: Option<NodeId>,
    pub(crate) rules: Arc<[Rule]>,
    /// Whether this node or one that it reaches has rules.
    pub(crate) rules_within: bool,
}

/// A node together with the arena that its children live in.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    arena: &'a [Node],
    pub(crate) node: &'a Node,
}

impl Schema {
    /// Compiles a built-in kind's OpenAPI v3 schema. `resolve_ref` answers whole `$ref` texts.
    pub fn compile(
        schema: &Value,
        resolve_ref: &dyn Fn(&str) -> Option<Value>,
    ) -> Result<Self, Vec<FieldError>> {
        compile::compile(schema, resolve_ref, false)
    }

    /// Compiles a custom resource's structural schema, and adds what every object has:
    /// `apiVersion`, `kind` and `metadata`, at the root and in embedded resources.
    pub fn compile_custom(schema: &Value) -> Result<Self, Vec<FieldError>> {
        compile::compile(schema, &|_| None, true)
    }

    /// Compiles a piece of a custom resource's schema, to check a default against it.
    pub(crate) fn compile_part(schema: &Value) -> Result<Self, Vec<FieldError>> {
        compile::compile_part(schema)
    }

    /// For kinds without a schema: everything is kept, maps merge, lists are atomic.
    pub fn untyped() -> Self {
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        Self::compile_custom(&schema).expect("a constant schema that the tests compile")
    }

    /// The schema of `metadata` alone.
    pub fn object_meta() -> Self {
        compile::compile(&metadata::object_meta(), &|_| None, false)
            .expect("a constant schema that the tests compile")
    }

    /// Drops fields that the schema doesn't know and says which, as `unknown field "spec.foo"`.
    /// Numbers take their canonical form on the way: `2.0` in an integer field becomes `2`.
    pub fn prune(&self, value: &mut Value) -> Vec<String> {
        pruning::prune(self.root(), value)
    }

    /// Drops nulls where none may stand, and fills in defaults.
    pub fn default(&self, value: &mut Value) {
        defaulting::default(self.root(), value);
    }

    /// Checks a pruned and defaulted value; what `old` already had wrong, unchanged, is let through.
    pub fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = self.check_structure(new, old);
        errors.extend(self.check_rules(new, old, &errors));
        errors
    }

    /// [`Schema::validate`] without the rules.
    pub fn check_structure(&self, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
        validation::structure(self, new, old)
    }

    /// The rules of [`Schema::validate`]; `before` is what was found already.
    pub fn check_rules(
        &self,
        new: &Value,
        old: Option<&Value>,
        before: &[FieldError],
    ) -> Vec<FieldError> {
        validation::rules(self, new, old, before)
    }

    /// The zero value at a path of fields, as text: what Go has where nothing is.
    pub fn zero_text(&self, path: &str) -> &'static str {
        let mut at = self.root();
        for field in path.split('.') {
            match at.field(field) {
                Some(next) => at = next,
                None => return "",
            }
        }
        match at.node.kind {
            Type::Boolean => "false",
            Type::Integer | Type::Number => "0",
            _ => "",
        }
    }

    /// Whether this is a custom resource's schema.
    pub(crate) fn is_custom(&self) -> bool {
        self.custom
    }

    pub(crate) fn root(&self) -> At<'_> {
        At {
            arena: &self.arena,
            node: &self.arena[self.root],
        }
    }
}

impl std::fmt::Debug for Schema {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Schema")
            .field("nodes", &self.arena.len())
            .finish()
    }
}

impl Type {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

impl<'a> At<'a> {
    pub(crate) fn to(self, id: NodeId) -> At<'a> {
        At {
            arena: self.arena,
            node: &self.arena[id],
        }
    }

    /// Whether a null stays; where not, it counts as absent. Free-form values keep their nulls.
    pub(crate) fn accepts_null(self) -> bool {
        self.node.nullable
            || (self.node.kind == Type::Any
                && self.node.builtin
                && !self.node.int_or_string
                && !self.node.quantity
                && self.node.one_of.is_empty())
    }

    /// The schema of a map's entry, declared or additional.
    pub(crate) fn field(self, name: &str) -> Option<At<'a>> {
        if let Some(id) = self.node.properties.get(name) {
            return Some(self.to(*id));
        }
        match self.node.additional {
            Additional::Of(id) => Some(self.to(id)),
            Additional::Any | Additional::None => None,
        }
    }

    /// Whether a map's entry may stand there at all.
    pub(crate) fn allows(self, name: &str) -> bool {
        self.node.preserve_unknown
            || self.node.additional != Additional::None
            || self.node.properties.contains_key(name)
            || (self.node.kind == Type::Any && self.node.properties.is_empty())
    }

    pub(crate) fn is_builtin(self) -> bool {
        self.node.builtin
    }

    pub(crate) fn items(self) -> Option<At<'a>> {
        self.node.items.map(|id| self.to(id))
    }

    pub(crate) fn list_type(self) -> &'a ListType {
        const ATOMIC: &ListType = &ListType::Atomic;
        self.node.list_type.as_ref().unwrap_or(ATOMIC)
    }
}

#[cfg(test)]
mod tests;
