//! What operators are shown of the configuration: never a secret, never where one is kept.

use copydesk_proto::{RouteId, SourceId};
use url::Url;

use crate::admin::{KeyRow, ProviderRow, RouteRow, ScheduleRow, SiteRow, SourceRow};
use crate::config::{
    BUILTIN, Coalesce, Config, Delivery, OnDeadLetter, ProviderKind, Source, SourceSecret,
};

/// The rows, without what only a running node knows.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) sites: Vec<SiteRow>,
    pub(super) sources: Vec<SourceRow>,
    pub(super) providers: Vec<ProviderRow>,
    pub(super) routes: Vec<RouteRow>,
}

impl Shown {
    pub(super) fn of(config: &Config) -> Self {
        let sites = config.sites.iter().map(|(id, site)| SiteRow {
            site: id.to_string(),
            url: address(&site.url),
            delivery: match site.delivery {
                Delivery::Auto => "auto",
                Delivery::Plugin => "plugin",
                Delivery::Core => "core",
                Delivery::Ingest => "ingest",
            }
            .to_owned(),
            password_set: true,
            breaker: "closed".to_owned(),
            in_flight: 0,
        });
        let mut providers: Vec<_> = config
            .providers
            .iter()
            .map(|(id, provider)| {
                let kind = match provider.kind {
                    ProviderKind::Openai => "openai",
                    ProviderKind::Anthropic => "anthropic",
                    ProviderKind::Builtin => BUILTIN,
                };
                provider_row(id.as_str(), kind, &provider.model, provider.api_key.is_some())
            })
            .collect();
        if !providers.iter().any(|row| row.provider == BUILTIN) {
            providers.push(provider_row(BUILTIN, BUILTIN, "", false));
        }
        providers.sort_by(|a, b| a.provider.cmp(&b.provider));
        let sources = config.sources.iter().map(source_row).collect();
        Self { sites: sites.collect(), sources, providers, routes: routes(config) }
    }
}

fn source_row((id, source): (&SourceId, &Source)) -> SourceRow {
    let key = |secret: &SourceSecret| KeyRow { id: secret.id.clone(), used_at: None };
    SourceRow {
        source: id.to_string(),
        site: source.site.as_ref().map_or_else(|| id.to_string(), ToString::to_string),
        scheme: source.scheme.name().to_owned(),
        events: source.events.clone(),
        keys: source.secrets.iter().map(key).collect(),
        looked_back_to: None,
        schedule: source.schedule.as_ref().map(|table| ScheduleRow {
            cron: table.cron.clone(),
            timezone: table.timezone.clone(),
            next_at: None,
            last_at: None,
            done: false,
            posts: 0,
        }),
    }
}

fn provider_row(name: &str, kind: &str, model: &str, key_set: bool) -> ProviderRow {
    ProviderRow {
        provider: name.to_owned(),
        kind: kind.to_owned(),
        model: model.to_owned(),
        key_set,
        breaker: "closed".to_owned(),
        in_flight: 0,
        cost_microdollars: 0,
    }
}

fn routes(config: &Config) -> Vec<RouteRow> {
    let row = |(place, route): (usize, &crate::config::Route)| {
        let source = config.sources.get(&route.source);
        let own = source.and_then(|source| source.site.as_ref());
        RouteRow {
            route: route
                .name
                .as_ref()
                .map_or_else(|| format!("r{}", place + 1), RouteId::to_string),
            source: route.source.to_string(),
            site: own.map_or_else(|| route.source.to_string(), ToString::to_string),
            events: route.events.clone(),
            enrich: route.enrich.iter().map(ToString::to_string).collect(),
            coalesce: match config.coalesce_of(route) {
                Coalesce::Every => "every",
                Coalesce::Latest => "latest",
            }
            .to_owned(),
            on_dead_letter: match route.on_dead_letter {
                OnDeadLetter::Continue => "continue",
                OnDeadLetter::Block => "block",
            }
            .to_owned(),
        }
    };
    config.routes.iter().enumerate().map(row).collect()
}

/// Scheme, host and path: whatever else stands in a URL may be a secret.
fn address(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let _no_user = url.set_username("").and_then(|()| url.set_password(None));
    url.into()
}
