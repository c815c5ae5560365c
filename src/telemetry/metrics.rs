//! Counts on their way out: shown to a Prometheus that asks, and sent by OTLP where there is a
//! collector.

use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_otlp::{MetricExporter as Otlp, Protocol, WithExportConfig};
use opentelemetry_prometheus::PrometheusExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{
    Instrument, InstrumentKind, PeriodicReader, Pipeline, SdkMeterProvider, Stream, Temporality,
};
use prometheus::{Registry, TextEncoder};

use super::trouble::Trouble;
use super::{Collector, aimed};
use crate::config::OtlpProtocol;

/// Label sets of one metric; what comes after them is counted together. A hundred sites with
/// their outcomes fit.
const LABEL_SETS_MAX: usize = 1_000;

/// What a Prometheus is shown.
#[derive(Debug, Clone)]
pub struct Scrape(Registry);

impl Scrape {
    /// The media type of [`text`](Self::text).
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// All metrics as they are now.
    ///
    /// # Errors
    /// When two metrics contradict each other.
    pub fn text(&self) -> anyhow::Result<String> {
        TextEncoder::new().encode_to_string(&self.0.gather()).context("metrics as text")
    }
}

/// The way of counts out of the process.
pub(super) fn provider(
    collector: Option<&Collector>,
    resource: Resource,
) -> anyhow::Result<(SdkMeterProvider, Scrape)> {
    let registry = Registry::new();
    let shown = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .scope_info_enabled(false)
        .build()
        .context("metrics")?;
    let cap =
        |_: &Instrument| Stream::builder().with_cardinality_limit(LABEL_SETS_MAX).build().ok();
    let provider = SdkMeterProvider::builder().with_resource(resource).with_view(cap);
    let trouble = Trouble::none("metrics");
    let provider = if let Some(collector) = collector {
        let exporter = Watched { otlp: otlp(collector)?, trouble: Arc::clone(&trouble) };
        let is_cumulative = matches!(exporter.temporality(), Temporality::Cumulative);
        let sent = PeriodicReader::builder(exporter).build();
        if is_cumulative {
            provider.with_reader(Both { shown, sent })
        } else {
            provider.with_reader(shown).with_reader(sent)
        }
    } else {
        provider.with_reader(shown)
    };
    let provider = provider.build();
    if collector.is_some() {
        trouble.observe(&provider.meter("copydesk"));
    }
    Ok((provider, Scrape(registry)))
}

fn otlp(collector: &Collector) -> anyhow::Result<Otlp> {
    let endpoint = collector.endpoint("/v1/metrics");
    let exporter = match collector.protocol {
        OtlpProtocol::Grpc => aimed(Otlp::builder().with_tonic(), endpoint).build(),
        OtlpProtocol::HttpProtobuf => {
            let builder = Otlp::builder().with_http().with_protocol(Protocol::HttpBinary);
            aimed(builder, endpoint).build()
        }
    };
    exporter.context("telemetry.otlp_endpoint: no exporter of metrics can be made for it")
}

/// Two ways out of the same counts: a reader of its own for each would count everything twice.
#[derive(Debug)]
struct Both {
    shown: PrometheusExporter,
    sent: PeriodicReader<Watched>,
}

impl MetricReader for Both {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.shown.register_pipeline(Weak::clone(&pipeline));
        self.sent.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.shown.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.sent.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let sent = self.sent.shutdown_with_timeout(timeout);
        self.shown.shutdown_with_timeout(timeout)?;
        sent
    }

    fn temporality(&self, _: InstrumentKind) -> Temporality {
        Temporality::Cumulative
    }
}

#[derive(Debug)]
struct Watched {
    otlp: Otlp,
    trouble: Arc<Trouble>,
}

impl PushMetricExporter for Watched {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        match self.otlp.export(metrics).await {
            Ok(()) => self.trouble.worked(),
            // The next export has the same counts and more.
            Err(error) => self.trouble.failed(0, &error),
        }
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.otlp.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.otlp.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.otlp.temporality()
    }
}
