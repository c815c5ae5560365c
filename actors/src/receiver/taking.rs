//! The spans of taking a webhook in: the request, and before it the save in WordPress, which exports
//! no spans itself. Only of webhooks that were verified: what a stranger sends is counted, and
//! makes no trace.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use copydesk_core::refusal::Refusal;
use copydesk_core::webhook::VerifiedWebhook;
use copydesk_proto::{PostKey, SourceId, TraceContext};
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use tracing::debug;

use super::Receipt;
use crate::telemetry::{Close, Open, Service, Telemetry, names, since_epoch};

/// A save longer ago is no beginning of a trace that anyone looks at: an outbox that was found
/// again, or a clock that is wrong.
const SAVED_AGO_MAX: Duration = Duration::from_secs(24 * 3_600);

/// How a webhook came.
pub enum Came<'a> {
    /// By a request to us, called so in our log.
    Sent(&'a (dyn Display + Sync)),
    /// Fetched from the site's outbox.
    Fetched,
}

/// A verified webhook on its way into the log.
#[derive(Debug)]
pub struct Taking {
    at: SystemTime,
    source: SourceId,
    post: PostKey,
    event_type: Arc<str>,
    trace: Option<TraceContext>,
    request: Option<Open>,
    save: Option<Open>,
}

impl Taking {
    /// `at`: when it came. The webhook carries the span of its arrival from here on.
    #[must_use]
    pub fn begin(telemetry: &Telemetry, webhook: &mut VerifiedWebhook, at: SystemTime) -> Self {
        let sender = webhook.trace;
        let (request, carried) = telemetry.begin(sender);
        webhook.trace = carried;
        let saved_at = webhook.payload.saved_at().map(since_epoch);
        let saved_at = saved_at.filter(|saved| at.duration_since(*saved).is_ok_and(is_recent));
        // Its id is the one that the sender gave it; whether it is recorded was decided here.
        let save = sender.zip(carried).zip(saved_at).map(|((sender, carried), saved)| {
            let context = TraceContext { flags: carried.flags, ..sender };
            Open::continued(context, None, saved).of(Service::WordPress)
        });
        Self {
            at,
            source: webhook.source.clone(),
            post: webhook.post.clone(),
            event_type: webhook.payload.event_type.as_str().into(),
            trace: carried,
            save: save.filter(|_| request.is_some()),
            request: request.map(|request| request.from(at)),
        }
    }

    /// It is in the log, or it is not.
    pub fn end(self, telemetry: &Telemetry, came: &Came<'_>, stored: Result<&Receipt, &Refusal>) {
        let Self { at, source, post, event_type, trace, request, save } = self;
        let request_id: &dyn Display = match came {
            Came::Sent(request_id) => *request_id,
            Came::Fetched => &"",
        };
        let trace_id = trace.map(|trace| trace.trace_id()).unwrap_or_default();
        let (outcome, event_id) = match stored {
            Ok(receipt) => {
                let (event_id, duplicate) = (&receipt.event_id, receipt.duplicate);
                debug!(%request_id, event_id, %trace_id, duplicate, "a webhook was taken in");
                (if duplicate { "duplicate" } else { "accepted" }, Some(event_id))
            }
            Err(_) => ("refused", None),
        };
        let Some(request) = request else { return };
        let post: Arc<str> = post.to_string().into();
        if let Some(save) = save.filter(|_| outcome == "accepted") {
            let mut close = Close::named("save post", SpanKind::Internal);
            close.attributes = vec![
                KeyValue::new(names::EVENT_TYPE, Arc::clone(&event_type)),
                KeyValue::new(names::POST, Arc::clone(&post)),
            ];
            telemetry.close_at(save, at, close);
        }
        let mut close = match came {
            Came::Sent(_) => Close::named("POST /webhooks/{source}", SpanKind::Server),
            Came::Fetched => Close::named("fetch webhook", SpanKind::Internal),
        };
        close.attributes = Vec::with_capacity(9);
        if let Came::Sent(_) = came {
            let status = stored.err().map_or(202, |refusal| i64::from(refusal.status));
            close.attributes.extend([
                KeyValue::new(names::HTTP_METHOD, "POST"),
                KeyValue::new(names::HTTP_ROUTE, "/webhooks/{source}"),
                KeyValue::new(names::HTTP_STATUS, status),
                KeyValue::new(names::REQUEST_ID, request_id.to_string()),
            ]);
        }
        close.attributes.extend([
            KeyValue::new(names::SOURCE, source.to_shared()),
            KeyValue::new(names::POST, post),
            KeyValue::new(names::EVENT_TYPE, event_type),
            KeyValue::new(names::OUTCOME, outcome),
        ]);
        if let Some(event_id) = event_id {
            close.attributes.push(KeyValue::new(names::EVENT_ID, event_id.clone()));
        }
        close.error = stored.err().map(|refusal| refusal.code.into());
        telemetry.close(request, close);
    }
}

fn is_recent(ago: Duration) -> bool {
    ago <= SAVED_AGO_MAX
}
