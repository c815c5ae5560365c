//! One site: its connection, its terms, and which way results go.

use copydesk_core::failure::Failure;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::fault;
use super::message::{Write, WriteOutcome};
use super::site::{DeliveryKind, Site, SiteError};
use super::terms::TermCache;
use super::transport::{Reply, Request, Transport};

/// A client of one site. Cheap to share behind an `Arc`; keeps connections open between requests.
///
/// It sends what it is asked to, at once. Limits, rate and breaker are
/// [`DeliveryActor`](super::DeliveryActor)'s.
#[derive(Debug)]
pub struct SiteClient {
    pub(super) site: Site,
    pub(super) transport: Transport,
    pub(super) terms: TermCache,
}

impl SiteClient {
    /// A client by the settings. Nothing is sent yet. A rustls crypto provider must be installed.
    ///
    /// # Errors
    /// [`SiteError`] when the settings make no requests.
    pub fn new(site: Site) -> Result<Self, SiteError> {
        if !site.ingest_path.starts_with('/') {
            return Err(SiteError::IngestPath);
        }
        let transport = Transport::new(&site)?;
        Ok(Self { site, transport, terms: TermCache::default() })
    }

    /// The settings.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Writes results into a post. Sending the same [`Write`] again is safe.
    ///
    /// # Errors
    /// A [`Failure`] with its class. After a class other than terminal the write may have been
    /// carried out; the next try finds out.
    pub async fn write(&self, write: &Write) -> Result<WriteOutcome, Failure> {
        match self.site.kind {
            DeliveryKind::Core => self.write_core(write).await,
            DeliveryKind::Ingest => self.write_ingest(write).await,
        }
    }

    /// Sends; a refusal of our credentials is looked into, so that its cause is the real one.
    pub(super) async fn send(&self, request: Request<'_>) -> Result<Reply, Failure> {
        let reply = self.transport.send(request).await?;
        if reply.status == StatusCode::UNAUTHORIZED {
            return Err(self.unauthorized(&reply).await);
        }
        Ok(reply)
    }
}

/// The headers that make a write repeatable and traceable.
pub(super) fn write_headers(write: &Write) -> Result<HeaderMap, Failure> {
    let value = |text: &str| {
        HeaderValue::try_from(text)
            .map_err(|_| fault::terminal("bad_delivery_id", "an id does not fit into a header"))
    };
    let mut headers = HeaderMap::with_capacity(5);
    headers.insert(HeaderName::from_static("idempotency-key"), value(&write.delivery_id)?);
    headers.insert(HeaderName::from_static("x-copydesk-write"), write.write_number.into());
    headers.insert(HeaderName::from_static("x-copydesk-position"), value(&write.position)?);
    if let Some(trace) = write.trace {
        headers.insert(HeaderName::from_static("traceparent"), value(&trace.to_string())?);
    }
    Ok(headers)
}
