//! The laws, over generated histories, against an oracle that keeps plain sets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use copydesk_proto::{ContentHash, Timestamp};
use proptest::prelude::*;

use super::testing::{START, answer, fold, incoming, policy, text};
use super::*;
use crate::budget::{Period, Withheld};
use crate::content::{Field, FieldValue, FieldWrite, Mode};
use crate::failure::{Failure, FailureClass};
use crate::holds::{Hold, Holds};
use crate::subscribers::Subscription;

const TEXTS: [&str; 3] = ["a", "b", "c"];
const ROUTES: [&str; 6] = ["every", "latest", "block", "gap", "pass", "suggest"];

/// One thing the world does.
#[derive(Debug, Clone)]
enum Move {
    Accept { route: usize, text: Option<usize>, key: u8, version: Option<u64>, again: bool },
    Answer { which: usize, how: u8, text: usize },
    Wait { ms: u64 },
    DeadLetter { which: usize, verb: u8 },
    Hold { what: u8 },
    Raise,
    DropWaiting,
    Erase,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let version = prop_oneof![2 => Just(None), 1 => (1u64..6).prop_map(Some)];
    let texts = prop_oneof![Just(None), (0..TEXTS.len()).prop_map(Some)];
    let one = prop_oneof![
        4 => (0..ROUTES.len(), texts, 0u8..12, version, prop::bool::weighted(0.2)).prop_map(
            |(route, text, key, version, again)| Move::Accept { route, text, key, version, again }
        ),
        8 => (any::<usize>(), 0u8..11, 0..TEXTS.len())
            .prop_map(|(which, how, text)| Move::Answer { which, how, text }),
        3 => (1u64..4_000).prop_map(|ms| Move::Wait { ms }),
        2 => (any::<usize>(), 0u8..8)
            .prop_map(|(which, verb)| Move::DeadLetter { which, verb }),
        1 => (0u8..5).prop_map(|what| Move::Hold { what }),
        1 => Just(Move::Raise),
        1 => Just(Move::DropWaiting),
        1 => Just(Move::Erase),
    ];
    prop::collection::vec(one, 1..60)
}

/// The world of one post: what it was asked and what happened.
struct World {
    policy: Policy,
    now: Timestamp,
    position: u64,
    state: PostState,
    history: Vec<PostEvent>,
}

impl World {
    fn new(suggests: bool) -> Self {
        let state = PostState::default();
        let subscription = Subscription {
            id: "crm".parse().unwrap(),
            events: vec!["*".parse().unwrap()],
            sites: vec![],
            matchers: vec![],
            fields: vec![],
        };
        let policy = Policy { suggests, subscriptions: Arc::new(vec![subscription]), ..policy() };
        Self { policy, now: START, position: 0, state, history: Vec::new() }
    }

    fn command(&mut self, command: PostCommand) {
        if let Ok(events) = decide(&self.state, command, &self.policy, self.now) {
            self.state = events.iter().fold(std::mem::take(&mut self.state), evolve);
            self.history.extend(events);
        }
    }

    fn play(&mut self, step: &Move) {
        match *step {
            Move::Accept { route, text, key, version, again } => {
                self.position += 1;
                let mut event = incoming(self.position, ROUTES[route], text.map(|t| TEXTS[t]));
                event.key = [key; 16];
                event.version = version.map(SourceVersion::Sequence);
                event.again = again;
                event.received_at = self.now;
                self.command(PostCommand::Accept(event));
            }
            Move::Answer { which, how, text } => {
                let asked = outstanding(&self.state);
                if !asked.is_empty() {
                    self.answer(asked[which % asked.len()], how, TEXTS[text]);
                }
            }
            Move::Wait { ms } => {
                self.now = self.now.after_ms(ms);
                self.command(PostCommand::Tick);
            }
            Move::DeadLetter { which, verb } => {
                if self.state.dead.is_empty() {
                    return;
                }
                let run = self.state.dead[which % self.state.dead.len()].run.id;
                let (by, reason) = ("ann".to_owned(), String::new());
                self.command(match redo(verb) {
                    Some(redo) => PostCommand::Retry { run, by, reason, redo },
                    None => PostCommand::Drop { run, by, reason },
                });
            }
            Move::Hold { what } => self.hold(what),
            Move::Raise => {
                self.policy.budgets_changed_at = self.now;
                self.command(PostCommand::Tick);
            }
            Move::DropWaiting => {
                let up_to = IntakePosition(self.position);
                let by = "ann".to_owned();
                let (source, route) = (None, Some("every".parse().unwrap()));
                self.command(PostCommand::DropWaiting { up_to, source, route, by });
            }
            Move::Erase => {
                let (by, reason) = ("ann".to_owned(), String::new());
                self.command(PostCommand::Erase { by, reason });
            }
        }
    }

    fn hold(&mut self, what: u8) {
        let mut holds = Holds::default();
        let scopes = ["provider:main", "site:news", "source:news", "deliveries"];
        if let Some(scope) = scopes.get(usize::from(what)) {
            let (by, reason) = ("ann".to_owned(), String::new());
            let scope = scope.parse().unwrap();
            holds.insert(Hold { scope, by, reason, at: self.now }).unwrap();
        }
        self.policy.holds = Arc::new(holds);
        self.command(PostCommand::Tick);
    }

    fn answer(&mut self, effect: Effect, how: u8, body: &str) {
        let (run, step) = match effect {
            Effect::Do { run, step, attempt: _ } => (run, step),
            Effect::Tell(notice) => return self.command(PostCommand::Told { notice }),
        };
        let current = self.state.run.clone().unwrap();
        let input = current.input.map_or(text("none"), |i| i.hash);
        let class = match how {
            0 => FailureClass::Retry,
            1 => FailureClass::Unavailable,
            _ => FailureClass::Terminal,
        };
        let failure = Failure::new(class, "code", "cause");
        let fails = how < 3;
        if how == 10 && matches!(step, Step::Enrich(_)) {
            let withheld = Withheld {
                budget: "site:news".parse().unwrap(),
                period: Period::Day,
                until: (body == "a").then(|| self.now.after_ms(500)),
                since: self.now,
            };
            self.command(PostCommand::Withheld { run, step, withheld });
            return;
        }
        self.command(match step {
            Step::Read => {
                let found = Input { hash: text(body), modified_at: None };
                let result = match how {
                    3 => Ok(ReadResult::Gone),
                    _ if fails => Err(failure),
                    _ => Ok(ReadResult::Found(found)),
                };
                PostCommand::Read { run, result }
            }
            Step::Enrich(step) => {
                let name = current.steps[usize::from(step)].plan.enrichment.to_string();
                let result = if fails { Err(failure) } else { Ok(answer(&name, body)) };
                PostCommand::Enriched { run, step, input, by: None, result }
            }
            Step::Write => {
                let stored = vec![(Field::Excerpt, FieldValue::Text(body.to_owned()).hash())];
                let result = match how {
                    3 => Ok(WriteResult::Changed),
                    4 => Ok(WriteResult::Stale),
                    5 => Ok(WriteResult::Gone),
                    _ if fails => Err(failure),
                    6 => Ok(WriteResult::Applied {
                        stored: vec![],
                        kept: vec![Field::Tags],
                        suggested: vec![Field::Excerpt],
                    }),
                    _ => Ok(WriteResult::Applied { stored, kept: vec![], suggested: vec![] }),
                };
                let write = current.write.unwrap().number;
                PostCommand::Written { run, write, result }
            }
        });
    }

    /// Lets everything succeed until nothing moves.
    fn settle(&mut self) {
        self.policy.holds = Arc::new(Holds::default());
        self.now = self.now.after_ms(1);
        self.policy.budgets_changed_at = self.now;
        self.command(PostCommand::Tick);
        for _ in 0..2_000 {
            if let Some(effect) = outstanding(&self.state).first() {
                self.answer(*effect, 9, TEXTS[0]);
            } else if let Some(dead) = self.state.dead.iter().find(|d| d.run.blocks) {
                let (run, by, reason) = (dead.run.id, "ann".to_owned(), String::new());
                self.command(PostCommand::Drop { run, by, reason });
            } else if let Some(at) = next_wake(&self.state, &self.policy) {
                self.now = self.now.max(at);
                self.command(PostCommand::Tick);
            } else {
                return;
            }
        }
        panic!("the post never comes to rest");
    }
}

/// The operator's ways to try again; `None` drops.
fn redo(verb: u8) -> Option<Redo> {
    let from = |from| Some(Redo { from: Some(from), ..Redo::default() });
    match verb {
        0 | 1 => None,
        2 => from(Step::Read),
        3 => from(Step::Enrich(0)),
        4 => from(Step::Write),
        5 => {
            let values = vec![(0, FieldValue::Text("Ann's own words.".to_owned()))];
            Some(Redo { values, ..Redo::default() })
        }
        6 => Some(Redo { providers: vec![(1, "other".parse().unwrap())], ..Redo::default() }),
        _ => Some(Redo::default()),
    }
}

/// What was asked and not answered, by the plain meaning of the events.
#[derive(Default)]
struct Oracle {
    asked: BTreeSet<Effect>,
    input: BTreeMap<RunId, ContentHash>,
}

impl Oracle {
    fn see(&mut self, event: &PostEvent) {
        let answered = |asked: &mut BTreeSet<Effect>, run: RunId, step: Option<Step>| {
            asked.retain(|effect| match effect {
                Effect::Do { run: of, step: s, .. } => {
                    *of != run || step.is_some_and(|step| *s != step)
                }
                Effect::Tell(_) => true,
            });
        };
        match event {
            PostEvent::PostRead { run, input } => {
                let before = self.input.insert(*run, input.hash);
                let changed = before.is_some_and(|hash| hash != input.hash);
                answered(&mut self.asked, *run, (!changed).then_some(Step::Read));
            }
            PostEvent::RunStarted { run, input, .. } => {
                if let Some(input) = input {
                    self.input.insert(*run, input.hash);
                }
            }
            PostEvent::EnrichmentAnswered { run, step, .. } => {
                answered(&mut self.asked, *run, Some(Step::Enrich(*step)));
            }
            PostEvent::WriteApplied { run, .. } => {
                answered(&mut self.asked, *run, Some(Step::Write));
            }
            PostEvent::AttemptFailed { run, step, .. } | PostEvent::StepHeld { run, step, .. } => {
                answered(&mut self.asked, *run, Some(*step));
            }
            PostEvent::WriteRefused { run, .. } => {
                self.input.remove(run);
                answered(&mut self.asked, *run, None);
            }
            PostEvent::RunEnded { run, .. } | PostEvent::DeadLettered { run, .. } => {
                answered(&mut self.asked, *run, None);
            }
            PostEvent::NoticePosted { notice } => {
                self.asked.remove(&Effect::Tell(*notice));
            }
            PostEvent::StepAsked { .. }
            | PostEvent::NoticeOwed { .. }
            | PostEvent::Accepted(_)
            | PostEvent::Ignored { .. }
            | PostEvent::Ended { .. }
            | PostEvent::StepSkipped { .. }
            | PostEvent::WriteIntended { .. }
            | PostEvent::RetryRequested { .. }
            | PostEvent::RunResumed { .. }
            | PostEvent::DeadLetterDropped { .. }
            | PostEvent::Erased { .. }
            | PostEvent::Checkpointed(_) => {}
        }
        self.asked.extend(react(event));
    }
}

fn outstanding_is_what_was_asked_and_not_answered(history: &[PostEvent]) {
    let mut oracle = Oracle::default();
    let mut state = PostState::default();
    for event in history {
        oracle.see(event);
        state = evolve(state, event);
        let outstanding: BTreeSet<Effect> = outstanding(&state).into_iter().collect();
        assert_eq!(outstanding, oracle.asked, "after {event:?}");
    }
}

fn a_stored_state_and_its_tail_fold_to_the_same(history: &[PostEvent]) {
    for cut in 0..=history.len() {
        let (head, tail) = history.split_at(cut);
        let stored = codec::encode_state(&fold(head));
        let state = tail.iter().fold(codec::decode_state(&stored).unwrap(), evolve);
        assert_eq!(state, fold(history), "cut at {cut}");
    }
}

fn every_event_reads_back(history: &[PostEvent]) {
    for event in history {
        assert_eq!(codec::decode_event(&codec::encode_event(event)).as_ref(), Ok(event));
    }
}

/// A post that does not move says why; and one that waits for a person, a hold or a higher cap
/// does not wake by itself.
fn what_does_not_move_says_why(world: &World) {
    if !outstanding(&world.state).is_empty() {
        return;
    }
    let wait = waits(&world.state, &world.policy, world.now);
    let wake = next_wake(&world.state, &world.policy);
    assert_eq!(wait.is_none(), world.state.is_idle(), "{wait:?} {:?}", world.state);
    match wait {
        None => {}
        Some(Reason::Hold(_) | Reason::DeadLetter) if world.state.run.is_none() => {
            assert_eq!(wake, None);
        }
        Some(Reason::Retry { .. } | Reason::AskLimit { .. } | Reason::Quiet { .. }) => {
            assert!(wake > Some(world.now), "{wait:?} {wake:?}");
        }
        Some(Reason::Budget(withheld)) if withheld.until.is_some() => assert!(wake.is_some()),
        Some(Reason::Hold(_) | Reason::Budget(_) | Reason::DeadLetter | Reason::Answer { .. }) => {}
    }
}

fn each_accepted_event_ends_once(history: &[PostEvent], state: &PostState) {
    let mut ends: BTreeMap<IntakePosition, u32> = BTreeMap::new();
    let mut accepted = BTreeSet::new();
    for event in history {
        match event {
            PostEvent::Accepted(incoming) => {
                assert!(accepted.insert(incoming.position), "accepted twice");
            }
            PostEvent::Ended { position, .. } => *ends.entry(*position).or_default() += 1,
            PostEvent::RunEnded { run, .. } | PostEvent::DeadLetterDropped { run, .. } => {
                *ends.entry(run.0).or_default() += 1;
            }
            _other => {}
        }
    }
    for dead in &state.dead {
        *ends.entry(dead.run.id.0).or_default() += 1;
    }
    assert!(ends.values().all(|n| *n == 1), "ended twice: {ends:?}");
    assert_eq!(ends.into_keys().collect::<BTreeSet<_>>(), accepted);
}

fn write_numbers_count_up_and_effects_keep_order(history: &[PostEvent]) {
    let mut last_write = 0;
    let mut effective: Option<Effective> = None;
    let mut versions = BTreeMap::new();
    for event in history {
        match event {
            PostEvent::Accepted(i) => {
                versions.insert(i.position, i.version);
            }
            PostEvent::WriteIntended { write, .. } => {
                assert_eq!(write.0, last_write + 1);
                last_write = write.0;
            }
            PostEvent::RunEnded {
                run,
                end: End::Applied | End::Kept | End::Suggested | End::Unchanged,
            } => {
                let version = versions[&run.0];
                if let (Some(new), Some(old)) = (version, effective.and_then(|e| e.version)) {
                    assert!(!new.is_older_than(old), "an older version took effect");
                }
                effective = Some(Effective { position: run.0, version });
            }
            _other => {}
        }
    }
}

/// Unless someone wants it: an event that asks for it, an enrichment done anew, an erased post.
fn nothing_is_paid_twice(history: &[PostEvent]) {
    let mut paid = BTreeSet::new();
    let mut input = BTreeMap::new();
    for event in history {
        match event {
            PostEvent::RetryRequested {
                redo: Redo { from: Some(Step::Enrich(place)), .. },
                ..
            } => {
                paid.retain(|(paid, _)| paid != place);
            }
            PostEvent::Erased { .. } => paid.clear(),
            PostEvent::RunStarted { run, input: i, again, plan, .. } => {
                input.extend(i.map(|i| (*run, i.hash)));
                if *again && !plan.is_empty() {
                    paid.clear();
                }
            }
            PostEvent::PostRead { run, input: i } => {
                input.insert(*run, i.hash);
            }
            PostEvent::StepAsked { run, step: Step::Enrich(place), .. } => {
                assert!(!paid.contains(&(*place, input[run])), "asked for again after its answer");
            }
            PostEvent::EnrichmentAnswered { run, step, reused: false, .. } => {
                paid.insert((*step, input[run]));
            }
            _other => {}
        }
    }
}

/// Each end is owed right before it and told once, but for superseded and erased ones.
fn every_end_is_told(history: &[PostEvent], state: &PostState) {
    let mut owed_now = BTreeSet::new();
    let mut before: Option<&PostEvent> = None;
    for event in history {
        let ends = match event {
            PostEvent::RunEnded { run, end } => {
                (!matches!(end, End::Superseded { .. })).then_some(run)
            }
            PostEvent::DeadLettered { run, .. } => Some(run),
            _other => None,
        };
        if let Some(run) = ends {
            let owed = matches!(before, Some(PostEvent::NoticeOwed { run: of, .. }) if of == run);
            let erased = matches!(event, PostEvent::RunEnded { end: End::Dropped { .. }, .. });
            assert!(owed || erased, "nobody is told of {event:?}");
        }
        match event {
            PostEvent::NoticeOwed { notice, .. } => {
                assert!(owed_now.insert(*notice), "{notice:?} is owed twice");
            }
            PostEvent::NoticePosted { notice } => {
                assert!(owed_now.remove(notice), "{notice:?} is told twice");
            }
            _other => {}
        }
        before = Some(event);
    }
    assert!(owed_now.is_empty() && state.owed.is_empty(), "never told: {owed_now:?}");
}

fn suggestions_go_only_where_they_are_taken(history: &[PostEvent], taken: bool) {
    let is_suggestion = |field: &FieldWrite| field.mode == Mode::Suggest;
    for event in history {
        if let PostEvent::WriteIntended { fields, .. } = event {
            assert!(taken || !fields.iter().any(is_suggestion), "nobody takes {event:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_laws_hold_over_any_history(moves in moves(), suggests in any::<bool>()) {
        let mut world = World::new(suggests);
        for step in &moves {
            world.play(step);
            what_does_not_move_says_why(&world);
        }
        outstanding_is_what_was_asked_and_not_answered(&world.history);
        a_stored_state_and_its_tail_fold_to_the_same(&world.history);
        every_event_reads_back(&world.history);
        world.settle();
        each_accepted_event_ends_once(&world.history, &world.state);
        write_numbers_count_up_and_effects_keep_order(&world.history);
        nothing_is_paid_twice(&world.history);
        every_end_is_told(&world.history, &world.state);
        suggestions_go_only_where_they_are_taken(&world.history, suggests);
        prop_assert!(world.state.is_idle());
    }
}
