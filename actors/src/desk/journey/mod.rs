//! What happened to posts, as lines for people. Read from the log each time; nothing is kept, and
//! no line holds what a post or an answer says.

mod plans;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]
pub(super) mod testing;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]
mod tests;
pub(super) mod walk;
pub(super) mod words;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use copydesk_eventlog::{EventLog, Filter, ReadError, Record, Sequence};
use copydesk_proto::{PostKey, Timestamp};
use futures::StreamExt;
use futures::stream::BoxStream;

use self::plans::{Plans, PlansByPost};
use self::walk::walk;
use crate::records::{BadRecord, DECISIONS, Decision, INTAKE, Intake, Subjects, post_of};

/// Newest records of one post that its journey tells of; at five records an event, 2,000 events.
pub const JOURNEY_RECORDS_MAX: usize = 10_000;

/// Longest text of a line, in characters: a failure's cause is at most 512 bytes.
const TEXT_CHARS_MAX: usize = 1_000;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JourneyLine {
    /// When.
    pub at: Timestamp,
    /// To which post.
    pub post: PostKey,
    /// The sequence of its record in the log; events are called by that of their webhook.
    pub position: u64,
    /// `received`, `accepted`, `started`, `asked`, `read`, `skipped`, `answered`, `prepared`,
    /// `written`, `refused`, `failed`, `ended`, `dead`, `retried`, `resumed`, `checkpoint`;
    /// `unreadable` for a record of a later release or a broken one.
    pub kind: &'static str,
    /// A sentence of at most 1,000 characters, without control characters.
    pub text: String,
}

/// The journey of one post, oldest first: its newest [`JOURNEY_RECORDS_MAX`] records.
///
/// # Errors
/// [`ReadError`] when the log cannot be read.
pub async fn journey(log: &dyn EventLog, key: &PostKey) -> Result<Vec<JourneyLine>, ReadError> {
    let subjects = Subjects::of(key);
    let mut newest: BTreeMap<Sequence, Vec<JourneyLine>> = BTreeMap::new();
    let mut plans = Plans::default();
    for subject in [&subjects.intake, &subjects.decisions] {
        walk(log, subject, Sequence(0), |record| {
            newest.insert(record.sequence, lines(record, key, &mut plans));
            if newest.len() > JOURNEY_RECORDS_MAX {
                newest.pop_first();
            }
            ControlFlow::Continue(())
        })
        .await?;
    }
    Ok(newest.into_values().flatten().collect())
}

/// The journeys of all posts after a place in the log, in its order, for ever; all lines of a
/// record at once. After an error the stream ends. Of a run that began before, the steps go by
/// their numbers.
#[must_use]
pub fn follow(
    log: &dyn EventLog,
    after: Sequence,
) -> BoxStream<'static, Result<Vec<JourneyLine>, ReadError>> {
    let mut posts = PlansByPost::default();
    log.tail(after, Filter(None))
        .map(move |record| {
            let record = record?;
            Ok(post_of(&record.subject).map_or_else(Vec::new, |key| {
                posts.with(&key, record.sequence, |plans| lines(&record, &key, plans))
            }))
        })
        .boxed()
}

fn lines(record: &Record, key: &PostKey, plans: &mut Plans) -> Vec<JourneyLine> {
    let line = |at, (kind, text): (&'static str, String)| JourneyLine {
        at,
        post: key.clone(),
        position: record.sequence.0,
        kind,
        text: plain(&text),
    };
    let unreadable =
        |bad: BadRecord| vec![line(Timestamp(record.time_ms), ("unreadable", bad.to_string()))];
    if INTAKE.matches(&record.subject) {
        let told = Intake::read(record).map(|i| vec![line(i.received_at, words::received(&i))]);
        return told.unwrap_or_else(unreadable);
    }
    if !DECISIONS.matches(&record.subject) {
        return Vec::new();
    }
    let told = Decision::read(record).map(|decision| {
        let event = |event| line(decision.decided_at, plans.tell(event));
        decision.events.iter().map(event).collect()
    });
    told.unwrap_or_else(unreadable)
}

/// Names and causes come from outside: nothing in them may move a terminal's cursor.
fn plain(text: &str) -> String {
    let safe = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(safe).take(TEXT_CHARS_MAX).collect()
}
