//! The shape of `copydesk.toml`: one struct a table, one field a key, with its default.
//!
//! `default.toml` shows the same keys to people; a test keeps the two equal.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use copydesk_core::content::Field;
use copydesk_core::routes::{Matcher, Pattern, RouteError, Test};
use copydesk_proto::{EnrichmentId, ProviderId, RouteId, SiteId, SourceId, SubscriberId};
use serde::Deserialize;
use url::Url;

use super::process::{Admin, Alerts, Cluster, Http, Limits, Log, Outbound, Retention, Telemetry};
use super::source::Source;
use super::store::Store;
use super::subscriber::Subscriber;
use super::values::{
    Dollars, Price, SecretRef, duration, duration_or_off, from_text_opt, http_url, http_url_opt,
};

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
    /// The nodes that share it.
    pub cluster: Cluster,
    /// Traces and log lines.
    pub telemetry: Telemetry,
    /// How much may be under way at once.
    pub limits: Limits,
    /// How long finished work is kept.
    pub retention: Retention,
    /// Where payloads are kept as they came.
    pub archive: Store,
    /// Who is told about what needs a person.
    pub alerts: Alerts,
    /// Which addresses may be called.
    pub outbound: Outbound,
    /// WordPress sites, by name.
    pub sites: BTreeMap<SiteId, Site>,
    /// Senders of webhooks, by name.
    pub sources: BTreeMap<SourceId, Source>,
    /// AI services, by name. `builtin` is always there.
    pub providers: BTreeMap<ProviderId, Provider>,
    /// AI jobs, by name.
    pub enrichments: BTreeMap<EnrichmentId, Enrichment>,
    /// Who is told how events end, by name.
    pub subscribers: BTreeMap<SubscriberId, Subscriber>,
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
            cluster: Cluster::default(),
            telemetry: Telemetry::default(),
            limits: Limits::default(),
            retention: Retention::default(),
            archive: Store::default(),
            alerts: Alerts::default(),
            outbound: Outbound::default(),
            sites: BTreeMap::new(),
            sources: BTreeMap::new(),
            providers: BTreeMap::new(),
            enrichments: BTreeMap::new(),
            subscribers: BTreeMap::new(),
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
    /// How often webhooks are fetched from the plugin's outbox; off: the site sends them.
    #[serde(default, deserialize_with = "duration_or_off")]
    pub pull: Option<Duration>,
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

impl Config {
    /// Whether each event of a route takes effect. Each trigger would read the post again, for a
    /// text that the last of them brings anyway.
    #[must_use]
    pub fn coalesce_of(&self, route: &Route) -> Coalesce {
        let triggered = self.sources.get(&route.source).is_some_and(|source| source.trigger);
        let usual = if triggered { Coalesce::Latest } else { Coalesce::Every };
        route.coalesce.unwrap_or(usual)
    }
}

/// How results are written to a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// Through Copydesk's plugin while it answers, else through the REST API.
    #[default]
    Auto,
    /// Through Copydesk's plugin.
    Plugin,
    /// Through the REST API every WordPress has.
    Core,
    /// Through a route of the site's own.
    Ingest,
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
    /// Requests at once. Where there are several sites, one alone has at most three quarters of them.
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
    /// Keep the result as a suggestion; the plugin shows it to editors.
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
    /// What the events' fields must hold; all of these.
    #[serde(default, rename = "match")]
    pub matches: Vec<Match>,
    /// The enrichments, in order.
    #[serde(default)]
    pub enrich: Vec<EnrichmentId>,
    /// Whether each event takes effect or only the newest; the newest for a source of triggers.
    #[serde(default)]
    pub coalesce: Option<Coalesce>,
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

/// What one field must hold: exactly one test.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Match {
    /// The field, as a JSON pointer.
    pub field: String,
    /// `true`: it is there.
    pub any: Option<bool>,
    /// It is equal.
    pub is: Option<String>,
    /// It starts with this.
    pub startswith: Option<String>,
    /// It ends with this.
    pub endswith: Option<String>,
    /// It holds this.
    pub contains: Option<String>,
    /// It holds a match of this regular expression.
    pub like: Option<String>,
}

impl Match {
    /// The matcher.
    ///
    /// # Errors
    /// A field that is no pointer, a pattern that does not compile, or not exactly one test.
    pub fn matcher(&self) -> Result<Matcher, MatchError> {
        let own = |text: &Option<String>, test: fn(String) -> Test| text.clone().map(test);
        let like = self.like.as_deref().map(|text| Pattern::new(text).map(Test::Like)).transpose();
        let tests = [
            self.any.filter(|any| *any).map(|_| Test::Any),
            own(&self.is, Test::Is),
            own(&self.startswith, Test::Startswith),
            own(&self.endswith, Test::Endswith),
            own(&self.contains, Test::Contains),
            like?,
        ];
        let mut tests = tests.into_iter().flatten();
        match (tests.next(), tests.next()) {
            (Some(test), None) => Ok(Matcher::new(&self.field, test)?),
            (None | Some(_), _) => Err(MatchError::Tests),
        }
    }
}

/// Why a `match` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatchError {
    /// None, or several tests in one.
    #[error("a match has a field and one of any = true, is, startswith, endswith, contains, like")]
    Tests,
    /// The field or the pattern.
    #[error(transparent)]
    Route(#[from] RouteError),
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
