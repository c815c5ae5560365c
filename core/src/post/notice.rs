//! What subscribers are told of a run's end, and which ends are told.

use copydesk_proto::{SubscriberId, Timestamp};

use super::decide::Turn;
use super::event::{End, Incoming, NoticeNumber, PostEvent, RunId};
use super::state::Run;
use crate::content::{Answer, Field};
use crate::failure::Failure;

/// How a run ended, as subscribers are told it. Their event types are these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NoticeKind {
    /// Its results stand in WordPress.
    Applied,
    /// A person's words stand where its results would go.
    Kept,
    /// Its results wait as suggestions.
    Suggested,
    /// The text was worked on before.
    Unchanged,
    /// The enrichments had nothing to say.
    Filtered,
    /// The post no longer exists.
    Gone,
    /// An operator gave it up.
    Dropped,
    /// It is out of tries and waits for an operator.
    DeadLettered,
}

impl NoticeKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Applied,
        Self::Kept,
        Self::Suggested,
        Self::Unchanged,
        Self::Filtered,
        Self::Gone,
        Self::Dropped,
        Self::DeadLettered,
    ];

    /// The event type.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Applied => "post.applied",
            Self::Kept => "post.kept",
            Self::Suggested => "post.suggested",
            Self::Unchanged => "post.unchanged",
            Self::Filtered => "post.filtered",
            Self::Gone => "post.gone",
            Self::Dropped => "post.dropped",
            Self::DeadLettered => "post.dead_lettered",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Of a run that a newer event took the place of nobody is told: of the newer one they are.
    const fn of(end: &End) -> Option<Self> {
        match end {
            End::Applied => Some(Self::Applied),
            End::Kept => Some(Self::Kept),
            End::Suggested => Some(Self::Suggested),
            End::Unchanged => Some(Self::Unchanged),
            End::Filtered { .. } => Some(Self::Filtered),
            End::Gone => Some(Self::Gone),
            End::Dropped { .. } => Some(Self::Dropped),
            End::Superseded { .. } | End::Duplicate { .. } => None,
        }
    }
}

/// A run's end that subscribers are still to be told of. It holds what the run made until their
/// notices are in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Owed {
    /// Its number.
    pub notice: NoticeNumber,
    /// The run.
    pub run: RunId,
    /// The event that led it.
    pub incoming: Incoming,
    /// How it ended.
    pub kind: NoticeKind,
    /// Whom to tell.
    pub to: Vec<SubscriberId>,
    /// What its enrichments made.
    pub made: Vec<(Field, Answer)>,
    /// Fields left alone.
    pub kept: Vec<Field>,
    /// Fields whose value waits for an editor.
    pub suggested: Vec<Field>,
    /// Why, of a dead letter.
    pub failure: Option<Failure>,
    /// When.
    pub at: Timestamp,
}

impl Owed {
    /// What is owed of a run as it stands before its end.
    pub(super) fn of(run: &Run, event: &PostEvent) -> Option<Self> {
        let PostEvent::NoticeOwed { notice, run: id, kind, to, kept, suggested, failure, at } =
            event
        else {
            return None;
        };
        let made = run.steps.iter().filter_map(|step| {
            let answer = step.answer.as_ref().filter(|answer| !answer.value.is_empty())?;
            Some((step.plan.field.clone(), answer.clone()))
        });
        Some(Self {
            notice: *notice,
            run: *id,
            incoming: run.incoming.clone(),
            kind: *kind,
            to: to.clone(),
            made: made.collect(),
            kept: kept.clone(),
            suggested: suggested.clone(),
            failure: failure.clone(),
            at: *at,
        })
    }
}

impl Turn<'_> {
    /// What stands before the end of a run in its record: whom to tell of it. The duty is as
    /// durable as the end itself.
    pub(super) fn owed_for(&self, ending: &PostEvent) -> Option<PostEvent> {
        let (run, kind, failure) = if let PostEvent::RunEnded { run, end } = ending {
            (*run, NoticeKind::of(end)?, None)
        } else if let PostEvent::DeadLettered { run, failure, .. } = ending {
            (*run, NoticeKind::DeadLettered, Some(failure.in_short()))
        } else {
            return None;
        };
        let to = self.policy.listeners(kind);
        if to.is_empty() {
            return None;
        }
        let (kept, suggested) = match self.events.last() {
            Some(PostEvent::WriteApplied { run: of, kept, suggested, .. }) if *of == run => {
                (kept.clone(), suggested.clone())
            }
            Some(_) | None => (Vec::new(), Vec::new()),
        };
        let notice = NoticeNumber(self.state.notice_number.0 + 1);
        let at = self.now;
        Some(PostEvent::NoticeOwed { notice, run, kind, to, kept, suggested, failure, at })
    }
}
