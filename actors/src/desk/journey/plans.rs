//! Which steps the runs under way have: events name a step by its place in the plan only.

use std::collections::{BTreeMap, HashMap};

use copydesk_core::post::{PlanStep, PostEvent, RunId};
use copydesk_eventlog::Sequence;
use copydesk_proto::PostKey;

use super::words;

/// Runs of one post whose plans are kept: the one at work and the dead letters tried again soon.
const RUNS_MAX: usize = 8;

/// Posts with runs under way whose plans are kept; as many as one node works on at once.
const POSTS_MAX: usize = 10_000;

/// The plans of one post's open runs.
#[derive(Debug, Default)]
pub(super) struct Plans(BTreeMap<RunId, Vec<PlanStep>>);

impl Plans {
    /// The event in words; what the events after it need is kept.
    pub(super) fn tell(&mut self, event: &PostEvent) -> (&'static str, String) {
        if let PostEvent::RunStarted { run, plan, .. } = event {
            self.0.insert(*run, plan.clone());
            if self.0.len() > RUNS_MAX {
                self.0.pop_first();
            }
        }
        let run = words::run_of(event);
        let plan = run.and_then(|run| self.0.get(&run));
        let told = words::told(event, plan.map_or(&[], Vec::as_slice));
        if let PostEvent::RunEnded { run, .. } | PostEvent::DeadLetterDropped { run, .. } = event {
            self.0.remove(run);
        }
        told
    }
}

/// The plans of the posts last heard of.
#[derive(Debug, Default)]
pub(super) struct PlansByPost {
    posts: HashMap<PostKey, (Sequence, Plans)>,
    /// The same posts by the record they were last heard in.
    heard: BTreeMap<Sequence, PostKey>,
}

impl PlansByPost {
    /// Lends a post's plans for one of its records. Posts without an open run are forgotten, and
    /// beyond the maximum the one heard of longest ago.
    pub(super) fn with<T>(
        &mut self,
        key: &PostKey,
        at: Sequence,
        tell: impl FnOnce(&mut Plans) -> T,
    ) -> T {
        let (before, mut plans) = self.posts.remove(key).unwrap_or_default();
        self.heard.remove(&before);
        let told = tell(&mut plans);
        if !plans.0.is_empty() {
            self.posts.insert(key.clone(), (at, plans));
            self.heard.insert(at, key.clone());
        }
        if self.heard.len() > POSTS_MAX
            && let Some((_, oldest)) = self.heard.pop_first()
        {
            self.posts.remove(&oldest);
        }
        told
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]
mod tests {
    use copydesk_core::post::{End, IntakePosition};

    use super::*;

    fn started(run: u64) -> PostEvent {
        PostEvent::RunStarted {
            run: RunId(IntakePosition(run)),
            plan: Vec::new(),
            blocks: false,
            suggests: false,
            input: None,
            again: false,
        }
    }

    #[test]
    fn the_post_heard_of_longest_ago_is_forgotten_first() {
        let mut posts = PlansByPost::default();
        let key = |n: u64| -> PostKey { format!("news/{n}").parse().unwrap() };
        let last = u64::try_from(POSTS_MAX).unwrap() + 1;
        for n in 1..=last {
            posts.with(&key(n), Sequence(n), |plans| plans.tell(&started(n)));
            // The first is heard of again and again.
            if n == 500 {
                posts.with(&key(1), Sequence(last + 1), |plans| plans.0.len());
            }
        }
        assert_eq!(posts.posts.len(), POSTS_MAX);
        assert!(posts.posts.contains_key(&key(1)));
        assert!(!posts.posts.contains_key(&key(2)));
        let end = PostEvent::RunEnded { run: RunId(IntakePosition(1)), end: End::Gone };
        posts.with(&key(1), Sequence(last + 2), |plans| plans.tell(&end));
        assert_eq!((posts.posts.len(), posts.heard.len()), (POSTS_MAX - 1, POSTS_MAX - 1));
    }

    #[test]
    fn a_post_keeps_few_plans() {
        let mut plans = Plans::default();
        for run in 1..100 {
            plans.tell(&started(run));
        }
        assert_eq!(plans.0.len(), RUNS_MAX);
    }
}
