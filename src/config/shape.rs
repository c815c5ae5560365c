//! The shape of `copydesk.toml`: one struct a table, one field a key, with its default.
//!
//! `default.toml` shows the same keys to people; a test keeps the two equal.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use copydesk_core::content::Field;
use copydesk_proto::{EnrichmentId, ProviderId, RouteId, SiteId, SourceId};
use serde::Deserialize;
use url::Url;

use super::process::{Admin, Alerts, Http, Limits, Log, Retention, Telemetry};
use super::values::{Dollars, Price, SecretRef, duration, from_text_opt, http_url, http_url_opt};

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of the embedded log, the snapshots and `admin.json`; made with mode 0700.
    pub data_dir: PathBuf,
    /// The public listener.
    pub http: Http,
    /// The listener of the admin API.
    pub admin: Admin,
    /// The event log.
    pub log: Log,
    /// Traces and log lines.
    pub telemetry: Telemetry,
    /// How much may be under way at once.
    pub limits: Limits,
    /// How long finished work is kept.
    pub retention: Retention,
    /// Who is told about what needs a person.
    pub alerts: Alerts,
    /// WordPress sites, by name.
    pub sites: BTreeMap<SiteId, Site>,
    /// Senders of webhooks, by name.
    pub sources: BTreeMap<SourceId, Source>,
    /// AI services, by name. `builtin` is always there.
    pub providers: BTreeMap<ProviderId, Provider>,
    /// AI jobs, by name.
    pub enrichments: BTreeMap<EnrichmentId, Enrichment>,
    /// Which events ask for which enrichments; the first that matches counts.
    pub routes: Vec<Route>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "copydesk-data".into(),
            http: Http::default(),
            admin: Admin::default(),
            log: Log::default(),
            telemetry: Telemetry::default(),
            limits: Limits::default(),
            retention: Retention::default(),
            alerts: Alerts::default(),
            sites: BTreeMap::new(),
            sources: BTreeMap::new(),
            providers: BTreeMap::new(),
            enrichments: BTreeMap::new(),
            routes: Vec::new(),
        }
    }
}

/// `[sites.<name>]`: a WordPress site we write to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// Address of the site's front page.
    #[serde(deserialize_with = "http_url")]
    pub url: Url,
    /// WordPress user who may edit the posts.
    pub user: String,
    /// That user's application password.
    pub application_password: SecretRef,
    /// How results are written.
    #[serde(default)]
    pub delivery: Delivery,
    /// Path of the custom route for `delivery = "ingest"`.
    #[serde(default = "Site::default_ingest_path")]
    pub ingest_path: String,
    /// Requests at once. WordPress manages 15 to 20 writes a second per core.
    #[serde(default = "Site::default_concurrency")]
    pub concurrency: u16,
    /// Time for one request, connection included.
    #[serde(default = "Site::default_timeout", deserialize_with = "duration")]
    pub timeout: Duration,
    /// What AI calls for its posts may cost in a day; no limit when absent.
    #[serde(default)]
    pub day_budget: Option<Dollars>,
    /// The same in a calendar month.
    #[serde(default)]
    pub month_budget: Option<Dollars>,
}

impl Site {
    fn default_ingest_path() -> String {
        "/wp-json/ai-guy/v1/ingest".to_owned()
    }

    const fn default_concurrency() -> u16 {
        2
    }

    const fn default_timeout() -> Duration {
        Duration::from_secs(30)
    }
}

/// How results are written to a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// Through Copydesk's plugin.
    Plugin,
    /// Through the REST API every WordPress has.
    #[default]
    Core,
    /// Through a route of the site's own.
    Ingest,
}

/// `[sources.<name>]`: a sender; its webhooks arrive at `POST /webhooks/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// How it signs.
    #[serde(default)]
    pub scheme: Scheme,
    /// Its live secrets, newest first.
    pub secrets: Vec<SourceSecret>,
    /// The site its posts belong to; the site of the source's own name when absent.
    #[serde(default)]
    pub site: Option<SiteId>,
    /// A further path it may post to.
    #[serde(default)]
    pub path: Option<String>,
    /// What happens to event types no one knows.
    #[serde(default)]
    pub unknown_events: UnknownEvents,
    /// Which field says how new an event is.
    #[serde(default)]
    pub version: Version,
    /// Where the idempotency key comes from.
    #[serde(default)]
    pub idempotency: Idempotency,
    /// `false` answers 403.
    #[serde(default = "Source::default_enabled")]
    pub enabled: bool,
}

impl Source {
    const fn default_enabled() -> bool {
        true
    }
}

/// One live secret of a source.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSecret {
    /// Key id, as in `X-WP-Key-Id`.
    pub id: String,
    /// Where the secret is kept; at least 32 bytes.
    pub value: SecretRef,
}

/// How a source signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// `X-WP-Timestamp`, `X-WP-Signature`: hex HMAC-SHA256 of `timestamp.body`.
    #[default]
    WpRelay,
    /// `X-Provider-Timestamp`, `X-Provider-Signature`: the same in base64.
    Provider,
}

/// What happens to event types no one knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownEvents {
    /// 422.
    #[default]
    Refuse,
    /// Stored; does nothing unless a route names it.
    Accept,
}

/// Which field says how new an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Version {
    /// `sequence` when there, else `modified_gmt` when there.
    #[default]
    Auto,
    /// A whole number that grows with every event of a post.
    Sequence,
    /// WordPress's time of the last change.
    ModifiedGmt,
    /// None: order of arrival.
    None,
}

/// Where the idempotency key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Idempotency {
    /// The `Idempotency-Key` header, repeated in the signed body.
    #[default]
    Header,
    /// The hash of timestamp and body.
    Derived,
}

/// `[providers.<name>]`: an AI service with one key and one set of limits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Provider {
    /// Which wire it speaks.
    pub kind: ProviderKind,
    /// Address before `/chat/completions` or `/messages`; the kind's own when empty.
    #[serde(deserialize_with = "http_url_opt")]
    pub base_url: Option<Url>,
    /// Its key; a service on this machine may need none.
    pub api_key: Option<SecretRef>,
    /// Model name; needed unless the kind is `builtin`.
    pub model: String,
    /// Requests at once.
    pub concurrency: u16,
    /// Requests a minute; no limit when absent.
    pub requests_per_minute: Option<u32>,
    /// Tokens a minute; no limit when absent.
    pub tokens_per_minute: Option<u32>,
    /// Time for one request, connection included.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// Dollars for a million tokens read.
    pub input_price: Price,
    /// Dollars for a million tokens written.
    pub output_price: Price,
    /// What it may cost in a day; no limit when absent.
    pub day_budget: Option<Dollars>,
    /// The same in a calendar month.
    pub month_budget: Option<Dollars>,
    /// Takes over while this one is not there.
    pub fallback: Option<ProviderId>,
}

impl Default for Provider {
    fn default() -> Self {
        Self {
            kind: ProviderKind::Builtin,
            base_url: None,
            api_key: None,
            model: String::new(),
            concurrency: 8,
            requests_per_minute: None,
            tokens_per_minute: None,
            timeout: Duration::from_secs(60),
            input_price: Price::default(),
            output_price: Price::default(),
            day_budget: None,
            month_budget: None,
            fallback: None,
        }
    }
}

/// Which wire a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    /// `/chat/completions`, as OpenAI and most others have it.
    Openai,
    /// `/messages`.
    Anthropic,
    /// In this process: no key, no network.
    #[default]
    Builtin,
}

/// `[enrichments.<name>]`: one AI job that routes may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrichment {
    /// Who does it.
    #[serde(default = "Enrichment::default_provider")]
    pub provider: ProviderId,
    /// What is done; the recipe of the enrichment's own name when absent.
    #[serde(default)]
    pub recipe: Option<String>,
    /// Where the result goes; the recipe's own place when absent.
    #[serde(default, deserialize_with = "from_text_opt")]
    pub field: Option<Field>,
    /// What may happen to the field's present value.
    #[serde(default)]
    pub mode: Mode,
}

impl Enrichment {
    #[expect(clippy::expect_used, reason = "a constant name is a name; a test parses it")]
    fn default_provider() -> ProviderId {
        BUILTIN.parse().expect("builtin is a name")
    }
}

/// Name of the provider that is always there.
pub const BUILTIN: &str = "builtin";

/// What may happen to a field's present value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Only keep the result as a suggestion.
    #[default]
    Suggest,
    /// Write into an empty field.
    ApplyIfEmpty,
    /// Write into an empty field or over our own value.
    Apply,
}

/// `[[routes]]`: which events of a source ask for which enrichments.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Its name; `r1`, `r2`, … by its place when absent.
    #[serde(default)]
    pub name: Option<RouteId>,
    /// Whose events.
    pub source: SourceId,
    /// Which types; `*` for every type.
    #[serde(default = "Route::default_events")]
    pub events: Vec<String>,
    /// The enrichments, in order.
    #[serde(default)]
    pub enrich: Vec<EnrichmentId>,
    /// Whether each event takes effect or only the newest.
    #[serde(default)]
    pub coalesce: Coalesce,
    /// `latest`: how long a post must be silent before its newest event takes effect.
    #[serde(default = "Route::default_quiet", deserialize_with = "duration")]
    pub quiet: Duration,
    /// `latest`: how long the oldest waiting event waits at most.
    #[serde(default = "Route::default_max_wait", deserialize_with = "duration")]
    pub max_wait: Duration,
    /// What a dead letter does to the post's later events.
    #[serde(default)]
    pub on_dead_letter: OnDeadLetter,
}

impl Route {
    fn default_events() -> Vec<String> {
        vec!["post.published".to_owned(), "post.updated".to_owned()]
    }

    const fn default_quiet() -> Duration {
        Duration::from_secs(10)
    }

    const fn default_max_wait() -> Duration {
        Duration::from_secs(60)
    }
}

/// Whether each event takes effect or only the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Coalesce {
    /// Each.
    #[default]
    Every,
    /// The newest of a burst.
    Latest,
}

/// What a dead letter does to the post's later events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDeadLetter {
    /// They go on.
    #[default]
    Continue,
    /// They wait until it is retried or dropped.
    Block,
}
