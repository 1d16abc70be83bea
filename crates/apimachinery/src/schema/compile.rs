//! From OpenAPI v3 JSON to nodes: references are resolved once, patterns and rules compiled once.

mod attributes;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::{Additional, Node, NodeId, Schema, Type, metadata};
use crate::status::FieldError;

/// Deeper than any schema that people write, shallow enough for any stack.
const MAX_DEPTH: usize = 200;

struct Compiler<'a> {
    resolve_ref: &'a dyn Fn(&str) -> Option<Value>,
    custom: bool,
    arena: Vec<Node>,
    references: HashMap<String, NodeId>,
    /// Nodes that are a referenced node plus a few fields of their own.
    overlays: Vec<(NodeId, NodeId)>,
    errors: Vec<FieldError>,
}

pub(super) fn compile(
    schema: &Value,
    resolve_ref: &dyn Fn(&str) -> Option<Value>,
    custom: bool,
) -> Result<Schema, Vec<FieldError>> {
    let mut compiler = Compiler {
        resolve_ref,
        custom,
        arena: Vec::new(),
        references: HashMap::new(),
        overlays: Vec::new(),
        errors: Vec::new(),
    };
    let root = compiler.node(schema, "", 0);
    if custom {
        compiler.make_resource(root);
    }
    compiler.finish(root)
}

/// Compiles a piece of a custom resource's schema, whose root is no resource.
pub(super) fn compile_part(schema: &Value) -> Result<Schema, Vec<FieldError>> {
    let mut compiler = Compiler {
        resolve_ref: &|_| None,
        custom: true,
        arena: Vec::new(),
        references: HashMap::new(),
        overlays: Vec::new(),
        errors: Vec::new(),
    };
    let root = compiler.node(schema, "", 0);
    compiler.finish(root)
}

impl Compiler<'_> {
    fn finish(mut self, root: NodeId) -> Result<Schema, Vec<FieldError>> {
        for index in 0..self.overlays.len() {
            let (wrapper, target) = self.overlays[index];
            let mut base = self.arena[self.overlaid(target)].clone();
            let own = std::mem::take(&mut self.arena[wrapper]);
            // Go's zero value of a type that isn't a map in JSON (a time, a quantity) is no default.
            let is_map = base.kind == Type::Object && !base.quantity;
            let fits = own
                .default
                .as_ref()
                .is_none_or(|default| is_map || !default.is_object());
            base.default = own.default.filter(|_| fits).or(base.default);
            base.list_type = own.list_type.or(base.list_type);
            base.patch = own.patch.or(base.patch);
            base.nullable |= own.nullable;
            base.map_atomic |= own.map_atomic;
            self.arena[wrapper] = base;
        }
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        mark_rules(&mut self.arena);
        Ok(Schema {
            arena: self.arena.into(),
            root,
            custom: self.custom,
        })
    }

    /// Follows overlays that are still to be filled in. Bounded, because schemas can be circular.
    fn overlaid(&self, mut id: NodeId) -> NodeId {
        for _ in 0..self.overlays.len() {
            match self.overlays.iter().find(|(wrapper, _)| *wrapper == id) {
                Some((_, target)) => id = *target,
                None => break,
            }
        }
        id
    }

    fn push(&mut self, node: Node) -> NodeId {
        self.arena.push(node);
        self.arena.len() - 1
    }

    fn node(&mut self, schema: &Value, path: &str, depth: usize) -> NodeId {
        if depth > MAX_DEPTH {
            self.errors.push(FieldError::invalid_omitted(
                path,
                "schema is nested too deeply",
            ));
            return self.push(Node::default());
        }
        if let Some(reference) = sole_reference(schema) {
            let target = self.reference(reference, path, depth);
            let own = self.attributes(schema, path);
            let adds = own.default.is_some()
                || own.list_type.is_some()
                || own.patch.is_some()
                || own.nullable
                || own.map_atomic;
            if !adds {
                return target;
            }
            let wrapper = self.push(own);
            self.overlays.push((wrapper, target));
            return wrapper;
        }
        let id = self.push(Node::default());
        self.fill(id, schema, path, depth);
        id
    }

    fn reference(&mut self, reference: &str, path: &str, depth: usize) -> NodeId {
        if let Some(id) = self.references.get(reference) {
            return *id;
        }
        let id = self.push(Node::default());
        self.references.insert(reference.to_owned(), id);
        match (self.resolve_ref)(reference) {
            Some(schema) => {
                // What is referenced starts a new chain; the table above ends circles.
                self.fill(id, &schema, path, depth + 1);
                self.arena[id].quantity = reference.ends_with(".resource.Quantity");
                self.arena[id].go_name = go_name(reference);
            }
            None => self
                .errors
                .push(FieldError::not_found(path, &Value::from(reference))),
        }
        id
    }

    fn fill(&mut self, id: NodeId, schema: &Value, path: &str, depth: usize) {
        let mut node = self.attributes(schema, path);
        let child = |name: &str| join(path, name);

        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            let mut compiled = HashMap::with_capacity(properties.len());
            for (name, property) in properties {
                let path = join(path, &format!("properties[{name}]"));
                compiled.insert(name.clone(), self.node(property, &path, depth + 1));
            }
            node.properties = Arc::new(compiled);
            node.order = properties.keys().cloned().collect();
        }
        node.additional = match schema.get("additionalProperties") {
            Some(Value::Bool(true)) => Additional::Any,
            Some(inner @ Value::Object(_)) => {
                Additional::Of(self.node(inner, &child("additionalProperties"), depth + 1))
            }
            _ => Additional::None,
        };
        if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
            node.items = Some(self.node(items, &child("items"), depth + 1));
        }
        node.all_of = self.nodes(schema, "allOf", path, depth);
        node.any_of = self.nodes(schema, "anyOf", path, depth);
        // That a built-in type is a number or a text is said once, by its format.
        if self.custom || !node.int_or_string {
            node.one_of = self.nodes(schema, "oneOf", path, depth);
        }
        if let Some(not) = schema.get("not") {
            node.not = Some(self.node(not, &child("not"), depth + 1));
        }
        // A built-in type that lists no fields is free-form (RawExtension, FieldsV1, JSON).
        if !self.custom
            && node.kind == Type::Object
            && node.properties.is_empty()
            && node.additional == Additional::None
        {
            node.preserve_unknown = true;
        }
        let embedded = node.embedded;
        self.arena[id] = node;
        if embedded {
            self.make_resource(id);
            let mut required = self.arena[id].required.to_vec();
            for name in ["apiVersion", "kind"] {
                if !required.iter().any(|other| other == name) {
                    required.push(name.to_owned());
                }
            }
            self.arena[id].required = required.into();
        }
    }

    fn nodes(&mut self, schema: &Value, key: &str, path: &str, depth: usize) -> Arc<[NodeId]> {
        let list = schema.get(key).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .enumerate()
            .map(|(index, inner)| {
                self.node(inner, &join(path, &format!("{key}[{index}]")), depth + 1)
            })
            .collect()
    }

    /// Gives a node the three fields that every resource has.
    fn make_resource(&mut self, id: NodeId) {
        const TYPE: &str = r#"{"type":"string"}"#;
        let text: Value = serde_json::from_str(TYPE).expect("constant JSON");
        let custom = std::mem::replace(&mut self.custom, false);
        let mut properties = (*self.arena[id].properties).clone();
        let mut order = self.arena[id].order.to_vec();
        for (name, schema) in [
            ("apiVersion", text.clone()),
            ("kind", text),
            ("metadata", metadata::object_meta()),
        ] {
            if properties
                .insert(name.to_owned(), self.node(&schema, name, 0))
                .is_none()
            {
                order.push(name.to_owned());
            }
        }
        self.custom = custom;
        self.arena[id].properties = Arc::new(properties);
        self.arena[id].order = order.into();
    }
}

/// The last two parts of a component's name, which are package and type.
fn go_name(reference: &str) -> Option<Arc<str>> {
    let start = reference.rmatch_indices('.').nth(1)?.0 + 1;
    reference.get(start..).map(Arc::from)
}

/// `{"$ref": …}`, or the form built-ins use to add to one: `{"allOf": [{"$ref": …}], …}`.
fn sole_reference(schema: &Value) -> Option<&str> {
    if let Some(reference) = schema.get("$ref") {
        return reference.as_str();
    }
    match schema.get("allOf")?.as_array()?.as_slice() {
        [only] if schema.get("properties").is_none() && schema.get("type").is_none() => {
            only.get("$ref")?.as_str()
        }
        _ => None,
    }
}

fn join(path: &str, segment: &str) -> String {
    if path.is_empty() {
        segment.to_owned()
    } else {
        format!("{path}.{segment}")
    }
}

/// Marks every node from which a rule can be reached; a fixed point, because nodes form circles.
fn mark_rules(arena: &mut [Node]) {
    loop {
        let mut changed = false;
        for index in 0..arena.len() {
            let node = &arena[index];
            if node.rules_within {
                continue;
            }
            let additional = match node.additional {
                Additional::Of(id) => Some(id),
                Additional::Any | Additional::None => None,
            };
            let within = !node.rules.is_empty()
                || node.properties.values().any(|id| arena[*id].rules_within)
                || additional.is_some_and(|id| arena[id].rules_within)
                || node.items.is_some_and(|id| arena[id].rules_within);
            if within {
                arena[index].rules_within = true;
                changed = true;
            }
        }
        if !changed {
            return;
        }
    }
}
