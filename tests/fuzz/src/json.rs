//! Damage to JSON that stays JSON.

use serde_json::{Map, Value, json};

use crate::Random;

/// Names that mean something to patches and to the API.
const NAMES: [&str; 16] = [
    "$patch",
    "$retainKeys",
    "$setElementOrder/containers",
    "$deleteFromPrimitiveList/finalizers",
    "metadata",
    "managedFields",
    "ownerReferences",
    "finalizers",
    "spec",
    "status",
    "name",
    "kind",
    "apiVersion",
    "",
    "a/b~c",
    "\u{0}",
];

impl Random {
    /// A value of whatever kind, nested rarely.
    pub fn value(&mut self) -> Value {
        match self.below(16) {
            0 | 1 => Value::Null,
            2 => json!({}),
            3 => json!([]),
            4 => json!(i64::MIN),
            5 => json!(u64::MAX),
            6 => json!(1e308),
            7 => json!(-0.5),
            8 => json!(true),
            9 => json!(""),
            10 => json!("delete"),
            11 => json!("replace"),
            12 => (0..self.below(4)).map(|_| self.value()).collect(),
            13 => {
                let fields = (0..self.below(4)).map(|_| (self.of(&NAMES).to_owned(), self.value()));
                Value::Object(fields.collect::<Map<_, _>>())
            }
            14 => (0..self.below(100)).fold(Value::Null, |inner, _| json!([inner])),
            _ => json!(self.below(100)),
        }
    }

    /// Replaces, removes, renames or repeats something in a value; what is put in comes from
    /// `donor`, or is any value.
    pub fn graft(&mut self, value: &mut Value, donor: &Value) {
        let deeper = !self.once_in(4);
        match value {
            Value::Object(map) if deeper && !map.is_empty() => {
                let at = self.below(map.len());
                if let Some((_, inner)) = map.iter_mut().nth(at) {
                    self.graft(inner, donor);
                }
            }
            Value::Array(items) if deeper && !items.is_empty() => {
                let at = self.below(items.len());
                self.graft(&mut items[at], donor);
            }
            Value::Object(map) if self.once_in(2) => {
                let name = match self.once_in(2) {
                    true => self.of(&NAMES).to_owned(),
                    false => map
                        .keys()
                        .nth(self.below(map.len()))
                        .cloned()
                        .unwrap_or_default(),
                };
                match self.once_in(3) {
                    true => drop(map.shift_remove(&name)),
                    false => drop(map.insert(name, self.piece(donor))),
                }
            }
            Value::Array(items) if self.once_in(2) => match self.below(3) {
                0 => drop(items.pop()),
                1 => items.extend(items.first().cloned()),
                _ => items.push(self.piece(donor)),
            },
            other => *other = self.piece(donor),
        }
    }

    /// A part of a value, or any other.
    fn piece(&mut self, donor: &Value) -> Value {
        let mut at = donor;
        loop {
            let inner = match at {
                Value::Object(map) => map.values().nth(self.below(map.len())),
                Value::Array(items) => items.get(self.below(items.len())),
                _ => None,
            };
            match inner.filter(|_| !self.once_in(4)) {
                Some(inner) => at = inner,
                None if self.once_in(3) => return self.value(),
                None => return at.clone(),
            }
        }
    }
}
