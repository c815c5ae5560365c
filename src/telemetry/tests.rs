#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use copydesk_actors::telemetry::Close;
use copydesk_proto::TraceContext;
use opentelemetry::trace::SpanKind;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::*;

const SENDER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn settings(endpoint: &str) -> Settings {
    let endpoint = (!endpoint.is_empty()).then(|| endpoint.parse().unwrap());
    Settings { otlp_endpoint: endpoint, log_format: LogFormat::Json, ..Settings::default() }
}

fn sender() -> TraceContext {
    SENDER.parse().unwrap()
}

#[tokio::test]
async fn a_span_continues_the_trace_of_its_message_and_leaves_by_otlp() {
    let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    let telemetry = Telemetry::build(&settings(&endpoint), &Environment::default()).unwrap();
    let (open, carried) = telemetry.actors().begin(Some(sender()));
    let (open, carried) = (open.unwrap(), carried.unwrap());
    assert_eq!((carried.trace_id, carried.flags), (sender().trace_id, 1));
    assert_ne!(carried.span_id, sender().span_id);
    telemetry.actors().close(open, Close::named("process cd.in", SpanKind::Consumer));

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
async fn without_an_endpoint_the_senders_context_goes_on_as_it_is() {
    let telemetry = Telemetry::build(&settings(""), &Environment::default()).unwrap();
    let (open, carried) = telemetry.actors().begin(Some(sender()));
    assert!(open.is_none());
    assert_eq!(carried, Some(sender()));
    assert!(telemetry.actors().begin(None).1.is_none());
    telemetry.shutdown().await;
}

#[tokio::test]
async fn a_trace_outside_the_share_is_passed_on_as_not_recorded() {
    let settings = Settings {
        sampling: 0.0,
        keep_errors: false,
        keep_slow: Duration::ZERO,
        ..settings("http://127.0.0.1:9")
    };
    let telemetry = Telemetry::build(&settings, &Environment::default()).unwrap();
    let (open, carried) = telemetry.actors().begin(Some(sender()));
    assert!(open.is_none());
    assert_eq!(carried, Some(TraceContext { flags: 0, ..sender() }));
    assert!(telemetry.actors().begin(None).1.is_none());
    telemetry.shutdown().await;
}

#[tokio::test]
async fn the_standard_variables_count() {
    let built = |endpoint, name, value| {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
        let env = Environment::from([endpoint, ("OTEL_METRICS_EXPORTER", "none"), (name, value)]);
        Telemetry::build(&settings(""), &env).unwrap().spans.is_some()
    };
    let endpoint = "http://127.0.0.1:9";
    assert!(built(endpoint, "OTEL_SDK_DISABLED", "false"));
    assert!(!built("", "OTEL_SDK_DISABLED", "false"));
    assert!(!built(endpoint, "OTEL_SDK_DISABLED", "true"));
    assert!(!built(endpoint, "OTEL_TRACES_EXPORTER", "none"));
}

#[tokio::test]
async fn what_finds_no_room_is_lost_counted_and_nobody_waits_for_it() {
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", hanging.local_addr().unwrap());
    let telemetry = Telemetry::build(&settings(&endpoint), &Environment::default()).unwrap();
    let actors = telemetry.actors();
    for _ in 0..20_000 {
        if let Some(open) = actors.open(Some(sender())) {
            actors.close(open, Close::named("process cd.in", SpanKind::Consumer));
        }
    }
    assert!(actors.open(Some(sender())).is_none(), "what would find no room is not begun");
    let (_, lost) = telemetry.spans.as_ref().unwrap().trouble.counts();
    assert!(lost > 5_000, "{lost}");
    let shown = telemetry.scrape().text().unwrap();
    let counted = format!("copydesk_telemetry_lost_total{{copydesk_kind=\"spans\"}} {lost}");
    assert!(shown.contains(&counted), "{shown}");
}

#[tokio::test]
async fn while_the_collector_is_left_alone_no_span_begins() {
    let telemetry = Telemetry::build(&settings("http://127.0.0.1:9"), &Environment::default());
    let telemetry = telemetry.unwrap();
    let (actors, trouble) = (telemetry.actors(), &telemetry.spans.as_ref().unwrap().trouble);
    trouble.failed(3, &"refused");
    assert!(actors.open(Some(sender())).is_none());
    assert_eq!(actors.begin(Some(sender())).1, Some(sender()), "the trace goes on without us");
    assert_eq!(trouble.counts(), (1, 5));
    trouble.worked();
    assert!(actors.open(Some(sender())).is_some());
}

#[tokio::test]
async fn spans_of_the_target_wait_with_the_events_own() {
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", hanging.local_addr().unwrap());
    let telemetry = Telemetry::build(&settings(&endpoint), &Environment::default()).unwrap();
    let exported = Arc::clone(telemetry.spans.as_ref().unwrap());
    let subscriber =
        tracing_subscriber::Registry::default().with(bridge::layer(Arc::clone(&exported)));
    tracing::subscriber::with_default(subscriber, || {
        let _one = tracing::info_span!(target: SPANS, "start").entered();
        let _other = tracing::info_span!("of a library").entered();
    });
    assert_eq!(exported.waiting(), 1);
}

#[tokio::test]
async fn labels_past_the_cap_are_counted_together() {
    let telemetry = Telemetry::build(&settings(""), &Environment::default()).unwrap();
    for site in 0..1_200 {
        telemetry.actors().metrics().run(format!("site-{site}"), "applied", Duration::ZERO);
    }
    let shown = telemetry.scrape().text().unwrap();
    let rows = shown.lines().filter(|line| line.starts_with("copydesk_runs_total{"));
    assert!(rows.count() <= 1_001);
    assert!(shown.contains("otel_metric_overflow=\"true\""));
}

#[test]
fn an_http_collector_is_asked_at_the_paths_of_the_protocol() {
    let settings = Settings {
        otlp_protocol: OtlpProtocol::HttpProtobuf,
        ..settings("http://127.0.0.1:4318/")
    };
    let collector =
        Collector::of(&settings, &Environment::default(), &Resource::builder_empty().build());
    let collector = collector.unwrap();
    let endpoint = collector.endpoint("/v1/traces");
    assert_eq!(endpoint.as_deref(), Some("http://127.0.0.1:4318/v1/traces"));
}
