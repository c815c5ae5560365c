//! The parts of a request's head that decide whether its body is looked at.

use std::net::IpAddr;

use crate::refusal::{Code, Refusal};

/// A request's head, as the HTTP layer saw it.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The method, as sent.
    pub method: &'a str,
    /// The sender's address after trusted proxies; `None` where there is none (a test, a socket).
    pub peer: Option<IpAddr>,
    /// Every header line in order: lower-case name, raw value.
    pub headers: &'a [(&'a str, &'a [u8])],
}

impl<'a> Head<'a> {
    /// The value of a header that may come once: trimmed ASCII, `None` when absent or empty.
    ///
    /// # Errors
    /// `duplicate_header`, `bad_header`.
    pub(super) fn one(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        let mut values = self.headers.iter().filter(|(other, _)| *other == name);
        let Some((_, value)) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(Code::DuplicateHeader.refuse("send each signed or content header once"));
        }
        let printable = value.iter().all(|b| matches!(b, b' '..=b'~' | b'\t'));
        let text = std::str::from_utf8(value).ok().filter(|_| printable);
        let Some(text) = text else {
            return Err(Code::BadHeader.refuse("signing headers hold printable ASCII only"));
        };
        Ok(Some(text.trim()).filter(|text| !text.is_empty()))
    }

    /// The value of a header that must come once.
    ///
    /// # Errors
    /// `missing_header`, `duplicate_header`, `bad_header`.
    pub(super) fn required(&self, name: &str, missing: &'static str) -> Result<&'a str, Refusal> {
        self.one(name)?.ok_or(Code::MissingHeader.refuse(missing))
    }

    /// Only JSON in UTF-8, and forms where the source says so, are read, and never compressed:
    /// inflating is where bombs are.
    ///
    /// # Errors
    /// `unsupported_media_type`, `unsupported_encoding`, `duplicate_header`, `bad_header`.
    pub(super) fn check_content(&self, form: bool) -> Result<(), Refusal> {
        let read = |of: &str| {
            is_utf8_of(of, "application/json")
                || form && is_utf8_of(of, "application/x-www-form-urlencoded")
        };
        if !self.one("content-type")?.is_some_and(read) {
            let detail = "send Content-Type: application/json, in UTF-8; forms are read where the \
                          source says body = \"form\"";
            return Err(Code::UnsupportedMediaType.refuse(detail));
        }
        match self.one("content-encoding")? {
            None => Ok(()),
            Some(coding) if coding.eq_ignore_ascii_case("identity") => Ok(()),
            Some(_) => {
                Err(Code::UnsupportedEncoding.refuse("send the body as it is, without compression"))
            }
        }
    }
}

fn is_utf8_of(content_type: &str, wanted: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let is_wanted = parts.next().is_some_and(|t| t.eq_ignore_ascii_case(wanted));
    let mut parameters = parts.filter_map(|parameter| parameter.split_once('='));
    is_wanted
        && parameters.all(|(name, value)| {
            let charset = name.trim().eq_ignore_ascii_case("charset");
            !charset || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
}
