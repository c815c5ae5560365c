//! Form-encoded bodies, as objects of text: bounded and strict like the JSON ones.

use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::limits::{JSON_KEY_BYTES_MAX, JSON_NODES_MAX};
use crate::refusal::{Code, Refusal};

/// Whether a body that may be either is a form: JSON objects begin with a brace.
pub(super) fn is_form(body: &[u8]) -> bool {
    body.iter().find(|b| !b.is_ascii_whitespace()).is_none_or(|b| !b"{[".contains(b))
}

/// The fields of a form. A name that ends in `[]` makes a list; any other may come once.
///
/// # Errors
/// `bad_utf8`, `bad_string`, `duplicate_key`, `too_many_nodes`, `too_long`.
pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    let mut fields = Map::new();
    for (nodes, (name, value)) in form_urlencoded::parse(body).enumerate() {
        if nodes >= JSON_NODES_MAX {
            return Err(Code::TooManyNodes.refuse("a form has at most 5,000 fields"));
        }
        if name.len() > JSON_KEY_BYTES_MAX {
            return Err(Code::TooLong.refuse("a field's name has at most 256 bytes"));
        }
        for text in [&name, &value] {
            check(text)?;
        }
        let value = Value::String(value.into_owned());
        match name.strip_suffix("[]") {
            Some(list) => {
                let items = fields.entry(list).or_insert_with(|| Value::Array(Vec::new()));
                let Value::Array(items) = items else { return Err(TWICE) };
                items.push(value);
            }
            None if fields.contains_key(&*name) => return Err(TWICE),
            None => {
                fields.insert(name.into_owned(), value);
            }
        }
    }
    Ok(fields)
}

const TWICE: Refusal = Code::DuplicateKey.refuse("a field of the form comes twice");

fn check(text: &str) -> Result<(), Refusal> {
    // The decoder puts this character where bytes are no UTF-8.
    if text.contains('\u{FFFD}') {
        return Err(Code::BadUtf8.refuse("the form holds bytes that are no UTF-8"));
    }
    if text.contains('\0') {
        return Err(Code::BadString.refuse("a field holds a NUL character"));
    }
    Ok(())
}
