//! Who may ask. Checked before any route is looked at, so that a new route cannot be without it.
//! Only the metrics need no token: they are numbers, whoever reaches this listener may see them,
//! and a Prometheus must not hold a token that retries, drops and holds.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{AUTHORIZATION, CACHE_CONTROL, HOST, HeaderValue};
use http::{HeaderMap, Uri};
use subtle::ConstantTimeEq;

use super::Problem;

/// Where the metrics are.
pub(super) const METRICS: &str = "/metrics";

/// The token, and the host names a request may carry.
#[derive(Clone)]
pub(super) struct Guard(Arc<Inner>);

struct Inner {
    token: String,
    hosts: Vec<String>,
}

impl Guard {
    /// A browser that is tricked into calling us by a name of the attacker's carries that name:
    /// only loopback names, the bound address and `hosts` are let in.
    pub(super) fn new(token: String, address: SocketAddr, hosts: &[String]) -> Self {
        let mut hosts = hosts.to_vec();
        hosts.push("localhost".to_owned());
        if !address.ip().is_unspecified() {
            hosts.push(address.ip().to_string());
        }
        Self(Arc::new(Inner { token, hosts }))
    }

    fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let mut hosts = headers.get_all(HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().unwrap_or_default(),
            (None | Some(_), _) => return Err(Problem::misdirected()),
        };
        let same = uri.authority().is_none_or(|target| target.as_str().eq_ignore_ascii_case(host));
        if !same || !self.serves(host) {
            return Err(Problem::misdirected());
        }
        if uri.path() == METRICS {
            return Ok(());
        }
        let mut tokens = headers.get_all(AUTHORIZATION).iter();
        let given = match (tokens.next(), tokens.next()) {
            (Some(given), None) => given.as_bytes(),
            (None | Some(_), _) => return Err(Problem::unauthorized()),
        };
        let given = match given.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token,
            Some(_) | None => return Err(Problem::unauthorized()),
        };
        if bool::from(given.ct_eq(self.0.token.as_bytes())) {
            Ok(())
        } else {
            Err(Problem::unauthorized())
        }
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
}

/// Lets a request through, or answers it.
pub(super) async fn check(
    State(guard): State<Guard>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    guard.check(request.uri(), request.headers())?;
    let mut response = next.run(request).await;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
