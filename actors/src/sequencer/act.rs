//! From a decision's effects to their tasks.

use std::sync::Arc;
use std::time::Duration;

use copydesk_core::content::PostText;
use copydesk_core::post::{Effect, PostCommand, RunId, Step};
use copydesk_eventlog::Sequence;
use ractor::{ActorProcessingErr, ActorRef};
use tracing::{debug, warn};

use super::actor::Post;
use super::effects::{Job, payload_of};
use super::message::{Answered, SequencerMessage};
use crate::mistakes::{Mistake, makes};
use crate::records::Intake;
use crate::subscribers;

/// Before notices that the log did not take are appended again.
const TELL_PAUSE: Duration = Duration::from_secs(1);

impl Post {
    /// Hands effects to the world. Answers come back as messages.
    pub(super) async fn act(
        &mut self,
        effects: Vec<Effect>,
        myself: &ActorRef<SequencerMessage>,
    ) -> Result<(), ActorProcessingErr> {
        // The post's own node does it, by the decision in the log.
        if self.start.is_guest {
            return Ok(());
        }
        // Not left undone either: whoever works on the post next does it.
        if !effects.is_empty() {
            self.may_append()?;
        }
        for effect in effects {
            let (run, step, attempt) = match effect {
                Effect::Do { run, step, attempt } => (run, step, attempt),
                Effect::Tell(_) => {
                    self.tell(myself).await?;
                    continue;
                }
            };
            if self.state.run.as_ref().is_none_or(|at_work| at_work.id != run) {
                continue;
            }
            debug!(post = %self.start.key, ?step, attempt, "asking");
            let intake = self.leading_intake(run).await?;
            let Some(job) = self.job(step, intake, attempt) else { continue };
            let (myself, life) = (myself.clone(), self.life);
            // In the heap before it is spawned, where it would be moved several times.
            let effect = Box::pin(async move {
                let answered = match step {
                    Step::Read => job.read().await,
                    Step::Enrich(place) => job.enrich(place).await,
                    Step::Write => job.write().await,
                };
                copydesk_eventlog::crash_point("effect.answered");
                // A sequencer that is gone left its effects to the next one.
                let _ = myself.cast(SequencerMessage::Answer(life, Box::new(answered)));
            });
            tokio::spawn(self.effects.clone().run_until_cancelled_owned(effect));
        }
        Ok(())
    }

    /// The run at work as an effect needs it.
    fn job(&mut self, step: Step, intake: Option<Arc<Intake>>, attempt: u32) -> Option<Job> {
        let run = self.state.run.clone()?;
        let text = match step {
            Step::Enrich(_) => self.text_of(run.id, intake.as_deref()),
            Step::Read | Step::Write => None,
        };
        // The event's own text is not the run's once the post was read again: after a restart
        // only the hash of what was read is known, and the effect reads the post.
        let text = text.filter(|text| {
            run.input.is_none_or(|input| input.hash == text.input_hash())
                || makes(Mistake::TextOfTheEvent)
        });
        let (world, key) = (Arc::clone(&self.start.world), self.start.key.clone());
        let partition = self.start.subjects.partition;
        let (trace, event) = self.trail.of(run.id);
        Some(Job { world, key, partition, run, intake, text, trace, event, attempt })
    }

    /// Puts the notices of the oldest owed end into the log, unless some are on their way. They are
    /// tried again while the log does not take them; a sequencer that is gone leaves that to the
    /// next one.
    async fn tell(
        &mut self,
        myself: &ActorRef<SequencerMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let overtakes = makes(Mistake::NoticesOvertake);
        if self.telling.is_some() && !overtakes {
            return Ok(());
        }
        let owed = if overtakes { self.state.owed.back() } else { self.state.owed.front() };
        let Some(owed) = owed.cloned() else { return Ok(()) };
        let notice = owed.notice;
        self.telling = Some(notice);
        let leading = self.leading_intake(owed.run).await?;
        let (world, key) = (Arc::clone(&self.start.world), self.start.key.clone());
        let (myself, life) = (myself.clone(), self.life);
        let effect = Box::pin(async move {
            let told = subscribers::tell(&world, &key, &owed, leading.as_deref()).await;
            let message = match told {
                Ok(()) => {
                    let command = PostCommand::Told { notice };
                    SequencerMessage::Answer(life, Box::new(Answered { command, text: None }))
                }
                Err(error) => {
                    warn!(post = %key, %error, "subscribers are not told yet; once more");
                    tokio::time::sleep(TELL_PAUSE).await;
                    SequencerMessage::Again(life, Effect::Tell(notice))
                }
            };
            let _ = myself.cast(message);
        });
        tokio::spawn(self.effects.clone().run_until_cancelled_owned(effect));
        Ok(())
    }

    /// The event that leads the run: from the mailbox, or after a restart from the log.
    pub(super) async fn leading_intake(
        &mut self,
        run: RunId,
    ) -> Result<Option<Arc<Intake>>, ActorProcessingErr> {
        if let Some(intake) = self.intakes.get(&run.0) {
            return Ok(Some(Arc::clone(intake)));
        }
        let before = Sequence(run.0.0.saturating_sub(1));
        let page = self.start.world.log.history(&self.start.subjects.intake, before, 1).await?;
        let Some(record) = page.first().filter(|r| r.sequence.0 == run.0.0) else {
            return Ok(None);
        };
        let intake = Arc::new(Intake::read(record)?);
        self.intakes.insert(run.0, Arc::clone(&intake));
        Ok(Some(intake))
    }

    fn text_of(&mut self, run: RunId, intake: Option<&Intake>) -> Option<Arc<PostText>> {
        if let Some((_, text)) = self.text.as_ref().filter(|(id, _)| *id == run) {
            return Some(Arc::clone(text));
        }
        let intake = intake.filter(|i| i.text_hash.is_some())?;
        let text = Arc::new(payload_of(&self.start.world, intake)?.text()?);
        self.text = Some((run, Arc::clone(&text)));
        Some(text)
    }
}
