//! One site: its connection, its terms, and which way results go.

use copydesk_core::content::{FieldWrite, Mode};
use copydesk_core::failure::Failure;
use copydesk_proto::PostId;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::comment;
use super::fault;
use super::ingest::stored_whole;
use super::message::{PostStatus, Read, ReadPost, Write, WriteOutcome};
use super::site::{Site, SiteError};
use super::terms::TermCache;
use super::transport::{Reply, Request, Transport};
use super::way::{Found, Way};

/// A client of one site. Cheap to share behind an `Arc`; keeps connections open between requests.
///
/// It sends what it is asked to, at once. Limits, rate and breaker are
/// [`DeliveryActor`](super::DeliveryActor)'s.
#[derive(Debug)]
pub struct SiteClient {
    pub(super) site: Site,
    pub(super) transport: Transport,
    pub(super) terms: TermCache,
    /// Which way `auto` goes.
    pub(super) found: Found,
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
        Ok(Self { site, transport, terms: TermCache::default(), found: Found::default() })
    }

    /// The settings.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Reads a post; `found` is `false` when it is deleted or in the trash.
    ///
    /// # Errors
    /// A [`Failure`] with its class when the site does not answer as it should.
    pub async fn read(&self, read: &Read) -> Result<ReadPost, Failure> {
        match self.way().await? {
            Way::Plugin => self.read_plugin(read).await,
            Way::Core | Way::Ingest => self.read_core(read).await,
        }
    }

    /// Writes results into a post. Sending the same [`Write`] again is safe.
    ///
    /// # Errors
    /// A [`Failure`] with its class. After a class other than terminal the write may have been
    /// carried out; the next try finds out.
    pub async fn write(&self, write: &Write) -> Result<WriteOutcome, Failure> {
        let way = self.way().await?;
        if let Some(id) = comment::number(write)? {
            return self.judge_comment(way, id, write).await;
        }
        // Only the plugin has a place for suggestions, and only with a post; and it takes no write
        // of nothing, which is what an event without words of its own asks of a post.
        let of_post = matches!(write.key.post, PostId::Number(_));
        let is_suggestion = |field: &FieldWrite| field.mode == Mode::Suggest;
        let nothing_to_send = match way {
            Way::Plugin if of_post => write.fields.is_empty(),
            Way::Plugin | Way::Core | Way::Ingest => {
                !write.fields.is_empty() && write.fields.iter().all(is_suggestion)
            }
        };
        if nothing_to_send {
            return Ok(stored_whole(write, false));
        }
        match way {
            Way::Plugin => self.write_plugin(write).await,
            Way::Core => self.write_core(write).await,
            Way::Ingest => self.write_ingest(write).await,
        }
    }

    /// Writes that may go in one request, with an answer to each, as [`SiteClient::write`] gives it.
    pub(super) async fn write_all(&self, writes: &[Write]) -> Vec<Result<WriteOutcome, Failure>> {
        match writes {
            [write] => vec![self.write(write).await],
            writes => self.write_batch(writes).await,
        }
    }

    /// Shows how events ended in the site's list of posts, where it has our plugin.
    pub(super) async fn tell(&self, statuses: &[PostStatus]) -> Result<(), Failure> {
        match self.way().await? {
            Way::Plugin => self.tell_plugin(statuses).await,
            Way::Core | Way::Ingest => Ok(()),
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

/// The headers that make a write repeatable.
pub(super) fn write_headers(write: &Write) -> Result<HeaderMap, Failure> {
    let value = |text: &str| {
        HeaderValue::try_from(text)
            .map_err(|_| fault::terminal("bad_delivery_id", "an id does not fit into a header"))
    };
    let position = format!("{}:{}", write.log, write.write_number);
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(HeaderName::from_static("idempotency-key"), value(&write.delivery_id)?);
    headers.insert(HeaderName::from_static("x-copydesk-write"), write.write_number.into());
    headers.insert(HeaderName::from_static("x-copydesk-position"), value(&position)?);
    Ok(headers)
}
