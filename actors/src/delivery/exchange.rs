//! The span of one HTTP request to a site. Where it goes is told by its route with ids left out.

use std::fmt::Write as _;
use std::time::SystemTime;

use copydesk_core::failure::Failure;
use copydesk_proto::TraceContext;
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;

use super::transport::{Place, Reply, Request};
use crate::telemetry::{Close, Open, Telemetry, names};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A request under way.
pub(super) struct Exchange(Option<Open>);

impl Exchange {
    /// The request belongs to the trace its headers name, and carries its own span there.
    pub(super) fn begin(telemetry: &Telemetry, headers: &mut HeaderMap) -> Self {
        let named = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok());
        let parent: Option<TraceContext> = named.and_then(|text| text.parse().ok());
        let open = telemetry.open(parent);
        let own = open.and_then(|open| HeaderValue::try_from(open.context.to_string()).ok());
        if let Some(own) = own {
            headers.insert(TRACEPARENT, own);
        }
        Self(open)
    }

    pub(super) fn end(
        self,
        telemetry: &Telemetry,
        request: &Request<'_>,
        base: &str,
        reply: &Result<Reply, Failure>,
    ) {
        let Some(open) = self.0 else { return };
        let route = route(request.place);
        let mut close = Close::named(format!("{} {route}", request.method), SpanKind::Client);
        let (scheme, rest) = base.split_once("://").unwrap_or(("http", base));
        let host = rest.split('/').next().unwrap_or_default();
        close.attributes = vec![
            KeyValue::new(names::HTTP_METHOD, request.method.to_string()),
            KeyValue::new(names::URL_SCHEME, scheme.to_owned()),
            KeyValue::new(names::SERVER_ADDRESS, host.to_owned()),
        ];
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
