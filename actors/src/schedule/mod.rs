//! Scheduled routes: at each tick of a schedule, the posts of a site that a filter names come in
//! as events of its source, behind live work.
//!
//! A tick takes effect once. The last one stands in the log (`cd.desk.<source>.tick`), so that it is
//! not done again after a restart; one that a crash cut short is gone on with, and the posts that
//! had their turn are known by their keys, which are made of schedule, tick and post. Of several
//! nodes on one log, the one whose append comes first does a tick; another goes on with it when
//! nothing was heard of it for [`LEASE_MS`].

mod store;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]
mod tests;

pub use store::Progress;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use copydesk_core::failure::Failure;
use copydesk_core::refusal::Refusal;
use copydesk_core::schedule::{Schedule, Tick, Turn};
use copydesk_core::webhook::{IdempotencyKey, Origin, SCHEDULE_EVENT};
use copydesk_eventlog::{AppendError, EventLog, ReadError, Sequence};
use copydesk_proto::{SourceId, Timestamp};
use serde_json::json;
use tracing::{info, warn};

use crate::World;
use crate::delivery::SiteClient;
use crate::desk::Desk;
use crate::receiver::Receiver;

/// How long another process's word on a tick counts. It is renewed after every handful of posts.
pub const LEASE_MS: u64 = 60_000;

/// Posts between two words on a tick.
const HANDFUL: usize = 50;

/// The longest wait between two looks: the clock may be set, another node may have stopped.
const LOOK_MAX: Duration = Duration::from_secs(60);

/// Between two tries of a site or a log that does not answer.
const TRY_PAUSE: Duration = Duration::from_secs(30);

/// How long a tick waits for room before it looks again.
const ROOM_PAUSE: Duration = Duration::from_millis(50);

/// One schedule.
#[derive(Debug, Clone)]
pub struct ScheduleSettings {
    /// The source that its events belong to.
    pub source: SourceId,
    /// When.
    pub schedule: Schedule,
    /// Which posts.
    pub posts: PostQuery,
}

/// Which posts of a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostQuery {
    /// Which list of WordPress: `posts`, `pages`, or the `rest_base` of another type.
    pub rest_base: String,
    /// Parameters of `GET /wp/v2/<rest_base>`, encoded.
    pub parameters: String,
    /// Only posts published so long ago at most.
    pub newer_than: Option<Duration>,
    /// Only posts published so long ago at least.
    pub older_than: Option<Duration>,
    /// Newest first, at most so many.
    pub posts_max: usize,
}

impl PostQuery {
    /// The whole query of a tick.
    fn at(&self, tick: Timestamp) -> String {
        let mut query = self.parameters.clone();
        for (name, ago) in [("after", self.newer_than), ("before", self.older_than)] {
            let Some(ago) = ago else { continue };
            let ago_ms = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
            let time = crate::records::rfc3339(Timestamp(tick.0.saturating_sub(ago_ms)));
            // Writing to a String cannot fail.
            let _ = write!(query, "&{name}={time}");
        }
        query
    }
}

/// Why a tick does not go on for now.
#[derive(Debug, thiserror::Error)]
enum Stuck {
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
    #[error("the log did not take it")]
    Append(#[from] AppendError),
    #[error("the site does not list its posts")]
    Site(#[from] Failure),
    #[error("an event was not taken")]
    Refused(#[from] Refusal),
    #[error("the node is stopping")]
    Stopping,
}

/// A schedule at work.
#[derive(Debug)]
pub struct Scheduler {
    desk: Desk,
    receiver: Receiver,
    site: Arc<SiteClient>,
    settings: ScheduleSettings,
}

/// How far the last tick of a source's schedule is; `None` before it began.
///
/// # Errors
/// [`ReadError`] when the log cannot be read.
pub async fn progress(
    log: &dyn EventLog,
    source: &SourceId,
) -> Result<Option<Progress>, ReadError> {
    Ok(store::load(log, source).await?.0)
}

impl Scheduler {
    /// A schedule of a running node.
    #[must_use]
    pub const fn new(
        desk: Desk,
        receiver: Receiver,
        site: Arc<SiteClient>,
        settings: ScheduleSettings,
    ) -> Self {
        Self { desk, receiver, site, settings }
    }

    /// Does tick after tick, for as long as it is polled.
    pub async fn run_for_ever(self) {
        loop {
            let wait = match self.turn(World::now()).await {
                Ok(wait) => wait,
                // Another node was quicker with this tick.
                Err(Stuck::Append(AppendError::WrongLastSequence { .. })) => LOOK_MAX,
                Err(stuck) => {
                    let schedule = self.settings.source.as_str();
                    let error = &stuck as &dyn std::error::Error;
                    warn!(schedule, error, "a schedule does not go on; it is tried again");
                    TRY_PAUSE
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Does what is to be done now. Returns how long to wait before the next look.
    async fn turn(&self, now: Timestamp) -> Result<Duration, Stuck> {
        let (known, last) = store::load(self.log(), &self.settings.source).await?;
        match self.settings.schedule.turn(known.map(|known| known.tick), now) {
            Turn::Begin => {
                self.tell(Tick { at: now, done: true }, 0, now, last).await?;
                Ok(Duration::ZERO)
            }
            Turn::Do(tick) => {
                let elsewhere = known.filter(|known| {
                    let own = known.owner == self.owner();
                    known.tick.at == tick && !own && now.since_ms(known.at) < LEASE_MS
                });
                if elsewhere.is_none() {
                    self.carry_out(tick, now, last).await?;
                    return Ok(Duration::ZERO);
                }
                Ok(LOOK_MAX)
            }
            Turn::Wait(next) => {
                let ms = next.map_or(u64::MAX, |next| next.since_ms(now));
                Ok(Duration::from_millis(ms).min(LOOK_MAX))
            }
        }
    }

    async fn carry_out(&self, at: Timestamp, now: Timestamp, last: Sequence) -> Result<(), Stuck> {
        let schedule = self.settings.source.as_str();
        let mut last = self.tell(Tick { at, done: false }, 0, now, last).await?;
        let query = &self.settings.posts;
        let list = self.site.list_posts(&query.rest_base, &query.at(at), query.posts_max).await?;
        let mut posts = 0;
        for handful in list.posts.chunks(HANDFUL) {
            self.wait_for_room().await?;
            for post in handful {
                posts += u64::from(self.publish(*post, at).await?);
            }
            last = self.tell(Tick { at, done: false }, posts, World::now(), last).await?;
        }
        let last = self.tell(Tick { at, done: true }, posts, World::now(), last).await?;
        store::tidy(self.log(), &self.settings.source, last).await?;
        let left_out = list.total.saturating_sub(list.posts.len());
        info!(schedule, posts, left_out, "a schedule had its turn");
        Ok(())
    }

    /// Stores that it is a post's turn; `false` when this tick has done so before.
    async fn publish(&self, post: u64, at: Timestamp) -> Result<bool, Stuck> {
        let body = Bytes::from(json!({ "event": SCHEDULE_EVENT, "post_id": post }).to_string());
        let key = format!("tick-{}-{}", self.settings.source, at.0);
        let key = IdempotencyKey::new(&key).expect("a source's name and a number make a key");
        loop {
            let event = self.receiver.accept(&body, key.clone(), Origin::Schedule)?;
            match self.receiver.store(event).await {
                Ok(receipt) => return Ok(!receipt.duplicate),
                // The backlog is full: what waits goes first.
                Err(refusal) if refusal.status == 429 => tokio::time::sleep(TRY_PAUSE).await,
                Err(refusal) => return Err(refusal.into()),
            }
        }
    }

    /// Live work goes first, as it does before a job.
    async fn wait_for_room(&self) -> Result<(), Stuck> {
        loop {
            let status = self.desk.status().await.ok_or(Stuck::Stopping)?;
            if status.busy + status.ready <= status.busy_max / 2 {
                return Ok(());
            }
            tokio::time::sleep(ROOM_PAUSE).await;
        }
    }

    async fn tell(
        &self,
        tick: Tick,
        posts: u64,
        at: Timestamp,
        last: Sequence,
    ) -> Result<Sequence, Stuck> {
        let progress = Progress { tick, posts, owner: self.owner(), at };
        Ok(store::append(self.log(), &self.settings.source, progress, last).await?)
    }

    fn log(&self) -> &dyn EventLog {
        &*self.desk.world().log
    }

    fn owner(&self) -> u64 {
        self.desk.world().owner
    }
}
