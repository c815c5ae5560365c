//! Log lines on a standard stream; traces and metrics by OTLP where an endpoint is named; metrics
//! for whoever asks the admin listener.
//!
//! Nothing here or above it writes an INFO line for a request: that would be the slowest part of
//! taking one in. Spans are the actors' plain data ([`copydesk_actors::telemetry::Span`]), handed
//! to the SDK's batch processor; `tracing` makes lines, and spans of what is no event's way.

mod bridge;
mod export;
mod metrics;
mod sampling;
mod tail;
#[cfg(test)]
mod tests;
mod trouble;

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use copydesk_actors::telemetry::{self as actors, SpanSink};
use opentelemetry::metrics::MeterProvider;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use tracing::Subscriber;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

pub use self::bridge::SPANS;
use self::export::Exported;
pub use self::metrics::Scrape;
use crate::config::{Environment, LogFormat, OtlpProtocol, Telemetry as Settings};

/// What is logged when `RUST_LOG` says nothing. The SDK's own lines are left out: it would repeat
/// them with every batch, and we say once what is wrong.
const LOGGED: &str = "info,ractor=warn,hyper=warn,h2=warn,tonic=warn,tower=warn,async_nats=warn,\
    sled=warn,fjall=warn,lsm_tree=warn,opentelemetry=off";

/// How long the last spans and counts may take to leave.
const SHUTDOWN_MAX: Duration = Duration::from_secs(5);

/// Where log lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// A service: its lines are its output.
    Stdout,
    /// A command with an output of its own.
    Stderr,
}

/// Running telemetry.
#[derive(Debug)]
pub struct Telemetry {
    actors: actors::Telemetry,
    scrape: Scrape,
    spans: Option<Arc<Exported>>,
    meters: SdkMeterProvider,
}

/// Where things are sent.
#[derive(Debug, Clone)]
struct Collector {
    /// `None`: the exporters read the standard variables themselves.
    endpoint: Option<String>,
    protocol: OtlpProtocol,
    resource: Resource,
}

impl Telemetry {
    /// Starts it for this process. To be called inside a tokio runtime: the exporters need one.
    ///
    /// # Errors
    /// An endpoint no exporter can be made for, a `RUST_LOG` that cannot be read, or a second call.
    pub fn start(settings: &Settings, env: &Environment, output: Output) -> anyhow::Result<Self> {
        let directives = env.get("RUST_LOG").filter(|text| !text.is_empty()).unwrap_or(LOGGED);
        let filter = EnvFilter::try_new(directives).context("RUST_LOG cannot be read")?;
        let lines = lines(settings.log_format, output).with_filter(filter);
        let telemetry = Self::build(settings, env)?;
        let lines = Registry::default().with(lines);
        // Not an `Option` of a layer: beside `None`, spans that the filters refuse are kept.
        match telemetry.spans.clone().map(bridge::layer) {
            Some(spans) => tracing::subscriber::set_global_default(lines.with(spans)),
            None => tracing::subscriber::set_global_default(lines),
        }
        .context("telemetry is started once a process")?;
        Ok(telemetry)
    }

    /// For a node that sends nothing anywhere and whose lines go where the test's do.
    #[cfg(test)]
    pub(crate) fn untold() -> Self {
        Self::build(&Settings::default(), &Environment::default()).expect("nothing to set up")
    }

    /// What the actors are given.
    #[must_use]
    pub fn actors(&self) -> actors::Telemetry {
        self.actors.clone()
    }

    /// What a Prometheus is shown.
    #[must_use]
    pub fn scrape(&self) -> Scrape {
        self.scrape.clone()
    }

    /// Sends what is left, for at most 5 s.
    pub async fn shutdown(self) {
        let Self { spans, meters, .. } = self;
        let ended = tokio::task::spawn_blocking(move || {
            if let Some(spans) = spans {
                spans.shutdown(SHUTDOWN_MAX);
            }
            // The collector may be gone; the process ends all the same.
            let _lost_counts = meters.shutdown_with_timeout(SHUTDOWN_MAX);
        });
        let _late = tokio::time::timeout(SHUTDOWN_MAX, ended).await;
    }

    fn build(settings: &Settings, env: &Environment) -> anyhow::Result<Self> {
        let resource = resource(env);
        let collector = Collector::of(settings, env, &resource);
        let wanted = |exporter| env.get(exporter) != Some("none");
        let for_metrics = collector.as_ref().filter(|_| wanted("OTEL_METRICS_EXPORTER"));
        let (meters, scrape) = metrics::provider(for_metrics, resource)?;
        let meter = meters.meter("copydesk");
        let for_spans = collector.as_ref().filter(|_| wanted("OTEL_TRACES_EXPORTER"));
        let spans = for_spans
            .map(|collector| Exported::start(collector, settings, env, &meter))
            .transpose()?;
        let sink = spans.clone().map(|spans| spans as Arc<dyn SpanSink>);
        Ok(Self { actors: actors::Telemetry::new(meter, sink), scrape, spans, meters })
    }
}

impl Collector {
    /// `None` where nothing names one.
    fn of(settings: &Settings, env: &Environment, resource: &Resource) -> Option<Self> {
        let named = |name| env.get(name).is_some_and(|value| !value.is_empty());
        let by_env = [
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        ];
        let disabled = env.get("OTEL_SDK_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true"));
        let endpoint = settings.otlp_endpoint.as_ref().map(|url| url.as_str().to_owned());
        if disabled || (endpoint.is_none() && !by_env.into_iter().any(named)) {
            return None;
        }
        let by_env = env.get("OTEL_EXPORTER_OTLP_PROTOCOL").filter(|_| endpoint.is_none());
        let protocol = match by_env {
            Some("http/protobuf" | "http/json") => OtlpProtocol::HttpProtobuf,
            Some(_) | None => settings.otlp_protocol,
        };
        Some(Self { endpoint, protocol, resource: resource.clone() })
    }

    /// The address for one kind of data: an HTTP exporter takes it as it is.
    fn endpoint(&self, path: &str) -> Option<String> {
        let endpoint = self.endpoint.as_ref()?.trim_end_matches('/');
        Some(match self.protocol {
            OtlpProtocol::Grpc => endpoint.to_owned(),
            OtlpProtocol::HttpProtobuf => format!("{endpoint}{path}"),
        })
    }
}

/// An exporter that sends to this address, or to where the standard variables say.
fn aimed<B: WithExportConfig>(exporter: B, endpoint: Option<String>) -> B {
    match endpoint {
        Some(endpoint) => exporter.with_endpoint(endpoint),
        None => exporter,
    }
}

/// Who we are, in every span and metric; the standard variables add to it.
fn resource(env: &Environment) -> Resource {
    let mut resource = Resource::builder().with_attributes([
        opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        opentelemetry::KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string()),
    ]);
    if env.get("OTEL_SERVICE_NAME").is_none_or(str::is_empty) {
        resource = resource.with_service_name("copydesk");
    }
    resource.build()
}

fn lines<S>(format: LogFormat, output: Output) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'l> tracing_subscriber::registry::LookupSpan<'l>,
{
    let (writer, terminal) = match output {
        Output::Stdout => (BoxMakeWriter::new(std::io::stdout), std::io::stdout().is_terminal()),
        Output::Stderr => (BoxMakeWriter::new(std::io::stderr), std::io::stderr().is_terminal()),
    };
    let pretty = match format {
        LogFormat::Auto => terminal,
        LogFormat::Json => false,
        LogFormat::Pretty => true,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    if pretty {
        lines.compact().with_ansi(terminal).with_target(false).boxed()
    } else {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    }
}
