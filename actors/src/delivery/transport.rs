//! HTTP to one site: both forms of REST addresses, our headers, bounded answers.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use copydesk_core::failure::Failure;
use copydesk_proto::TraceContext;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LINK, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use opentelemetry::KeyValue;
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;
use url::Url;

use super::exchange::{self, Exchange};
use super::fault;
use super::site::{Site, SiteError};
use crate::outbound;
use crate::telemetry::Telemetry;

/// Largest answer with a post's text, in bytes. WordPress escapes every non-ASCII letter to six
/// bytes, so this holds a Cyrillic text of 700 KB.
pub(super) const READ_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Largest answer to a write and to small questions, in bytes: it holds the fields we write.
pub(super) const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Idle connections go before the other side drops them: Apache's default is 5 s, and a request
/// sent into a closing connection is one with an unknown outcome.
const IDLE: std::time::Duration = std::time::Duration::from_secs(4);

/// Where a request goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    /// A REST route with its leading slash, reachable under both forms of permalinks.
    Route(&'a str),
    /// A path on the site, as it is.
    Path(&'a str),
}

/// One request.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) place: Place<'a>,
    /// Query without `?`; empty for none. Already encoded.
    pub(super) query: &'a str,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<bytes::Bytes>,
    pub(super) answer_bytes_max: usize,
    /// Whether the application password goes along.
    pub(super) signed: bool,
    /// What it is part of.
    pub(super) trace: Option<TraceContext>,
}

impl<'a> Request<'a> {
    /// A signed GET of a route.
    pub(super) fn get(route: &'a str, query: &'a str) -> Self {
        Self {
            method: Method::GET,
            place: Place::Route(route),
            query,
            headers: HeaderMap::new(),
            body: None,
            answer_bytes_max: ANSWER_BYTES_MAX,
            signed: true,
            trace: None,
        }
    }

    /// The same as part of a trace.
    pub(super) const fn traced(mut self, trace: Option<TraceContext>) -> Self {
        self.trace = trace;
        self
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    /// Whether the other side says it is JSON.
    pub(super) json: bool,
    pub(super) retry_after: Option<String>,
    /// Where a redirect leads, without its query.
    pub(super) location: Option<String>,
    /// The root of the REST API as the page names it.
    pub(super) rest_root: Option<String>,
    /// Pages of a list.
    pub(super) pages: u32,
    /// Where it came from; `None` for one of several in one body.
    pub(super) peer: Option<IpAddr>,
    pub(super) body: Vec<u8>,
}

impl Reply {
    /// One answer of several that came in one body: what would be a header stands in its data.
    pub(super) fn of_json(status: StatusCode, body: &serde_json::Value) -> Self {
        let retry_after = body["data"]["retry_after"].as_u64();
        Self {
            status,
            json: true,
            retry_after: retry_after.map(|seconds| seconds.to_string()),
            location: None,
            rest_root: None,
            pages: 1,
            peer: None,
            body: body.to_string().into_bytes(),
        }
    }

    /// The body of a successful answer. A page of HTML with status 200 (plain permalinks, a
    /// firewall, a maintenance page) is a failure, and so is JSON without the expected keys.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        if !self.status.is_success() || !self.json {
            return Err(fault::classify(self));
        }
        serde_json::from_slice(&self.body).map_err(|_| fault::unexpected_answer())
    }
}

/// The connection pool of one site, and what every request carries.
#[derive(Debug)]
pub(super) struct Transport {
    http: reqwest::Client,
    /// The site's address without a trailing slash.
    base: String,
    authorization: HeaderValue,
    /// Set once `/wp-json` turned out not to work: the site has plain permalinks.
    plain: AtomicBool,
    telemetry: Telemetry,
    /// What spans say of where requests go.
    server: [KeyValue; 2],
}

impl Transport {
    pub(super) fn new(site: &Site) -> Result<Self, SiteError> {
        let base = base_of(&site.url)?;
        site.rules.check_url(&site.url)?;
        let http = outbound::builder(&site.rules)
            .http1_only()
            .timeout(site.timeout)
            .connect_timeout(site.connect_timeout)
            .pool_max_idle_per_host(site.concurrency)
            .pool_idle_timeout(IDLE)
            .build()
            .map_err(SiteError::Http)?;
        Ok(Self {
            http,
            base,
            authorization: authorization_of(site)?,
            plain: AtomicBool::new(false),
            telemetry: site.telemetry.clone(),
            server: exchange::server(&site.url),
        })
    }

    /// The site's address, for messages.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Whether REST is used in its `?rest_route=` form.
    pub(super) fn is_plain(&self) -> bool {
        self.plain.load(Ordering::Relaxed)
    }

    /// Sends a request and reads the answer, whatever its status. Where `/wp-json` answers
    /// with a page instead of JSON, the form that always works is tried, and kept if it does:
    /// nothing behind `/wp-json` has seen the request then.
    pub(super) async fn send(&self, request: Request<'_>) -> Result<Reply, Failure> {
        let plain = self.is_plain();
        let reply = self.send_form(&request, plain).await?;
        if plain || !is_no_rest(&reply) || matches!(request.place, Place::Path(_)) {
            return Ok(reply);
        }
        let other = self.send_form(&request, true).await?;
        if !other.json {
            return Ok(reply);
        }
        self.plain.store(true, Ordering::Relaxed);
        Ok(other)
    }

    async fn send_form(&self, request: &Request<'_>, plain: bool) -> Result<Reply, Failure> {
        let mut headers = request.headers.clone();
        let exchange = Exchange::begin(&self.telemetry, request.trace, &mut headers);
        let reply = self.exchange(request, headers, plain).await;
        exchange.end(&self.telemetry, request, &self.server, &reply);
        reply
    }

    async fn exchange(
        &self,
        request: &Request<'_>,
        headers: HeaderMap,
        plain: bool,
    ) -> Result<Reply, Failure> {
        let address = address(&self.base, request.place, request.query, plain);
        let mut builder = self
            .http
            .request(request.method.clone(), address)
            .headers(headers)
            .header(ACCEPT, HeaderValue::from_static("application/json"));
        if request.signed {
            builder = builder.header(AUTHORIZATION, self.authorization.clone());
        }
        if let Some(body) = &request.body {
            if !request.headers.contains_key(CONTENT_TYPE) {
                builder =
                    builder.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
            builder = builder.body(body.clone());
        }
        let response = builder.send().await.map_err(|e| fault::transport(&e))?;
        read_reply(response, request.answer_bytes_max).await
    }
}

/// What plain permalinks look like from `/wp-json`: the home page, a redirect to the same path with
/// a slash (WordPress 7.1), or the web server's own refusal of a file that is not there.
fn is_no_rest(reply: &Reply) -> bool {
    let refused = [StatusCode::OK, StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED];
    !reply.json && (reply.status.is_redirection() || refused.contains(&reply.status))
}

fn base_of(url: &Url) -> Result<String, SiteError> {
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !plain || !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(SiteError::Url);
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn authorization_of(site: &Site) -> Result<HeaderValue, SiteError> {
    // RFC 7617, section 2: a user-id holds no colon and no control character.
    if site.user.is_empty() || site.user.chars().any(|c| c == ':' || c.is_control()) {
        return Err(SiteError::User);
    }
    let pair = format!("{}:{}", site.user, site.application_password.expose_secret());
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    let mut value =
        HeaderValue::try_from(format!("Basic {encoded}")).map_err(|_| SiteError::User)?;
    value.set_sensitive(true);
    Ok(value)
}

fn address(base: &str, place: Place<'_>, query: &str, plain: bool) -> String {
    let mut address = base.to_owned();
    let mut joint = '?';
    match place {
        Place::Path(path) => address.push_str(path),
        Place::Route(route) if plain => {
            address.push_str("/?rest_route=");
            address.push_str(route);
            joint = '&';
        }
        Place::Route(route) => {
            address.push_str("/wp-json");
            address.push_str(route);
        }
    }
    if !query.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(address, "{joint}{query}");
    }
    address
}

async fn read_reply(mut response: reqwest::Response, bytes_max: usize) -> Result<Reply, Failure> {
    let text = |name: HeaderName| {
        response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned)
    };
    let mut reply = Reply {
        status: response.status(),
        json: text(CONTENT_TYPE).is_some_and(|t| is_json(&t)),
        retry_after: text(RETRY_AFTER),
        location: text(LOCATION).map(|l| l.split(['?', '#']).next().unwrap_or_default().to_owned()),
        rest_root: response
            .headers()
            .get_all(LINK)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .find_map(rest_root),
        pages: text(HeaderName::from_static("x-wp-totalpages"))
            .and_then(|n| n.parse().ok())
            .unwrap_or(1),
        peer: response.remote_addr().map(|address| address.ip()),
        body: Vec::new(),
    };
    while let Some(chunk) = response.chunk().await.map_err(|e| fault::transport(&e))? {
        if reply.body.len() + chunk.len() > bytes_max {
            return Err(fault::answer_too_large(bytes_max));
        }
        reply.body.extend_from_slice(&chunk);
    }
    Ok(reply)
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// `<https://example.com/wp-json/>; rel="https://api.w.org/"`
fn rest_root(link: &str) -> Option<String> {
    link.split(',')
        .find(|part| part.contains("rel=\"https://api.w.org/\""))
        .and_then(|part| part.trim().strip_prefix('<')?.split_once('>'))
        .map(|(root, _)| root.to_owned())
}
