//! The actor of one site: lets requests out at the site's pace, each in a task of its own.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use copydesk_core::failure::{Failure, FailureClass};
use copydesk_proto::{PostKey, Timestamp, TraceContext};
use futures::FutureExt as _;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;
use tracing::{debug, warn};

use super::client::SiteClient;
use super::message::{
    DeliveryMessage, DeliveryStatus, Finished, Read, ReadPost, Write, WriteOutcome,
};
use super::pace::{Gate, Pace};
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
    /// Whether a [`DeliveryMessage::Wake`] is on its way.
    waking: bool,
    started: Instant,
    /// The breaker as metrics have it.
    shown: Option<u64>,
}

#[derive(Debug)]
enum Job {
    Read(Read, oneshot::Sender<Result<ReadPost, Failure>>),
    Write(Box<Write>, oneshot::Sender<Result<WriteOutcome, Failure>>),
}

impl Actor for DeliveryActor {
    type Msg = DeliveryMessage;
    type State = Desk;
    type Arguments = SiteClient;

    async fn pre_start(
        &self,
        _myself: ActorRef<DeliveryMessage>,
        client: SiteClient,
    ) -> Result<Desk, ActorProcessingErr> {
        Ok(Desk {
            pace: Pace::new(client.site(), Timestamp::default()),
            client: Arc::new(client),
            waiting: VecDeque::new(),
            waking: false,
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
            DeliveryMessage::Write(write, reply) => desk.take(Job::Write(write, reply)),
            DeliveryMessage::Finished(finished) => desk.finished(finished),
            DeliveryMessage::Wake => desk.waking = false,
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
                    if let Some((job, since)) = self.waiting.pop_front() {
                        self.client.site().telemetry.waited(job.trace(), since, "limit");
                        tokio::spawn(carry_out(Arc::clone(&self.client), job, myself.clone()));
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

    /// A site that asked for quiet is left alone like one whose breaker is open.
    fn show_breaker(&mut self) {
        let state = if self.pace.paused_ms(self.now()).is_some() { 2 } else { 0 };
        if self.shown.replace(state) != Some(state) {
            let site = self.client.site();
            site.telemetry.metrics().breaker("site", site.id.as_str(), state);
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
    const fn trace(&self) -> Option<TraceContext> {
        match self {
            Self::Read(read, _) => read.trace,
            Self::Write(write, _) => write.trace,
        }
    }

    fn refuse(self, failure: Failure) {
        // Whoever asked may be gone.
        match self {
            Self::Read(_, reply) => drop(reply.send(Err(failure))),
            Self::Write(_, reply) => drop(reply.send(Err(failure))),
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
        Job::Write(write, reply) => {
            let outcome = guarded(&write.key, client.write(&write)).await;
            answer(outcome, reply)
        }
    };
    // Fails only when the actor has stopped; its successor starts with a pace of its own.
    let _ = actor.cast(DeliveryMessage::Finished(Finished(failure)));
}

/// A panic costs this one try.
pub(super) async fn guarded<T>(
    key: &PostKey,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let outcome = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
        let cause = "delivery panicked; this is a bug in Copydesk, see its log";
        Err(Failure::new(FailureClass::Retry, "delivery_panicked", cause))
    });
    if let Err(failure) = &outcome {
        debug!(post = %key, code = failure.code, "delivery failed");
    }
    outcome
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
