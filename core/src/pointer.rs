//! Places in a payload: JSON pointers (RFC 6901), parsed once.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::limits::MATCHER_BYTES_MAX;

/// A pointer to something below the outermost object, such as `/type` or `/meta/section`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pointer {
    text: Box<str>,
    first: Box<str>,
    /// Where the part behind the first key begins.
    rest: usize,
}

/// The text is no [`Pointer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a field is a JSON pointer such as /type or /meta/section, of up to {MATCHER_BYTES_MAX} bytes"
)]
pub struct BadPointer;

impl FromStr for Pointer {
    type Err = BadPointer;

    fn from_str(text: &str) -> Result<Self, BadPointer> {
        let path = text.strip_prefix('/').filter(|_| text.len() <= MATCHER_BYTES_MAX);
        let first = path.ok_or(BadPointer)?.split('/').next().unwrap_or_default();
        Ok(Self {
            text: text.into(),
            first: first.replace("~1", "/").replace("~0", "~").into(),
            rest: 1 + first.len(),
        })
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pointer {
    /// The keys it goes through, from the outside in.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let path = self.text.split('/').skip(1);
        path.map(|key| key.replace("~1", "/").replace("~0", "~")).collect()
    }

    /// What stands there; `None` when nothing does.
    #[must_use]
    pub fn find<'f>(&self, fields: &'f Map<String, Value>) -> Option<&'f Value> {
        fields.get(&*self.first)?.pointer(&self.text[self.rest..])
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_pointer_finds_what_rfc_6901_says() {
        let Value::Object(fields) = json!({
            "a/b": 1, "m~n": 2, "": 3, "list": ["x", { "y": 4 }], "deep": { "a": { "": 5 } }, "n": null
        }) else {
            unreachable!()
        };
        let found = |text: &str| text.parse::<Pointer>().unwrap().find(&fields).cloned();
        for (text, expected) in [
            ("/a~1b", Some(json!(1))),
            ("/m~0n", Some(json!(2))),
            ("/", Some(json!(3))),
            ("/list/0", Some(json!("x"))),
            ("/list/1/y", Some(json!(4))),
            ("/deep/a/", Some(json!(5))),
            ("/n", Some(Value::Null)),
            ("/list/7", None),
            ("/none", None),
            ("/a", None),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
        for text in ["", "type", "a/b", &format!("/{}", "a".repeat(512))] {
            assert_eq!(text.parse::<Pointer>(), Err(BadPointer), "{text}");
        }
    }
}
