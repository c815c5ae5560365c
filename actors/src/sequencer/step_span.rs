//! The span and the count of one try of a step, its wait for a place included. A try that failed
//! is red; the next one has a span of its own.

use std::borrow::Cow;
use std::time::Instant;

use copydesk_core::failure::Failure;
use copydesk_proto::TraceContext;
use opentelemetry::trace::SpanKind;
use opentelemetry::{KeyValue, StringValue};
use tracing::debug;

use super::effects::Job;
use crate::delivery::WriteOutcome;
use crate::telemetry::{Close, Open, names};

/// A try under way.
pub(super) struct StepSpan {
    began: Instant,
    open: Option<Open>,
    /// What its requests carry.
    pub trace: Option<TraceContext>,
}

impl StepSpan {
    pub(super) fn begin(job: &Job) -> Self {
        let open = job.world.telemetry.open(job.trace);
        let trace = open.map(|open| open.context).or(job.trace);
        Self { began: Instant::now(), open, trace }
    }

    /// A request to a site has ended.
    pub(super) fn delivered(
        self,
        job: &Job,
        kind: &'static str,
        outcome: Result<&'static str, &Failure>,
    ) {
        let (said, failure) = match outcome {
            Ok(said) => (said, None),
            Err(failure) => ("failed", Some(failure)),
        };
        let counted =
            failure.map_or(StringValue::from(said), |failure| failure.code.clone().into());
        let site =
            job.key.subscriber().map_or_else(|| job.key.site.to_shared(), |to| to.to_shared());
        let took = self.began.elapsed();
        job.world.telemetry.metrics().delivery(site, kind, counted, took);
        let name = match kind {
            "read" => "read post",
            "notice" => "tell subscriber",
            _ => "write post",
        };
        self.end(job, name, said, failure);
    }

    pub(super) fn end(
        self,
        job: &Job,
        name: impl Into<Cow<'static, str>>,
        said: &'static str,
        failure: Option<&Failure>,
    ) {
        if let Some(Failure { code, .. }) = failure {
            let trace_id = self.trace.map(|trace| trace.trace_id()).unwrap_or_default();
            let (post, attempt) = (&job.key, job.attempt);
            debug!(%post, event_id = %job.event, %trace_id, attempt, code, "a try of a step failed");
        }
        let Some(open) = self.open else { return };
        // A notice is one request, and this is its span; a site has spans for each of its own.
        let is_request = job.key.subscriber().is_some();
        let kind = if is_request { SpanKind::Client } else { SpanKind::Internal };
        let mut close = Close::named(name, kind);
        close.attributes = vec![
            KeyValue::new(names::EVENT_ID, std::sync::Arc::clone(&job.event)),
            KeyValue::new(names::ATTEMPT, i64::from(job.attempt)),
            KeyValue::new(names::OUTCOME, if failure.is_some() { "failed" } else { said }),
        ];
        close.error = failure.map(|failure| failure.code.clone().into());
        job.world.telemetry.close(open, close);
    }
}

/// What became of a write, in one word.
pub(super) const fn written(outcome: &WriteOutcome) -> &'static str {
    match outcome {
        WriteOutcome::Applied { already: true, .. } => "already",
        WriteOutcome::Applied { .. } => "applied",
        WriteOutcome::Changed { .. } => "changed",
        WriteOutcome::Stale { .. } => "stale",
        WriteOutcome::Gone => "gone",
    }
}
