//! The tables about the process: listeners, log, telemetry, limits.

use std::net::{Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use serde::Deserialize;
use url::Url;

use super::values::{SecretRef, from_text, http_url_opt, networks};

/// `[http]`: where webhooks arrive.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Host names we answer to, without port; empty: any.
    pub public_hosts: Vec<String>,
    /// Networks of our own proxies, whose `X-Forwarded-For` is believed; empty: none is.
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// Accepted events that may wait before senders get 429.
    pub backlog_max: u64,
    /// Open connections in all; the next is closed at accept.
    pub connections_max: usize,
    /// Open connections of one address (one /64 for IPv6). Raise it behind a reverse proxy.
    pub connections_per_ip_max: usize,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            public_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            backlog_max: 100_000,
            connections_max: 10_000,
            connections_per_ip_max: 100,
        }
    }
}

/// `[admin]`: what the commands talk to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Address and port; port 0 takes a free one. The bound address and the token stand in
    /// `admin.json` of the data folder.
    pub listen: SocketAddr,
    /// Allows an address other than this machine's own. There is no TLS: put a proxy before it.
    pub allow_remote: bool,
    /// Further host names that requests may carry; loopback names are always allowed.
    pub hosts: Vec<String>,
    /// Requests a second that one token may make.
    pub requests_per_second: u32,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            allow_remote: false,
            hosts: Vec::new(),
            requests_per_second: 20,
        }
    }
}

/// `[log]`: where events are kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `"embedded"` or the NATS servers.
    #[serde(deserialize_with = "from_text")]
    pub url: LogUrl,
    /// Name of the JetStream stream.
    pub stream: String,
    /// Copies JetStream keeps: 1, 3 or 5.
    pub replicas: u8,
    /// States that the NATS servers run with `sync_interval: always`; we only report it.
    pub sync_always: bool,
    /// Contents of a NATS `.creds` file.
    pub credentials: Option<SecretRef>,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            url: LogUrl::Embedded,
            stream: "copydesk".to_owned(),
            replicas: 1,
            sync_always: false,
            credentials: None,
        }
    }
}

/// Which log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogUrl {
    /// Files in the data folder.
    Embedded,
    /// NATS servers of one cluster, as `nats://` or `tls://` URLs.
    Nats(Vec<Url>),
}

/// `[telemetry]`: traces and log lines.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// OTLP over gRPC; none when empty, unless `OTEL_EXPORTER_OTLP_ENDPOINT` names one.
    #[serde(deserialize_with = "http_url_opt")]
    pub otlp_endpoint: Option<Url>,
    /// Share of traces that are kept, 0.0 to 1.0.
    pub sampling: f64,
    /// Form of the log lines.
    pub log_format: LogFormat,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { otlp_endpoint: None, sampling: 1.0, log_format: LogFormat::Auto }
    }
}

/// Form of the log lines on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// Coloured text.
    Pretty,
}

/// `[limits]`: how much may be under way at once.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Posts at work at once; the others wait in the log.
    pub posts_busy_max: usize,
    /// Posts at rest that are kept in memory for their next event.
    pub posts_idle_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        // A busy post costs about 10 KB and the text it works on: at 20 KB of text, 60 MB.
        Self { posts_busy_max: 2_000, posts_idle_max: 1_000 }
    }
}

/// `[retention]`: how long finished work is kept. Unfinished work is never dropped by age.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Days; also how long idempotency keys are remembered.
    pub days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { days: 30 }
    }
}
