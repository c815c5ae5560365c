//! Everything that can have happened to a post. Read this first: the rest of the module is who
//! may cause it (`decide`), what it changes (`evolve`) and what it asks of the world (`react`).

use copydesk_proto::{
    ContentHash, EnrichmentId, ProviderId, RouteId, SourceId, SubscriberId, Timestamp,
};

use super::notice::NoticeKind;
use super::state::PostState;
use crate::budget::Withheld;
use crate::content::{Answer, Field, FieldValue, FieldWrite, Mode};
use crate::failure::Failure;

/// A place in the intake log: the sequence of an `.in` record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct IntakePosition(pub u64);

/// A run, named by the intake position of the event that leads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(pub IntakePosition);

/// The number of a write to WordPress: 1, 2, 3 … per post, minted only by an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct WriteNumber(pub u64);

/// The number of an end that subscribers are told of: 1, 2, 3 … per post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct NoticeNumber(pub u64);

/// Which revision of the post an event speaks of, in its source's own counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceVersion {
    /// A number that grows with every event of the post.
    Sequence(u64),
    /// `modified_gmt`, milliseconds since 1970.
    Modified(i64),
}

impl SourceVersion {
    /// Whether this version is older than `other`; versions of different kinds do not compare.
    #[must_use]
    pub const fn is_older_than(self, other: Self) -> bool {
        match (self, other) {
            (Self::Sequence(a), Self::Sequence(b)) => a < b,
            (Self::Modified(a), Self::Modified(b)) => a < b,
            (Self::Sequence(_), Self::Modified(_)) | (Self::Modified(_), Self::Sequence(_)) => {
                false
            }
        }
    }
}

/// The text a run works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Input {
    /// Hash of title and content ([`crate::content::PostText::input_hash`]).
    pub hash: ContentHash,
    /// WordPress's `modified_gmt` when it was read.
    pub modified_at: Option<Timestamp>,
}

/// An accepted webhook, as far as decisions need it. The bytes stay in the intake log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Its place in the intake log.
    pub position: IntakePosition,
    /// First 16 bytes of SHA-256 over the sender's idempotency key.
    pub key: [u8; 16],
    /// First 8 bytes of SHA-256 over the body.
    pub body: [u8; 8],
    /// Who sent it.
    pub source: SourceId,
    /// The route it takes; `None` when no route wants it.
    pub route: Option<RouteId>,
    /// Its revision, when it names one.
    pub version: Option<SourceVersion>,
    /// Hash of the text it carries; `None` when the post must be read first.
    pub text: Option<ContentHash>,
    /// Whether a person wants the post enriched anew, though its text may be unchanged.
    pub again: bool,
    /// When the receiver took it.
    pub received_at: Timestamp,
    /// Whether live work goes first.
    pub lane: Lane,
}

/// Which work goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Lane {
    /// What happens now.
    #[default]
    Live,
    /// What an import or a replay brings.
    Backfill,
}

/// Who was asked, and for which field: what the books are kept by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The AI service.
    pub provider: ProviderId,
    /// Where the answer goes.
    pub field: Field,
}

/// How a dead letter is tried again. The default: what failed, with everything paid for kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Redo {
    /// Begin at this step; it and what depends on it is done anew. A read keeps the answers for
    /// a text that has not changed; an enrichment is asked for once more; a write gets a new
    /// number.
    pub from: Option<Step>,
    /// Values in place of answers, by place in the plan.
    pub values: Vec<(u8, FieldValue)>,
    /// Other AI services than the plan's, by place in the plan.
    pub providers: Vec<(u8, ProviderId)>,
}

/// One enrichment of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanStep {
    /// Which enrichment.
    pub enrichment: EnrichmentId,
    /// Who is asked.
    pub provider: ProviderId,
    /// Where the result goes.
    pub field: Field,
    /// Under which condition.
    pub mode: Mode,
    /// Version of the prompt; a new one makes unchanged text new work.
    pub prompt_version: u32,
}

/// A step of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// Read the post from WordPress.
    Read,
    /// Ask for the enrichment at this place of the plan.
    Enrich(u8),
    /// Write the results to WordPress.
    Write,
}

/// How an accepted event ended. Nothing else is an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Its results stand in WordPress.
    Applied,
    /// A person's words stand where its results would go; nothing was written over them.
    Kept,
    /// Its results wait as suggestions: no field was changed.
    Suggested,
    /// The text is the one already worked on: nothing was asked, nothing written.
    Unchanged,
    /// A newer event took, or will take, its place.
    Superseded {
        /// The newer event.
        by: IntakePosition,
    },
    /// The same idempotency key was seen before.
    Duplicate {
        /// The first event under that key.
        of: IntakePosition,
    },
    /// No work was wanted, and why.
    Filtered {
        /// `no_route`, `key_reused`, `nothing_to_say`.
        rule: String,
    },
    /// The post no longer exists in WordPress.
    Gone,
    /// Given up by an operator.
    Dropped {
        /// Who.
        by: String,
    },
}

/// Something that happened to a post. Closed: a new variant breaks `evolve` and `react`.
#[derive(Debug, Clone, PartialEq)]
pub enum PostEvent {
    /// An event joined the queue.
    Accepted(Incoming),
    /// An event ended without joining the queue.
    Ignored {
        /// The event.
        incoming: Incoming,
        /// How it ended.
        end: End,
    },
    /// A waiting event ended without a run of its own.
    Ended {
        /// The event.
        position: IntakePosition,
        /// How it ended.
        end: End,
    },
    /// Work on the leading event began; its plan no longer depends on the configuration.
    RunStarted {
        /// The run.
        run: RunId,
        /// What to enrich.
        plan: Vec<PlanStep>,
        /// Whether a dead letter stops the post.
        blocks: bool,
        /// Whether the site takes suggestions, so that its editors see them.
        suggests: bool,
        /// The text, when the event carried it.
        input: Option<Input>,
        /// Whether a person asked for new results: what stands or was paid for before counts no
        /// more for these enrichments.
        again: bool,
    },
    /// The world was asked to do a step.
    StepAsked {
        /// The run.
        run: RunId,
        /// The step.
        step: Step,
        /// Which try, from 1.
        attempt: u32,
        /// When, for the hourly bound.
        at: Timestamp,
    },
    /// The post was read from WordPress. Also when its text had changed since: the run goes on
    /// with the new text, and enrichments of the old one are forgotten.
    PostRead {
        /// The run.
        run: RunId,
        /// What was read.
        input: Input,
    },
    /// The enrichment's result already stands; nothing is asked.
    StepSkipped {
        /// The run.
        run: RunId,
        /// The place in the plan.
        step: u8,
    },
    /// An enrichment has its answer; only a person can have it asked for again.
    EnrichmentAnswered {
        /// The run.
        run: RunId,
        /// The place in the plan.
        step: u8,
        /// The answer.
        answer: Answer,
        /// Whether it was kept from an earlier run on the same text, at no cost.
        reused: bool,
        /// Who was asked; unknown in the records of early releases.
        of: Option<Asked>,
    },
    /// A step that was asked for may not be carried out until there is money. Not a try.
    StepHeld {
        /// The run.
        run: RunId,
        /// The step.
        step: Step,
        /// By which budget, and until when.
        withheld: Withheld,
    },
    /// The results got their write number.
    WriteIntended {
        /// The run.
        run: RunId,
        /// The number.
        write: WriteNumber,
        /// What to write.
        fields: Vec<FieldWrite>,
    },
    /// WordPress holds the write.
    WriteApplied {
        /// The run.
        run: RunId,
        /// The number.
        write: WriteNumber,
        /// What WordPress stores now, by hash.
        stored: Vec<(Field, ContentHash)>,
        /// Fields left alone: a person's words, or not empty.
        kept: Vec<Field>,
        /// Fields whose value waits for an editor.
        suggested: Vec<Field>,
    },
    /// WordPress refused the write because the post's text had changed: the run reads again.
    WriteRefused {
        /// The run.
        run: RunId,
        /// The number; it is not used again.
        write: WriteNumber,
    },
    /// A try failed.
    AttemptFailed {
        /// The run.
        run: RunId,
        /// The step.
        step: Step,
        /// Which try, from 1.
        attempt: u32,
        /// Why.
        failure: Failure,
        /// When to try again; `None`: never, the step has failed.
        retry_at: Option<Timestamp>,
        /// When it failed.
        at: Timestamp,
        /// Who was asked, of an enrichment.
        of: Option<Asked>,
    },
    /// Subscribers are to be told how the run ends; stands before the end, in its record.
    NoticeOwed {
        /// The end's number: a run that is tried again has several.
        notice: NoticeNumber,
        /// The run.
        run: RunId,
        /// How it ends.
        kind: NoticeKind,
        /// Whom to tell.
        to: Vec<SubscriberId>,
        /// Fields left alone.
        kept: Vec<Field>,
        /// Fields whose value waits for an editor.
        suggested: Vec<Field>,
        /// Why, of a dead letter.
        failure: Option<Failure>,
        /// When.
        at: Timestamp,
    },
    /// The notices are in the log, each under its subscriber's key.
    NoticePosted {
        /// Of which end.
        notice: NoticeNumber,
    },
    /// The run ended; its event has reached its end.
    RunEnded {
        /// The run.
        run: RunId,
        /// How.
        end: End,
    },
    /// The run waits for an operator, with everything paid for kept.
    DeadLettered {
        /// The run.
        run: RunId,
        /// The step that failed.
        step: Step,
        /// Why.
        failure: Failure,
        /// When.
        at: Timestamp,
    },
    /// An operator asked for another try of a dead-lettered run.
    RetryRequested {
        /// The run.
        run: RunId,
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// From where, and with what changed.
        redo: Redo,
    },
    /// A dead-lettered run began again.
    RunResumed {
        /// The run.
        run: RunId,
    },
    /// An operator gave a dead-lettered run up.
    DeadLetterDropped {
        /// The run.
        run: RunId,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// An operator had the post's content forgotten.
    Erased {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// The state as of this event, so that older records of the post may be trimmed.
    Checkpointed(Box<PostState>),
}
