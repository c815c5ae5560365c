//! `copydesk routes test`: what would become of a payload, by the rules a node would use.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use copydesk_core::limits::BODY_BYTES_MAX;
use copydesk_core::post::NoticeKind;
use copydesk_core::routes::{Route, RouteTable};
use copydesk_core::subscribers::PAYLOAD;
use copydesk_core::webhook::Payload;
use copydesk_proto::{PostId, SiteId, SourceId, SubscriberId};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::output::{Output, plain};
use crate::config::{self, Config, Delivery, Loaded, Mode, Source};
use crate::wiring;

/// The routes of the running node, or one of the verbs on them.
#[derive(Debug, Args)]
pub struct RoutesArgs {
    /// What to do; left out, the node's routes are listed.
    #[command(subcommand)]
    pub command: Option<RoutesCommand>,
}

/// Try routes on an example, without a node.
#[derive(Debug, Subcommand)]
pub enum RoutesCommand {
    /// What would become of this payload: which route takes it, who is asked, what is written, who
    /// is told.
    ///
    /// Nothing is sent and nothing stored; no secret is needed. Of subscribers, those of the
    /// configuration are shown: a node alone knows who was added through its API.
    #[command(after_help = "\
Examples:
  copydesk routes test sample.json
  copydesk routes test form.txt --source contact

Exit code 0 when a route takes it, 1 when none does or the payload is refused.")]
    Test {
        /// A file with the body of a webhook, as its sender posts it.
        sample: PathBuf,
        /// The source that sends it; needless when there is only one.
        #[arg(long)]
        source: Option<String>,
    },
}

/// What a node would make of a payload.
#[derive(Debug, Serialize)]
struct Outcome {
    source: String,
    event: String,
    post: String,
    /// Every route of the source, in order.
    routes: Vec<Tried>,
    /// The one that takes it.
    takes: Option<String>,
    asked: Vec<Asked>,
    /// Where results go; `None` when nothing is written.
    written: Option<String>,
    /// Every subscriber of the configuration, and whether it is told how the run ends.
    subscribers: Vec<Told>,
}

/// A subscriber and what it would be told.
#[derive(Debug, Serialize)]
struct Told {
    subscriber: String,
    verdict: String,
}

/// A route and whether it takes the payload.
#[derive(Debug, Serialize)]
struct Tried {
    route: String,
    verdict: String,
}

/// An enrichment that would be asked for.
#[derive(Debug, Serialize)]
struct Asked {
    enrichment: String,
    provider: String,
    mode: &'static str,
}

impl RoutesCommand {
    pub(super) fn run(self, loaded: &Loaded, output: &Output) -> anyhow::Result<ExitCode> {
        let Self::Test { sample, source } = self;
        test(&sample, source.as_deref(), loaded, output)
    }
}

fn test(
    sample: &Path,
    source: Option<&str>,
    loaded: &Loaded,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let config = &loaded.config;
    let (id, source) = source_of(config, source)?;
    let body = read(sample)?;
    let payload = match Payload::read(&wiring::payload_rules(id, source)?, &body) {
        Ok(payload) => payload,
        Err(refusal) => bail!("{} {refusal}", refusal.status),
    };
    let outcome = outcome(config, id, source, &payload)?;
    if output.json {
        output.value(&outcome)?;
    } else {
        show(&outcome, output)?;
    }
    Ok(if outcome.takes.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn source_of<'c>(
    config: &'c Config,
    name: Option<&str>,
) -> anyhow::Result<(&'c SourceId, &'c Source)> {
    let names = || config.sources.keys().map(SourceId::as_str).collect::<Vec<_>>().join(", ");
    let mut fitting =
        config.sources.iter().filter(|(id, _)| name.is_none_or(|name| id.as_str() == name));
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => bail!("there is no such source; there is: {}", names()),
        (Some(_), Some(_)) => bail!("which source? --source with one of: {}", names()),
    }
}

fn read(sample: &Path) -> anyhow::Result<Vec<u8>> {
    let shown = sample.display();
    let bytes = std::fs::metadata(sample).with_context(|| format!("cannot read {shown}"))?.len();
    if bytes > BODY_BYTES_MAX as u64 {
        bail!("{shown} is longer than the 262,144 bytes of a webhook");
    }
    std::fs::read(sample).with_context(|| format!("cannot read {shown}"))
}

fn outcome(
    config: &Config,
    id: &SourceId,
    source: &Source,
    payload: &Payload,
) -> anyhow::Result<Outcome> {
    let rules = wiring::payload_rules(id, source)?;
    let table = RouteTable::new(wiring::routes(config)?)?;
    let taken = table.route_for(id, &payload.event_type, &payload.fields);
    let own = table.routes().iter().filter(|route| route.source == *id);
    let tried = own.map(|route| Tried {
        route: route.id.to_string(),
        verdict: verdict(route, taken, payload),
    });
    let enrich = taken.map(|route| route.enrich.as_slice()).unwrap_or_default();
    let asked = enrich.iter().filter_map(|name| {
        let (name, enrichment) = config.enrichments.get_key_value(name)?;
        Some(Asked {
            enrichment: name.to_string(),
            provider: enrichment.provider.to_string(),
            mode: match enrichment.mode {
                Mode::Suggest => "suggest",
                Mode::ApplyIfEmpty => "apply_if_empty",
                Mode::Apply => "apply",
            },
        })
    });
    let asked: Vec<Asked> = asked.collect();
    // A route without enrichments hands the event's own words on.
    let writes = taken.is_some() && (asked.is_empty() || asked.iter().any(|a| a.mode != "suggest"));
    let site = config.sites.get(&rules.site).filter(|_| writes);
    let subscribers = match taken {
        Some(route) => told(config, id, &rules.site, route, payload)?,
        None => Vec::new(),
    };
    Ok(Outcome {
        source: id.to_string(),
        event: payload.event_type.clone(),
        post: format!("{}/{}", rules.site, payload.post),
        routes: tried.collect(),
        takes: taken.map(|route| route.id.to_string()),
        asked,
        written: site.map(|site| match site.delivery {
            Delivery::Auto => format!("{} (plugin, else core REST)", site.url),
            Delivery::Plugin => format!("{} (plugin)", site.url),
            Delivery::Core => format!("{} (core REST)", site.url),
            Delivery::Ingest => format!("{} (ingest at {})", site.url, site.ingest_path),
        }),
        subscribers,
    })
}

/// Parts of a notice's data that only a run's end brings.
const AT_THE_END: [&str; 5] = ["results", "failure", "received_at", "event_id", "sequence"];

/// What each subscriber of the configuration would be told, as far as the payload says.
fn told(
    config: &Config,
    source: &SourceId,
    site: &SiteId,
    route: &Route,
    payload: &Payload,
) -> anyhow::Result<Vec<Told>> {
    let mut data = Map::new();
    data.insert("site".to_owned(), json!(site));
    data.insert("post".to_owned(), json!(payload.post.to_string()));
    if let PostId::Number(number) = payload.post {
        data.insert("post_id".to_owned(), json!(number));
    }
    data.insert("source".to_owned(), json!(source));
    data.insert("route".to_owned(), json!(route.id));
    data.insert("event_type".to_owned(), json!(payload.event_type));
    if let Some(id) = &payload.external_id {
        data.insert("external_id".to_owned(), json!(id));
    }
    data.insert(PAYLOAD.to_owned(), Value::Object(payload.fields.clone()));
    let one = |(id, subscriber): (&SubscriberId, &config::Subscriber)| {
        let subscription = subscriber.spec(id).subscription()?;
        let kinds = NoticeKind::ALL.iter().filter(|kind| subscription.listens(site, **kind));
        let kinds: Vec<&str> = kinds.map(|kind| kind.name()).collect();
        let late =
            |field: &str| AT_THE_END.iter().any(|name| field.split('/').nth(1) == Some(name));
        let (open, known): (Vec<_>, Vec<_>) =
            subscription.matchers.iter().partition(|matcher| late(&matcher.field().to_string()));
        let verdict = if kinds.is_empty() {
            "other sites".to_owned()
        } else if let Some(matcher) = known.iter().find(|matcher| !matcher.matches(&data)) {
            format!("{} does not match", matcher.field())
        } else if let Some(matcher) = open.first() {
            format!("told of {}, if {} fits then", kinds.join(", "), matcher.field())
        } else {
            format!("told of {}", kinds.join(", "))
        };
        Ok(Told { subscriber: id.to_string(), verdict })
    };
    config.subscribers.iter().map(one).collect()
}

/// Why a route takes the payload or not, in a few words.
fn verdict(route: &Route, taken: Option<&Route>, payload: &Payload) -> String {
    if !route.events.iter().any(|pattern| pattern.matches(&payload.event_type)) {
        return "other events".to_owned();
    }
    let fails = |matcher: &&copydesk_core::routes::Matcher| !matcher.matches(&payload.fields);
    if let Some(matcher) = route.matchers.iter().find(fails) {
        return format!("{} does not match", matcher.field());
    }
    let first = taken.is_some_and(|taken| taken.id == route.id);
    if first { "takes it" } else { "would take it; an earlier route does" }.to_owned()
}

fn show(outcome: &Outcome, output: &Output) -> anyhow::Result<()> {
    let Outcome { source, event, post, routes, takes, asked, written, subscribers } = outcome;
    output.line(&format!("{event} of {} from {source}", plain(post)))?;
    for Tried { route, verdict } in routes {
        output.line(&format!("  {route}: {verdict}"))?;
    }
    if takes.is_none() {
        output.line("no route takes it: it is stored, and nothing else happens")?;
        return Ok(());
    }
    for Asked { enrichment, provider, mode } in asked {
        output.line(&format!("asked: {enrichment} of {provider}, {mode}"))?;
    }
    match written {
        Some(site) => output.line(&format!("written to {site}"))?,
        None => output.line("nothing is written: results wait as suggestions")?,
    }
    for Told { subscriber, verdict } in subscribers {
        output.line(&format!("{subscriber}: {verdict}"))?;
    }
    Ok(())
}
