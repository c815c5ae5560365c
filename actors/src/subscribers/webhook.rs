//! A subscriber over HTTP, as Standard Webhooks 1.0.0 has it.

use std::error::Error;

use copydesk_core::failure::{Failure, FailureClass};
use copydesk_core::retry::retry_after;
use copydesk_core::signature::{Parts, STANDARD_WEBHOOKS, Secret, sign};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, StatusCode};
use url::Url;

use super::notice::Parcel;
use crate::World;
use crate::outbound::{Answer, Outbound, SendError};

/// Code of an answer that says: never again.
pub(super) const GONE: &str = "subscriber_gone";

/// Posts a notice; the keys sign in turn.
pub(super) async fn post(
    outbound: &Outbound,
    url: &Url,
    keys: &[Secret],
    parcel: &Parcel,
) -> Result<StatusCode, Failure> {
    let now = World::now();
    let headers = headers(keys, parcel, now.0 / 1_000);
    match outbound.send(Method::POST, url, headers, parcel.body.clone()).await {
        Ok(answer) if answer.status.is_success() => Ok(answer.status),
        Ok(answer) => Err(refused(&answer)),
        Err(error) => Err(unsent(&error)),
    }
}

fn headers(keys: &[Secret], parcel: &Parcel, seconds: i64) -> HeaderMap {
    let timestamp = seconds.to_string();
    let parts = Parts { timestamp: &timestamp, key: &parcel.id, body: &parcel.body };
    let mut headers = HeaderMap::with_capacity(5);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut put = |name: &str, value: &str| {
        // Of our own making: both are visible ASCII.
        let named = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
        named.map(|(name, value)| headers.insert(name, value))
    };
    let mut signatures = Vec::with_capacity(keys.len());
    for key in keys {
        for (name, value) in sign(&STANDARD_WEBHOOKS, key, &parts) {
            if name == STANDARD_WEBHOOKS.signature_header {
                signatures.push(value);
            } else {
                put(&name, &value);
            }
        }
    }
    put(&STANDARD_WEBHOOKS.signature_header, &signatures.join(" "));
    if let Some(trace) = parcel.trace {
        put("traceparent", &trace.to_string());
    }
    headers
}

/// What the other side answered is not repeated: an address that someone chose must not become a
/// way to read what stands behind it.
fn refused(answer: &Answer) -> Failure {
    let status = answer.status;
    let wish = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry = |code: &str, cause: String| {
        let wish = wish.and_then(|wish| retry_after(wish, World::now()));
        Failure::new(FailureClass::Retry, code, cause).retry_after_ms(wish)
    };
    if status == StatusCode::GONE {
        return retry(GONE, "the subscriber answered 410 Gone and is disabled".to_owned());
    }
    if status.is_redirection() {
        let cause = format!("the subscriber answered {status}; redirects are not followed");
        return retry("subscriber_redirects", cause);
    }
    if status == StatusCode::TOO_MANY_REQUESTS {
        return retry("subscriber_limits", "the subscriber asks for fewer requests".to_owned());
    }
    retry("subscriber_refuses", format!("the subscriber answered {status}"))
}

fn unsent(error: &SendError) -> Failure {
    let retry = |code: &str, cause: String| Failure::new(FailureClass::Retry, code, cause);
    match error {
        SendError::Refused(refused) => {
            retry("subscriber_address", format!("it was not called: {refused}"))
        }
        SendError::Http(error) if error.is_timeout() => {
            retry("subscriber_timeout", "the subscriber did not answer in time".to_owned())
        }
        SendError::Http(error) => {
            let mut root: &dyn Error = error;
            while let Some(source) = root.source() {
                root = source;
            }
            retry("subscriber_unreachable", format!("no exchange with the subscriber: {root}"))
        }
    }
}
