//! What a failed request means: one table from HTTP statuses and transport errors to classes.

use std::time::{SystemTime, UNIX_EPOCH};

use copydesk_core::failure::{Failure, FailureClass};
use copydesk_core::limits::{RETRY_AFTER_MS_MAX, RETRY_AFTER_MS_MIN};
use copydesk_core::retry;
use copydesk_proto::Timestamp;
use genai::webc;
use http::{HeaderMap, StatusCode, header};
use serde_json::Value;

use super::NetworkSettings;
use crate::enrichment::RATE_LIMITED;

/// Classifies an error. Words of the service itself are not repeated: they may hold the post.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "genai's errors are not ours and grow with every release; the rest is one case"
)]
pub(super) fn of(error: &genai::Error, settings: &NetworkSettings) -> Failure {
    match error {
        genai::Error::WebModelCall { webc_error, .. }
        | genai::Error::WebAdapterCall { webc_error, .. } => of_web(webc_error, settings),
        genai::Error::HttpError { status, body, headers, .. } => {
            of_status(*status, body, headers, settings)
        }
        genai::Error::ChatResponseGeneration { .. }
        | genai::Error::InvalidJsonResponseElement { .. }
        | genai::Error::NoChatResponse { .. }
        | genai::Error::JsonValueExt(_)
        | genai::Error::SerdeJson(_) => bad_response("an answer of another form than documented"),
        _ => Failure::new(
            FailureClass::Terminal,
            "provider_request_invalid",
            "the request could not be built for this service: check the provider's kind, base_url \
             and model",
        ),
    }
}

fn of_web(error: &webc::Error, settings: &NetworkSettings) -> Failure {
    match error {
        webc::Error::ResponseFailedStatus { status, body, headers } => {
            of_status(*status, body, headers, settings)
        }
        webc::Error::ResponseFailedNotJson { .. } => bad_response("something that is not JSON"),
        webc::Error::ResponseFailedInvalidJson { .. } | webc::Error::JsonValueExt(_) => {
            bad_response("broken JSON")
        }
        webc::Error::Reqwest(error) => of_transport(error, settings),
    }
}

fn bad_response(what: &str) -> Failure {
    let cause = format!("the AI service answered with {what}; a proxy in between may be to blame");
    Failure::new(FailureClass::Retry, "provider_bad_response", cause)
}

fn of_transport(error: &reqwest::Error, settings: &NetworkSettings) -> Failure {
    let host = host(settings);
    if error.is_connect() {
        // Includes a connect timeout: nobody is there.
        return Failure::new(
            FailureClass::Unavailable,
            "provider_unreachable",
            format!("no connection to {host}: {}", innermost(error)),
        );
    }
    if error.is_timeout() {
        return Failure::new(
            FailureClass::Retry,
            "provider_timeout",
            format!("{host} did not answer within {} s", settings.timeout.as_secs_f32()),
        );
    }
    if error.is_builder() {
        return Failure::new(
            FailureClass::Terminal,
            "provider_request_invalid",
            "the request could not be built: check the provider's base_url and api_key",
        );
    }
    Failure::new(
        FailureClass::Retry,
        "provider_connection_lost",
        format!("the connection to {host} broke before the answer was complete"),
    )
}

fn of_status(
    status: StatusCode,
    body: &str,
    headers: &HeaderMap,
    settings: &NetworkSettings,
) -> Failure {
    use FailureClass::{Retry, Terminal, Unavailable};
    let code = status.as_u16();
    let host = host(settings);
    let (class, name, cause) = match code {
        401 | 403 => {
            let setting = &settings.api_key_setting;
            let cause =
                format!("{host} refused the key (HTTP {code}): check {setting} and its rights");
            (Unavailable, "provider_unauthorized", cause)
        }
        402 => (Unavailable, "provider_quota_exhausted", quota(&host, code)),
        429 if says(body, &["insufficient_quota", "credit balance"]) => {
            (Unavailable, "provider_quota_exhausted", quota(&host, code))
        }
        400 if says(body, &["credit balance"]) => {
            (Unavailable, "provider_quota_exhausted", quota(&host, code))
        }
        404 => {
            let cause = format!(
                "{host} knows no model {:?} at this base_url (HTTP 404): check model and base_url",
                settings.model
            );
            (Terminal, "provider_not_found", cause)
        }
        429 => (Unavailable, RATE_LIMITED, format!("{host} limits our rate (HTTP 429)")),
        // 529 is Anthropic's "overloaded".
        503 | 529 => {
            (Unavailable, "provider_overloaded", format!("{host} is overloaded (HTTP {code})"))
        }
        408 | 425 | 500..=599 => {
            (Retry, "provider_error", format!("{host} failed to answer (HTTP {code})"))
        }
        413 => (Terminal, "provider_input_too_long", too_long(settings)),
        400 | 422 if says(body, TOO_LONG) => {
            (Terminal, "provider_input_too_long", too_long(settings))
        }
        400 if says(body, &["content_filter", "content_policy", "content management policy"]) => (
            Terminal,
            "provider_refused_content",
            "the service's content filter declined to work on this post".to_owned(),
        ),
        300..=399 => (
            Terminal,
            "provider_redirected",
            format!("{host} redirects elsewhere (HTTP {code}): set base_url to the final address"),
        ),
        _ => (
            Terminal,
            "provider_request_refused",
            format!(
                "{host} refused the request (HTTP {code}): the model may lack structured output, \
                 or the provider's kind is wrong"
            ),
        ),
    };
    // Kept in the log's record only, for an operator who may see the post.
    Failure::new(class, name, cause).retry_after_ms(retry_after_ms(headers, now())).response(body)
}

const TOO_LONG: &[&str] = &[
    "context_length_exceeded",
    "context length",
    "context window",
    "maximum context",
    "prompt is too long",
    "too many tokens",
    "too large",
];

fn quota(host: &str, code: u16) -> String {
    format!("the account at {host} is out of credit (HTTP {code}): check its billing page")
}

fn too_long(settings: &NetworkSettings) -> String {
    format!("the post is too long for model {:?}: choose one with a larger context", settings.model)
}

/// Whether the error body, which is the service's and may be anything, says one of the words.
fn says(body: &str, words: &[&str]) -> bool {
    /// An error message is short; what follows is not one.
    const LOOKED_AT_BYTES_MAX: usize = 4096;
    let body = crate::enrichment::builtin::clip(body, LOOKED_AT_BYTES_MAX);
    let text = match serde_json::from_str::<Value>(body) {
        Ok(json) => json["error"].to_string(),
        Err(_) => body.to_owned(),
    };
    let text = text.to_lowercase();
    words.iter().any(|word| text.contains(word))
}

fn host(settings: &NetworkSettings) -> String {
    let url = &settings.base_url;
    let host = url.host_str().unwrap_or("the AI service");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The cause at the bottom ("Connection refused"), which names no URL.
fn innermost(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The wait the service asks for: `retry-after-ms` (OpenAI), else Retry-After.
fn retry_after_ms(headers: &HeaderMap, now: Timestamp) -> Option<u64> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(ms) = text("retry-after-ms").and_then(|ms| ms.parse::<u64>().ok()) {
        return Some(ms.clamp(RETRY_AFTER_MS_MIN, RETRY_AFTER_MS_MAX));
    }
    retry::retry_after(text(header::RETRY_AFTER.as_str())?, now)
}

fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_services_own_header_comes_first() {
        let cases: [(&[(&'static str, &str)], _); 4] = [
            (&[("retry-after", "7")], Some(7_000)),
            (&[("retry-after-ms", "2500"), ("retry-after", "1")], Some(2_500)),
            (&[("retry-after-ms", "soon"), ("retry-after", "3")], Some(3_000)),
            (&[], None),
        ];
        for (fields, expected) in cases {
            let headers = fields
                .iter()
                .map(|(name, value)| {
                    let value = http::HeaderValue::from_str(value).expect("a header value");
                    (http::HeaderName::from_static(name), value)
                })
                .collect();
            assert_eq!(retry_after_ms(&headers, Timestamp(0)), expected, "{fields:?}");
        }
    }
}
