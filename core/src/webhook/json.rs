//! Strict JSON: what two parsers could read differently is refused, and everything is bounded.
//!
//! serde_json does the grammar. It lets pass what this visitor does not: a key twice (the last one
//! wins), any depth inside a field that is skipped, an array where an object was meant, NUL.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use crate::limits::{JSON_DEPTH_MAX, JSON_KEY_BYTES_MAX, JSON_NODES_MAX};
use crate::refusal::{Code, Refusal};

/// The object in `bytes`.
///
/// # Errors
/// `bad_utf8`, `bad_json`, `not_an_object`, `duplicate_key`, `too_deep`, `too_many_nodes`,
/// `too_long`, `bad_string`: the first fault from the left.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, Refusal> {
    if is_utf16(bytes) {
        return Err(Code::BadJson.refuse("the body is UTF-16; JSON travels as UTF-8"));
    }
    if bytes.starts_with(b"\xEF\xBB\xBF") {
        return Err(Code::BadJson.refuse("the body starts with a byte order mark"));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Code::BadUtf8.refuse("the body holds bytes that are no UTF-8"))?;

    let walk = Walk { nodes: Cell::new(0), fault: Cell::new(None) };
    let mut parser = serde_json::Deserializer::from_str(text);
    let parsed = Node { walk: &walk, depth: 0 }
        .deserialize(&mut parser)
        .and_then(|value| parser.end().map(|()| value));
    match parsed {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(NOT_AN_OBJECT),
        Err(_) => Err(walk.fault.get().unwrap_or(
            Code::BadJson.refuse("the body is not one JSON document (RFC 8259) and nothing else"),
        )),
    }
}

const NOT_AN_OBJECT: Refusal =
    Code::NotAnObject.refuse("the outermost JSON value must be an object");

/// A byte order mark of UTF-16, or ASCII spread over two bytes.
fn is_utf16(bytes: &[u8]) -> bool {
    matches!(bytes, [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] | [0, _, ..] | [_, 0, ..])
}

/// What one parse has seen.
struct Walk {
    nodes: Cell<usize>,
    fault: Cell<Option<Refusal>>,
}

impl Walk {
    fn fail<E: serde::de::Error>(&self, fault: Refusal) -> E {
        self.fault.set(Some(fault));
        E::custom(fault.code)
    }

    fn string<E: serde::de::Error>(&self, text: &str) -> Result<(), E> {
        if text.as_bytes().contains(&0) {
            return Err(self.fail(Code::BadString.refuse("a string holds \\u0000")));
        }
        Ok(())
    }
}

/// One value, `depth` containers down.
#[derive(Clone, Copy)]
struct Node<'w> {
    walk: &'w Walk,
    depth: usize,
}

impl Node<'_> {
    fn scalar<E: serde::de::Error>(self, value: Value) -> Result<Value, E> {
        if self.depth == 0 { Err(self.walk.fail(NOT_AN_OBJECT)) } else { Ok(value) }
    }

    /// The place of a value inside this container.
    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > JSON_DEPTH_MAX {
            return Err(self
                .walk
                .fail(Code::TooDeep.refuse("at most 32 levels of nesting are read")));
        }
        Ok(Self { walk: self.walk, depth })
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        let nodes = self.walk.nodes.get() + 1;
        self.walk.nodes.set(nodes);
        if nodes > JSON_NODES_MAX {
            let fault = Code::TooManyNodes.refuse("at most 5,000 values are read");
            return Err(self.walk.fail(fault));
        }
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Value, E> {
        self.scalar(Value::Bool(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        self.scalar(Value::Number(value.into()))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        self.scalar(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("not finite"))?;
        self.scalar(Value::Number(number))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.scalar(Value::Null)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.walk.string(text)?;
        self.scalar(Value::String(text.to_owned()))
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Value, E> {
        self.walk.string(&text)?;
        self.scalar(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        if self.depth == 0 {
            return Err(self.walk.fail(NOT_AN_OBJECT));
        }
        let inside = self.inside()?;
        let mut array = Vec::new();
        while let Some(value) = items.next_element_seed(inside)? {
            array.push(value);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut object = Map::new();
        while let Some(key) = entries.next_key_seed(Key { walk: self.walk })? {
            let Entry::Vacant(place) = object.entry(key) else {
                let fault = Code::DuplicateKey.refuse("an object holds the same key twice");
                return Err(self.walk.fail(fault));
            };
            place.insert(entries.next_value_seed(inside)?);
        }
        Ok(Value::Object(object))
    }
}

/// An object's key.
struct Key<'w> {
    walk: &'w Walk,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<String, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<String, E> {
        if key.len() > JSON_KEY_BYTES_MAX {
            return Err(self.walk.fail(Code::TooLong.refuse("a key has at most 256 bytes")));
        }
        self.walk.string(key)?;
        Ok(key.to_owned())
    }
}
