//! The tables about the process: listeners, log, telemetry, limits.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use copydesk_core::limits::BREAKER_OPEN_MS;
use copydesk_core::outbound::Rules;
use copydesk_proto::NodeName;
use ipnet::IpNet;
use serde::Deserialize;
use url::Url;

use super::values::{
    NatsServers, SecretRef, duration, from_text, from_text_opt, http_url_opt, networks,
};

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
    /// NATS servers of one cluster.
    Nats(NatsServers),
}

/// `[cluster]`: the nodes that share a NATS log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cluster {
    /// This node's name among them. When absent, one is made of the machine's name and kept in the
    /// data folder.
    #[serde(deserialize_with = "from_text_opt")]
    pub node: Option<NodeName>,
}

/// `[telemetry]`: traces and log lines.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// An OTLP collector; none when empty, unless `OTEL_EXPORTER_OTLP_ENDPOINT` names one.
    #[serde(deserialize_with = "http_url_opt")]
    pub otlp_endpoint: Option<Url>,
    /// How it is spoken to.
    pub otlp_protocol: OtlpProtocol,
    /// Share of traces that are recorded, 0.0 to 1.0.
    pub sampling: f64,
    /// Whether traces in which something failed are recorded whatever the share.
    pub keep_errors: bool,
    /// Events that take as long are recorded whatever the share; zero: none.
    #[serde(deserialize_with = "duration")]
    pub keep_slow: Duration,
    /// Form of the log lines.
    pub log_format: LogFormat,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            otlp_endpoint: None,
            otlp_protocol: OtlpProtocol::Grpc,
            sampling: 1.0,
            keep_errors: true,
            // Longer than an AI service's usual answer and one retry.
            keep_slow: Duration::from_secs(30),
            log_format: LogFormat::Auto,
        }
    }
}

/// How a collector is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum OtlpProtocol {
    /// gRPC, usually on port 4317.
    #[default]
    #[serde(rename = "grpc")]
    Grpc,
    /// Protobuf over HTTP, usually on port 4318.
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
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
    /// Actors of posts at rest that are kept for the next event, of their post or of another.
    pub posts_idle_max: usize,
    /// AI calls that one post may ask for in an hour; more wait for the next one.
    pub calls_per_post_hour: u32,
    /// How long a service or site that keeps failing is left alone before one probe.
    #[serde(deserialize_with = "duration")]
    pub breaker_open: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        // A busy post costs about 10 KB and the text it works on: at 20 KB of text, 60 MB.
        Self {
            posts_busy_max: 2_000,
            // An actor at rest takes 20 KB; the states of some thousand posts are kept beside them for less.
            posts_idle_max: 200,
            // A busy live blog makes about 60; a loop makes more.
            calls_per_post_hour: 600,
            breaker_open: Duration::from_millis(BREAKER_OPEN_MS),
        }
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

/// `[alerts]`: who is told about dead letters, breakers, budgets and a long backlog.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Alerts {
    /// Addresses that get JSON; each may hold a key, so each is a secret.
    pub webhooks: Vec<SecretRef>,
    /// Addresses of incoming webhooks of Slack and those compatible with it.
    pub slack: Vec<SecretRef>,
    /// How long alerts are collected before they are told together.
    #[serde(deserialize_with = "duration")]
    pub gather: Duration,
    /// How long the same alert is not told again.
    #[serde(deserialize_with = "duration")]
    pub quiet: Duration,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            webhooks: Vec::new(),
            slack: Vec::new(),
            gather: Duration::from_secs(10),
            quiet: Duration::from_secs(15 * 60),
        }
    }
}

/// `[outbound]`: which addresses may be called.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outbound {
    /// Networks that may be called though they are not public.
    #[serde(deserialize_with = "networks")]
    pub allow: Vec<IpNet>,
    /// Whether `http://` may be called, too.
    pub allow_http: bool,
    /// Ports that may be called; empty: any.
    pub ports: Vec<u16>,
    /// Whether the addresses of the configuration file are judged, too.
    pub guard_configured: bool,
    /// What the keys of subscribers are made of that come in through the API; a file in the data
    /// folder when absent.
    pub subscriber_key: Option<SecretRef>,
}

impl Default for Outbound {
    fn default() -> Self {
        let Rules { allow, http, ports } = Rules::default();
        Self { allow, allow_http: http, ports, guard_configured: false, subscriber_key: None }
    }
}

impl Outbound {
    /// For addresses that come in through the API.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules { allow: self.allow.clone(), http: self.allow_http, ports: self.ports.clone() }
    }

    /// For addresses of the configuration file, whose author is trusted unless it says otherwise.
    #[must_use]
    pub fn configured(&self) -> Rules {
        if self.guard_configured { self.rules() } else { Rules::trusting() }
    }
}
