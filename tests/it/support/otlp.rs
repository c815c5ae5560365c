//! A collector: takes OTLP over gRPC and over HTTP, decodes the protobuf itself, and keeps every
//! span and metric it was sent. Or hangs, as collectors do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use tonic::{Request, Response, Status};

/// A span as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) service: String,
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    /// Empty for the first of a trace.
    pub(crate) parent_id: String,
    pub(crate) name: String,
    /// As in the protobuf: 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
    pub(crate) kind: i32,
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
    pub(crate) attributes: BTreeMap<String, String>,
    /// Trace and span ids, and how.
    pub(crate) links: Vec<(String, String, String)>,
    pub(crate) failed: bool,
}

impl Span {
    pub(crate) fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map(String::as_str).unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct Kept {
    spans: Mutex<Vec<Span>>,
    metrics: Mutex<Vec<String>>,
    /// Everything as it came over the wire, for searches of what must not be there.
    raw: Mutex<Vec<u8>>,
}

/// A running collector.
#[derive(Debug, Clone)]
pub(crate) struct Collector {
    kept: Arc<Kept>,
    /// For `otlp_endpoint` with gRPC.
    pub(crate) grpc: String,
    /// For `otlp_endpoint` with HTTP.
    pub(crate) http: String,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let kept = Arc::new(Kept::default());
        let router = Router::new()
            .route("/v1/traces", post(http_traces))
            .route("/v1/metrics", post(http_metrics))
            .with_state(Arc::clone(&kept));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let grpc = format!("http://{}", listener.local_addr().unwrap());
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(Grpc(Arc::clone(&kept))))
            .add_service(MetricsServiceServer::new(Grpc(Arc::clone(&kept))))
            .serve_with_incoming(incoming);
        tokio::spawn(server);
        Self { kept, grpc, http }
    }

    /// One that takes connections and never answers.
    pub(crate) async fn hanging() -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.push(stream);
            }
        });
        address
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.kept.spans.lock().unwrap().clone()
    }

    pub(crate) fn span_count(&self) -> usize {
        self.kept.spans.lock().unwrap().len()
    }

    /// The spans of one trace, in the order they began.
    pub(crate) fn trace(&self, trace_id: &str) -> Vec<Span> {
        let mut spans = self.spans();
        spans.retain(|span| span.trace_id == trace_id);
        spans.sort_by_key(|span| (span.start_ns, std::cmp::Reverse(span.end_ns)));
        spans
    }

    /// Names of the metrics that arrived.
    pub(crate) fn metrics(&self) -> Vec<String> {
        self.kept.metrics.lock().unwrap().clone()
    }

    /// Whether these bytes arrived, in whatever place.
    pub(crate) fn has_seen(&self, needle: &str) -> bool {
        let raw = self.kept.raw.lock().unwrap();
        raw.windows(needle.len()).any(|window| window == needle.as_bytes())
    }
}

impl Kept {
    fn traces(&self, request: ExportTraceServiceRequest) {
        self.raw.lock().unwrap().extend(request.encode_to_vec());
        let mut spans = self.spans.lock().unwrap();
        for resource in request.resource_spans {
            let service = service(resource.resource.as_ref());
            for scope in resource.scope_spans {
                let read = |span| read(span, &service);
                spans.extend(scope.spans.into_iter().map(read));
            }
        }
    }

    fn metrics(&self, request: ExportMetricsServiceRequest) {
        self.raw.lock().unwrap().extend(request.encode_to_vec());
        let scopes = request.resource_metrics.into_iter().flat_map(|r| r.scope_metrics);
        let names = scopes.flat_map(|scope| scope.metrics).map(|metric| metric.name);
        self.metrics.lock().unwrap().extend(names);
    }
}

async fn http_traces(State(kept): State<Arc<Kept>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    match (is_protobuf(&headers), ExportTraceServiceRequest::decode(body)) {
        (true, Ok(request)) => {
            kept.traces(request);
            StatusCode::OK
        }
        (_, _) => StatusCode::BAD_REQUEST,
    }
}

async fn http_metrics(
    State(kept): State<Arc<Kept>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    match (is_protobuf(&headers), ExportMetricsServiceRequest::decode(body)) {
        (true, Ok(request)) => {
            kept.metrics(request);
            StatusCode::OK
        }
        (_, _) => StatusCode::BAD_REQUEST,
    }
}

fn is_protobuf(headers: &HeaderMap) -> bool {
    headers.get("content-type").is_some_and(|value| value == "application/x-protobuf")
}

struct Grpc(Arc<Kept>);

#[tonic::async_trait]
impl TraceService for Grpc {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.traces(request.into_inner());
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Grpc {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.0.metrics(request.into_inner());
        Ok(Response::new(Default::default()))
    }
}

fn service(resource: Option<&Resource>) -> String {
    let attributes = resource.map(|r| attributes(&r.attributes)).unwrap_or_default();
    attributes.get("service.name").cloned().unwrap_or_default()
}

fn read(span: opentelemetry_proto::tonic::trace::v1::Span, service: &str) -> Span {
    let link = |link: opentelemetry_proto::tonic::trace::v1::span::Link| {
        let how = attributes(&link.attributes).remove("copydesk.link").unwrap_or_default();
        (hex::encode(&link.trace_id), hex::encode(&link.span_id), how)
    };
    Span {
        service: service.to_owned(),
        trace_id: hex::encode(&span.trace_id),
        span_id: hex::encode(&span.span_id),
        parent_id: hex::encode(&span.parent_span_id),
        name: span.name,
        kind: span.kind,
        start_ns: span.start_time_unix_nano,
        end_ns: span.end_time_unix_nano,
        attributes: attributes(&span.attributes),
        links: span.links.into_iter().map(link).collect(),
        // STATUS_CODE_ERROR
        failed: span.status.is_some_and(|status| status.code == 2),
    }
}

fn attributes(pairs: &[KeyValue]) -> BTreeMap<String, String> {
    pairs.iter().map(|pair| (pair.key.clone(), text(pair.value.as_ref()))).collect()
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::BoolValue(yes)) => yes.to_string(),
        Some(any_value::Value::ArrayValue(array)) => {
            array.values.iter().map(|v| text(Some(v))).collect::<Vec<_>>().join(",")
        }
        _ => String::new(),
    }
}
