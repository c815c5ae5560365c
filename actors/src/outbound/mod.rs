//! HTTP to addresses that someone chose: the one place where [`Rules`] are enforced.
//!
//! The client resolves names itself and connects only to addresses that were judged, all of a
//! name's addresses or none, at each dial. An address inside the URL, for which no client asks a
//! resolver, is judged before the client sees it, and the peer that answered once more. Redirects are
//! not followed, the environment's proxies not used, answers read to a small bound.
//!
//! ```text
//! Outbound::send ─ check_url ─▶ reqwest ─ resolve ─▶ check_address (each) ─▶ connect
//! ```

mod resolver;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]
mod tests;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use copydesk_core::outbound::{Refused, Rules};
use http::{HeaderMap, Method, StatusCode};
use reqwest::dns::Resolve;
use reqwest::redirect::Policy;
use url::Url;

use resolver::{Guard, System, is_own};

/// Time for one request, answer included.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Time for resolving, connecting and TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// As much of an answer is read: nobody needs more than its status and a sentence.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// Idle connections go before the other side drops them; see `delivery::transport`.
const IDLE: Duration = Duration::from_secs(4);

/// A client that calls only what its rules allow. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct Outbound {
    http: reqwest::Client,
    rules: Arc<Rules>,
}

/// What the other side said.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Any, a redirect's too.
    pub status: StatusCode,
    /// As they came.
    pub headers: HeaderMap,
    /// The first [`ANSWER_BYTES_MAX`] bytes.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It was not called. Another try helps only if its name then resolves otherwise.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Connecting, sending or reading failed. Without the URL, which may hold a secret.
    #[error("failed to exchange HTTP")]
    Http(#[source] reqwest::Error),
}

impl From<reqwest::Error> for SendError {
    fn from(error: reqwest::Error) -> Self {
        refused(&error).map_or_else(|| Self::Http(error.without_url()), Self::Refused)
    }
}

impl Outbound {
    /// A client with its own connections: 30 s for a request, 5 s of them to connect.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(rules: Rules) -> Result<Self, reqwest::Error> {
        Self::resolving_by(rules, Arc::new(System))
    }

    fn resolving_by(rules: Rules, names: Arc<dyn Resolve>) -> Result<Self, reqwest::Error> {
        let rules = Arc::new(rules);
        let http = guarded_by(&rules, names)
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE)
            .build()?;
        Ok(Self { http, rules })
    }

    /// What can be said of an address when it is saved. [`send`](Self::send) says it again.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn check(&self, url: &Url) -> Result<(), Refused> {
        self.rules.check_url(url)
    }

    /// Sends a request and reads the head of the answer, whatever its status.
    ///
    /// # Errors
    /// [`SendError`]; after [`SendError::Http`] the request may have been carried out.
    pub async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, SendError> {
        self.rules.check_url(url)?;
        let request = self.http.request(method, url.clone()).headers(headers).body(body);
        let mut response = request.send().await?;
        if let Some(peer) = response.remote_addr() {
            self.rules.check_address(peer.ip(), is_own(peer.ip()))?;
        }
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let mut body = Vec::new();
        while body.len() < ANSWER_BYTES_MAX
            && let Some(chunk) = response.chunk().await?
        {
            let room = ANSWER_BYTES_MAX - body.len();
            body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        }
        Ok(Answer { status, headers, body })
    }
}

/// A builder for clients of one address each, a site or an AI service, whose owner has put the
/// address through [`Rules::check_url`]: no redirects, no proxy of the environment, no
/// decompression, no hidden retries, and names resolve to what the rules allow.
pub(crate) fn builder(rules: &Rules) -> reqwest::ClientBuilder {
    guarded_by(&Arc::new(rules.clone()), Arc::new(System))
}

fn guarded_by(rules: &Arc<Rules>, names: Arc<dyn Resolve>) -> reqwest::ClientBuilder {
    // reqwest is built without a crypto provider of its own: one per process, ring everywhere. An
    // error here says that one is installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(concat!("copydesk/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Guard { rules: Arc::clone(rules), names })
        // A redirect would carry what is sent, and on the same host the key, to another place.
        .redirect(Policy::none())
        // Zero, too: else each request is copied for a retry that never comes.
        .retry(reqwest::retry::never().max_retries_per_request(0))
        .no_proxy()
        // Another crate may switch these on for the whole build. A bound on the answer is then
        // one on what it unpacks to.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
}

/// The guard's word among the causes of a failed connection.
fn refused(error: &reqwest::Error) -> Option<Refused> {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        if let Some(refused) = source.downcast_ref::<Refused>() {
            return Some(*refused);
        }
        cause = source;
    }
    None
}
