//! The commands' side of the admin API.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use copydesk_eventlog::archive::BoxError;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use reqwest::{Method, RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::args::ActArgs;
use crate::admin::{Access, AccessError, ActRequest, FollowLine, Problem, ROWS_MAX, Rows};

const CONNECT_MAX: Duration = Duration::from_secs(2);
/// The longest answer is a check of a large log.
const ANSWER_MAX: Duration = Duration::from_secs(600);
/// Twice the heartbeat of a quiet stream.
const QUIET_MAX: Duration = Duration::from_secs(30);
/// Longest line of a stream; a real one is under 2 KiB.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// A running node's admin API.
#[derive(Debug)]
pub struct AdminClient {
    http: reqwest::Client,
    base: Url,
    token: SecretString,
    /// Who sits at the terminal, if the token does not say it.
    person: Option<String>,
}

/// Why a node does not do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No node has used this data folder, or its file cannot be read.
    #[error(
        "no node is known here: {0}. Start one with `copydesk serve`, or name the configuration \
         of the one that runs with --config"
    )]
    Unknown(String),
    /// It is known and does not answer.
    #[error("no node answers at {address} (from {file}). Is `copydesk serve` running?")]
    NotRunning {
        /// Where it should be.
        address: String,
        /// Where that was read.
        file: String,
    },
    /// It answered no.
    #[error("{}: {}", .0.title, .0.detail)]
    Refused(Box<Problem>),
    /// It answered something that is not the admin API's.
    #[error("what answers at {0} is not a Copydesk node of this version")]
    Strange(String),
}

impl AdminClient {
    /// The node that uses a data folder.
    ///
    /// # Errors
    /// [`ClientError::Unknown`] when there has been none.
    pub fn of(data_dir: &Path) -> anyhow::Result<Self> {
        let access = Access::read(data_dir).map_err(|error| match error {
            AccessError::Missing(_) | AccessError::Broken(_) | AccessError::Random(_) => {
                ClientError::Unknown(error.to_string())
            }
            AccessError::Unusable { ref source, .. } => {
                ClientError::Unknown(format!("{error}: {source}"))
            }
        })?;
        let mut address = access.address;
        // Bound to every address: this machine's own is one of them.
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        Self::at(&format!("http://{address}"), &access.token)
    }

    /// A node at `http://host:port` or behind a proxy at `https://host`.
    ///
    /// # Errors
    /// When that is no address.
    pub fn at(url: &str, token: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_MAX)
            .build()
            .context("no HTTP client")?;
        let base = Url::parse(url).and_then(|url| url.join("/api/v1/"));
        let base = base.context("the node's address is http://host:port")?;
        Ok(Self { http, base, token: token.to_owned().into(), person: None })
    }

    /// Names the person at the terminal, for acts that name nobody.
    #[must_use]
    pub fn for_person(mut self, person: &str) -> Self {
        self.person = Some(person.to_owned()).filter(|person| !person.is_empty());
        self
    }

    /// Who acts and why, as the API takes it.
    #[must_use]
    pub fn act(&self, act: ActArgs) -> ActRequest {
        ActRequest { by: act.by.or_else(|| self.person.clone()), reason: act.reason }
    }

    /// The rows of a list, part by part, up to `limit`; and where it goes on. `query` is the
    /// list's query without cursor and limit.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn list<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &impl Serialize,
        mut cursor: Option<String>,
        limit: usize,
    ) -> Result<Rows<T>, ClientError> {
        let mut rows: Vec<T> = Vec::new();
        loop {
            let left = limit.saturating_sub(rows.len());
            let mut query = serde_json::to_value(query).unwrap_or_default();
            query["limit"] = left.clamp(1, ROWS_MAX).into();
            if let Some(cursor) = cursor.take() {
                query["cursor"] = cursor.into();
            }
            let part: Rows<T> = self.get(path, &query).await?;
            rows.extend(part.rows);
            cursor = part.next;
            if cursor.is_none() || rows.len() >= limit {
                return Ok(Rows { rows, next: cursor });
            }
        }
    }

    /// Reads.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &impl Serialize,
    ) -> Result<T, ClientError> {
        let request = self.request(Method::GET, path, query).timeout(ANSWER_MAX);
        self.json(request).await
    }

    /// Changes.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let request = self.request(Method::POST, path, &()).timeout(ANSWER_MAX);
        self.json(request.json(body)).await
    }

    /// Follows journeys, handing over each line, until the node ends the stream.
    ///
    /// # Errors
    /// [`ClientError`], or what `each` returns.
    pub async fn follow(
        &self,
        query: &impl Serialize,
        mut each: impl FnMut(FollowLine) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut journeys = self.journeys(query).await?;
        while let Some(line) = journeys.next().await? {
            each(line)?;
        }
        Ok(())
    }

    /// Begins to follow journeys: all that happens from the return on is told.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn journeys(&self, query: &impl Serialize) -> Result<Journeys, ClientError> {
        let request = self.request(Method::GET, &["events", "stream"], query);
        let response = self.send(request).await?;
        Ok(Journeys { response, read: Vec::new(), address: self.address() })
    }

    /// Reads a file, part by part, for as long as it takes.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(super) async fn parts(&self, path: &[&str]) -> Result<Parts, ClientError> {
        let response = self.send(self.request(Method::GET, path, &())).await?;
        let parts = stream::try_unfold(response, |mut response| async {
            let next = tokio::time::timeout(QUIET_MAX, response.chunk()).await;
            let part = next.map_err(|_| "the node has gone quiet")??;
            Ok::<_, BoxError>(part.map(|part| (part, response)))
        });
        Ok(parts.boxed())
    }

    fn request(&self, method: Method, path: &[&str], query: &impl Serialize) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let pairs = serde_json::to_value(query).unwrap_or_default();
        let given = pairs.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        for (name, value) in given {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            url.query_pairs_mut().append_pair(name, &text);
        }
        self.http.request(method, url).bearer_auth(self.token.expose_secret())
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = self.send(request).await?;
        response.json().await.map_err(|_| self.strange())
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|_| ClientError::NotRunning {
            address: self.address(),
            file: crate::admin::FILE_NAME.to_owned(),
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        match response.json::<Problem>().await {
            Ok(problem) => Err(ClientError::Refused(Box::new(problem))),
            Err(_) => Err(self.strange()),
        }
    }

    fn strange(&self) -> ClientError {
        ClientError::Strange(self.address())
    }

    fn address(&self) -> String {
        self.base.authority().to_owned()
    }
}

/// A file as it comes.
pub(super) type Parts = BoxStream<'static, Result<Bytes, BoxError>>;

/// Journeys as they go on.
#[derive(Debug)]
pub struct Journeys {
    response: Response,
    /// What came and was not handed over yet.
    read: Vec<u8>,
    address: String,
}

impl Journeys {
    /// The next line; `None` when the node ends the stream.
    ///
    /// # Errors
    /// When the node is gone, silent for 30 s, or no node of this version.
    pub async fn next(&mut self) -> anyhow::Result<Option<FollowLine>> {
        let strange = || ClientError::Strange(self.address.clone());
        loop {
            while let Some(end) = self.read.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                // The other lines of an event repeat its data; a comment shows that the node lives.
                if let Some(data) = line.strip_prefix(b"data:") {
                    return Ok(Some(serde_json::from_slice(data).map_err(|_| strange())?));
                }
            }
            if self.read.len() > LINE_BYTES_MAX {
                return Err(strange().into());
            }
            let next = tokio::time::timeout(QUIET_MAX, self.response.chunk()).await;
            let chunk = next.context("the node has gone quiet")?.context("the node has gone")?;
            let Some(chunk) = chunk else { return Ok(None) };
            self.read.extend_from_slice(&chunk);
        }
    }
}
