//! What serde cannot see: ranges, names that must exist, paths that must not clash.

mod subscribers;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::time::Duration;

use copydesk_core::limits::{
    COALESCE_MS_MAX, ROUTE_ITEMS_MAX, ROUTES_MAX, SIGNATURES_TRIED_MAX, URI_BYTES_MAX,
};
use copydesk_core::pointer::{BadPointer, Pointer};
use copydesk_core::routes::EventPattern;
use copydesk_core::schedule::{Schedule, ScheduleError};
use copydesk_core::signature::is_key_id;
use copydesk_core::webhook::is_event_type;
use copydesk_proto::RouteId;

use super::report::suggest;
use super::{
    BUILTIN, Body, Delivery, Loaded, LogUrl, Price, Problem, ProviderKind, ScheduleTable, Scheme,
    Site, Source,
};

/// Longest time for one request to a site or provider; a slow model needs minutes, not hours.
const TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// Fetching costs a site three requests, 100 ms of its CPU.
const PULL_MIN: Duration = Duration::from_secs(10);
/// A day late is of no use to an editor.
const PULL_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Posts of one tick of a schedule: what an operator's job may do at most, too.
const SCHEDULE_POSTS_MAX: usize = 10_000;

/// Everything that is wrong.
pub(super) fn check(loaded: &Loaded) -> Vec<Problem> {
    let mut check = Check { loaded, problems: Vec::new() };
    check.process();
    check.sites();
    check.sources();
    check.providers();
    check.enrichments();
    check.routes();
    check.subscribers();
    check.problems
}

struct Check<'l> {
    loaded: &'l Loaded,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn refuse(&mut self, path: &str, reason: impl Into<String>, help: impl Into<String>) {
        self.problems.push(self.loaded.problem(path, reason, help));
    }

    fn range<T: PartialOrd + Display>(&mut self, path: &str, value: T, least: T, most: T) {
        if value < least || value > most {
            let key = path.rsplit('.').next().unwrap_or(path);
            self.refuse(path, format!("{key} must be {least} to {most}"), "");
        }
    }

    /// A name that must be one of those of a table.
    fn name<'k>(
        &mut self,
        path: &str,
        kind: &str,
        name: &str,
        known: impl Iterator<Item = &'k str>,
    ) {
        let known: Vec<&str> = known.collect();
        if !known.contains(&name) {
            let help = suggest(name, known.into_iter());
            self.refuse(path, format!("there is no {kind} named `{name}`"), help);
        }
    }

    fn process(&mut self) {
        let config = &self.loaded.config;
        if config.data_dir.as_os_str().is_empty() {
            self.refuse("data_dir", "data_dir is empty", "write the path of a folder");
        }
        if config.limits.breaker_open.is_zero() {
            self.refuse("limits.breaker_open", "breaker_open must be longer than 0s", "");
        }
        self.range("http.backlog_max", config.http.backlog_max, 1, 1_000_000_000);
        self.range("http.connections_max", config.http.connections_max, 1, 1_000_000);
        let per_ip = config.http.connections_per_ip_max;
        self.range("http.connections_per_ip_max", per_ip, 1, 1_000_000);
        self.hosts("http.public_hosts", &config.http.public_hosts);
        self.hosts("admin.hosts", &config.admin.hosts);
        if !config.admin.listen.ip().is_loopback() && !config.admin.allow_remote {
            self.refuse(
                "admin.listen",
                "the admin API has no TLS and would be open to the network",
                "keep it on 127.0.0.1, or set allow_remote = true behind a proxy that encrypts",
            );
        }
        let rate = config.admin.requests_per_second;
        self.range("admin.requests_per_second", rate, 1, 1_000_000);
        if !(0.0..=1.0).contains(&config.telemetry.sampling) {
            self.refuse("telemetry.sampling", "sampling must be 0.0 to 1.0", "");
        }
        self.range("limits.posts_busy_max", config.limits.posts_busy_max, 1, 1_000_000);
        self.range("limits.posts_idle_max", config.limits.posts_idle_max, 0, 1_000_000);
        let calls = config.limits.calls_per_post_hour;
        self.range("limits.calls_per_post_hour", calls, 1, u32::MAX);
        self.range("retention.days", config.retention.days, 1, 3_650);
        self.log();
    }

    fn log(&mut self) {
        let log = &self.loaded.config.log;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !(1..=32).contains(&log.stream.len()) || !log.stream.bytes().all(plain) {
            self.refuse("log.stream", "a stream is 1 to 32 of A-Z, a-z, 0-9, - and _", "");
        }
        if ![1, 3, 5].contains(&log.replicas) {
            self.refuse("log.replicas", "replicas must be 1, 3 or 5", "");
        }
        if log.url == LogUrl::Embedded && log.replicas > 1 {
            self.refuse(
                "log.replicas",
                "the embedded log keeps one copy",
                "set url = \"nats://host:4222\" for more",
            );
        }
    }

    fn sites(&mut self) {
        for (name, site) in &self.loaded.config.sites {
            let path = |key: &str| format!("sites.{name}.{key}");
            if site.user.is_empty() || site.user.contains(':') {
                let path = path("user");
                self.refuse(&path, "user must be a WordPress login name", "");
            }
            self.range(&path("concurrency"), site.concurrency, 1, 1_000);
            self.timeout(&path("timeout"), site.timeout);
            self.pull(&path("pull"), site);
            if !is_plain_path(&site.ingest_path) {
                let path = path("ingest_path");
                self.refuse(&path, PATH_FORM, "for example \"/wp-json/ai-guy/v1/ingest\"");
            }
        }
    }

    fn pull(&mut self, path: &str, site: &Site) {
        let Some(pull) = site.pull else { return };
        if pull < PULL_MIN || pull > PULL_MAX {
            self.refuse(path, "pull must be \"off\", or 10s to 24h", "");
        }
        if matches!(site.delivery, Delivery::Core | Delivery::Ingest) {
            let help = "set delivery = \"plugin\", or leave it out";
            self.refuse(path, "only the plugin has an outbox to fetch from", help);
        }
    }

    fn timeout(&mut self, path: &str, timeout: Duration) {
        if timeout.is_zero() || timeout > TIMEOUT_MAX {
            self.refuse(path, "timeout must be more than 0 and at most 10m", "");
        }
    }

    fn sources(&mut self) {
        let config = &self.loaded.config;
        let mut paths: BTreeMap<String, &str> = BTreeMap::new();
        for (name, source) in &config.sources {
            let path = |key: &str| format!("sources.{name}.{key}");
            let sites = config.sites.keys().map(|site| site.as_str());
            match &source.site {
                Some(site) => self.name(&path("site"), "site", site.as_str(), sites),
                None if !config.sites.keys().any(|site| site.as_str() == name.as_str()) => {
                    let help = suggest(name.as_str(), sites);
                    self.refuse(&path("site"), "site names the site its posts belong to", help);
                }
                None => {}
            }
            if !source.scheme.is_sender() {
                self.local(name.as_str(), source);
            } else if source.secrets.is_empty() || source.secrets.len() > SIGNATURES_TRIED_MAX {
                self.refuse(
                    &path("secrets"),
                    format!("a source has 1 to {SIGNATURES_TRIED_MAX} secrets"),
                    "secrets = [{ id = \"k1\", value = \"env:NAME\" }]",
                );
            }
            let mut ids = BTreeSet::new();
            for (index, secret) in source.secrets.iter().enumerate() {
                if !is_key_id(&secret.id) || !ids.insert(&secret.id) {
                    let path = path(&format!("secrets[{index}].id"));
                    self.refuse(
                        &path,
                        "the ids of a source's secrets differ and are 1 to 64 of A-Z a-z 0-9 . _ -",
                        "",
                    );
                }
            }
            self.hosts(&path("hosts"), &source.hosts);
            self.schedule(name.as_str(), source);
            self.scheme(name.as_str(), source);
            self.payload(name.as_str(), source);
            if let Some(own) = &source.path {
                self.source_path(&path("path"), own, &mut paths, name.as_str());
            }
        }
    }

    fn hosts(&mut self, path: &str, hosts: &[String]) {
        for (index, host) in hosts.iter().enumerate() {
            if host.is_empty() || host.contains(['/', ' ', ':']) {
                self.refuse(
                    &format!("{path}[{index}]"),
                    "a host is a name without scheme and port",
                    "for example \"desk.example.org\"",
                );
            }
        }
    }

    fn schedule(&mut self, name: &str, source: &Source) {
        let path = |key: &str| format!("sources.{name}.{key}");
        let table = match (&source.schedule, source.scheme == Scheme::Schedule) {
            (Some(table), true) => table,
            (None, false) => return,
            (Some(_), false) => {
                let reason = "this table goes with scheme = \"schedule\"";
                return self.refuse(&path("schedule"), reason, "");
            }
            (None, true) => {
                let reason = format!("scheme = \"schedule\" needs [sources.{name}.schedule]");
                return self.refuse(&path("scheme"), reason, "docs/sources.md has an example");
            }
        };
        match Schedule::new(&table.cron, &table.timezone) {
            Ok(_) => {}
            Err(error @ ScheduleError::Cron) => {
                self.refuse(&path("schedule.cron"), error.to_string(), "");
            }
            Err(error @ ScheduleError::Zone) => {
                self.refuse(&path("schedule.timezone"), error.to_string(), "");
            }
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !(1..=64).contains(&table.rest_base.len()) || !table.rest_base.bytes().all(plain) {
            let reason = "rest_base is 1 to 64 of A-Z a-z 0-9 - _";
            self.refuse(&path("schedule.rest_base"), reason, "\"posts\", \"pages\", …");
        }
        self.range(&path("schedule.limit"), table.limit, 1, SCHEDULE_POSTS_MAX);
        for parameter in table.posts.keys() {
            let known = ScheduleTable::PARAMETERS;
            if !known.contains(&parameter.as_str()) {
                let path = path(&format!("schedule.posts.{parameter}"));
                let reason = format!("posts are not chosen by `{parameter}`");
                self.refuse(&path, reason, suggest(parameter, known.into_iter()));
            }
        }
    }

    /// What only senders have.
    fn local(&mut self, name: &str, source: &Source) {
        let set = [
            ("secrets", !source.secrets.is_empty()),
            ("path", source.path.is_some()),
            ("allow", !source.allow.is_empty()),
            ("requests_per_minute", source.requests_per_minute.is_some()),
            ("trigger", source.trigger),
            ("body", source.body != Body::Json),
        ];
        for (key, _) in set.into_iter().filter(|(_, is_set)| *is_set) {
            let path = format!("sources.{name}.{key}");
            self.refuse(&path, format!("a source to which nobody posts has no {key}"), "");
        }
    }

    fn scheme(&mut self, name: &str, source: &Source) {
        if let Err(error) = source.signature() {
            let of_source = ["scheme", "custom", "token_header"].contains(&error.setting);
            let table = if of_source { "" } else { "custom." };
            let path = format!("sources.{name}.{table}{}", error.setting);
            self.refuse(&path, error.reason, "docs/sources.md has an example of each scheme");
        }
    }

    fn payload(&mut self, name: &str, source: &Source) {
        let path = |key: &str| format!("sources.{name}.{key}");
        if let Some(rate) = source.requests_per_minute {
            self.range(&path("requests_per_minute"), rate, 1, 1_000_000);
        }
        if source.map.event_default.as_ref().is_some_and(|event| !is_event_type(event)) {
            self.refuse(&path("map.event_default"), EVENT_FORM, EVENT_HELP);
        }
        if source.events.len() > ROUTE_ITEMS_MAX {
            self.refuse(&path("events"), format!("more than {ROUTE_ITEMS_MAX} events"), "");
        }
        if source.events.iter().any(|event| !is_event_type(event)) {
            self.refuse(&path("events"), EVENT_FORM, EVENT_HELP);
        }
        for (events, fields) in &source.require {
            if events.parse::<EventPattern>().is_err() {
                self.refuse(&path("require"), EVENT_FORM, EVENT_HELP);
            }
            if fields.iter().any(|field| field.parse::<Pointer>().is_err()) {
                self.refuse(&path("require"), BadPointer.to_string(), "");
            }
        }
    }

    fn source_path<'n>(
        &mut self,
        path: &str,
        own: &str,
        taken: &mut BTreeMap<String, &'n str>,
        name: &'n str,
    ) {
        let reserved = ["/webhooks", "/livez", "/readyz", "/healthz", "/api"];
        let under = |root: &str| own == root || own.starts_with(&format!("{root}/"));
        if !is_plain_path(own) {
            self.refuse(path, PATH_FORM, "for example \"/wp-json/relay/v1/hook\"");
        } else if let Some(root) = reserved.iter().find(|root| under(root)) {
            self.refuse(path, format!("{root} is Copydesk's own"), "choose another path");
        } else if let Some(other) = taken.insert(own.to_owned(), name) {
            self.refuse(path, format!("the source `{other}` has this path"), "choose another path");
        }
    }

    fn providers(&mut self) {
        let config = &self.loaded.config;
        for (name, provider) in &config.providers {
            let path = |key: &str| format!("providers.{name}.{key}");
            self.range(&path("concurrency"), provider.concurrency, 1, 10_000);
            self.timeout(&path("timeout"), provider.timeout);
            let network = provider.kind != ProviderKind::Builtin;
            if network && provider.model.is_empty() {
                let help = "for example model = \"gpt-4o-mini\"";
                self.refuse(&path("model"), "model is missing", help);
            }
            let has_budget = provider.day_budget.is_some() || provider.month_budget.is_some();
            let is_free = [provider.input_price, provider.output_price] == [Price::default(); 2];
            if network && has_budget && is_free {
                let key = if provider.day_budget.is_some() { "day_budget" } else { "month_budget" };
                let reason = "a budget needs prices: without them every call counts as free";
                let help = "for example input_price = \"0.15\" and output_price = \"0.60\"";
                self.refuse(&path(key), reason, help);
            }
            if name.as_str() == BUILTIN && network {
                self.refuse(&path("kind"), "the name `builtin` is taken", "name it otherwise");
            }
            for key in ["requests_per_minute", "tokens_per_minute"] {
                let value = if key == "requests_per_minute" {
                    provider.requests_per_minute
                } else {
                    provider.tokens_per_minute
                };
                if let Some(value) = value {
                    self.range(&path(key), value, 1, u32::MAX);
                }
            }
            self.fallback(name.as_str());
        }
    }

    /// The chain of fallbacks from `name` must end.
    fn fallback(&mut self, name: &str) {
        let providers = &self.loaded.config.providers;
        let next = |at: &str| {
            providers
                .iter()
                .find(|(id, _)| id.as_str() == at)
                .and_then(|(_, provider)| provider.fallback.as_ref())
        };
        let Some(first) = next(name) else { return };
        let path = format!("providers.{name}.fallback");
        let known = providers.keys().map(|id| id.as_str()).chain([BUILTIN]);
        self.name(&path, "provider", first.as_str(), known);
        let mut at = first.as_str();
        for _ in 0..=providers.len() {
            if at == name {
                self.refuse(&path, "the fallbacks go round in a circle", "leave one out");
                return;
            }
            let Some(further) = next(at) else { return };
            at = further.as_str();
        }
    }

    fn enrichments(&mut self) {
        let config = &self.loaded.config;
        for (name, enrichment) in &config.enrichments {
            let known = config.providers.keys().map(|id| id.as_str()).chain([BUILTIN]);
            let path = format!("enrichments.{name}.provider");
            self.name(&path, "provider", enrichment.provider.as_str(), known);
        }
    }

    fn routes(&mut self) {
        let config = &self.loaded.config;
        if config.routes.len() > ROUTES_MAX {
            self.refuse("routes", format!("more than {ROUTES_MAX} routes"), "");
        }
        let mut names = BTreeSet::new();
        for (index, route) in config.routes.iter().enumerate() {
            let path = |key: &str| format!("routes[{index}].{key}");
            let shown = |id: &RouteId| id.as_str().to_owned();
            let name = route.name.as_ref().map_or_else(|| format!("r{}", index + 1), shown);
            if !names.insert(name.clone()) {
                self.refuse(&path("name"), format!("two routes are named `{name}`"), "");
            }
            let sources = config.sources.keys().map(|id| id.as_str());
            self.name(&path("source"), "source", route.source.as_str(), sources);
            for (at, id) in route.enrich.iter().enumerate() {
                let known = config.enrichments.keys().map(|id| id.as_str());
                self.name(&path(&format!("enrich[{at}]")), "enrichment", id.as_str(), known);
            }
            for (key, items) in [
                ("events", route.events.len()),
                ("match", route.matches.len()),
                ("enrich", route.enrich.len()),
            ] {
                if items > ROUTE_ITEMS_MAX {
                    self.refuse(&path(key), format!("more than {ROUTE_ITEMS_MAX} {key}"), "");
                }
            }
            if route.events.is_empty() {
                self.refuse(&path("events"), "events is empty", "\"*\" stands for every event");
            }
            for (at, event) in route.events.iter().enumerate() {
                if event.parse::<EventPattern>().is_err() {
                    self.refuse(&path(&format!("events[{at}]")), EVENT_FORM, EVENT_HELP);
                }
            }
            for (at, matches) in route.matches.iter().enumerate() {
                if let Err(error) = matches.matcher() {
                    let help = "for example { field = \"/type\", is = \"post\" }";
                    self.refuse(&path(&format!("match[{at}]")), error.to_string(), help);
                }
            }
            let most = Duration::from_millis(COALESCE_MS_MAX);
            if route.quiet > route.max_wait || route.max_wait > most {
                self.refuse(
                    &path("max_wait"),
                    "max_wait must be at least quiet, and at most 24h",
                    "",
                );
            }
        }
    }
}

const EVENT_FORM: &str = "an event type is words of a-z, 0-9 and _ joined by dots";

const EVENT_HELP: &str = "for example \"post.published\", \"post.*\" or \"*\"";

const PATH_FORM: &str =
    "a path begins with / and has only A-Z, a-z, 0-9, - . _ ~ between single slashes";

fn is_plain_path(path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let segment =
        |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(plain);
    path.len() < URI_BYTES_MAX
        && path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(segment))
}
