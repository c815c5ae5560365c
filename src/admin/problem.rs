//! Refusals of the admin API, as RFC 9457 has them. Each code has a page in `docs/errors`.

use std::borrow::Cow;

use axum::body::Body;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::DeskError;
use super::guard::request_id;

/// Seconds after which a 429 or 503 without a better answer is worth another try.
const RETRY_AFTER_S: u64 = 5;

macro_rules! codes {
    ($($name:ident $status:literal $code:literal $title:literal;)*) => {
        /// Why a request is refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $(#[doc = $title] $name,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// HTTP status, stable code and title.
            #[must_use]
            pub const fn parts(self) -> (u16, &'static str, &'static str) {
                match self {
                    $(Self::$name => ($status, $code, $title),)*
                }
            }
        }
    };
}

codes! {
    BadRequest 400 "bad_request" "The request has a wrong form";
    Unauthorized 401 "unauthorized" "The token is missing or not known";
    Forbidden 403 "forbidden" "This token may not do this";
    CrossOrigin 403 "cross_origin" "A page of another origin asks";
    NotFound 404 "not_found" "There is nothing here";
    MethodNotAllowed 405 "method_not_allowed" "The method is not taken here";
    Refused 409 "refused" "This cannot be done now";
    BodyTooLarge 413 "body_too_large" "The body is too large";
    UnsupportedMediaType 415 "unsupported_media_type" "Only application/json is read";
    MisdirectedHost 421 "misdirected_host" "This host is not served here";
    RateLimited 429 "rate_limited" "Too many requests";
    LogUnavailable 503 "log_unavailable" "The log does not answer";
}

/// A refusal as clients read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// `urn:copydesk:error:` and the code.
    #[schema(example = "urn:copydesk:error:not_found")]
    pub r#type: String,
    /// The same for every occurrence.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What was wrong this time.
    pub detail: String,
    /// Stable code.
    pub code: String,
    /// Under which the node's own log has it.
    pub request_id: String,
}

/// A refusal on its way to the client.
#[derive(Debug)]
pub(super) struct Refusal {
    code: Code,
    detail: Cow<'static, str>,
    retry_after_s: u64,
    allow: Option<String>,
}

impl Refusal {
    fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), retry_after_s: RETRY_AFTER_S, allow: None }
    }

    pub(super) fn unauthorized() -> Self {
        // The same for a token that never was, has expired or was revoked.
        Self::new(Code::Unauthorized, "send Authorization: Bearer and a live token")
    }

    pub(super) fn needs(role: &str) -> Self {
        Self::new(Code::Forbidden, format!("this takes the role {role}"))
    }

    pub(super) fn other_sites() -> Self {
        Self::new(Code::Forbidden, "this takes a token of the whole desk, not of some sites")
    }

    pub(super) fn cross_origin() -> Self {
        Self::new(Code::CrossOrigin, "ask without a browser, or from the desk's own pages")
    }

    pub(super) fn misdirected() -> Self {
        Self::new(Code::MisdirectedHost, "use a loopback name, or add the host to admin.hosts")
    }

    pub(super) fn not_found() -> Self {
        Self::new(Code::NotFound, DeskError::NotFound.to_string())
    }

    pub(super) fn method(allow: String) -> Self {
        let detail = "reads are GET, changes are POST";
        Self { allow: Some(allow), ..Self::new(Code::MethodNotAllowed, detail) }
    }

    pub(super) fn bad(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::BadRequest, detail)
    }

    pub(super) fn busy(detail: &'static str, wait_ms: u64) -> Self {
        let retry_after_s = wait_ms.div_ceil(1_000).max(1);
        Self { retry_after_s, ..Self::new(Code::RateLimited, detail) }
    }
}

impl From<DeskError> for Refusal {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::NotFound => Self::not_found(),
            DeskError::Invalid(why) => Self::bad(why),
            DeskError::Refused(why) => Self::new(Code::Refused, why),
            DeskError::Unavailable(why) => Self::new(Code::LogUnavailable, why),
        }
    }
}

impl From<PathRejection> for Refusal {
    fn from(_: PathRejection) -> Self {
        // Nothing can be where no path leads.
        Self::not_found()
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad(rejection.body_text())
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        let code = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Code::BodyTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType,
            _ => Code::BadRequest,
        };
        Self::new(code, rejection.body_text())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code, title) = self.code.parts();
        let problem = Problem {
            r#type: format!("urn:copydesk:error:{code}"),
            title: title.to_owned(),
            status,
            detail: self.detail.into_owned(),
            code: code.to_owned(),
            request_id: request_id(),
        };
        let mut response =
            Response::new(Body::from(serde_json::to_vec(&problem).unwrap_or_default()));
        *response.status_mut() =
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == 401 {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(status, 429 | 503) {
            headers.insert(RETRY_AFTER, HeaderValue::from(self.retry_after_s));
        }
        if let Some(Ok(methods)) = self.allow.map(HeaderValue::try_from) {
            headers.insert(ALLOW, methods);
        }
        response
    }
}
