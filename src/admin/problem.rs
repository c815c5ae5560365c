//! Refusals of the admin API, as RFC 9457 has them.

use axum::body::Body;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::{Deserialize, Serialize};

use super::DeskError;

/// A refusal, on both sides of the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// `urn:copydesk:error:` and the code.
    pub r#type: String,
    /// The same for every occurrence.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What was wrong this time.
    pub detail: String,
    /// Stable code.
    pub code: String,
}

impl Problem {
    fn new(status: StatusCode, code: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            r#type: format!("urn:copydesk:error:{code}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            code: code.to_owned(),
        }
    }

    pub(super) fn unauthorized() -> Self {
        let detail = "send Authorization: Bearer and the token of admin.json in the data folder";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "The token is missing or wrong", detail)
    }

    pub(super) fn misdirected() -> Self {
        let detail = "use a loopback name, or add the host to admin.hosts";
        let status = StatusCode::MISDIRECTED_REQUEST;
        Self::new(status, "misdirected_host", "This host is not served here", detail)
    }

    pub(super) fn not_found() -> Self {
        let detail = DeskError::NotFound.to_string();
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is nothing here", detail)
    }

    pub(super) fn method() -> Self {
        let (status, title) = (StatusCode::METHOD_NOT_ALLOWED, "The method is not taken here");
        Self::new(status, "method_not_allowed", title, "reads are GET, changes are POST")
    }

    pub(super) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", "The request has a wrong form", detail)
    }

    pub(super) fn busy(detail: &str) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "Too many requests", detail)
    }
}

impl From<DeskError> for Problem {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::NotFound => Self::not_found(),
            DeskError::Refused(why) => {
                Self::new(StatusCode::CONFLICT, "refused", "This cannot be done now", why)
            }
            DeskError::Unavailable(why) => {
                let (status, title) = (StatusCode::SERVICE_UNAVAILABLE, "The log does not answer");
                Self::new(status, "log_unavailable", title, why)
            }
        }
    }
}

macro_rules! from_rejections {
    ($($rejection:ty),*) => {$(
        impl From<$rejection> for Problem {
            fn from(rejection: $rejection) -> Self {
                Self::bad(rejection.body_text())
            }
        }
    )*};
}

from_rejections!(JsonRejection, PathRejection, QueryRejection);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self.status {
            401 => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            429 | 503 => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        response
    }
}
