//! JSON into a value, noting the fields that an object has twice.

use std::cell::RefCell;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::Body;

#[derive(Default)]
struct Notes {
    path: String,
    duplicates: Vec<String>,
}

#[derive(Clone, Copy)]
struct Seed<'a>(&'a RefCell<Notes>);

pub(super) fn read(bytes: &[u8]) -> Result<Body, serde_json::Error> {
    let notes = RefCell::new(Notes::default());
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Seed(&notes).deserialize(&mut reader)?;
    reader.end()?;
    Ok(Body {
        value,
        duplicates: notes.into_inner().duplicates,
    })
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        let length = self.0.borrow().path.len();
        loop {
            self.0
                .borrow_mut()
                .path
                .push_str(&format!("[{}]", list.len()));
            let item = items.next_element_seed(self)?;
            self.0.borrow_mut().path.truncate(length);
            match item {
                Some(item) => list.push(item),
                None => return Ok(list.into()),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        let length = self.0.borrow().path.len();
        while let Some(name) = entries.next_key::<String>()? {
            {
                let mut notes = self.0.borrow_mut();
                if length > 0 {
                    notes.path.push('.');
                }
                notes.path.push_str(&name);
                if map.contains_key(&name) {
                    let note = format!("duplicate field {:?}", notes.path);
                    if !notes.duplicates.contains(&note) {
                        notes.duplicates.push(note);
                    }
                }
            }
            let value = entries.next_value_seed(self)?;
            self.0.borrow_mut().path.truncate(length);
            map.insert(name, value);
        }
        Ok(map.into())
    }
}
