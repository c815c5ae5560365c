//! Log lines on a standard stream, and traces by OTLP where an endpoint is named.
//!
//! Nothing here or above it writes an INFO line for a request: that would be the slowest part of
//! taking one in. Spans are made with `tracing`; records and messages carry a plain
//! [`TraceContext`], and [`adopt`] and [`context`] are the two ways between them.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Context as _;
use copydesk_proto::TraceContext;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider,
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::config::{Environment, LogFormat, Telemetry as Settings};

/// What is logged when `RUST_LOG` says nothing.
const LOGGED: &str = "info,ractor=warn,hyper=warn,h2=warn,tonic=warn,tower=warn,async_nats=warn,\
    sled=warn,fjall=warn,lsm_tree=warn,opentelemetry=warn";

/// How long the last spans may take to leave.
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
    provider: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Starts it for this process. To be called inside a tokio runtime: the exporter needs one.
    ///
    /// # Errors
    /// An endpoint no exporter can be made for, a `RUST_LOG` that cannot be read, or a second call.
    pub fn start(settings: &Settings, env: &Environment, output: Output) -> anyhow::Result<Self> {
        let (subscriber, telemetry) = Self::build(settings, env, output)?;
        tracing::subscriber::set_global_default(subscriber)
            .context("telemetry is started once a process")?;
        Ok(telemetry)
    }

    /// Sends what is left, for at most 5 s.
    pub async fn shutdown(self) {
        let Some(provider) = self.provider else { return };
        let ended =
            tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(SHUTDOWN_MAX));
        // The collector may be gone; the process ends all the same.
        let _lost_spans = tokio::time::timeout(SHUTDOWN_MAX, ended).await;
    }

    fn build(
        settings: &Settings,
        env: &Environment,
        output: Output,
    ) -> anyhow::Result<(Box<dyn Subscriber + Send + Sync>, Self)> {
        let directives = env.get("RUST_LOG").filter(|text| !text.is_empty()).unwrap_or(LOGGED);
        let filter = EnvFilter::try_new(directives).context("RUST_LOG cannot be read")?;
        let lines = lines(settings.log_format, output).with_filter(filter);
        let provider = provider(settings, env)?;
        let spans = provider.as_ref().map(spans_layer);
        let subscriber = Registry::default().with(lines).with(spans);
        Ok((Box::new(subscriber), Self { provider }))
    }
}

/// Makes `span` a child of a trace that came in a request, a record or a message. To be called
/// before the span is entered; does nothing where no trace is collected.
pub fn adopt(span: &tracing::Span, parent: &TraceContext) {
    let parent = SpanContext::new(
        TraceId::from_bytes(parent.trace_id),
        SpanId::from_bytes(parent.span_id),
        TraceFlags::new(parent.flags),
        true,
        TraceState::NONE,
    );
    let parent = opentelemetry::Context::new().with_remote_span_context(parent);
    // The error says that nothing collects traces, or that the span is disabled.
    let _uncollected = span.set_parent(parent);
}

/// The context that what follows from `span` carries on; `None` where no trace is collected.
#[must_use]
pub fn context(span: &tracing::Span) -> Option<TraceContext> {
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_valid().then(|| TraceContext {
        trace_id: context.trace_id().to_bytes(),
        span_id: context.span_id().to_bytes(),
        flags: context.trace_flags().to_u8(),
    })
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
        lines.json().flatten_event(true).with_span_list(false).boxed()
    }
}

fn provider(settings: &Settings, env: &Environment) -> anyhow::Result<Option<SdkTracerProvider>> {
    let is_set = |name| env.get(name).is_some_and(|value| !value.is_empty());
    let exporter = match &settings.otlp_endpoint {
        Some(endpoint) => SpanExporter::builder().with_tonic().with_endpoint(endpoint.as_str()),
        // The exporter reads the standard variables itself.
        None if is_set("OTEL_EXPORTER_OTLP_ENDPOINT")
            || is_set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") =>
        {
            SpanExporter::builder().with_tonic()
        }
        None => return Ok(None),
    };
    let exporter = exporter.build().context("no exporter can be made for the OTLP endpoint")?;
    let mut resource = Resource::builder();
    if !is_set("OTEL_SERVICE_NAME") {
        resource = resource.with_service_name("copydesk");
    }
    let mut provider =
        SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build());
    if !is_set("OTEL_TRACES_SAMPLER") {
        let share = Sampler::TraceIdRatioBased(settings.sampling);
        provider = provider.with_sampler(Sampler::ParentBased(Box::new(share)));
    }
    Ok(Some(provider.build()))
}

/// Our own spans only: ractor's live as long as their actor and would be the root of all others.
fn spans_layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + Send + Sync + use<S>
where
    S: Subscriber + for<'l> tracing_subscriber::registry::LookupSpan<'l> + Send + Sync,
{
    let ours = ["copydesk", "copydesk_actors", "copydesk_core", "copydesk_eventlog"];
    let ours = ours.map(|target| (target, LevelFilter::INFO));
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("copydesk"))
        .with_location(false)
        .with_target(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(Targets::new().with_targets(ours))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    fn settings(endpoint: &str) -> Settings {
        let endpoint = (!endpoint.is_empty()).then(|| endpoint.parse().unwrap());
        Settings { otlp_endpoint: endpoint, log_format: LogFormat::Json, ..Settings::default() }
    }

    #[tokio::test]
    async fn a_span_continues_the_trace_of_its_message_and_leaves_by_otlp() {
        let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", collector.local_addr().unwrap());
        let env = Environment::default();
        let (subscriber, telemetry) =
            Telemetry::build(&settings(&endpoint), &env, Output::Stderr).unwrap();
        let parent: TraceContext =
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();

        let child = {
            let _here = tracing::subscriber::set_default(subscriber);
            let span = tracing::info_span!("process cd.ev");
            adopt(&span, &parent);
            let child = span.in_scope(|| context(&span)).unwrap();
            let stranger = tracing::info_span!(target: "ractor::actor", "Actor");
            assert!(stranger.in_scope(|| context(&stranger)).is_none());
            child
        };
        assert_eq!((child.trace_id, child.flags), (parent.trace_id, 1));
        assert_ne!(child.span_id, parent.span_id);

        let end = tokio::spawn(telemetry.shutdown());
        let (mut stream, _) = collector.accept().await.unwrap();
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        drop(stream);
        drop(collector);
        end.await.unwrap();
    }

    #[tokio::test]
    async fn without_an_endpoint_nothing_is_collected() {
        let env = Environment::default();
        let (subscriber, telemetry) =
            Telemetry::build(&settings(""), &env, Output::Stderr).unwrap();
        let _here = tracing::subscriber::set_default(subscriber);
        let span = tracing::info_span!("process cd.ev");
        adopt(&span, &"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap());
        assert_eq!(context(&span), None);
        telemetry.shutdown().await;
    }

    #[tokio::test]
    async fn the_standard_variable_names_an_endpoint_too() {
        let env = Environment::from([("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")]);
        assert!(provider(&settings(""), &env).unwrap().is_some());
        let env = Environment::from([("OTEL_EXPORTER_OTLP_ENDPOINT", "")]);
        assert!(provider(&settings(""), &env).unwrap().is_none());
        let env = Environment::from([("RUST_LOG", "a=b=c")]);
        assert!(Telemetry::build(&settings(""), &env, Output::Stderr).is_err());
    }
}
