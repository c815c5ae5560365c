//! Spans as plain data, and who takes them.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use copydesk_proto::{Timestamp, TraceContext};
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;

/// Who did what a span tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// This node.
    Copydesk,
    /// The sender. It exports no spans, so the node does it for it.
    WordPress,
}

/// A span that has ended.
#[derive(Debug, Clone)]
pub struct Span {
    /// Whose it is.
    pub service: Service,
    /// Trace, own id, and whether the trace is recorded.
    pub context: TraceContext,
    /// The span it is part of, or follows from; `None`: it is the first.
    pub parent: Option<[u8; 8]>,
    /// From when.
    pub start: SystemTime,
    /// Until when.
    pub end: SystemTime,
    /// The rest.
    pub close: Close,
}

/// What is known of a span when it ends.
#[derive(Debug, Clone)]
pub struct Close {
    /// Few different ones: never an id.
    pub name: Cow<'static, str>,
    /// Its part in a conversation.
    pub kind: SpanKind,
    /// No content, no secret.
    pub attributes: Vec<KeyValue>,
    /// Other traces' spans that it has to do with, and how.
    pub links: Vec<(TraceContext, &'static str)>,
    /// The code of a failure: the span is shown red.
    pub error: Option<Cow<'static, str>>,
    /// Whether the event's way is at its end, so that it can be said whether it was a slow one.
    pub is_last: bool,
}

impl Close {
    /// One with nothing to tell but its name.
    #[must_use]
    pub fn named(name: impl Into<Cow<'static, str>>, kind: SpanKind) -> Self {
        Self {
            name: name.into(),
            kind,
            attributes: Vec::new(),
            links: Vec::new(),
            error: None,
            is_last: false,
        }
    }
}

/// Takes spans. Called on the hot path: it neither blocks nor fails.
pub trait SpanSink: Send + Sync + fmt::Debug {
    /// Whether the trace is recorded; `of_sender`: what its sender decided, where there is one.
    fn samples(&self, trace_id: [u8; 16], of_sender: Option<bool>) -> bool;
    /// Whether spans of traces that are not recorded are wanted, too, until it is known how the
    /// event ended.
    fn decides_late(&self) -> bool;
    /// Whether a span that begins now has a chance to arrive. One that has none counts as lost,
    /// and costs nothing more.
    fn has_a_taker(&self) -> bool;
    /// Takes one.
    fn take(&self, span: Span);
}

/// A span that has begun: what it needs to end, wherever that is.
#[derive(Debug, Clone, Copy)]
pub struct Open {
    /// What requests and messages carry from here on.
    pub context: TraceContext,
    parent: Option<[u8; 8]>,
    start: SystemTime,
    service: Service,
}

impl Open {
    pub(super) fn under(parent: TraceContext) -> Self {
        let context = TraceContext { span_id: rand::random(), ..parent };
        let parent = (parent.span_id != super::NO_SPAN).then_some(parent.span_id);
        Self { context, parent, start: SystemTime::now(), service: Service::Copydesk }
    }

    /// A span that another process opened, under the id it gave it.
    #[must_use]
    pub fn continued(
        context: TraceContext,
        parent: Option<TraceContext>,
        start: SystemTime,
    ) -> Self {
        let parent = parent.map(|p| p.span_id).filter(|id| *id != super::NO_SPAN);
        Self { context, parent, start, service: Service::Copydesk }
    }

    /// It began before it was opened here.
    #[must_use]
    pub const fn from(mut self, start: SystemTime) -> Self {
        self.start = start;
        self
    }

    /// It was somebody else's.
    #[must_use]
    pub const fn of(mut self, service: Service) -> Self {
        self.service = service;
        self
    }

    /// Since it began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed().unwrap_or_default()
    }

    pub(super) fn end(self, end: SystemTime, close: Close) -> Span {
        let Self { context, parent, start, service } = self;
        // A clock that was set back must not make a span end before it began.
        let end = end.max(start);
        Span { service, context, parent, start, end, close }
    }
}

/// A time of the log.
#[must_use]
pub fn since_epoch(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(at.0).unwrap_or(0))
}
