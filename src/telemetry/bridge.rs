//! `tracing` spans of what is no event's way, such as the start of a node: made where they are
//! wanted, by target, and sent with the events' own.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use super::export::Exported;

/// The target of spans that are sent. All others are for log lines, and none of the hot path.
pub const SPANS: &str = "copydesk::spans";

/// The layer that sends them.
pub(super) fn layer<S>(exported: Arc<Exported>) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'l> LookupSpan<'l> + Send + Sync,
{
    let provider = SdkTracerProvider::builder().with_span_processor(HandOver(exported)).build();
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("copydesk"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(Targets::new().with_target(SPANS, LevelFilter::INFO))
        .boxed()
}

/// To the queue that the events' spans wait in; that one is flushed and ended by its owner.
#[derive(Debug)]
struct HandOver(Arc<Exported>);

impl SpanProcessor for HandOver {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.hand_over(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
