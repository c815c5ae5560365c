//! The configuration as the actors' settings.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use copydesk_actors::EnrichmentSettings;
use copydesk_actors::alerts::{AlertForm, AlertSettings};
use copydesk_actors::archive::Archive;
use copydesk_actors::delivery::{self, DeliveryKind};
use copydesk_actors::enrichment::builtin::Builtin;
use copydesk_actors::enrichment::provider::network::{Kind, Network, NetworkSettings};
use copydesk_actors::enrichment::provider::{Prices, Provider};
use copydesk_actors::enrichment::recipe::Recipe;
use copydesk_actors::enrichment::{EnrichmentArguments, Limits};
use copydesk_actors::node::{Bounds, Settings};
use copydesk_actors::schedule::{PostQuery, ScheduleSettings};
use copydesk_actors::telemetry::Telemetry;
use copydesk_core::breaker::BreakerPolicy;
use copydesk_core::budget::{BudgetName, Caps};
use copydesk_core::content::Mode;
use copydesk_core::pointer::BadPointer;
use copydesk_core::post::{PlanStep, RoutePlan, Tries};
use copydesk_core::retry::RetryPolicy;
use copydesk_core::routes::{Coalesce, OnDeadLetter, Route, RouteTable};
use copydesk_core::schedule::Schedule;
use copydesk_core::signature::{Secret, SecretRing};
use copydesk_core::webhook::{
    KeyRule, PayloadRules, Requirement, SourceRules, Subject, VersionRule,
};
use copydesk_eventlog::{EventLog, SnapshotStore};
use copydesk_proto::{EnrichmentId, ProviderId, RouteId, SiteId, SourceId};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::store::bucket;
use crate::config::{
    self, About, BUILTIN, Body, Config, Delivery, Dollars, Idempotency, ProviderKind,
    ScheduleTable, Scheme, SecretRef, Secrets, UnknownEvents, Version,
};

/// Reading is cheap and safe to repeat.
const READ_TRIES: RetryPolicy = RetryPolicy { attempts_max: 8, base_ms: 500, cap_ms: 60_000 };

/// Eight tries over about ten minutes: past an AI service's usual trouble, within its patience.
const ENRICH_TRIES: RetryPolicy = RetryPolicy { attempts_max: 8, base_ms: 1_000, cap_ms: 300_000 };

/// Twelve tries over about an hour and a half: a WordPress update, a host's restart.
const WRITE_TRIES: RetryPolicy = RetryPolicy { attempts_max: 12, base_ms: 500, cap_ms: 900_000 };

/// A service that is simply not there for a day has been noticed by someone.
const UNAVAILABLE_MAX_MS: u64 = 24 * 3_600_000;

/// Everything a node needs, from a checked configuration.
///
/// # Errors
/// What the configuration asks for and cannot be had, with the table it stands in.
pub fn node_settings(
    config: &Config,
    secrets: &Secrets,
    log: Arc<dyn EventLog>,
    snapshots: Arc<dyn SnapshotStore>,
) -> anyhow::Result<Settings> {
    let routes = routes(config)?;
    let enrichments = enrichments(config)?;
    let plans = routes.iter().map(|r| Ok((r.id.clone(), plan(r, config, &enrichments)?)));
    let plans: HashMap<RouteId, RoutePlan> = plans.collect::<anyhow::Result<_>>()?;
    let sources = config
        .sources
        .iter()
        .map(|(id, source)| Ok((id.clone(), Arc::new(source_rules(id, source, secrets)?))));
    let breaker = breaker(config);
    let sites = config
        .sites
        .iter()
        .map(|(id, site)| Ok(delivery::Site { breaker, ..wordpress(id, site, config, secrets)? }));
    Ok(Settings {
        log,
        snapshots,
        sources: sources.collect::<anyhow::Result<_>>()?,
        routes: RouteTable::new(routes).context("routes")?,
        plans,
        enrichments,
        providers: providers(config, secrets)?,
        fallbacks: fallbacks(config),
        sites: sites.collect::<anyhow::Result<_>>()?,
        tries: Tries {
            read: READ_TRIES,
            enrich: ENRICH_TRIES,
            write: WRITE_TRIES,
            unavailable_max_ms: UNAVAILABLE_MAX_MS,
            asks_per_hour_max: config.limits.calls_per_post_hour,
        },
        bounds: Bounds {
            posts_busy_max: config.limits.posts_busy_max,
            posts_idle_max: config.limits.posts_idle_max,
            backlog_max: config.http.backlog_max,
        },
        schedules: schedules(config)?,
        caps: caps(config),
        subscribers: super::subscribers::settings(config, secrets)?,
        outbound: config.outbound.rules(),
        subscriber_key: super::subscribers::master_key(config, secrets)?,
        alerts: alerts(config, secrets)?,
        keep: Duration::from_secs(u64::from(config.retention.days) * 86_400),
        archive: bucket(&config.archive, secrets, "archive")?.map(Archive::new),
        cluster: None,
        telemetry: Telemetry::default(),
    })
}

fn schedules(config: &Config) -> anyhow::Result<Vec<ScheduleSettings>> {
    let tables =
        config.sources.iter().filter_map(|(id, source)| Some((id, source.schedule.as_ref()?)));
    let one = |(id, table): (&SourceId, &ScheduleTable)| {
        let schedule = Schedule::new(&table.cron, &table.timezone);
        let parameters = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&table.posts)
            .finish();
        Ok(ScheduleSettings {
            source: id.clone(),
            schedule: schedule.with_context(|| format!("sources.{id}.schedule"))?,
            posts: PostQuery {
                rest_base: table.rest_base.clone(),
                parameters,
                newer_than: table.newer_than,
                older_than: table.older_than,
                posts_max: table.limit,
            },
        })
    };
    tables.map(one).collect()
}

fn breaker(config: &Config) -> BreakerPolicy {
    let open_ms = u64::try_from(config.limits.breaker_open.as_millis()).unwrap_or(u64::MAX);
    BreakerPolicy { open_ms, ..BreakerPolicy::default() }
}

/// The caps of every provider and site that has one.
fn caps(config: &Config) -> Vec<(BudgetName, Caps)> {
    let money = |dollars: Option<Dollars>| dollars.map(|d| d.microdollars);
    let caps = |day, month| Caps { day_microdollars: money(day), month_microdollars: money(month) };
    let providers = config
        .providers
        .iter()
        .map(|(id, p)| (BudgetName::Provider(id.clone()), caps(p.day_budget, p.month_budget)));
    let sites = config
        .sites
        .iter()
        .map(|(id, s)| (BudgetName::Site(id.clone()), caps(s.day_budget, s.month_budget)));
    providers.chain(sites).collect()
}

fn alerts(config: &Config, secrets: &Secrets) -> anyhow::Result<AlertSettings> {
    let config::Alerts { webhooks, slack, gather, quiet } = &config.alerts;
    let forms = webhooks.iter().map(|place| (AlertForm::Json, place));
    let forms = forms.chain(slack.iter().map(|place| (AlertForm::Slack, place)));
    let target = |(form, place): (AlertForm, &SecretRef)| {
        let text = secret(secrets, place)?.expose_secret();
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        // The address is a secret: no message repeats it.
        Ok((form, url.with_context(|| format!("alerts: {place} holds no http address"))?))
    };
    Ok(AlertSettings {
        targets: forms.map(target).collect::<anyhow::Result<_>>()?,
        rules: config.outbound.configured(),
        gather: *gather,
        quiet: *quiet,
    })
}

pub(super) fn secret<'s>(
    secrets: &'s Secrets,
    place: &SecretRef,
) -> anyhow::Result<&'s SecretString> {
    secrets.get(place).with_context(|| format!("the secret at {place} was not read"))
}

/// What a source may send.
///
/// # Errors
/// A secret that is too short, doubled or missing.
pub fn source_rules(
    id: &SourceId,
    source: &config::Source,
    secrets: &Secrets,
) -> anyhow::Result<SourceRules> {
    let scheme = source.signature().with_context(|| format!("sources.{id}: scheme"))?;
    let ring = if source.scheme.is_sender() {
        ring_of(id, source, &scheme, secrets)?
    } else {
        let nobodys = nobodys_secret()?;
        SecretRing::new(vec![nobodys])?
    };
    let mut rules = SourceRules::new(id.clone(), site_of(id, source)?, &scheme, ring);
    if source.idempotency == Idempotency::Derived {
        rules.key = KeyRule::Derived;
    } else if source.trigger {
        // A trigger has no key; events of the same source may have one.
        rules.key = KeyRule::Optional;
    }
    rules.payload = payload_rules(id, source)?;
    rules.networks.clone_from(&source.allow);
    rules.disabled = !source.enabled;
    Ok(rules)
}

fn ring_of(
    id: &SourceId,
    source: &config::Source,
    scheme: &copydesk_core::signature::Scheme,
    secrets: &Secrets,
) -> anyhow::Result<SecretRing> {
    let ring = source.secrets.iter().map(|s| {
        let value = secret(secrets, &s.value)?.expose_secret().as_bytes();
        Secret::of(scheme, &s.id, value).with_context(|| format!("sources.{id}: secret {}", s.id))
    });
    let ring: Vec<Secret> = ring.collect::<anyhow::Result<_>>()?;
    SecretRing::new(ring).with_context(|| format!("sources.{id}"))
}

/// A secret that nobody knows: no signature is made with it.
///
/// # Errors
/// When the system gives no random bytes.
pub(super) fn nobodys_secret() -> anyhow::Result<Secret> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    Ok(Secret::new("none", &random)?)
}

fn site_of(id: &SourceId, source: &config::Source) -> anyhow::Result<SiteId> {
    match &source.site {
        Some(site) => Ok(site.clone()),
        None => id.as_str().parse().with_context(|| format!("sources.{id}: site")),
    }
}

/// How a source's payloads are read.
///
/// # Errors
/// A site or a required field without the form of one.
pub fn payload_rules(id: &SourceId, source: &config::Source) -> anyhow::Result<PayloadRules> {
    let required = |(events, fields): (&String, &Vec<String>)| {
        let fields: Result<_, BadPointer> = fields.iter().map(|field| field.parse()).collect();
        Ok(Requirement { events: events.parse()?, fields: fields? })
    };
    let required: anyhow::Result<_> = source.require.iter().map(required).collect();
    let item = source.scheme == Scheme::Provider;
    Ok(PayloadRules {
        site: site_of(id, source)?,
        subject: match source.about {
            Some(About::Item) => Subject::Item,
            None if item => Subject::Item,
            Some(About::Post) | None => Subject::Post,
        },
        version: match source.version {
            Version::Auto => VersionRule::Newest,
            Version::Sequence => VersionRule::Sequence,
            Version::ModifiedGmt => VersionRule::Modified,
            Version::None => VersionRule::None,
        },
        map: source.map.clone().into(),
        form: source.body == Body::Form,
        trigger: source.trigger,
        required: required.with_context(|| format!("sources.{id}: require"))?,
        own_events: source.events.clone(),
        accept_unknown_events: source.unknown_events == UnknownEvents::Accept,
        url_hosts: source.hosts.clone(),
    })
}

/// The routes of a configuration, in order.
///
/// # Errors
/// The first that cannot be used.
pub fn routes(config: &Config) -> anyhow::Result<Vec<Route>> {
    (1..).zip(&config.routes).map(|(number, one)| route(number, one, config)).collect()
}

fn route(number: usize, route: &config::Route, config: &Config) -> anyhow::Result<Route> {
    let id = match &route.name {
        Some(name) => name.clone(),
        None => format!("r{number}").parse()?,
    };
    let events = route.events.iter().map(|event| event.parse());
    let matchers = route.matches.iter().map(config::Match::matcher);
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Ok(Route {
        source: route.source.clone(),
        events: events.collect::<Result<_, _>>().with_context(|| format!("routes: {id}"))?,
        matchers: matchers.collect::<Result<_, _>>().with_context(|| format!("routes: {id}"))?,
        enrich: route.enrich.clone(),
        coalesce: match config.coalesce_of(route) {
            config::Coalesce::Every => Coalesce::Every,
            config::Coalesce::Latest => {
                Coalesce::Latest { quiet_ms: ms(route.quiet), max_wait_ms: ms(route.max_wait) }
            }
        },
        on_dead_letter: match route.on_dead_letter {
            config::OnDeadLetter::Continue => OnDeadLetter::Continue,
            config::OnDeadLetter::Block => OnDeadLetter::Block,
        },
        id,
    })
}

fn enrichments(config: &Config) -> anyhow::Result<HashMap<EnrichmentId, EnrichmentSettings>> {
    let one = |(id, e): (&EnrichmentId, &config::Enrichment)| {
        let name = e.recipe.as_deref().unwrap_or_else(|| id.as_str());
        let recipe: Recipe = name.parse().with_context(|| format!("enrichments.{id}: recipe"))?;
        let field = e.field.clone().unwrap_or_else(|| recipe.field());
        Ok((id.clone(), EnrichmentSettings { recipe, field }))
    };
    config.enrichments.iter().map(one).collect()
}

fn plan(
    route: &Route,
    config: &Config,
    enrichments: &HashMap<EnrichmentId, EnrichmentSettings>,
) -> anyhow::Result<RoutePlan> {
    let step = |id: &EnrichmentId| {
        let known = config.enrichments.get(id).zip(enrichments.get(id));
        let (enrichment, made) =
            known.with_context(|| format!("routes: {}: no enrichment {id}", route.id))?;
        Ok(PlanStep {
            enrichment: id.clone(),
            provider: enrichment.provider.clone(),
            field: made.field.clone(),
            mode: match enrichment.mode {
                config::Mode::Suggest => Mode::Suggest,
                config::Mode::ApplyIfEmpty => Mode::ApplyIfEmpty,
                config::Mode::Apply => Mode::Apply,
            },
            prompt_version: made.recipe.prompt_version(),
        })
    };
    Ok(RoutePlan {
        steps: route.enrich.iter().map(step).collect::<anyhow::Result<_>>()?,
        coalesce: route.coalesce,
        blocks: route.on_dead_letter == OnDeadLetter::Block,
        gap_wait_ms: 0,
    })
}

fn providers(config: &Config, secrets: &Secrets) -> anyhow::Result<Vec<EnrichmentArguments>> {
    let mut providers = Vec::new();
    let builtin: ProviderId = BUILTIN.parse()?;
    if !config.providers.contains_key(&builtin) {
        providers.push(provider(&builtin, &config::Provider::default(), config, secrets)?);
    }
    for (id, settings) in &config.providers {
        providers.push(provider(id, settings, config, secrets)?);
    }
    Ok(providers)
}

fn fallbacks(config: &Config) -> HashMap<ProviderId, ProviderId> {
    let named = |(id, provider): (&ProviderId, &config::Provider)| {
        provider.fallback.clone().map(|next| (id.clone(), next))
    };
    config.providers.iter().filter_map(named).collect()
}

fn provider(
    id: &ProviderId,
    settings: &config::Provider,
    config: &Config,
    secrets: &Secrets,
) -> anyhow::Result<EnrichmentArguments> {
    let service: Arc<dyn Provider> = match network_settings(id, settings, config, secrets)? {
        None => Arc::new(Builtin),
        Some(network) => {
            Arc::new(Network::new(network).with_context(|| format!("providers.{id}"))?)
        }
    };
    Ok(EnrichmentArguments::new(
        id.clone(),
        service,
        Limits {
            concurrency: usize::from(settings.concurrency),
            shared: config.sites.len() > 1,
            requests_per_minute: settings.requests_per_minute,
            tokens_per_minute: settings.tokens_per_minute,
            breaker: breaker(config),
        },
    ))
}

/// How to reach a provider over the network; `None` for the built-in one.
///
/// # Errors
/// A key that was not read.
pub fn network_settings(
    id: &ProviderId,
    settings: &config::Provider,
    config: &Config,
    secrets: &Secrets,
) -> anyhow::Result<Option<NetworkSettings>> {
    let (kind, home) = match settings.kind {
        ProviderKind::Builtin => return Ok(None),
        ProviderKind::Openai => (Kind::OpenAi, "https://api.openai.com/v1"),
        ProviderKind::Anthropic => (Kind::Anthropic, "https://api.anthropic.com/v1"),
    };
    let base_url = match &settings.base_url {
        Some(url) => url.clone(),
        None => Url::parse(home)?,
    };
    let api_key = settings.api_key.as_ref().map(|place| secret(secrets, place).cloned());
    Ok(Some(NetworkSettings {
        kind,
        base_url,
        api_key: api_key.transpose()?,
        api_key_setting: format!("providers.{id}.api_key"),
        model: settings.model.clone(),
        connect_timeout: NetworkSettings::CONNECT_TIMEOUT,
        timeout: settings.timeout,
        proxy: None,
        rules: config.outbound.configured(),
        prices: Prices {
            input_microdollars_per_million: settings.input_price.microdollars_per_million_tokens,
            output_microdollars_per_million: settings.output_price.microdollars_per_million_tokens,
        },
    }))
}

/// A site as its delivery actor wants it.
///
/// # Errors
/// A password that was not read.
pub fn wordpress(
    id: &SiteId,
    site: &config::Site,
    config: &Config,
    secrets: &Secrets,
) -> anyhow::Result<delivery::Site> {
    let password = secret(secrets, &site.application_password)?.clone();
    let mut settings =
        delivery::Site::new(id.clone(), site.url.clone(), site.user.clone(), password);
    settings.kind = match site.delivery {
        Delivery::Core => DeliveryKind::Core,
        Delivery::Ingest => DeliveryKind::Ingest,
        Delivery::Plugin => DeliveryKind::Plugin,
        Delivery::Auto => DeliveryKind::Auto,
    };
    settings.ingest_path.clone_from(&site.ingest_path);
    settings.concurrency = usize::from(site.concurrency);
    settings.timeout = site.timeout;
    settings.rules = config.outbound.configured();
    settings.pull = site.pull;
    Ok(settings)
}
