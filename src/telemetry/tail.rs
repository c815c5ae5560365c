//! Traces that are not recorded from the beginning, kept until their event's end: those that went
//! wrong or took long are recorded after all.
//!
//! Bounded in traces and in spans of each; past the bound the oldest trace is given up, as it
//! would have been without this. Spans of a trace that ends on another node are given up there.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use copydesk_actors::telemetry::{Service, Span};

/// Traces that wait for their end; at 10 spans of 1 KiB each, 40 MB when all is slow.
const TRACES_MAX: usize = 4_096;

/// Spans of one trace: an event with every field enriched and each step tried four times.
const SPANS_MAX: usize = 64;

/// Ended traces whose verdict is remembered, for spans that come a moment after the end: the answer
/// to a webhook may leave when its event is already done.
const ENDED_MAX: usize = 1_024;

/// Traces whose end is not known.
#[derive(Debug)]
pub(super) struct Tail {
    keep_errors: bool,
    /// `None`: however long it takes.
    slow: Option<Duration>,
    traces: Mutex<Traces>,
}

type TraceId = [u8; 16];

#[derive(Debug, Default)]
struct Traces {
    open: HashMap<TraceId, Vec<Span>>,
    /// In the order of their first spans; ended ones are among them until they are passed.
    order: VecDeque<TraceId>,
    /// Whether an ended trace was kept.
    ended: HashMap<TraceId, bool>,
    ended_order: VecDeque<TraceId>,
}

impl Tail {
    /// `None` where nothing would be kept.
    pub(super) fn new(keep_errors: bool, slow: Duration) -> Option<Self> {
        let slow = (!slow.is_zero()).then_some(slow);
        let traces = Mutex::default();
        (keep_errors || slow.is_some()).then_some(Self { keep_errors, slow, traces })
    }

    /// Takes a span. At the end of an event that is worth it: all spans of its trace.
    pub(super) fn take(&self, span: Span) -> Vec<Span> {
        let (trace_id, is_last) = (span.context.trace_id, span.close.is_last);
        let mut traces = self.traces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = traces.ended.get(&trace_id) {
            return if *kept { vec![span] } else { Vec::new() };
        }
        let spans = traces.spans(trace_id);
        if spans.len() < SPANS_MAX || is_last {
            spans.push(span);
        }
        if !is_last {
            return Vec::new();
        }
        let spans = traces.open.remove(&trace_id).unwrap_or_default();
        let kept = self.is_worth(&spans);
        traces.end(trace_id, kept);
        if kept { spans } else { Vec::new() }
    }

    fn is_worth(&self, spans: &[Span]) -> bool {
        let failed = spans.iter().any(|span| span.close.error.is_some());
        // The save itself may have been long ago: an outbox that waited is not our slowness.
        let ours = || spans.iter().filter(|span| span.service == Service::Copydesk);
        let first = ours().map(|span| span.start).min();
        let last = ours().map(|span| span.end).max();
        let took = |first: SystemTime, last: SystemTime| last.duration_since(first);
        let took = first.zip(last).and_then(|(first, last)| took(first, last).ok());
        let slow = self.slow.zip(took).is_some_and(|(slow, took)| took >= slow);
        (self.keep_errors && failed) || slow
    }
}

impl Traces {
    fn spans(&mut self, trace_id: TraceId) -> &mut Vec<Span> {
        let Self { open, order, .. } = self;
        if !open.contains_key(&trace_id) {
            while open.len() >= TRACES_MAX
                && let Some(oldest) = order.pop_front()
            {
                open.remove(&oldest);
            }
            if order.len() >= 2 * TRACES_MAX {
                order.retain(|trace_id| open.contains_key(trace_id));
            }
            order.push_back(trace_id);
        }
        open.entry(trace_id).or_default()
    }

    fn end(&mut self, trace_id: TraceId, kept: bool) {
        self.ended.insert(trace_id, kept);
        self.ended_order.push_back(trace_id);
        if self.ended_order.len() > ENDED_MAX
            && let Some(oldest) = self.ended_order.pop_front()
        {
            self.ended.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

    use copydesk_actors::telemetry::Close;
    use copydesk_proto::TraceContext;
    use opentelemetry::trace::SpanKind;

    use super::*;

    fn span(trace: u16, took_s: u64, error: Option<&'static str>, is_last: bool) -> Span {
        let mut trace_id = [7; 16];
        trace_id[..2].copy_from_slice(&trace.to_be_bytes());
        let start = SystemTime::UNIX_EPOCH;
        let close = Close { error: error.map(Into::into), is_last, ..named() };
        Span {
            service: Service::Copydesk,
            context: TraceContext { trace_id, span_id: [1; 8], flags: 0 },
            parent: None,
            start,
            end: start + Duration::from_secs(took_s),
            close,
        }
    }

    fn named() -> Close {
        Close::named("enrich", SpanKind::Internal)
    }

    #[test]
    fn errors_and_slow_runs_are_kept_whole_and_others_not() {
        let tail = Tail::new(true, Duration::from_secs(30)).unwrap();
        assert!(tail.take(span(1, 1, Some("provider_timeout"), false)).is_empty());
        assert!(tail.take(span(2, 1, None, false)).is_empty());
        assert!(tail.take(span(3, 31, None, false)).is_empty());
        assert_eq!(tail.take(span(1, 1, None, true)).len(), 2);
        assert_eq!(tail.take(span(2, 1, None, true)).len(), 0);
        assert_eq!(tail.take(span(3, 1, None, true)).len(), 2);
        assert_eq!(tail.take(span(4, 1, None, true)).len(), 0);
        assert_eq!(tail.take(span(1, 1, None, false)).len(), 1, "it goes with its trace");
        assert_eq!(tail.take(span(2, 1, None, false)).len(), 0);
        assert!(Tail::new(false, Duration::ZERO).is_none());
    }

    #[test]
    fn it_is_bounded_in_traces_and_spans() {
        let tail = Tail::new(true, Duration::ZERO).unwrap();
        let traces_max = u16::try_from(TRACES_MAX).unwrap();
        for trace in 0..traces_max + 10 {
            tail.take(span(trace, 1, Some("code"), false));
        }
        assert_eq!(tail.traces.lock().unwrap().open.len(), TRACES_MAX);
        assert_eq!(tail.take(span(0, 1, None, true)).len(), 0, "the oldest was given up");
        for _ in 0..1_000 {
            tail.take(span(6_000, 1, Some("code"), false));
        }
        assert_eq!(tail.take(span(6_000, 1, None, true)).len(), SPANS_MAX + 1);
        // However many come and go, one that is slow stays.
        let slow = traces_max + 9;
        for trace in 10_000..30_000 {
            tail.take(span(trace, 1, None, true));
        }
        let traces = tail.traces.lock().unwrap();
        assert!(traces.order.len() <= 2 * TRACES_MAX && traces.ended.len() <= ENDED_MAX);
        drop(traces);
        assert_eq!(tail.take(span(slow, 1, None, true)).len(), 2);
    }
}
