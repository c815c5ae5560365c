//! The loop of one post. Some lines over 500: the places where tests let it die, and their planted
//! mistakes, stand where they would happen.

use std::sync::Arc;
use std::time::{Duration, Instant};

use copydesk_core::content::PostText;
use copydesk_core::post::{
    Effect, IntakePosition, NoticeNumber, Policy, PostCommand, PostEvent, PostState, Rejection,
    RunId, Turn, held, next_wake, outstanding, react, waits_for,
};
use copydesk_eventlog::{AppendError, Record, Sequence};
use copydesk_proto::{PostKey, Timestamp};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;

use super::backlog::backlog_change;
use super::load::{Loaded, RunTail, load, save};
use super::message::{Answered, Life, Rest, Rested, SequencerMessage, accepted_position};
use super::reports::{alerts, held_report, list, reports};
use super::trail::{Intakes, LINKS_MAX, Trail};
use crate::World;
use crate::delivery::DeliveryMessage;
use crate::dispatcher::DispatcherMessage;
use crate::mistakes::{Mistake, makes};
use crate::records::{Decision, Intake, Subjects, summarise};

/// Intake records read at a time when the mailbox did not hold them all.
const INTAKE_PAGE: usize = 64;

/// Events after which the state is saved: loading 64 events costs about as much as a snapshot.
const UNSAVED_MAX: u64 = if cfg!(test) { 8 } else { 64 };

/// The actor; its state is [`Post`].
#[derive(Debug)]
pub struct Sequencer;

/// What a sequencer starts with.
#[derive(Debug, Clone)]
pub struct Start {
    /// The node.
    pub world: Arc<World>,
    /// The post.
    pub key: PostKey,
    /// Where its records are.
    pub subjects: Subjects,
    /// Who is told when the post rests.
    pub dispatcher: ActorRef<DispatcherMessage>,
    /// The post is another node's: what an operator decides is appended, and nothing is done.
    pub is_guest: bool,
}

type Reply = oneshot::Sender<Result<(), Rejection>>;

/// An operator's command and what became of it.
type Decided = (Reply, Result<(), Rejection>);

/// The partition is another node's by now, or may be.
#[derive(Debug, thiserror::Error)]
#[error("the lease of the post's partition is not this node's any more")]
pub(super) struct SteppedDown;

/// One post, loaded.
pub struct Post {
    pub(super) start: Start,
    pub(super) life: Life,
    pub(super) state: PostState,
    /// Last sequence of the decisions seen: what the next append expects.
    last: Sequence,
    events: u64,
    unsaved: u64,
    /// Dead letters as the node's count has them.
    dead: i64,
    /// This turn's commands.
    pending: Vec<(PostCommand, Option<Reply>)>,
    flushing: bool,
    /// Intake records up to here are in the log but not in the mailbox.
    behind: Option<Sequence>,
    /// Intake records at hand, by position, until their run has ended.
    pub(super) intakes: Intakes,
    /// The text at work.
    pub(super) text: Option<(RunId, Arc<PostText>)>,
    /// Messages of the dispatcher received, in all lives; it compares that with what it sent.
    received: u64,
    /// The timer set last, so that it is not set again.
    timer: Option<Timestamp>,
    pub(super) trail: Trail,
    /// The event that the site was told is held.
    held: Option<IntakePosition>,
    /// The end whose notices are being put into the log: one at a time, so that they get there in
    /// their order.
    pub(super) telling: Option<NoticeNumber>,
    /// Effects end with their sequencer: whoever works on the post next asks again.
    pub(super) effects: CancellationToken,
    _ending: DropGuard,
}

impl std::fmt::Debug for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Post").field("key", &self.start.key).finish_non_exhaustive()
    }
}

impl Actor for Sequencer {
    type Msg = SequencerMessage;
    type State = Post;
    type Arguments = Start;

    async fn pre_start(
        &self,
        _: ActorRef<SequencerMessage>,
        start: Start,
    ) -> Result<Post, ActorProcessingErr> {
        Ok(Post::new(start, 0, 0))
    }

    async fn post_stop(
        &self,
        _: ActorRef<SequencerMessage>,
        post: &mut Post,
    ) -> Result<(), ActorProcessingErr> {
        post.leave();
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<SequencerMessage>,
        message: SequencerMessage,
        post: &mut Post,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SequencerMessage::Load => return post.load(&myself).await,
            SequencerMessage::TakeOver(start) => {
                post.leave();
                *post = Post::new(*start, post.life + 1, post.received + 1);
                return post.load(&myself).await;
            }
            SequencerMessage::Answer(life, _) | SequencerMessage::Again(life, _)
                if life != post.life =>
            {
                return Ok(());
            }
            SequencerMessage::Intake(record) => post.intake(&record)?,
            SequencerMessage::Behind(to) => {
                post.received += 1;
                post.behind = post.behind.max(Some(to));
            }
            SequencerMessage::Answer(_, answered) => {
                let Answered { command, text } = *answered;
                if text.is_some() {
                    post.text = text;
                }
                post.pending.push((command, None));
                if !post.flushing {
                    return post.turn(&myself).await;
                }
            }
            SequencerMessage::Operate(operation, reply) => {
                post.received += 1;
                post.pending.push((operation.into(), Some(reply)));
            }
            SequencerMessage::Tick => post.received += 1,
            SequencerMessage::Timer => post.timer = None,
            SequencerMessage::Again(_, effect) => {
                post.telling = None;
                return post.act(vec![effect], &myself).await;
            }
            SequencerMessage::Flush => {
                post.flushing = false;
                return post.turn(&myself).await;
            }
        }
        if !post.flushing {
            post.flushing = true;
            myself.cast(SequencerMessage::Flush)?;
        }
        Ok(())
    }
}

impl Post {
    fn new(start: Start, life: Life, received: u64) -> Self {
        let effects = CancellationToken::new();
        Self {
            start,
            life,
            state: PostState::default(),
            last: Sequence(0),
            events: 0,
            unsaved: 0,
            dead: 0,
            pending: Vec::new(),
            flushing: false,
            behind: None,
            intakes: Intakes::new(),
            text: None,
            received,
            timer: None,
            trail: Trail::default(),
            held: None,
            telling: None,
            _ending: effects.clone().drop_guard(),
            effects,
        }
    }

    async fn load(
        &mut self,
        myself: &ActorRef<SequencerMessage>,
    ) -> Result<(), ActorProcessingErr> {
        self.may_append()?;
        if !self.recall() {
            // Seldom, and large: the task of every actor would have room for it.
            Box::pin(self.read()).await?;
        }
        copydesk_eventlog::crash_point("sequencer.loaded");
        let mut effects = outstanding(&self.state);
        effects.retain(|e| !(matches!(e, Effect::Tell(_)) && makes(Mistake::ForgetOwed)));
        self.act(effects, myself).await
    }

    /// Takes the state that the post's last sequencer left, if it is known to be the newest. A run
    /// was not at work then.
    fn recall(&mut self) -> bool {
        let Start { world, key, subjects, .. } = &self.start;
        let remembered = world.remembered.take(subjects.partition, key);
        remembered.map(|remembered| self.adopt(remembered)).is_some()
    }

    /// Takes the state that the log has.
    async fn read(&mut self) -> Result<(), ActorProcessingErr> {
        let Start { world, key, subjects, .. } = &self.start;
        let loaded = load(&*world.log, &*world.snapshots, key, subjects).await?;
        if loaded.last > Sequence(0) {
            world.remembered.ends_at(subjects.partition, key, loaded.last);
            world.telemetry.metrics().load(loaded.from_snapshot);
        }
        let tail = self.adopt(loaded);
        let Some(run) = self.state.run.clone() else { return Ok(()) };
        self.leading_intake(run.id).await?;
        for (position, _) in tail.absorbed.iter().take(LINKS_MAX) {
            self.leading_intake(RunId(*position)).await?;
        }
        self.trail.go_on(&self.start.world, &run, &self.intakes, tail);
        Ok(())
    }

    fn adopt(&mut self, loaded: Loaded) -> RunTail {
        let Loaded { state, last, events, unsaved, run: tail, .. } = loaded;
        self.dead = i64::try_from(state.dead.len()).unwrap_or(i64::MAX);
        (self.state, self.last, self.events, self.unsaved) = (state, last, events, unsaved);
        tail
    }

    /// Leaves the state to the post's next sequencer. A run at work is left to the log, which
    /// knows more of it than the state.
    fn leave(&mut self) {
        if self.state.run.is_none() {
            let (last, events, unsaved) = (self.last, self.events, self.unsaved);
            let state = std::mem::take(&mut self.state);
            let loaded = Loaded { state, last, events, unsaved, ..Loaded::default() };
            self.start.world.remembered.rest(self.start.key.clone(), loaded);
        }
    }

    fn intake(&mut self, record: &Record) -> Result<(), ActorProcessingErr> {
        self.received += 1;
        // Order: what is behind comes first, so a later record waits in the log with it.
        if self.behind.is_some() {
            self.behind = self.behind.max(Some(record.sequence));
            return Ok(());
        }
        self.take_intake(record)
    }

    fn take_intake(&mut self, record: &Record) -> Result<(), ActorProcessingErr> {
        let position = IntakePosition(record.sequence.0);
        if position <= self.state.considered {
            return Ok(());
        }
        let intake = Arc::new(Intake::read(record)?);
        let older = |seen: &Arc<Intake>| seen.received_at > intake.received_at;
        if makes(Mistake::WallClockOrders) && self.intakes.values().any(older) {
            return Ok(());
        }
        self.pending.push((PostCommand::Accept(intake.incoming(position)), None));
        self.intakes.insert(position, intake);
        Ok(())
    }

    /// One turn: catch up, decide everything that is pending, append once, act.
    async fn turn(
        &mut self,
        myself: &ActorRef<SequencerMessage>,
    ) -> Result<(), ActorProcessingErr> {
        self.catch_up().await?;
        let now = World::now();
        let policy = self.start.world.policy(&self.start.key);
        let (events, replies) = self.decide(&policy, now);
        let wake_at = next_wake(&self.state, &policy);
        if makes(Mistake::ActBeforeAppend) {
            self.act(events.iter().filter_map(react).collect(), myself).await?;
        }
        let events = self.append(events, wake_at, now).await?;
        self.tell_held(&policy, now);
        for (reply, decided) in replies {
            let _ = reply.send(decided);
        }
        let waits = waits_for(&self.state, &policy, now);
        self.start.world.telemetry.waits().set(&self.start.key, waits);
        let mut effects: Vec<Effect> = events.iter().filter_map(react).collect();
        if events.iter().any(|event| matches!(event, PostEvent::NoticePosted { .. })) {
            self.telling = None;
            effects.extend(self.state.owed.front().map(|owed| Effect::Tell(owed.notice)));
        }
        self.act(effects, myself).await?;
        self.rest(wake_at, myself)
    }

    /// Decides everything that is pending, and tells what is to be answered when it is durable.
    fn decide(&mut self, policy: &Policy, now: Timestamp) -> (Vec<PostEvent>, Vec<Decided>) {
        let mut turn = Turn::new(std::mem::take(&mut self.state), policy, now);
        let mut replies = Vec::new();
        let mut full = false;
        for (command, reply) in std::mem::take(&mut self.pending) {
            let position = accepted_position(&command);
            // Once one event had to stay in the log, those after it must not overtake it.
            let decided = match position {
                Some(_) if full => Err(Rejection::QueueFull),
                Some(_) | None => turn.take(command),
            };
            if decided == Err(Rejection::QueueFull) {
                full = true;
                self.behind = self.behind.max(position.map(|p| Sequence(p.0)));
            }
            replies.extend(reply.map(|reply| (reply, decided)));
        }
        let _ = turn.take(PostCommand::Tick);
        let (state, events) = turn.finish();
        self.state = state;
        (events, replies)
    }

    /// Reads intake records that the mailbox did not hold, as far as there is room for them.
    async fn catch_up(&mut self) -> Result<(), ActorProcessingErr> {
        let Some(target) = self.behind else { return Ok(()) };
        let room = copydesk_core::limits::WAITING_MAX / 2;
        if self.state.waiting.len() + self.pending.len() > room {
            return Ok(());
        }
        let log = &self.start.world.log;
        let after = Sequence(self.state.considered.0);
        let page = log.history(&self.start.subjects.intake, after, INTAKE_PAGE).await?;
        // What is in the mailbox's share of this turn is in the page, too.
        self.pending.retain(|(command, _)| !matches!(command, PostCommand::Accept(_)));
        for record in &page {
            self.take_intake(record)?;
        }
        let reached = page.last().map_or(target, |record| record.sequence);
        if page.len() < INTAKE_PAGE || reached >= target {
            self.behind = None;
        }
        Ok(())
    }

    async fn append(
        &mut self,
        events: Vec<PostEvent>,
        wake_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Vec<PostEvent>, ActorProcessingErr> {
        if events.is_empty() {
            return Ok(events);
        }
        self.fetch_intakes(&events).await?;
        let Start { world, key, subjects, .. } = &self.start;
        let count = u64::try_from(events.len()).unwrap_or(u64::MAX);
        let epoch = self.may_append()?;
        let trace = self.trail.note(world, key, &events, &self.intakes, now);
        let decision = Decision {
            summary: summarise(&self.state, wake_at, self.events + count),
            events,
            decided_at: now,
            trace,
            owner: world.owner,
            epoch,
        };
        if self.last == Sequence(0) {
            // Should this append's outcome stay unknown, the post may have a history.
            world.remembered.doubt(subjects.partition, key);
        }
        copydesk_eventlog::crash_point("sequencer.decided");
        let began = Instant::now();
        let appended = world.log.append(decision.record(&subjects.decisions, self.last)).await;
        world.telemetry.metrics().append("ev", appended.is_ok(), began.elapsed());
        match appended {
            Ok(appended) => {
                self.last = appended.sequence();
                world.remembered.ends_at(subjects.partition, key, self.last);
            }
            Err(error @ AppendError::WrongLastSequence { .. }) => {
                warn!(post = %key, "another owner decides for this post; stepping down");
                world.partitions.contest(subjects.partition);
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        }
        copydesk_eventlog::crash_point("sequencer.appended");
        self.trail.tell(world, key, now);
        self.events += count;
        self.unsaved += count;
        let (partitions, partition) = (&world.partitions, subjects.partition);
        let change = backlog_change(&decision.events, partitions.since(partition), key);
        partitions.add_backlog(partition, change);
        let dead = i64::try_from(self.state.dead.len()).unwrap_or(i64::MAX);
        partitions.add_dead(partition, dead - self.dead);
        self.dead = dead;
        alerts(&decision.events, key).for_each(|alert| world.alerts.raise(alert));
        // A snapshot of an erased post must not keep what the log has forgotten.
        let erased = decision.events.iter().any(|e| matches!(e, PostEvent::Erased { .. }));
        if self.unsaved >= UNSAVED_MAX || erased {
            save(&*world.log, &*world.snapshots, key, &self.state, self.last);
            self.unsaved = 0;
        }
        self.tell_site(&decision.events, now);
        self.forget_finished();
        Ok(decision.events)
    }

    /// The epoch under which this sequencer may append at this moment.
    pub(super) fn may_append(&self) -> Result<u64, SteppedDown> {
        if self.start.is_guest {
            return Ok(0);
        }
        self.start.world.partitions.epoch(self.start.subjects.partition).ok_or(SteppedDown)
    }

    /// Has the site's list of posts show how events ended that brought no write.
    fn tell_site(&self, events: &[PostEvent], now: Timestamp) {
        let Some((id, site)) = list(&self.start.world, &self.start.key) else { return };
        for report in reports(events, &self.intakes, id, now) {
            // A courtesy: an actor that is gone does not show it.
            let _ = site.cast(DeliveryMessage::Tell(report));
        }
    }

    /// Has the intake records at hand that runs begin with or take the place of. Most came with
    /// this turn; after a restart they are in the log only.
    async fn fetch_intakes(&mut self, events: &[PostEvent]) -> Result<(), ActorProcessingErr> {
        let mut linked = 0;
        for event in events {
            if let PostEvent::RunStarted { run, .. } | PostEvent::RunResumed { run } = event {
                self.leading_intake(*run).await?;
            } else if let PostEvent::Ended { position, .. } = event
                && linked < LINKS_MAX
            {
                linked += 1;
                self.leading_intake(RunId(*position)).await?;
            }
        }
        Ok(())
    }

    /// Has it show that an operator holds the post's work. How the event ends is told later.
    fn tell_held(&mut self, policy: &Policy, now: Timestamp) {
        let hold = held(&self.state, policy);
        let before = std::mem::replace(&mut self.held, hold.map(|(position, _)| position));
        let Some((position, hold)) = hold.filter(|_| before != self.held) else { return };
        let Some((id, site)) = list(&self.start.world, &self.start.key) else { return };
        let report = self.intakes.get(&position).and_then(|i| held_report(i, id, hold, now));
        if let Some(report) = report {
            let _ = site.cast(DeliveryMessage::Tell(report));
        }
    }

    /// Drops the bodies and texts of events that no longer wait or run.
    fn forget_finished(&mut self) {
        let run = self.state.run.as_ref().map(|r| r.id);
        let waiting = &self.state.waiting;
        let owed = &self.state.owed;
        // Thousands of notices may wait for a subscriber that is down: they do so in the log.
        let keeps_waiting = self.start.key.subscriber().is_none();
        let needed = |position: &IntakePosition| {
            run == Some(RunId(*position))
                || owed.iter().any(|owed| owed.run.0 == *position)
                || keeps_waiting && waiting.iter().any(|w| w.position == *position)
        };
        self.intakes.retain(|position, _| needed(position));
        self.text = self.text.take().filter(|(id, _)| run == Some(*id));
    }

    /// Tells the dispatcher when nothing is in flight; sets a timer when something is.
    fn rest(
        &mut self,
        wake_at: Option<Timestamp>,
        myself: &ActorRef<SequencerMessage>,
    ) -> Result<(), ActorProcessingErr> {
        if !self.pending.is_empty() {
            return Ok(());
        }
        if self.start.is_guest {
            self.tell_rest(Rest::Idle, myself)?;
            return Ok(());
        }
        if self.behind.is_some()
            && self.state.waiting.len() <= copydesk_core::limits::WAITING_MAX / 2
        {
            myself.cast(SequencerMessage::Timer)?;
            return Ok(());
        }
        if outstanding(&self.state).is_empty() {
            let rest = if self.state.is_idle() { Rest::Idle } else { Rest::Parked(wake_at) };
            self.tell_rest(rest, myself)?;
        } else if wake_at.is_some() && wake_at != self.timer {
            self.timer = wake_at;
            let wait_ms = wake_at.map_or(0, |at| at.since_ms(World::now()));
            let _timer =
                myself.send_after(Duration::from_millis(wait_ms), || SequencerMessage::Timer);
        }
        Ok(())
    }

    fn tell_rest(
        &self,
        rest: Rest,
        myself: &ActorRef<SequencerMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let rested = Rested { received: self.received, behind: self.behind, rest };
        let message = DispatcherMessage::Rested(myself.get_id(), self.start.key.clone(), rested);
        Ok(self.start.dispatcher.cast(message)?)
    }
}
