//! What went wrong, in words a person can act on, and what to do about it.

use std::time::{SystemTime, UNIX_EPOCH};

use copydesk_core::failure::{Failure, FailureClass, RESPONSE_BYTES_MAX};
use copydesk_core::retry::retry_after;
use copydesk_proto::Timestamp;
use http::StatusCode;
use serde::Deserialize;

use super::transport::Reply;

/// Code of every refusal of our credentials.
pub(super) const UNAUTHORIZED: &str = "wordpress_unauthorized";
/// Code of a missing permission.
pub(super) const FORBIDDEN: &str = "wordpress_forbidden";
/// Code of a post that a person has open.
pub(super) const LOCKED: &str = "wordpress_post_locked";
/// How long a site is left alone after it refused our password: more tries would only get the
/// user locked or our address banned.
pub(super) const UNAUTHORIZED_PAUSE_MS: u64 = 5 * 60 * 1_000;
/// Longest wait for WordPress's own maintenance mode.
const MAINTENANCE_MS_MAX: u64 = 60_000;
/// Longest part of a message of the other side's that we repeat, in characters.
const MESSAGE_CHARS_MAX: usize = 160;

/// WordPress's error object.
#[derive(Debug, Default, Deserialize)]
struct WpError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

fn error_of(reply: &Reply) -> WpError {
    if !reply.json {
        return WpError::default();
    }
    serde_json::from_slice(&reply.body).unwrap_or_default()
}

/// WordPress's own code for an error (`rest_post_invalid_id`), empty when there is none.
pub(super) fn code_of(reply: &Reply) -> String {
    error_of(reply).code
}

fn retry(code: &str, cause: impl Into<String>) -> Failure {
    Failure::new(FailureClass::Retry, code, cause)
}

fn unavailable(code: &str, cause: impl Into<String>) -> Failure {
    Failure::new(FailureClass::Unavailable, code, cause)
}

pub(super) fn terminal(code: &str, cause: impl Into<String>) -> Failure {
    Failure::new(FailureClass::Terminal, code, cause)
}

/// The connection, not WordPress. What was sent may have arrived unless connecting itself failed.
pub(super) fn transport(error: &reqwest::Error) -> Failure {
    let mut root: &dyn std::error::Error = error;
    let mut words = String::new();
    while let Some(source) = root.source() {
        root = source;
        words = source.to_string();
    }
    if error.is_connect() {
        if words.contains("certificate") {
            return unavailable(
                "wordpress_tls",
                format!(
                    "the site's TLS certificate was refused ({words}): renew it or mend its chain"
                ),
            );
        }
        let how = if error.is_timeout() { "no answer in time" } else { words.as_str() };
        return unavailable(
            "wordpress_unreachable",
            format!("no connection to the site ({how}): is the url right and the server up?"),
        );
    }
    if error.is_timeout() {
        return retry(
            "wordpress_timeout",
            "the site did not answer in time; whether the request was carried out is unknown",
        );
    }
    if error.is_builder() {
        return terminal("wordpress_bad_request", "the request's address or headers are not valid");
    }
    retry(
        "wordpress_connection_lost",
        format!(
            "the connection ended before the answer ({words}); whether the request was carried out is unknown"
        ),
    )
}

/// The answer passed its bound.
pub(super) fn answer_too_large(bytes_max: usize) -> Failure {
    terminal("wordpress_answer_too_large", format!("the answer is larger than {bytes_max} bytes"))
}

/// A successful answer that does not say what it should.
pub(super) fn unexpected_answer() -> Failure {
    retry(
        "wordpress_unexpected_answer",
        "the site answered without the expected JSON: often a plugin that prints a PHP warning \
         before it; see the site's PHP error log",
    )
}

fn no_json(reply: &Reply) -> Failure {
    retry(
        "wordpress_not_json",
        format!(
            "the site answered {} with a page instead of JSON: a firewall, a maintenance page, \
             or a url that is not WordPress",
            reply.status.as_u16()
        ),
    )
}

/// What an answer that is no success asks for, with the head of what was said: for the log's record
/// only.
pub(super) fn classify(reply: &Reply) -> Failure {
    let head = reply.body.get(..RESPONSE_BYTES_MAX).unwrap_or(&reply.body);
    classified(reply).response(&String::from_utf8_lossy(head))
}

/// First by status, then by WordPress's own code.
fn classified(reply: &Reply) -> Failure {
    let status = reply.status;
    let error = error_of(reply);
    let said = said(&error);
    if status.is_success() {
        return if reply.json { unexpected_answer() } else { no_json(reply) };
    }
    if status.is_redirection() {
        return redirected(reply);
    }
    match status {
        StatusCode::UNAUTHORIZED => unauthorized(&format!(
            "WordPress did not accept the user and application password{said}; \
             `copydesk check` finds out why"
        )),
        StatusCode::FORBIDDEN if error.code.is_empty() => terminal(
            FORBIDDEN,
            "403 without WordPress's own error: a firewall or security plugin refused the request",
        ),
        StatusCode::FORBIDDEN => {
            terminal(FORBIDDEN, format!("the user may not do this{said}: give it the capability"))
        }
        StatusCode::NOT_FOUND if error.code == "rest_no_route" => unavailable(
            "wordpress_no_route",
            "WordPress has no such REST route: a plugin is missing or switched off, or the url \
             or ingest_path is wrong",
        ),
        StatusCode::NOT_FOUND if !reply.json => unavailable(
            "wordpress_no_rest",
            "no WordPress REST API at this url: check the site's url and that nothing closes /wp-json",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => terminal(
            "wordpress_too_large",
            "the web server refuses a body of this size: raise client_max_body_size or its like",
        ),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => {
            retry("wordpress_timeout", format!("the site answered {}", status.as_u16()))
        }
        StatusCode::TOO_MANY_REQUESTS => {
            unavailable("wordpress_rate_limited", "the site asks for fewer requests (429)")
                .retry_after_ms(wait_ms(reply))
        }
        _ if status.is_client_error() => terminal(
            "wordpress_rejected",
            format!("WordPress refused the request ({}){said}", status.as_u16()),
        ),
        _ => server_error(reply, &error),
    }
}

fn server_error(reply: &Reply, error: &WpError) -> Failure {
    let status = reply.status.as_u16();
    if matches!(error.code.as_str(), "db_update_error" | "db_insert_error") {
        return terminal(
            "wordpress_value_too_long",
            "the database refused the value: it is too long for its column",
        );
    }
    match status {
        // 508 is what CloudLinux hosts answer when an account is over its limits.
        503 | 508 => {
            // WordPress's maintenance screen always says 600 s; an update takes seconds.
            let max = if error.code == "wp_die" { MAINTENANCE_MS_MAX } else { u64::MAX };
            unavailable(
                "wordpress_unavailable",
                format!("the site is in maintenance or overloaded ({status})"),
            )
            .retry_after_ms(wait_ms(reply).map(|ms| ms.min(max)))
        }
        502 | 504 => retry(
            "wordpress_gateway",
            format!(
                "the server in front of WordPress got no answer ({status}); whether the request was carried out is unknown"
            ),
        ),
        _ if error.message.contains("database connection") => {
            retry("wordpress_database", "WordPress cannot reach its database")
        }
        _ => retry(
            "wordpress_error",
            format!(
                "an error inside WordPress ({status}), mostly a plugin's: see the site's PHP error log"
            ),
        ),
    }
}

fn redirected(reply: &Reply) -> Failure {
    let to = reply.location.as_deref().unwrap_or("an address it does not name");
    unavailable(
        "wordpress_redirected",
        format!("the site redirects to {}: set the site's url to its final address", clip(to)),
    )
}

/// A person has the post open in an editor that would write over our value.
pub(super) fn locked(reply: &Reply) -> Failure {
    let cause = "a person has the post open in the classic editor; written when it is closed";
    unavailable(LOCKED, cause).retry_after_ms(wait_ms(reply))
}

/// Our credentials were refused, with the reason in words.
pub(super) fn unauthorized(cause: &str) -> Failure {
    unavailable(UNAUTHORIZED, cause).retry_after_ms(Some(UNAUTHORIZED_PAUSE_MS))
}

fn wait_ms(reply: &Reply) -> Option<u64> {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX));
    reply.retry_after.as_deref().and_then(|header| retry_after(header, now))
}

/// What WordPress says itself, for the end of a sentence. Only core's messages are repeated:
/// they name parameters; a plugin's could hold anything.
fn said(error: &WpError) -> String {
    if error.code.is_empty() {
        return String::new();
    }
    if error.code.starts_with("rest_") {
        return format!(" ({}: {})", clip(&error.code), clip(error.message.trim_end_matches('.')));
    }
    format!(" ({})", clip(&error.code))
}

fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS_MAX).collect()
}
