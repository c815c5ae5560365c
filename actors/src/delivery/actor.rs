//! The actor of one site: lets requests out at the site's pace, each in a task of its own.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use copydesk_core::failure::{Failure, FailureClass};
use copydesk_proto::{PostId, PostKey, Timestamp, TraceContext};
use futures::FutureExt as _;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;
use tracing::{debug, warn};

use super::client::SiteClient;
use super::message::{
    DeliveryMessage, DeliveryStatus, Finished, PostStatus, Read, ReadPost, Write, WriteOutcome,
};
use super::pace::{Gate, Pace};
use super::plugin::BATCH_MAX;
use super::reports::{GATHER, Reports};
use super::way::Way;
use crate::telemetry::Mailbox;

/// Requests of one site that wait for a place: about a minute's work for WordPress. Those beyond
/// go back to the post's own schedule, which is durable.
const WAITING_MAX: usize = 1_024;
/// When a request that found no place to wait may come back.
const BUSY_RETRY_MS: u64 = 5_000;

/// One site's delivery actor. It holds no state that matters: what it forgets in a restart is
/// asked for again by the posts.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeliveryActor;

/// What the actor keeps.
#[derive(Debug)]
pub struct Desk {
    client: Arc<SiteClient>,
    pace: Pace,
    waiting: VecDeque<(Job, SystemTime)>,
    reports: Reports,
    /// Whether a [`DeliveryMessage::Wake`] is on its way.
    waking: bool,
    /// Whether a [`DeliveryMessage::TellNow`] is on its way.
    telling: bool,
    started: Instant,
    /// The breaker as metrics have it.
    shown: Option<u64>,
}

#[derive(Debug)]
enum Job {
    Read(Read, oneshot::Sender<Result<ReadPost, Failure>>),
    /// One, or those that go in one request.
    Write(Vec<(Write, Reply)>),
    Tell(Vec<PostStatus>),
}

type Reply = oneshot::Sender<Result<WriteOutcome, Failure>>;

impl Actor for DeliveryActor {
    type Msg = DeliveryMessage;
    type State = Desk;
    type Arguments = Arc<SiteClient>;

    async fn pre_start(
        &self,
        _myself: ActorRef<DeliveryMessage>,
        client: Arc<SiteClient>,
    ) -> Result<Desk, ActorProcessingErr> {
        Ok(Desk {
            pace: Pace::new(client.site(), Timestamp::default()),
            client,
            waiting: VecDeque::new(),
            reports: Reports::default(),
            waking: false,
            telling: false,
            started: Instant::now(),
            shown: None,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<DeliveryMessage>,
        message: DeliveryMessage,
        desk: &mut Desk,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            DeliveryMessage::Read(read, reply) => desk.take(Job::Read(read, reply)),
            DeliveryMessage::Write(write, reply) => desk.take(Job::Write(vec![(*write, reply)])),
            DeliveryMessage::Finished(finished) => desk.finished(finished),
            DeliveryMessage::Wake => desk.waking = false,
            DeliveryMessage::Tell(report) => desk.gather(report, &myself),
            DeliveryMessage::TellNow => {
                desk.telling = false;
                desk.tell(&myself);
            }
            DeliveryMessage::Status(reply) => {
                // Whoever asked may be gone.
                let _ = reply.send(desk.status());
            }
        }
        desk.start_ready(&myself);
        desk.show_breaker();
        Ok(())
    }
}

impl Desk {
    /// A clock that only goes forward.
    fn now(&self) -> Timestamp {
        Timestamp::default()
            .after_ms(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn take(&mut self, job: Job) {
        self.client.site().telemetry.taken(Mailbox::Sites);
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back((job, SystemTime::now()));
            return;
        }
        let cause = "more requests wait for the site than may; the rest comes back later";
        let busy = Failure::new(FailureClass::Unavailable, "delivery_busy", cause);
        job.refuse(busy.retry_after_ms(Some(BUSY_RETRY_MS)));
    }

    fn finished(&mut self, Finished(failure): Finished) {
        let now = self.now();
        let code = failure.as_ref().map(|f| f.code.clone()).unwrap_or_default();
        if self.pace.leave(failure, now) {
            let pause_ms = self.pace.paused_ms(now).unwrap_or_default();
            warn!(site = %self.client.site().id, code, pause_ms, "site is left alone");
        }
    }

    fn start_ready(&mut self, myself: &ActorRef<DeliveryMessage>) {
        while !self.waiting.is_empty() {
            match self.pace.enter(self.now()) {
                Gate::Go => {
                    if let Some(job) = self.next_job() {
                        let client = Arc::clone(&self.client);
                        tokio::spawn(Box::pin(carry_out(client, job, myself.clone())));
                    }
                }
                Gate::Wait => return,
                Gate::WaitMs(ms) => {
                    if !self.waking {
                        self.waking = true;
                        myself.send_after(Duration::from_millis(ms), || DeliveryMessage::Wake);
                    }
                    return;
                }
                Gate::Closed(ms) => {
                    let failure = self.pace.closed(ms);
                    self.waiting.drain(..).for_each(|(job, _)| job.refuse(failure.clone()));
                }
            }
        }
    }

    /// The job that waits longest. Other writes that wait with it go in the same request, where
    /// the site takes several: nothing waits for that.
    fn next_job(&mut self) -> Option<Job> {
        let telemetry = &self.client.site().telemetry;
        let (mut job, since) = self.waiting.pop_front()?;
        job.traces().for_each(|trace| telemetry.waited(trace, since, "limit"));
        if let Job::Write(batch) = &mut job
            && self.client.known_way() == Some(Way::Plugin)
            && batch.iter().all(takes_company)
        {
            let mut place = 0;
            while batch.len() < BATCH_MAX && place < self.waiting.len() {
                let (waiting, since) = &mut self.waiting[place];
                match waiting {
                    Job::Write(more) if more.iter().all(takes_company) => {
                        more.iter().for_each(|(w, _)| telemetry.waited(w.trace, *since, "limit"));
                        batch.append(more);
                        self.waiting.remove(place);
                    }
                    Job::Write(_) | Job::Read(..) | Job::Tell(_) => place += 1,
                }
            }
        }
        Some(job)
    }

    /// Keeps a report for the next request with reports.
    fn gather(&mut self, report: PostStatus, myself: &ActorRef<DeliveryMessage>) {
        if self.client.known_way().is_some_and(|way| way != Way::Plugin) {
            return;
        }
        if self.reports.push(report) {
            self.tell(myself);
        } else {
            self.tell_later(myself);
        }
    }

    /// Queues the reports behind the work, one request of them at a time and none while the site
    /// is left alone.
    fn tell(&mut self, myself: &ActorRef<DeliveryMessage>) {
        if self.reports.is_empty() {
            return;
        }
        let waits = self.waiting.iter().any(|(job, _)| matches!(job, Job::Tell(_)));
        if waits || self.pace.paused_ms(self.now()).is_some() {
            self.tell_later(myself);
        } else {
            self.waiting.push_back((Job::Tell(self.reports.take()), SystemTime::now()));
        }
    }

    fn tell_later(&mut self, myself: &ActorRef<DeliveryMessage>) {
        if !self.telling {
            self.telling = true;
            myself.send_after(GATHER, || DeliveryMessage::TellNow);
        }
    }

    /// A site that asked for quiet is left alone like one whose breaker is open.
    fn show_breaker(&mut self) {
        let state = if self.pace.paused_ms(self.now()).is_some() { 2 } else { 0 };
        if self.shown.replace(state) != Some(state) {
            let site = self.client.site();
            site.telemetry.metrics().breaker("site", site.id.to_shared(), state);
        }
    }

    fn status(&self) -> DeliveryStatus {
        DeliveryStatus {
            running: self.pace.running(),
            waiting: self.waiting.len(),
            allowed: self.pace.allowed(),
            paused_ms: self.pace.paused_ms(self.now()),
            last_failure: self.pace.last_failure().cloned(),
        }
    }
}

impl Job {
    /// The traces it belongs to.
    fn traces(&self) -> impl Iterator<Item = Option<TraceContext>> {
        let (one, several) = match self {
            Self::Read(read, _) => (read.trace, &[][..]),
            Self::Write(batch) => (None, batch.as_slice()),
            Self::Tell(_) => (None, &[][..]),
        };
        std::iter::once(one).chain(several.iter().map(|(write, _)| write.trace))
    }

    fn refuse(self, failure: Failure) {
        // Whoever asked may be gone.
        match self {
            Self::Read(_, reply) => drop(reply.send(Err(failure))),
            Self::Write(batch) => {
                batch.into_iter().for_each(|(_, reply)| drop(reply.send(Err(failure.clone()))));
            }
            Self::Tell(_) => {}
        }
    }
}

/// Does one job, answers it, and gives its place back, whatever happens.
async fn carry_out(client: Arc<SiteClient>, job: Job, actor: ActorRef<DeliveryMessage>) {
    let failure = match job {
        Job::Read(read, reply) => {
            let outcome = guarded(&read.key, client.read(&read)).await;
            answer(outcome, reply)
        }
        Job::Write(batch) => {
            let (writes, replies): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            write_all(&client, &writes, replies).await
        }
        Job::Tell(reports) => {
            let failure = caught(client.tell(&reports)).await.err();
            if let Some(Failure { code, .. }) = &failure {
                debug!(site = %client.site().id, code, reports = reports.len(), "not told");
            }
            failure
        }
    };
    // Fails only when the actor has stopped; its successor starts with a pace of its own.
    let _ = actor.cast(DeliveryMessage::Finished(Finished(failure)));
}

/// A panic costs this one try.
pub(super) fn guarded<T>(
    key: &PostKey,
    work: impl Future<Output = Result<T, Failure>>,
) -> impl Future<Output = Result<T, Failure>> {
    caught(work).inspect(move |outcome| {
        if let Err(failure) = outcome {
            debug!(post = %key, code = failure.code, "delivery failed");
        }
    })
}

// No `async fn`: that would have room for its work twice.
fn caught<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> impl Future<Output = Result<T, Failure>> {
    AssertUnwindSafe(work).catch_unwind().map(|outcome| {
        outcome.unwrap_or_else(|_| {
            let cause = "delivery panicked; this is a bug in Copydesk, see its log";
            Err(Failure::new(FailureClass::Retry, "delivery_panicked", cause))
        })
    })
}

/// Writes, answers each, and returns what speaks against the site: nothing, when one succeeded.
async fn write_all(client: &SiteClient, writes: &[Write], replies: Vec<Reply>) -> Option<Failure> {
    let outcomes = caught(async { Ok(client.write_all(writes).await) }).await;
    let outcomes = outcomes.unwrap_or_else(|failure| vec![Err(failure); writes.len()]);
    let well = outcomes.iter().any(Result::is_ok);
    let mut failure = None;
    for ((write, outcome), reply) in writes.iter().zip(outcomes).zip(replies) {
        if let Err(failure) = &outcome {
            debug!(post = %write.key, code = failure.code, "delivery failed");
        }
        failure = failure.or(answer(outcome, reply));
    }
    failure.filter(|_| !well)
}

/// Whether a write may be one of several. A provider's item has a route of its own, and a write of
/// nothing needs no request.
fn takes_company((write, _): &(Write, Reply)) -> bool {
    matches!(write.key.post, PostId::Number(_)) && !write.fields.is_empty()
}

fn answer<T>(
    outcome: Result<T, Failure>,
    reply: oneshot::Sender<Result<T, Failure>>,
) -> Option<Failure> {
    let failure = outcome.as_ref().err().cloned();
    // Whoever asked may be gone; what was done is found again by the next try.
    let _ = reply.send(outcome);
    failure
}

/// Asks a site's actor and waits for the answer. `message` puts the answer port into the request:
/// `deliver(&site, |reply| DeliveryMessage::Read(read, reply))`.
///
/// # Errors
/// The site's [`Failure`]; `delivery_stopped` when the actor is gone. The outcome is unknown then.
pub async fn deliver<T>(
    site: &ActorRef<DeliveryMessage>,
    message: impl FnOnce(oneshot::Sender<Result<T, Failure>>) -> DeliveryMessage,
) -> Result<T, Failure> {
    let (reply, answer) = oneshot::channel();
    let stopped = || {
        let cause = "the site's delivery actor stopped and is being restarted";
        Failure::new(FailureClass::Unavailable, "delivery_stopped", cause)
    };
    site.cast(message(reply)).map_err(|_| stopped())?;
    answer.await.map_err(|_| stopped())?
}
