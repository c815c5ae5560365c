//! The commands' side of the admin API.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::admin::{Access, AccessError, FollowLine, Problem};

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
    token: String,
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
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_MAX)
            .build()
            .context("no HTTP client")?;
        let mut address = access.address;
        // Bound to every address: this machine's own is one of them.
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        let base = Url::parse(&format!("http://{address}/api/v1/")).context("no address")?;
        Ok(Self { http, base, token: access.token })
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
        let request = self.request(Method::GET, &["events", "follow"], query);
        let response = self.send(request).await?;
        Ok(Journeys { response, read: Vec::new(), address: self.address() })
    }

    fn request(&self, method: Method, path: &[&str], query: &impl Serialize) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let pairs = serde_json::to_value(query).unwrap_or_default();
        for (name, value) in pairs.as_object().into_iter().flatten() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            url.query_pairs_mut().append_pair(name, &text);
        }
        self.http.request(method, url).bearer_auth(&self.token)
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
                // An empty line only shows that the node lives.
                if line.len() > 1 {
                    return Ok(Some(serde_json::from_slice(&line).map_err(|_| strange())?));
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
