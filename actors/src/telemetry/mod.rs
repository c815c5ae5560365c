//! What the actors tell of their work: spans that have ended, counts, and what posts wait for.
//!
//! A span is plain data, made when it ends ([`Span`]); what travels in messages and records is its
//! [`TraceContext`], never a span. So a queue keeps no span open, a span may be ended by another
//! process than the one that opened it, and the hot path pays for one allocation and a hand-over.
//! Who takes spans and counts is not known here: [`SpanSink`] and OpenTelemetry's `Meter`.

mod mailbox;
mod metrics;
pub mod names;
mod span;
mod waits;

pub use mailbox::Mailbox;
pub use metrics::{AiCall, Metrics, Request};
pub use span::{Close, Open, Service, Span, SpanSink, since_epoch};
pub use waits::Waits;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use copydesk_proto::TraceContext;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider, NoopMeterProvider};
use opentelemetry::trace::SpanKind;

use self::mailbox::Mailboxes;

/// The id of no span: what is opened under it is the first of its trace.
const NO_SPAN: [u8; 8] = [0; 8];

/// Waits shorter than this are how long things take, and no waits.
const WAIT_SHOWN: Duration = Duration::from_millis(5);

/// Where a node's telemetry goes. Cheap to clone; [`Telemetry::default`] tells nobody.
#[derive(Debug, Clone)]
pub struct Telemetry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    meter: Meter,
    metrics: Metrics,
    spans: Option<Arc<dyn SpanSink>>,
    waits: Waits,
    mailboxes: Mailboxes,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new(NoopMeterProvider::new().meter("copydesk"), None)
    }
}

impl Telemetry {
    /// Counts go to the meter, spans to the sink; without a sink there are none.
    #[must_use]
    pub fn new(meter: Meter, spans: Option<Arc<dyn SpanSink>>) -> Self {
        let metrics = Metrics::new(&meter);
        let (waits, mailboxes) = (Waits::default(), Mailboxes::default());
        Self(Arc::new(Inner { meter, metrics, spans, waits, mailboxes }))
    }

    /// For what is observed rather than counted.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.0.meter
    }

    /// The counts.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// What posts wait for.
    #[must_use]
    pub fn waits(&self) -> &Waits {
        &self.0.waits
    }

    /// A message goes into a mailbox.
    pub fn sent(&self, to: Mailbox) {
        self.0.mailboxes.sent(to);
    }

    /// A message was taken out.
    pub fn taken(&self, from: Mailbox) {
        self.0.mailboxes.taken(from);
    }

    /// Messages in a mailbox.
    #[must_use]
    pub fn depth(&self, of: Mailbox) -> u64 {
        self.0.mailboxes.depth(of)
    }

    /// Opens the first span of ours in the trace of a webhook that has been verified: the sender's
    /// trace, or a new one, with the decision whether it is recorded. And what to carry on: the
    /// span's context, or the sender's where there is no span.
    #[must_use]
    pub fn begin(&self, sender: Option<TraceContext>) -> (Option<Open>, Option<TraceContext>) {
        let Some(sink) = &self.0.spans else { return (None, sender) };
        let mut trace = sender.unwrap_or_else(|| TraceContext {
            trace_id: rand::random(),
            span_id: NO_SPAN,
            flags: 0,
        });
        trace.flags = u8::from(sink.samples(trace.trace_id, sender.map(|t| t.flags & 1 == 1)));
        match self.open(Some(trace)) {
            Some(open) => (Some(open), Some(open.context)),
            None => (None, sender.map(|_| trace)),
        }
    }

    /// Opens a span under another, now. `None` where nobody would take it, or nobody does at
    /// present: what follows then carries on the parent's context.
    #[must_use]
    pub fn open(&self, parent: Option<TraceContext>) -> Option<Open> {
        let parent = parent?;
        let sink = self.0.spans.as_ref()?;
        let wanted = parent.flags & 1 == 1 || sink.decides_late();
        (wanted && sink.has_a_taker()).then(|| Open::under(parent))
    }

    /// Opens the first span of a new trace that follows from another's, as a link will say.
    #[must_use]
    pub fn open_anew(&self, origin: Option<TraceContext>) -> Option<Open> {
        let origin = origin?;
        self.open(Some(TraceContext { trace_id: rand::random(), span_id: NO_SPAN, ..origin }))
    }

    /// Tells of a wait that is over, as a span with its reason, unless it was too short to count.
    pub fn waited(&self, parent: Option<TraceContext>, since: SystemTime, reason: &'static str) {
        if since.elapsed().unwrap_or_default() < WAIT_SHOWN {
            return;
        }
        let Some(open) = self.open(parent) else { return };
        let mut close = Close::named(format!("wait {reason}"), SpanKind::Internal);
        close.attributes = vec![KeyValue::new(names::WAIT_REASON, reason)];
        self.close(open.from(since), close);
    }

    /// Ends a span, now.
    pub fn close(&self, open: Open, close: Close) {
        self.close_at(open, SystemTime::now(), close);
    }

    /// Ends a span that was over before it could be told.
    pub fn close_at(&self, open: Open, end: SystemTime, close: Close) {
        if let Some(sink) = &self.0.spans {
            sink.take(open.end(end, close));
        }
    }
}
