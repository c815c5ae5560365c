//! Every reason a request at the ingress is refused, in one closed list, and its RFC 9457 form.

use serde::Serialize;

macro_rules! codes {
    ($($name:ident $status:literal $code:literal $title:literal;)*) => {
        /// Why a request is refused. The text form is stable: senders and dashboards match on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = concat!($code, " (", stringify!($status), "): ", $title, ".")] $name,)*
        }

        impl Code {
            /// Every code, for the documentation and its test.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// The stable text.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The problem's title: the same for every occurrence.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    BadHost 400 "bad_host" "The Host header is missing, doubled or differs from the target";
    BodyTruncated 400 "body_truncated" "The body ended before its length";
    BadBody 400 "bad_body" "The body could not be read";
    EmptyBody 400 "empty_body" "The body is empty";
    UnsupportedTransferEncoding 400 "unsupported_transfer_encoding" "Only chunked transfer encoding is read";
    MissingHeader 400 "missing_header" "A required header is missing";
    DuplicateHeader 400 "duplicate_header" "A header came twice";
    BadHeader 400 "bad_header" "A header holds bytes other than printable ASCII";
    BadTimestamp 400 "bad_timestamp" "The timestamp is not a time in seconds";
    BadIdempotencyKey 400 "bad_idempotency_key" "The idempotency key has the wrong form";
    KeyMismatch 400 "key_mismatch" "The idempotency key is not the one inside the signed body";
    BadUtf8 400 "bad_utf8" "The body is not UTF-8";
    BadJson 400 "bad_json" "The body is not JSON";
    NotAnObject 400 "not_an_object" "The body is not a JSON object";
    DuplicateKey 400 "duplicate_key" "A JSON object holds a key twice";
    TooDeep 400 "too_deep" "The JSON is nested too deeply";
    TooManyNodes 400 "too_many_nodes" "The JSON holds too many values";
    TooLong 400 "too_long" "A JSON key is too long";
    BadSignature 401 "bad_signature" "The signature does not match";
    TimestampOutOfWindow 401 "timestamp_out_of_window" "The timestamp is too old or in the future";
    SiteDisabled 403 "site_disabled" "This source is switched off";
    AddressNotAllowed 403 "address_not_allowed" "This address may not send here";
    NotFound 404 "not_found" "There is nothing here";
    MethodNotAllowed 405 "method_not_allowed" "Only POST is taken here";
    BodyTimeout 408 "body_timeout" "The body came too slowly";
    BodyTooLarge 413 "body_too_large" "The body is too large";
    UriTooLong 414 "uri_too_long" "The request target is too long";
    UnsupportedMediaType 415 "unsupported_media_type" "Only application/json in UTF-8 is read";
    UnsupportedEncoding 415 "unsupported_encoding" "Compressed bodies are not read";
    ExpectationFailed 417 "expectation_failed" "The expectation cannot be met";
    MisdirectedHost 421 "misdirected_host" "This host is not served here";
    InvalidEvent 422 "invalid_event" "A field of the event is missing or has the wrong form";
    UnknownEvent 422 "unknown_event" "This event type is not known";
    BadString 422 "bad_string" "A string holds a NUL character";
    FieldTooLong 422 "field_too_long" "A field is too long";
    SiteMismatch 422 "site_mismatch" "The event names another site";
    InvalidUrl 422 "invalid_url" "The url is not a plain http address of the site";
    IdempotencyKeyReused 422 "idempotency_key_reused" "The idempotency key was used for another body";
    Overloaded 429 "overloaded" "Too much is waiting";
    RateLimited 429 "rate_limited" "Too many requests";
    LogUnavailable 503 "log_unavailable" "The event could not be stored";
    LogFull 503 "log_full" "There is no room to store the event";
    Draining 503 "draining" "This node is shutting down";
}

impl Code {
    /// A refusal for this reason. `detail` is a fixed sentence by type: input is never echoed.
    #[must_use]
    pub const fn refuse(self, detail: &'static str) -> Refusal {
        Refusal {
            status: self.status(),
            code: self.as_str(),
            title: self.title(),
            detail,
            retry_after_s: self.retry_after_s(),
        }
    }

    /// The Retry-After every 429 and 503 carries, in seconds, where the caller knows no better.
    const fn retry_after_s(self) -> Option<u32> {
        if matches!(self, Self::LogFull) {
            return Some(60);
        }
        match self.status() {
            429 | 503 => Some(5),
            _ => None,
        }
    }
}

/// A refused request: what the sender is told. Nothing of it comes from the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Stable code, one of [`Code::ALL`].
    pub code: &'static str,
    /// The same for every occurrence of the code.
    pub title: &'static str,
    /// What was wrong this time.
    pub detail: &'static str,
    /// Seconds for the Retry-After header; always there for 429 and 503.
    pub retry_after_s: Option<u32>,
}

#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    request_id: &'a str,
}

impl Refusal {
    /// The same with another Retry-After, in seconds.
    #[must_use]
    pub const fn retry_after_s(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The body of an `application/problem+json` answer (RFC 9457) with our members `code` and
    /// `request_id`.
    #[must_use]
    pub fn problem_json(&self, request_id: &str) -> String {
        let problem = Problem {
            r#type: format!("urn:copydesk:error:{}", self.code),
            title: self.title,
            status: self.status,
            detail: self.detail,
            code: self.code,
            request_id,
        };
        serde_json::to_string(&problem).expect("a struct of texts and a number is JSON")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_unique_and_well_formed() {
        let codes: HashSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(codes.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!((400..600).contains(&code.status()), "{code:?}");
            assert!(code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b"_8".contains(&b)));
            let waits = matches!(code.status(), 429 | 503);
            assert_eq!(code.refuse("x").retry_after_s.is_some(), waits, "{code:?}");
        }
    }

    #[test]
    fn a_refusal_is_a_problem_document() {
        let refusal = Code::LogFull.refuse("the disk is below its low-water mark");
        assert_eq!(
            refusal.problem_json("r-1"),
            r#"{"type":"urn:copydesk:error:log_full","title":"There is no room to store the event","status":503,"detail":"the disk is below its low-water mark","code":"log_full","request_id":"r-1"}"#
        );
        assert_eq!(refusal.retry_after_s, Some(60));
        assert_eq!(refusal.retry_after_s(7).retry_after_s, Some(7));
        assert_eq!(refusal.to_string(), "log_full: the disk is below its low-water mark");
    }
}
