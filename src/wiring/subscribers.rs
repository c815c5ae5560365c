//! Subscribers: the configuration's as the roster wants them, and the roster's words as the API's
//! JSON has them.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::Context;

use copydesk_actors::World;
use copydesk_actors::desk::{Desk as Office, ReplayError};
use copydesk_actors::subscribers::{Added, Attempt, BookError, Settings, Standing, Way};
use copydesk_core::signature::{STANDARD_WEBHOOKS, Secret, master};
use copydesk_core::subscribers::{MatchSpec, Spec};
use copydesk_eventlog::jetstream::Destination;
use copydesk_proto::{SiteId, SubscriberId, Timestamp};
use secrecy::ExposeSecret;
use tracing::warn;

use super::log::creds_file;
use super::settings::secret;
use super::store::bucket;
use crate::admin::{
    Act, DeskError, NewSubscriber, NoticeAttemptRow, NoticeMatch, ReplayOrder, SubscriberRequest,
    SubscriberRow, SubscriberTurn, SubscriberView,
};
use crate::config::{self, Config, Secrets};

/// In the data folder: what the keys of added subscribers are made of.
const SUBSCRIBER_KEY_FILE: &str = "subscriber.key";

/// The configuration's subscribers.
pub(super) fn settings(config: &Config, secrets: &Secrets) -> anyhow::Result<Vec<Settings>> {
    let one = |(id, subscriber): (&SubscriberId, &config::Subscriber)| {
        let keys = subscriber.secrets.iter().map(|key| {
            let value = secret(secrets, &key.value)?.expose_secret().as_bytes();
            Secret::of(&STANDARD_WEBHOOKS, &key.id, value)
                .with_context(|| format!("subscribers.{id}: secret {}", key.id))
        });
        Ok(Settings {
            spec: subscriber.spec(id),
            way: way(id, subscriber, config, secrets)?,
            keys: keys.collect::<anyhow::Result<_>>()?,
            places: usize::from(subscriber.concurrency),
        })
    };
    config.subscribers.iter().map(one).collect()
}

fn way(
    id: &SubscriberId,
    subscriber: &config::Subscriber,
    config: &Config,
    secrets: &Secrets,
) -> anyhow::Result<Way> {
    if let Some(url) = &subscriber.url {
        return Ok(Way::Webhook { url: url.clone(), rules: config.outbound.configured() });
    }
    if let Some(folder) = &subscriber.folder {
        return Ok(Way::Folder(folder.clone()));
    }
    if let Some(store) = &subscriber.store {
        let bucket = bucket(store, secrets, &format!("subscribers.{id}.store"))?;
        let bucket = bucket.with_context(|| format!("subscribers.{id}.store: it has no url"))?;
        return Ok(Way::Store { bucket, target: store.url.to_string() });
    }
    let nats = subscriber.nats.as_ref();
    let nats = nats.with_context(|| format!("subscribers.{id}: there is no way to it"))?;
    Ok(Way::Nats(Destination {
        url: nats.url.to_string(),
        credentials_file: creds_file(&format!("subscribers.{id}.nats"), nats.credentials.as_ref())?,
        subject: nats.subject.clone(),
    }))
}

/// What the keys of added subscribers are made of. Made at the first start, so that it is there
/// when somebody adds one.
pub(super) fn master_key(config: &Config, secrets: &Secrets) -> anyhow::Result<[u8; 32]> {
    if let Some(place) = &config.outbound.subscriber_key {
        return Ok(master(secret(secrets, place)?.expose_secret().as_bytes()));
    }
    let path = config.data_dir.join(SUBSCRIBER_KEY_FILE);
    let cannot = || format!("{} cannot be used", path.display());
    if !path.exists() {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|e| anyhow::anyhow!("no random bytes: {e}"))?;
        let new = path.with_extension("new");
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .with_context(cannot)?;
        file.write_all(hex::encode(random).as_bytes()).with_context(cannot)?;
        file.sync_all().with_context(cannot)?;
        std::fs::rename(&new, &path).with_context(cannot)?;
    }
    let text = std::fs::read(&path).with_context(cannot)?;
    anyhow::ensure!(text.len() >= 64, "{}: it was cut short; restore it", path.display());
    Ok(master(&text))
}

pub(super) fn views(office: &Office) -> Vec<SubscriberView> {
    office.world().subscribers.standings().into_iter().map(view).collect()
}

pub(super) async fn add(
    office: &Office,
    order: SubscriberRequest,
    act: Act,
) -> Result<NewSubscriber, DeskError> {
    let world = office.world();
    let added = wanted(order, act, |site| world.sites.contains_key(site))?;
    let name = added.spec.id.to_string();
    let secret = world.subscribers.add(added).await.map_err(not_done)?;
    let row = views(office).into_iter().map(|view| view.row).find(|row| row.name == name);
    Ok(NewSubscriber { secret, row })
}

pub(super) async fn turn(
    office: &Office,
    id: String,
    turn: SubscriberTurn,
    Act { by, reason }: Act,
) -> Result<(), DeskError> {
    let id = named(&id)?;
    let done = match turn {
        SubscriberTurn::Enable => office.switch_subscriber(&id, true, &by, &reason).await,
        SubscriberTurn::Disable => office.switch_subscriber(&id, false, &by, &reason).await,
        SubscriberTurn::Remove => office.remove_subscriber(&id, &by, &reason).await.map(|()| true),
    };
    done.map(drop).map_err(not_done)
}

pub(super) async fn rotate(office: &Office, id: String, act: Act) -> Result<String, DeskError> {
    let rotated = office.world().subscribers.rotate(&named(&id)?, &act.by, &act.reason).await;
    rotated.map_err(not_done)
}

pub(super) async fn ping(office: &Office, id: String) -> Result<NoticeAttemptRow, DeskError> {
    let ping = office.world().subscribers.ping(&named(&id)?).await;
    ping.map(|ping| attempt(ping.0)).ok_or(DeskError::NotFound)
}

pub(super) async fn replay(
    office: &Office,
    id: String,
    order: ReplayOrder,
    act: Act,
) -> Result<u64, DeskError> {
    let (since, until) = (Timestamp(order.since), Timestamp(order.until));
    let replayed = office.replay_notices(&named(&id)?, since, until, &act.by).await;
    replayed.map_err(not_replayed)
}

fn named(id: &str) -> Result<SubscriberId, DeskError> {
    id.parse().map_err(|_| DeskError::NotFound)
}

fn view(standing: Standing) -> SubscriberView {
    let Standing { spec, kind, target, keys, configured, added, disabled, failing_since, attempts } =
        standing;
    let state = match (&disabled, failing_since) {
        (Some(_), _) => "disabled",
        (None, Some(_)) => "failing",
        (None, None) => "enabled",
    };
    let last = disabled.or(added);
    let now = World::now();
    let live = keys.iter().filter(|key| key.until.is_none_or(|until| now < until));
    let matches = spec.matches.into_iter().map(|m| NoticeMatch {
        field: m.field,
        test: m.test,
        text: m.text,
    });
    let row = SubscriberRow {
        name: spec.id.to_string(),
        kind: kind.to_owned(),
        target,
        state: state.to_owned(),
        configured,
        events: spec.events,
        sites: spec.sites.iter().map(ToString::to_string).collect(),
        matches: matches.collect(),
        fields: spec.fields,
        keys: live.map(|key| key.id.clone()).collect(),
        by: last.as_ref().map(|(by, ..)| by.clone()),
        reason: last.as_ref().map(|(_, reason, _)| reason.clone()),
        at: last.map(|(.., at)| at.0),
        failing_since: failing_since.map(|at| at.0),
    };
    SubscriberView { row, attempts: attempts.into_iter().map(attempt).collect() }
}

fn attempt(attempt: Attempt) -> NoticeAttemptRow {
    let Attempt { id, kind, at, took_ms, status: _, code, cause } = attempt;
    NoticeAttemptRow { id, kind, at: at.0, took_ms, ok: code.is_empty(), code, cause }
}

/// The subscriber that is asked for. `known`: whether there is a site of this name.
fn wanted(
    request: SubscriberRequest,
    act: Act,
    known: impl Fn(&SiteId) -> bool,
) -> Result<Added, DeskError> {
    let refused = |reason: String| DeskError::Refused(reason);
    let SubscriberRequest { name, url, events, sites, matches, fields, by: _, reason: _ } = request;
    let id = name.parse().map_err(|_| refused("a name is 1 to 32 of a-z, 0-9, - and _".into()))?;
    let url = url.parse().map_err(|_| refused("url is no address".to_owned()))?;
    let mut of = Vec::new();
    for site in sites.unwrap_or_default() {
        let site = site.parse().ok().filter(&known);
        of.push(site.ok_or_else(|| refused("there is no site of one of these names".to_owned()))?);
    }
    let matches = matches.unwrap_or_default().into_iter().map(|m| MatchSpec {
        field: m.field,
        test: m.test,
        text: m.text,
    });
    Ok(Added {
        spec: Spec {
            id,
            events: events.unwrap_or_else(|| vec!["*".to_owned()]),
            sites: of,
            matches: matches.collect(),
            fields: fields.unwrap_or_default(),
        },
        url,
        keys: VecDeque::new(),
        by: act.by,
        reason: act.reason,
        at: World::now(),
    })
}

fn not_done(error: BookError) -> DeskError {
    match error {
        BookError::NotFound => DeskError::NotFound,
        BookError::Exists
        | BookError::Configured
        | BookError::TooMany
        | BookError::Spec(_)
        | BookError::Outlet(_) => DeskError::Refused(error.to_string()),
        BookError::Append(_) | BookError::Read(_) | BookError::Unreadable => {
            warn!(error = &error as &dyn std::error::Error, "the subscribers were not changed");
            DeskError::Unavailable("the log did not take it".to_owned())
        }
    }
}

fn not_replayed(error: ReplayError) -> DeskError {
    match error {
        ReplayError::NotFound => DeskError::NotFound,
        ReplayError::TooMany => DeskError::Refused(error.to_string()),
        ReplayError::Read(_) | ReplayError::Append(_) => {
            warn!(error = &error as &dyn std::error::Error, "notices were not sent again");
            DeskError::Unavailable("the log did not take it".to_owned())
        }
    }
}
