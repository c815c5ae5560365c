//! Who may ask what. Checked before any handler runs, so that a new route cannot be without it:
//! host, origin, token, pace, role, and the site in the path. Only the metrics need no token: they
//! are numbers, whoever reaches this listener may see them, and a Prometheus must not hold a token
//! that retries, drops and holds.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::RequestExt;
use axum::extract::{MatchedPath, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use copydesk_actors::World;
use copydesk_actors::desk::TokenBook;
use copydesk_core::access::Token;
use http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, ORIGIN};
use http::{HeaderMap, Uri};
use subtle::ConstantTimeEq;
use tokio::task_local;
use uuid::Uuid;

use super::Refusal;
use super::caller::Caller;
use super::pace::Pace;
use super::policy::{self, Needs, Ruling};

task_local! {
    /// The request that is being answered.
    static REQUEST: String;
}

/// The id of the request that is being answered; empty outside of one.
pub(super) fn request_id() -> String {
    REQUEST.try_with(Clone::clone).unwrap_or_default()
}

/// What every answer carries: it is for this client, of this type, and in no frame.
const HEADERS: [(HeaderName, &str); 4] = [
    (http::header::CACHE_CONTROL, "no-store"),
    (http::header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (http::header::REFERRER_POLICY, "no-referrer"),
    (http::header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
];

/// Where the metrics are.
pub(super) const METRICS: &str = "/metrics";

/// The door.
#[derive(Debug, Clone)]
pub(super) struct Guard(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    book: Arc<TokenBook>,
    hosts: Vec<String>,
    pace: Arc<Pace>,
}

impl Guard {
    /// A browser that is tricked into calling us by a name of the attacker's carries that name:
    /// only loopback names, the bound address and `hosts` are let in.
    pub(super) fn new(
        book: Arc<TokenBook>,
        address: SocketAddr,
        hosts: &[String],
        pace: Arc<Pace>,
    ) -> Self {
        let mut hosts = hosts.to_vec();
        hosts.push("localhost".to_owned());
        if !address.ip().is_unspecified() {
            hosts.push(address.ip().to_string());
        }
        Self(Arc::new(Inner { book, hosts, pace }))
    }

    fn check_host<'h>(&self, uri: &Uri, headers: &'h HeaderMap) -> Result<&'h str, Refusal> {
        let mut hosts = headers.get_all(HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().unwrap_or_default(),
            (None | Some(_), _) => return Err(Refusal::misdirected()),
        };
        let same = uri.authority().is_none_or(|target| target.as_str().eq_ignore_ascii_case(host));
        if same && self.serves(host) { Ok(host) } else { Err(Refusal::misdirected()) }
    }

    fn serves(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            Some(_) | None => host,
        };
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let loopback = bare.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        loopback || self.0.hosts.iter().any(|own| own.eq_ignore_ascii_case(bare))
    }

    /// The live token of a request. Every token is compared, and in constant time.
    fn caller(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let given = match (given.next(), given.next()) {
            (Some(given), None) => given.to_str().unwrap_or_default(),
            (None | Some(_), _) => return Err(Refusal::unauthorized()),
        };
        let secret = match given.split_at_checked(7) {
            Some((scheme, secret)) if scheme.eq_ignore_ascii_case("bearer ") => secret,
            Some(_) | None => return Err(Refusal::unauthorized()),
        };
        let (hash, now) = (Token::hash_of(secret), World::now());
        let caller = self.0.book.look(|tokens| {
            let same = |token: &&Token| bool::from(token.hash.ct_eq(&hash));
            let token = tokens.iter().filter(same).last().filter(|token| token.is_live(now))?;
            let (id, name) = (token.id.clone(), token.name.clone());
            Some(Caller { id, name, role: token.role, reach: token.reach.clone() })
        });
        let caller = caller.ok_or_else(Refusal::unauthorized)?;
        self.0.pace.admit(&caller.id)?;
        self.0.book.note_use(&caller.id, now);
        Ok(caller)
    }

    async fn let_in(&self, mut request: Request, next: Next) -> Result<Response, Refusal> {
        let host = self.check_host(request.uri(), request.headers())?;
        if request.uri().path() == METRICS {
            return Ok(next.run(request).await);
        }
        check_origin(host, request.headers())?;
        let caller = self.caller(request.headers())?;
        let path = request.extensions().get::<MatchedPath>().cloned();
        let path = path.ok_or_else(Refusal::not_found)?;
        let policy = match policy::ruling(request.method(), path.as_str()) {
            Ruling::Asks(policy) => policy,
            Ruling::Methods(methods) => return Err(Refusal::method(methods)),
            Ruling::Nothing => return Err(Refusal::not_found()),
        };
        if caller.role < policy.role {
            return Err(Refusal::needs(policy.role.as_str()));
        }
        if policy.needs == Needs::Desk {
            caller.see_desk()?;
        }
        let parameters = request.extract_parts::<RawPathParams>().await;
        let parameters = parameters.map_err(|_| Refusal::not_found())?;
        for (_, site) in parameters.iter().filter(|(name, _)| *name == "site") {
            caller.see(&site.parse().map_err(|_| Refusal::not_found())?)?;
        }
        let _while_it_is_answered = policy.heavy.then(|| self.0.pace.heavy()).transpose()?;
        request.extensions_mut().insert(caller);
        Ok(next.run(request).await)
    }
}

/// A browser says whose page asks; the desk's pages have the origin of the desk itself.
fn check_origin(host: &str, headers: &HeaderMap) -> Result<(), Refusal> {
    let own = |origin: &HeaderValue| {
        let rest = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        rest.is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
    };
    let same_site = |value: &HeaderValue| value == "same-origin" || value == "none";
    if headers.get_all(ORIGIN).iter().all(own)
        && headers.get_all("sec-fetch-site").iter().all(same_site)
    {
        Ok(())
    } else {
        Err(Refusal::cross_origin())
    }
}

/// Lets a request through, or answers it.
pub(super) async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let id = Uuid::now_v7().to_string();
    let name = HeaderValue::try_from(&id);
    let answer = async { guard.let_in(request, next).await.into_response() };
    let mut response = REQUEST.scope(id, answer).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(id) = name {
        headers.insert("x-request-id", id);
    }
    response
}
