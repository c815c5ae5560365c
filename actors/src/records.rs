//! Records of the log, both ways: which subject a post has, what an intake record and a decision
//! hold.

use bytes::Bytes;
use copydesk_core::post::{
    End, Incoming, IntakePosition, Lane, Phase, PostEvent, PostState, SourceVersion, Step, codec,
};
use copydesk_core::roster::Partition;
use copydesk_eventlog::{Filter, Headers, MessageId, NewRecord, Record, Sequence, Subject};
use copydesk_proto::{
    ContentHash, PostId, PostKey, RouteId, SCHEMA_VERSION, SiteId, SourceId, Timestamp,
    TraceContext, v1,
};
use sha2::{Digest, Sha256};

/// Partitions of the stream. Fixed when the stream is created; nodes share them out.
pub const PARTITIONS: u64 = 64;

/// Verified webhooks.
pub const INTAKE: Filter = Filter(Some("cd.*.*.*.in"));

/// What the sequencers decided.
pub const DECISIONS: Filter = Filter(Some("cd.*.*.*.ev"));

/// The desk's own subject: operators' holds.
pub const DESK_SUBJECT: &str = "cd.desk.holds";

/// A record that is not what its subject says.
#[derive(Debug, thiserror::Error)]
#[error("record {sequence} is unreadable: {reason}")]
pub struct BadRecord {
    /// Its place.
    pub sequence: Sequence,
    /// What does not fit.
    pub reason: String,
}

impl BadRecord {
    fn new(record: &Record, reason: impl ToString) -> Self {
        Self { sequence: record.sequence, reason: reason.to_string() }
    }
}

/// The partition of a post, or of anything else that is worked on once, by its name.
#[must_use]
pub fn partition_of(name: &impl ToString) -> Partition {
    let digest = Sha256::digest(name.to_string());
    let head = digest.iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
    Partition::try_from(head % PARTITIONS).unwrap_or_default()
}

/// The parent of all subjects of a partition's posts.
#[must_use]
pub fn partition_subject(partition: Partition) -> Subject {
    Subject::new(&format!("cd.{partition}")).expect("a number is a plain token")
}

/// The two subjects of a post.
#[derive(Debug, Clone)]
pub struct Subjects {
    /// Which of the stream's partitions they are in.
    pub partition: Partition,
    /// Webhooks.
    pub intake: Subject,
    /// Decisions.
    pub decisions: Subject,
}

impl Subjects {
    /// `cd.<partition>.<site>.<post>.{in,ev}`.
    #[must_use]
    pub fn of(key: &PostKey) -> Self {
        let partition = partition_of(key);
        let base = format!("cd.{partition}.{}.{}.", key.site, key.post);
        let subject = |kind| {
            Subject::new(&(base.clone() + kind)).expect("ids hold only what subjects may hold")
        };
        Self { partition, intake: subject("in"), decisions: subject("ev") }
    }
}

/// The post a subject belongs to; `None` for subjects that are not a post's.
#[must_use]
pub fn post_of(subject: &Subject) -> Option<PostKey> {
    let mut tokens = subject.as_str().split('.').skip(2);
    let site: SiteId = tokens.next()?.parse().ok()?;
    let post: PostId = tokens.next()?.parse().ok()?;
    Some(PostKey { site, post })
}

/// The partition a subject is in; `None` for subjects that are in none.
#[must_use]
pub fn partition_in(subject: &Subject) -> Option<Partition> {
    subject.as_str().split('.').nth(1)?.parse().ok()
}

/// A verified webhook as the intake log holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Intake {
    /// UUID version 7, answered to the sender.
    pub event_id: String,
    /// Who sent it.
    pub source: SourceId,
    /// `post.published`, …
    pub event_type: String,
    /// Foreign id as sent; empty for WordPress posts.
    pub external_id: String,
    /// The sender's key.
    pub idempotency_key: String,
    /// SHA-256 of the body.
    pub body_hash: [u8; 32],
    /// The source's own version.
    pub version: Option<SourceVersion>,
    /// Hash of the text the body carries.
    pub text_hash: Option<ContentHash>,
    /// Whether a person wants the post enriched anew.
    pub again: bool,
    /// When it was received.
    pub received_at: Timestamp,
    /// Which secret verified it.
    pub key_id: String,
    /// The sender's trace.
    pub trace: Option<TraceContext>,
    /// The bytes that were signed.
    pub body: Bytes,
    /// The route it takes.
    pub route: Option<RouteId>,
    /// Who sent it through the admin API; empty for webhooks.
    pub sent_by: String,
    /// Set when an operator or a schedule, not a sender, asked for it.
    pub replay: Option<Replay>,
}

/// An event that no sender sent, in the lane behind live work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// Who: an operator, or the schedule.
    pub by: String,
    /// The job that asked for it once more; empty for a schedule.
    pub job: String,
}

impl Intake {
    /// The record to append. Its message id covers site, post and idempotency key, because the
    /// log's ids are one name space for all.
    #[must_use]
    pub fn record(&self, key: &PostKey) -> NewRecord {
        let mut id = [0; 16];
        let name = format!("{key}:{}", self.idempotency_key);
        id.copy_from_slice(&Sha256::digest(name.as_bytes())[..16]);
        let stored = v1::WebhookReceived {
            schema_version: SCHEMA_VERSION,
            event_id: self.event_id.clone(),
            source: self.source.to_string(),
            event_type: self.event_type.clone(),
            external_id: self.external_id.clone(),
            idempotency_key: self.idempotency_key.clone(),
            body_hash: self.body_hash.to_vec(),
            version: self.version.map(codec::encode_version),
            text_hash: self.text_hash.map_or_else(Vec::new, |h| h.0.to_vec()),
            again: self.again,
            received_at_ms: self.received_at.0,
            key_id: self.key_id.clone(),
            trace: self.trace.map(Into::into),
            body: self.body.clone(),
            route: self.route.as_ref().map(ToString::to_string).unwrap_or_default(),
            sent_by: self.sent_by.clone(),
            replay: self
                .replay
                .as_ref()
                .map(|replay| v1::Replay { by: replay.by.clone(), job: replay.job.clone() }),
        };
        NewRecord {
            subject: Subjects::of(key).intake,
            message_id: Some(MessageId(id)),
            expected_last: None,
            headers: self.cloud_event(),
            payload: copydesk_proto::encode(&stored),
        }
    }

    /// CloudEvents 1.0 attributes as `ce-` headers (binary mode).
    fn cloud_event(&self) -> Headers {
        vec![
            ("ce-specversion", "1.0".to_owned()),
            ("ce-id", self.event_id.clone()),
            ("ce-source", format!("/sources/{}", self.source)),
            ("ce-type", self.event_type.clone()),
            ("ce-time", rfc3339(self.received_at)),
        ]
        .into_iter()
        .chain(self.replay.is_some().then(|| (LANE_HEADER, BACKFILL.to_owned())))
        .collect()
    }

    /// Reads an intake record back.
    ///
    /// # Errors
    /// [`BadRecord`] when it is not one, or of a later release.
    pub fn read(record: &Record) -> Result<Self, BadRecord> {
        let bad = |reason: &str| BadRecord::new(record, reason);
        let stored: v1::WebhookReceived = copydesk_proto::decode(record.payload.clone())
            .map_err(|e| BadRecord::new(record, e))?;
        if stored.schema_version > SCHEMA_VERSION {
            return Err(bad("it was written by a later release"));
        }
        let version = stored.version.as_ref().map(codec::decode_version).transpose();
        let text_hash = match stored.text_hash.as_slice() {
            [] => None,
            hash => Some(ContentHash(hash.try_into().map_err(|_| bad("text hash"))?)),
        };
        let route = match stored.route.as_str() {
            "" => None,
            name => Some(name.parse().map_err(|_| bad("route"))?),
        };
        Ok(Self {
            event_id: stored.event_id,
            source: stored.source.parse().map_err(|_| bad("source"))?,
            event_type: stored.event_type,
            external_id: stored.external_id,
            idempotency_key: stored.idempotency_key,
            body_hash: stored.body_hash.try_into().map_err(|_| bad("body hash"))?,
            version: version.map_err(|e| BadRecord::new(record, e))?,
            text_hash,
            again: stored.again,
            received_at: Timestamp(stored.received_at_ms),
            key_id: stored.key_id,
            trace: stored.trace.and_then(|t| t.try_into().ok()),
            body: stored.body,
            route,
            sent_by: stored.sent_by,
            replay: stored.replay.map(|v1::Replay { by, job }| Replay { by, job }),
        })
    }

    /// What decisions need of it.
    #[must_use]
    pub fn incoming(&self, position: IntakePosition) -> Incoming {
        let mut key = [0; 16];
        key.copy_from_slice(&Sha256::digest(self.idempotency_key.as_bytes())[..16]);
        let mut body = [0; 8];
        body.copy_from_slice(&self.body_hash[..8]);
        Incoming {
            position,
            key,
            body,
            source: self.source.clone(),
            route: self.route.clone(),
            version: self.version,
            text: self.text_hash,
            again: self.again,
            received_at: self.received_at,
            lane: if self.replay.is_some() { Lane::Backfill } else { Lane::Live },
        }
    }
}

/// The header that says which lane a record is of, so that the dispatcher need not read it.
const LANE_HEADER: &str = "cd-lane";
const BACKFILL: &str = "backfill";

/// Which lane an intake record is of.
#[must_use]
pub fn lane_of(record: &Record) -> Lane {
    let is_backfill = |(name, value): &(String, String)| name == LANE_HEADER && value == BACKFILL;
    if record.headers.iter().any(is_backfill) { Lane::Backfill } else { Lane::Live }
}

/// RFC 3339 in UTC; the epoch for a time no calendar holds.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0).unwrap_or_default().to_string()
}

/// One decision: the events of one turn, stored as one record.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What a reader of only the last record needs to know.
    pub summary: v1::Summary,
    /// What happened.
    pub events: Vec<PostEvent>,
    /// When.
    pub decided_at: Timestamp,
    /// The trace of the event at work.
    pub trace: Option<TraceContext>,
    /// Which process decided; random per start.
    pub owner: u64,
    /// The epoch of the lease under which it did; 0 without one.
    pub epoch: u64,
}

impl Decision {
    /// The record to append, fenced by the last sequence of the subject.
    #[must_use]
    pub fn record(&self, subject: &Subject, expected_last: Sequence) -> NewRecord {
        let stored = v1::Decision {
            schema_version: SCHEMA_VERSION,
            summary: Some(self.summary.clone()),
            events: self.events.iter().map(codec::encode_event).collect(),
            decided_at_ms: self.decided_at.0,
            trace: self.trace.map(Into::into),
            owner: self.owner,
            epoch: self.epoch,
        };
        NewRecord {
            subject: subject.clone(),
            message_id: None,
            expected_last: Some(expected_last),
            headers: Vec::new(),
            payload: copydesk_proto::encode(&stored),
        }
    }

    /// Reads a decision back.
    ///
    /// # Errors
    /// [`BadRecord`] when it is not one, or holds what this release does not know.
    pub fn read(record: &Record) -> Result<Self, BadRecord> {
        let stored: v1::Decision = copydesk_proto::decode(record.payload.clone())
            .map_err(|e| BadRecord::new(record, e))?;
        if stored.schema_version > SCHEMA_VERSION {
            return Err(BadRecord::new(record, "it was written by a later release"));
        }
        let events: Result<_, _> = stored.events.iter().map(codec::decode_event).collect();
        Ok(Self {
            summary: stored.summary.ok_or_else(|| BadRecord::new(record, "no summary"))?,
            events: events.map_err(|e| BadRecord::new(record, e))?,
            decided_at: Timestamp(stored.decided_at_ms),
            trace: stored.trace.and_then(|t| t.try_into().ok()),
            owner: stored.owner,
            epoch: stored.epoch,
        })
    }
}

/// What of a decision those need to know who do not fold it.
#[derive(Debug)]
pub struct DecisionHead {
    /// The state after it.
    pub summary: v1::Summary,
    /// When it was made.
    pub decided_at: Timestamp,
    /// Which process decided.
    pub owner: u64,
}

impl DecisionHead {
    /// Reads a decision without its events, which are not looked at.
    ///
    /// # Errors
    /// [`BadRecord`] when it is not one, or was written by a later release.
    pub fn read(record: &Record) -> Result<Self, BadRecord> {
        let stored: v1::DecisionHead = copydesk_proto::decode(record.payload.clone())
            .map_err(|e| BadRecord::new(record, e))?;
        if stored.schema_version > SCHEMA_VERSION {
            return Err(BadRecord::new(record, "it was written by a later release"));
        }
        Ok(Self {
            summary: stored.summary.ok_or_else(|| BadRecord::new(record, "no summary"))?,
            decided_at: Timestamp(stored.decided_at_ms),
            owner: stored.owner,
        })
    }
}

/// The summary of a state.
#[must_use]
pub fn summarise(state: &PostState, wake_at: Option<Timestamp>, events: u64) -> v1::Summary {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let running = usize::from(state.run.is_some()) + state.resumed.len();
    v1::Summary {
        considered: state.considered.0,
        waiting: count(state.waiting.len() + running),
        dead: count(state.dead.len()),
        state: stage(state).to_owned(),
        wake_at_ms: wake_at.map_or(0, |t| t.0),
        events,
        owed: count(state.owed.len()),
    }
}

/// Where a post stands, in one word.
#[must_use]
pub fn stage(state: &PostState) -> &'static str {
    let Some(run) = &state.run else {
        return match (state.is_idle(), state.dead.is_empty()) {
            (true, true) => "idle",
            (true, false) => "dead",
            (false, _) => "waiting",
        };
    };
    let retrying = run.all_steps().any(|(_, p)| matches!(p.phase, Phase::Waiting { .. }));
    let held = run.all_steps().any(|(_, p)| matches!(p.phase, Phase::Held(_)));
    let asked = run.all_steps().find(|(_, p)| p.phase == Phase::Asked).map(|(step, _)| step);
    match asked {
        Some(Step::Read) => "reading",
        Some(Step::Enrich(_)) => "enriching",
        Some(Step::Write) => "writing",
        None if held => "budget",
        None if retrying => "retrying",
        None => "waiting",
    }
}

/// Accepted events that this event brings to their end.
#[must_use]
pub const fn ends(event: &PostEvent) -> bool {
    matches!(
        event,
        PostEvent::Ignored { .. }
            | PostEvent::Ended { .. }
            | PostEvent::RunEnded { .. }
            | PostEvent::DeadLettered { .. }
    )
}

/// Why no work was wanted, in words.
#[must_use]
pub fn rule_words(rule: &str) -> &str {
    match rule {
        "no_route" => "no route wants it",
        "key_reused" => "its idempotency key came before with another body",
        "nothing_to_say" => "the enrichments had nothing to say",
        other => other,
    }
}

/// How an event ended, in one word.
#[must_use]
pub const fn end_name(end: &End) -> &'static str {
    match end {
        End::Applied => "applied",
        End::Kept => "kept",
        End::Suggested => "suggested",
        End::Unchanged => "unchanged",
        End::Superseded { .. } => "superseded",
        End::Duplicate { .. } => "duplicate",
        End::Filtered { .. } => "filtered",
        End::Gone => "gone",
        End::Dropped { .. } => "dropped",
    }
}
