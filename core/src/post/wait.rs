//! What a post with unfinished work waits for: told to operators, decides nothing.

use copydesk_proto::Timestamp;

use super::decide::{ask_at, needs_of, needs_of_start, start_at};
use super::event::Step;
use super::policy::Policy;
use super::state::{Phase, PostState, Run};
use crate::routes::Coalesce;

/// Why an event does not go on at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wait {
    /// Nothing but its turn.
    Turn,
    /// The quiet period of its route.
    Quiet,
    /// The versions before its own.
    Gap,
    /// An operator's hold.
    Hold,
    /// A dead letter that blocks the post.
    DeadLetter,
    /// The next try of what failed.
    Retry,
    /// Money, or the end of the hour in which the post has used up its AI calls.
    Budget,
    /// WordPress's answer, or a place in its queue.
    Site,
    /// An AI service's answer, or a place in its queue.
    Provider,
    /// A subscriber's answer.
    Subscriber,
}

impl Wait {
    /// Every reason.
    pub const ALL: [Self; 10] = [
        Self::Turn,
        Self::Quiet,
        Self::Gap,
        Self::Hold,
        Self::DeadLetter,
        Self::Retry,
        Self::Budget,
        Self::Site,
        Self::Provider,
        Self::Subscriber,
    ];

    /// In one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Quiet => "quiet",
            Self::Gap => "gap",
            Self::Hold => "hold",
            Self::DeadLetter => "dead_letter",
            Self::Retry => "retry",
            Self::Budget => "budget",
            Self::Site => "site",
            Self::Provider => "provider",
            Self::Subscriber => "subscriber",
        }
    }
}

/// What the post's oldest unfinished event waits for, and when it was received. `None` when
/// nothing is unfinished.
#[must_use]
pub fn waits_for(state: &PostState, policy: &Policy, now: Timestamp) -> Option<(Wait, Timestamp)> {
    if let Some(run) = &state.run {
        return Some((run_waits_for(state, run, policy, now), run.incoming.received_at));
    }
    if let Some(run) = state.resumed.front() {
        return Some((Wait::Turn, run.incoming.received_at));
    }
    let head = state.waiting.front()?;
    let plan = head.route.as_ref().and_then(|route| policy.plans.get(route));
    let wait = if state.dead.iter().any(|dead| dead.run.blocks) {
        Wait::DeadLetter
    } else if policy.held(&needs_of_start(head)).is_some() {
        Wait::Hold
    } else if start_at(state, policy) <= Some(now) {
        Wait::Turn
    } else if plan.is_some_and(|plan| plan.coalesce != Coalesce::Every) {
        Wait::Quiet
    } else {
        Wait::Gap
    };
    Some((wait, head.received_at))
}

fn run_waits_for(state: &PostState, run: &Run, policy: &Policy, now: Timestamp) -> Wait {
    let asked = run.all_steps().find(|(_, progress)| progress.phase == Phase::Asked);
    match asked {
        Some((Step::Enrich(_), _)) => return Wait::Provider,
        Some((Step::Read | Step::Write, _)) if policy.key.subscriber().is_some() => {
            return Wait::Subscriber;
        }
        Some((Step::Read | Step::Write, _)) => return Wait::Site,
        None => {}
    }
    // The first step that is not done is the one that keeps the others waiting.
    let next =
        run.all_steps().find(|(_, p)| matches!(p.phase, Phase::Waiting { .. } | Phase::Held(_)));
    let next = next.or_else(|| run.all_steps().find(|(_, p)| p.phase == Phase::Idle));
    let Some((step, progress)) = next else { return Wait::Turn };
    if policy.held(&needs_of(run, step)).is_some() {
        return Wait::Hold;
    }
    match (ask_at(state, run, step, progress, policy), &progress.phase) {
        (None, _) => Wait::Budget,
        (Some(at), Phase::Waiting { until, .. }) if at == *until && at > now => Wait::Retry,
        (Some(at), _) if at > now => Wait::Budget,
        (Some(_), _) => Wait::Turn,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

    use std::sync::Arc;

    use super::super::testing::{START, incoming, policy};
    use super::super::{IntakePosition, PostCommand, RunId, Turn};
    use super::*;
    use crate::failure::{Failure, FailureClass};
    use crate::holds::{Hold, HoldScope};

    fn after(policy: &Policy, commands: Vec<PostCommand>) -> PostState {
        let mut turn = Turn::new(PostState::default(), policy, START);
        for command in commands {
            turn.take(command).unwrap();
        }
        turn.finish().0
    }

    fn waits(policy: &Policy, commands: Vec<PostCommand>, ms: u64) -> Option<Wait> {
        let now = START.after_ms(ms);
        let waits = waits_for(&after(policy, commands), policy, now);
        assert!(waits.is_none_or(|(_, since)| since == START));
        waits.map(|(wait, _)| wait)
    }

    fn held(scope: HoldScope) -> Policy {
        let mut policy = policy();
        let hold = Hold::new(scope, "ann", "import", START);
        Arc::make_mut(&mut policy.holds).insert(hold).unwrap();
        policy
    }

    fn accept(route: &str, text: Option<&str>) -> PostCommand {
        PostCommand::Accept(incoming(1, route, text))
    }

    fn failed(class: FailureClass) -> PostCommand {
        let result = Err(Failure::new(class, "wordpress_timeout", "no answer"));
        PostCommand::Read { run: RunId(IntakePosition(1)), result }
    }

    #[test]
    fn every_wait_has_its_reason() {
        let all = policy();
        assert_eq!(waits(&all, vec![], 0), None);
        assert_eq!(waits(&all, vec![accept("every", None)], 0), Some(Wait::Site));
        assert_eq!(waits(&all, vec![accept("every", Some("v1"))], 0), Some(Wait::Provider));
        assert_eq!(waits(&all, vec![accept("latest", Some("v1"))], 0), Some(Wait::Quiet));
        assert_eq!(waits(&all, vec![accept("latest", Some("v1"))], 1_000), Some(Wait::Turn));
        let retrying = vec![accept("every", None), failed(FailureClass::Retry)];
        assert_eq!(waits(&all, retrying.clone(), 0), Some(Wait::Retry));
        assert_eq!(waits(&all, retrying, 60_000), Some(Wait::Turn));
        let gap = PostCommand::Accept(super::super::testing::versioned(1, "gap", 3));
        assert_eq!(waits(&all, vec![gap], 0), Some(Wait::Gap));
        let site = held(HoldScope::Site("news".parse().unwrap()));
        assert_eq!(waits(&site, vec![accept("every", Some("v1"))], 0), Some(Wait::Hold));
        let provider = held(HoldScope::Provider("main".parse().unwrap()));
        assert_eq!(waits(&provider, vec![accept("every", Some("v1"))], 0), Some(Wait::Hold));
        let mut spent = policy();
        spent.tries.asks_per_hour_max = 0;
        assert_eq!(waits(&spent, vec![accept("every", Some("v1"))], 0), Some(Wait::Budget));
    }

    #[test]
    fn a_dead_letter_that_blocks_is_what_the_next_event_waits_for() {
        let next = PostCommand::Accept(incoming(2, "block", None));
        let commands = vec![accept("block", None), failed(FailureClass::Terminal), next];
        assert_eq!(waits(&policy(), commands, 0), Some(Wait::DeadLetter));
    }
}
