//! Who asks, and what was asked for, parsed before a handler sees it. A handler takes these and
//! nothing of axum's own, so that every refusal is a problem document.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use copydesk_core::access::{Reach, Role};
use copydesk_core::limits::OPERATOR_TEXT_CHARS_MAX;
use copydesk_proto::{PostKey, SiteId};
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::nouns::ActRequest;
use super::strict::Strict;
use super::{Act, Refusal};

/// The token that a request came with.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// The token's id.
    pub(super) id: String,
    /// The token's name.
    pub(super) name: String,
    /// What it may do.
    pub(super) role: Role,
    /// What it may see.
    pub(super) reach: Reach,
}

impl Caller {
    /// Who acts and why, as the log will have it: a name that the request gives is never without
    /// the token's.
    ///
    /// # Errors
    /// A name or a reason is too long to be kept whole.
    pub(super) fn sign(&self, request: ActRequest) -> Result<Act, Refusal> {
        let ActRequest { by, reason } = request;
        let by = match by.as_deref().map(str::trim) {
            None | Some("") => self.name.clone(),
            Some(by) => format!("{by} via {}", self.name),
        };
        let reason = reason.unwrap_or_default();
        if by.chars().count().max(reason.chars().count()) > OPERATOR_TEXT_CHARS_MAX {
            let most = format!("by and reason are at most {OPERATOR_TEXT_CHARS_MAX} characters");
            return Err(Refusal::bad(most));
        }
        Ok(Act { by, reason })
    }

    /// A thing of a site is there for those whose token reaches the site, and for nobody else.
    pub(super) fn see(&self, site: &SiteId) -> Result<(), Refusal> {
        if self.reach.has(site) { Ok(()) } else { Err(Refusal::not_found()) }
    }

    /// The same for the `site/post` of a row.
    pub(super) fn see_post(&self, post: &str) -> Result<(), Refusal> {
        let key: PostKey = post.parse().map_err(|_| Refusal::not_found())?;
        self.see(&key.site)
    }

    /// What belongs to no site is for tokens of the whole desk.
    pub(super) fn see_desk(&self) -> Result<(), Refusal> {
        match self.reach {
            Reach::Desk => Ok(()),
            Reach::Sites(_) => Err(Refusal::other_sites()),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        // The guard puts it there; without it nobody is known, whatever the reason.
        parts.extensions.get::<Self>().cloned().ok_or_else(Refusal::unauthorized)
    }
}

/// What stands in the path.
pub(super) struct At<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for At<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path(at) = Path::from_request_parts(parts, state).await?;
        Ok(Self(at))
    }
}

/// What stands behind the question mark.
pub(super) struct Wanted<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Wanted<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Query(wanted) = Query::from_request_parts(parts, state).await?;
        Ok(Self(wanted))
    }
}

/// What stands in the body.
pub(super) struct Told<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Told<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let Json(Strict(told)) = Json::from_request(request, state).await?;
        if !told.is_object() {
            return Err(Refusal::bad("the body is a JSON object"));
        }
        let Json(told) = Json::from_bytes(told.to_string().as_bytes())?;
        Ok(Self(told))
    }
}
