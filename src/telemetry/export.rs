//! Spans on their way to the collector: the SDK's batch processor with a thread of its own, so
//! that a collector that hangs keeps nobody waiting but that thread. What finds no room is lost,
//! and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use copydesk_actors::telemetry::{Close, Service, Span, SpanSink, names};
use copydesk_proto::TraceContext;
use opentelemetry::metrics::Meter;
use opentelemetry::trace::{Link, SpanContext, SpanId, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter as Otlp, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanEvents, SpanExporter, SpanLinks,
    SpanProcessor,
};

use super::sampling::Sampling;
use super::tail::Tail;
use super::trouble::Trouble;
use super::{Collector, aimed};
use crate::config::{Environment, OtlpProtocol, Telemetry as Settings};

/// Spans that wait for their batch: half a second of what one node makes at most, about 8 MB.
const QUEUE_MAX: usize = 8_192;

/// Spans of one batch: a quarter of a megabyte, which a core's cache holds beside the work.
const BATCH_MAX: usize = 256;

/// How long a span waits for its batch to fill: what a kill of the process may lose.
const DELAY: Duration = Duration::from_secs(1);

/// The way of spans to the collector.
#[derive(Debug)]
pub(super) struct Exported {
    processor: BatchSpanProcessor,
    sampling: Sampling,
    tail: Option<Tail>,
    queued: Arc<AtomicUsize>,
    pub(super) trouble: Arc<Trouble>,
    ours: InstrumentationScope,
    theirs: InstrumentationScope,
}

/// Names the scope of spans that are exported for WordPress.
const WORDPRESS: &str = "wordpress";

impl Exported {
    pub(super) fn start(
        collector: &Collector,
        settings: &Settings,
        env: &Environment,
        meter: &Meter,
    ) -> anyhow::Result<Arc<Self>> {
        let trouble = Trouble::none("spans");
        trouble.observe(meter);
        let queued = Arc::new(AtomicUsize::new(0));
        let mut ours = otlp(collector)?;
        ours.set_resource(&collector.resource);
        let mut theirs = otlp(collector)?;
        theirs.set_resource(&Resource::builder_empty().with_service_name(WORDPRESS).build());
        let (queue, trouble_there) = (Arc::clone(&queued), Arc::clone(&trouble));
        let exporter = ByService { ours, theirs, queued: queue, trouble: trouble_there };
        let mut batches = BatchConfigBuilder::default();
        if env.get("OTEL_BSP_SCHEDULE_DELAY").is_none() {
            batches = batches.with_scheduled_delay(DELAY);
        }
        let batches =
            batches.with_max_queue_size(QUEUE_MAX).with_max_export_batch_size(BATCH_MAX).build();
        let scope = |name| {
            InstrumentationScope::builder(name).with_version(env!("CARGO_PKG_VERSION")).build()
        };
        Ok(Arc::new(Self {
            processor: BatchSpanProcessor::new(exporter, batches),
            sampling: Sampling::of(settings.sampling, env),
            tail: Tail::new(settings.keep_errors, settings.keep_slow),
            queued,
            trouble,
            ours: scope("copydesk"),
            theirs: scope(WORDPRESS),
        }))
    }

    /// Spans in the queue or on their way.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Sends what is left.
    pub(super) fn shutdown(&self, limit: Duration) {
        // The collector may be gone; the process ends all the same.
        let _lost_spans = self.processor.shutdown_with_timeout(limit);
    }

    fn export(&self, span: Span) {
        if self.trouble.is_pausing() {
            self.trouble.lose(1);
            return;
        }
        self.hand_over(self.data(span));
    }

    /// Puts a span into the queue, if there is room.
    pub(super) fn hand_over(&self, span: SpanData) {
        if self.queued.fetch_add(1, Ordering::Relaxed) >= QUEUE_MAX {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            self.trouble.lose(1);
            return;
        }
        self.processor.on_end(span);
    }

    fn data(&self, span: Span) -> SpanData {
        let Span { service, context, parent, start, end, close } = span;
        let Close { name, kind, mut attributes, links, error, is_last: _ } = close;
        let mut stored = SpanLinks::default();
        stored.links = links.into_iter().map(|(context, how)| link(context, how)).collect();
        let status = match error {
            Some(code) => {
                attributes.push(KeyValue::new(names::ERROR_TYPE, code.clone().into_owned()));
                Status::error(code)
            }
            None => Status::Unset,
        };
        let scope = match service {
            Service::Copydesk => self.ours.clone(),
            Service::WordPress => self.theirs.clone(),
        };
        SpanData {
            span_context: span_context(context),
            parent_span_id: parent.map_or(SpanId::INVALID, SpanId::from_bytes),
            parent_span_is_remote: false,
            span_kind: kind,
            name,
            start_time: start,
            end_time: end,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: stored,
            status,
            instrumentation_scope: scope,
        }
    }
}

impl SpanSink for Exported {
    fn samples(&self, trace_id: [u8; 16], of_sender: Option<bool>) -> bool {
        self.sampling.samples(trace_id, of_sender)
    }

    fn decides_late(&self) -> bool {
        self.tail.is_some()
    }

    fn has_a_taker(&self) -> bool {
        // What would find no room is not begun.
        let no_taker =
            self.trouble.is_pausing() || self.queued.load(Ordering::Relaxed) >= QUEUE_MAX;
        if no_taker {
            self.trouble.lose(1);
        }
        !no_taker
    }

    fn take(&self, span: Span) {
        if span.context.flags & 1 == 1 {
            self.export(span);
        } else if let Some(tail) = &self.tail {
            tail.take(span).into_iter().for_each(|span| self.export(span));
        }
    }
}

/// What is exported is recorded, whenever that was decided.
fn span_context(context: TraceContext) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(context.trace_id),
        SpanId::from_bytes(context.span_id),
        TraceFlags::SAMPLED,
        false,
        TraceState::NONE,
    )
}

fn link(context: TraceContext, how: &'static str) -> Link {
    Link::new(span_context(context), vec![KeyValue::new(names::LINK, how)], 0)
}

fn otlp(collector: &Collector) -> anyhow::Result<Otlp> {
    let endpoint = collector.endpoint("/v1/traces");
    let exporter = match collector.protocol {
        OtlpProtocol::Grpc => aimed(Otlp::builder().with_tonic(), endpoint).build(),
        OtlpProtocol::HttpProtobuf => {
            let builder = Otlp::builder().with_http().with_protocol(Protocol::HttpBinary);
            aimed(builder, endpoint).build()
        }
    };
    exporter.context("telemetry.otlp_endpoint: no exporter of spans can be made for it")
}

/// Two senders in one: a resource belongs to a whole batch.
#[derive(Debug)]
struct ByService {
    ours: Otlp,
    theirs: Otlp,
    queued: Arc<AtomicUsize>,
    trouble: Arc<Trouble>,
}

impl SpanExporter for ByService {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.queued.fetch_sub(batch.len(), Ordering::Relaxed);
        let is_theirs = |span: &SpanData| span.instrumentation_scope.name() == WORDPRESS;
        let (theirs, ours) = if batch.iter().any(is_theirs) {
            batch.into_iter().partition(is_theirs)
        } else {
            (Vec::new(), batch)
        };
        for (exporter, batch) in [(&self.ours, ours), (&self.theirs, theirs)] {
            let spans = batch.len();
            if spans == 0 {
                continue;
            }
            match exporter.export(batch).await {
                Ok(()) => self.trouble.worked(),
                Err(error) => self.trouble.failed(spans, &error),
            }
        }
        // It was told; the SDK would tell it again.
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.ours.shutdown_with_timeout(timeout)?;
        self.theirs.shutdown_with_timeout(timeout)
    }
}
