//! The span of one HTTP request to a site. Where it goes is told by its route with ids left out.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

use copydesk_core::failure::Failure;
use copydesk_proto::TraceContext;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use url::Url;

use super::transport::{Place, Reply, Request};
use crate::telemetry::{Close, Open, Telemetry, names};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A request under way.
pub(super) struct Exchange(Option<Open>);

impl Exchange {
    /// The request carries its own span, or what it is part of where it has none.
    pub(super) fn begin(
        telemetry: &Telemetry,
        trace: Option<TraceContext>,
        headers: &mut HeaderMap,
    ) -> Self {
        let open = telemetry.open(trace);
        let carried = open.map(|open| open.context).or(trace);
        if let Some(value) = carried.and_then(|t| HeaderValue::try_from(t.to_string()).ok()) {
            headers.insert(TRACEPARENT, value);
        }
        Self(open)
    }

    pub(super) fn end(
        self,
        telemetry: &Telemetry,
        request: &Request<'_>,
        to: &[KeyValue; 2],
        reply: &Result<Reply, Failure>,
    ) {
        let Some(open) = self.0 else { return };
        let route = route(request.place);
        let mut close = Close::named(format!("{} {route}", request.method), SpanKind::Client);
        let [scheme, host] = to.clone();
        let method = method_of(request);
        let mut attributes = Vec::with_capacity(5);
        attributes.extend([KeyValue::new(names::HTTP_METHOD, method), scheme, host]);
        close.attributes = attributes;
        match reply {
            Ok(reply) => {
                let status = i64::from(reply.status.as_u16());
                close.attributes.push(KeyValue::new(names::HTTP_STATUS, status));
                if reply.status.is_client_error() || reply.status.is_server_error() {
                    close.error = Some(reply.status.as_str().to_owned().into());
                }
            }
            Err(failure) => close.error = Some(failure.code.clone().into()),
        }
        telemetry.close(open, close);
    }
}

/// One request did what several traces asked for: each shows it, with a link to where it is told
/// whole.
pub(super) fn shared(
    telemetry: &Telemetry,
    trace: Option<TraceContext>,
    with: Option<TraceContext>,
    began: SystemTime,
    path: &str,
    failure: Option<&Failure>,
) {
    let Some(open) = telemetry.open(trace) else { return };
    let name = format!("POST {}", route(Place::Route(path)));
    let mut close = Close::named(name, SpanKind::Client);
    close.links = with.map(|with| (with, "batch")).into_iter().collect();
    close.error = failure.map(|failure| failure.code.clone().into());
    telemetry.close(open.from(began), close);
}

/// Where a site's requests go, for their spans.
pub(super) fn server(base: &Url) -> [KeyValue; 2] {
    let shared = |text: &str| Arc::<str>::from(text);
    let host = match (base.host_str().unwrap_or_default(), base.port()) {
        (host, Some(port)) => format!("{host}:{port}").into(),
        (host, None) => shared(host),
    };
    [
        KeyValue::new(names::URL_SCHEME, shared(base.scheme())),
        KeyValue::new(names::SERVER_ADDRESS, host),
    ]
}

fn method_of(request: &Request<'_>) -> &'static str {
    match request.method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        _ => "_OTHER",
    }
}

/// `/wp/v2/posts/{id}` for every post.
fn route(place: Place<'_>) -> String {
    let (Place::Route(path) | Place::Path(path)) = place;
    let mut route = String::with_capacity(path.len());
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        let is_id = segment.bytes().all(|b| b.is_ascii_digit());
        // Writing to a String cannot fail.
        let _ = write!(route, "/{}", if is_id { "{id}" } else { segment });
    }
    route
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_no_ids() {
        assert_eq!(route(Place::Route("/wp/v2/posts/5")), "/wp/v2/posts/{id}");
        assert_eq!(route(Place::Path("/wp-json/desk/v1/ingest")), "/wp-json/desk/v1/ingest");
    }
}
