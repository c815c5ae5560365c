//! Carrying out what a decision asked for. Each effect is a task that ends in exactly one answer;
//! an effect may be carried out again after a crash, so each names itself to the other side.

use std::sync::Arc;

use copydesk_core::budget::Withheld;
use copydesk_core::content::{Answer, Field, FieldValue, FieldWrite, Mode, PostText};
use copydesk_core::failure::{Failure, FailureClass};
use copydesk_core::post::{
    Input, PostCommand, ReadResult, Run, RunId, SourceVersion, Step, Write, WriteResult,
};
use copydesk_core::roster::Partition;
use copydesk_core::sanitise::sanitise;
use copydesk_core::webhook::Payload;
use copydesk_eventlog::crash_point;
use copydesk_proto::{PostKey, ProviderId, SubscriberId, TraceContext};
use tracing::debug;

use super::message::Answered;
use super::step_span::{StepSpan, written};
use crate::World;
use crate::cluster::Lease;
use crate::delivery::{self, Made, ReadPost, WriteOutcome, deliver};
use crate::enrichment::provider::{Question, Reply};
use crate::enrichment::recipe::Recipe;
use crate::enrichment::{RATE_LIMITED, ask};
use crate::records::Intake;
use crate::subscribers::Parcel;
use crate::telemetry::Mailbox;
use crate::treasury::{NoMoney, reserve};

/// A run as its effects need it, detached from the post's state.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub world: Arc<World>,
    pub key: PostKey,
    pub partition: Partition,
    pub run: Run,
    /// The event that leads the run, once it is at hand.
    pub intake: Option<Arc<Intake>>,
    /// The text at work, for an enrichment and once it is at hand.
    pub text: Option<Arc<PostText>>,
    /// The trace of the run.
    pub trace: Option<TraceContext>,
    /// The id of the event that leads the run.
    pub event: Arc<str>,
    /// Which try, from 1.
    pub attempt: u32,
}

impl Job {
    fn id(&self) -> RunId {
        self.run.id
    }

    /// `<log>-<site>-<post>-<suffix>`: constant over all tries, unlike any other post's.
    fn name(&self, suffix: &str) -> String {
        let log = self.world.log.id().0;
        format!("{log}-{}-{}-{suffix}", self.key.site, self.key.post)
    }

    /// Reads the post from WordPress.
    pub(super) async fn read(&self) -> Answered {
        let run = self.id();
        match self.read_post().await {
            Ok(post) if post.found => {
                let (input, text) = found(post);
                let result = Ok(ReadResult::Found(input));
                Answered { command: PostCommand::Read { run, result }, text: Some((run, text)) }
            }
            Ok(_) => plain(PostCommand::Read { run, result: Ok(ReadResult::Gone) }),
            Err(failure) => plain(PostCommand::Read { run, result: Err(failure) }),
        }
    }

    async fn read_post(&self) -> Result<ReadPost, Failure> {
        let wants_terms = |field: &Field| matches!(field, Field::Tags | Field::Categories);
        let step = StepSpan::begin(self);
        let read = delivery::Read {
            key: self.key.clone(),
            with_terms: self.run.steps.iter().any(|s| wants_terms(&s.plan.field)),
            trace: step.trace,
        };
        let outcome = match self.world.sites.get(&self.key.site) {
            Some(site) => {
                self.world.telemetry.sent(Mailbox::Sites);
                deliver(site, |reply| delivery::DeliveryMessage::Read(read, reply)).await
            }
            None => Err(no_site()),
        };
        let said = outcome.as_ref().map(|post| if post.found { "found" } else { "gone" });
        step.delivered(self, "read", said);
        outcome
    }

    /// Asks for the enrichment at `place` of the plan.
    pub(super) async fn enrich(&self, place: u8) -> Answered {
        let run = self.id();
        let Some(input) = self.run.input else {
            return self.read().await;
        };
        let text = match self.text.clone() {
            Some(text) => text,
            // A run taken over from another process: its text was only in memory there.
            None => match self.read_post().await {
                Ok(post) if post.found && post.text.input_hash() == input.hash => {
                    Arc::new(post.text)
                }
                Ok(post) if post.found => {
                    let (input, text) = found(post);
                    let result = Ok(ReadResult::Found(input));
                    let command = PostCommand::Read { run, result };
                    return Answered { command, text: Some((run, text)) };
                }
                Ok(_) => return plain(PostCommand::Read { run, result: Ok(ReadResult::Gone) }),
                Err(failure) => {
                    let result = Err(failure);
                    let input = input.hash;
                    return plain(PostCommand::Enriched {
                        run,
                        step: place,
                        input,
                        by: None,
                        result,
                    });
                }
            },
        };
        crash_point("enrichment.asking");
        let asked = self.ask_provider(place, &text).await;
        crash_point("enrichment.answered");
        let command = match asked {
            Ok((by, result)) => {
                PostCommand::Enriched { run, step: place, input: input.hash, by, result }
            }
            Err(withheld) => PostCommand::Withheld { run, step: Step::Enrich(place), withheld },
        };
        Answered { command, text: Some((run, text)) }
    }

    /// Asks the plan's provider or who takes over for it, when there is money.
    async fn ask_provider(
        &self,
        place: u8,
        text: &Arc<PostText>,
    ) -> Result<(Option<ProviderId>, Result<Answer, Failure>), Withheld> {
        let Some(plan) = self.run.steps.get(usize::from(place)).map(|step| &step.plan) else {
            return Ok((None, Err(no_enrichment())));
        };
        let Some(settings) = self.world.enrichments.get(&plan.enrichment) else {
            return Ok((None, Err(no_enrichment())));
        };
        let recipe: Recipe = settings.recipe;
        let step = StepSpan::begin(self);
        let question = Question {
            recipe,
            field: plan.field.clone(),
            text: Arc::clone(text),
            site: self.key.site.clone(),
            lane: self.run.incoming.lane,
            call_id: self.name(&format!("{}-{place}", self.run.id.0.0)),
            trace: step.trace,
            max_output_tokens: recipe.output_tokens_max(),
        };
        let asked = self.ask_first_there(&plan.provider, question).await;
        let name = format!("enrich {}", plan.enrichment);
        let (id, asked) = match asked {
            Ok(asked) => asked,
            Err(withheld) => {
                step.end(self, name, "withheld", None);
                return Err(withheld);
            }
        };
        step.end(self, name, "answered", asked.as_ref().err());
        let by = (*id != plan.provider).then(|| id.clone());
        let answer = asked.map(|reply| {
            let Reply { value, model, input_tokens, output_tokens, cost_microdollars, .. } = reply;
            let enrichment = plan.enrichment.clone();
            Answer { enrichment, value, model, input_tokens, output_tokens, cost_microdollars }
        });
        Ok((by, answer))
    }

    /// Asks the provider, or while it is not there, the one that takes over; a provider that only
    /// asks for patience is waited for. Configurations whose chain is a circle are refused at start.
    async fn ask_first_there<'a>(
        &'a self,
        id: &'a ProviderId,
        question: Question,
    ) -> Result<(&'a ProviderId, Result<Reply, Failure>), Withheld> {
        let mut id = id;
        loop {
            let Some(next) = self.world.fallbacks.get(id) else {
                return Ok((id, self.ask_for_money(id, question).await?));
            };
            match self.ask_for_money(id, question.clone()).await? {
                Err(failure)
                    if failure.class == FailureClass::Unavailable
                        && failure.code != RATE_LIMITED =>
                {
                    debug!(post = %self.key, from = %id, to = %next, "another provider takes over");
                    id = next;
                }
                answer => return Ok((id, answer)),
            }
        }
    }

    /// Asks one provider once the most that its answer may cost is set aside.
    async fn ask_for_money(
        &self,
        id: &ProviderId,
        question: Question,
    ) -> Result<Result<Reply, Failure>, Withheld> {
        let world = &self.world;
        let (provider, service) = (world.providers.get(id), world.services.get(id));
        let (Some(provider), Some(service)) = (provider, service) else {
            return Ok(Err(no_enrichment()));
        };
        let cost_max = service.cost_max_microdollars(&question);
        let reserved = match reserve(&world.treasury, id, &self.key.site, cost_max).await {
            Ok(reserved) => reserved,
            Err(NoMoney::Withheld(withheld)) => return Err(withheld),
            Err(NoMoney::Busy) => return Ok(Err(no_place())),
        };
        world.telemetry.sent(Mailbox::Providers);
        let lease = Lease::of(Arc::clone(&world.partitions), self.partition);
        let asked = ask(provider, question, lease).await;
        reserved.settle(match &asked {
            Ok(reply) => reply.cost_microdollars,
            Err(failure) => failure.cost_microdollars,
        });
        Ok(asked)
    }

    /// Writes the run's results to WordPress.
    pub(super) async fn write(&self) -> Answered {
        let run = self.id();
        let Some(Write { number, fields }) = self.run.write.clone() else {
            return plain(PostCommand::Tick);
        };
        if let Some(subscriber) = self.key.subscriber() {
            let result = self.hand_over(subscriber).await;
            return plain(PostCommand::Written { run, write: number, result });
        }
        let step = StepSpan::begin(self);
        let outcome = match self.world.sites.get(&self.key.site) {
            Some(site) => {
                let write = Box::new(self.write_request(number.0, fields, step.trace));
                self.world.telemetry.sent(Mailbox::Sites);
                crash_point("write.sending");
                let outcome =
                    deliver(site, |reply| delivery::DeliveryMessage::Write(write, reply)).await;
                crash_point("write.answered");
                outcome
            }
            None => Err(no_site()),
        };
        step.delivered(self, "write", outcome.as_ref().map(written));
        let result = outcome.map(|outcome| match outcome {
            WriteOutcome::Applied { stored, kept, suggested, .. } => {
                WriteResult::Applied { stored, kept, suggested }
            }
            WriteOutcome::Changed { .. } => WriteResult::Changed,
            WriteOutcome::Stale { .. } => WriteResult::Stale,
            WriteOutcome::Gone => WriteResult::Gone,
        });
        plain(PostCommand::Written { run, write: number, result })
    }

    /// Hands a notice to its subscriber: the write of a notice's run.
    async fn hand_over(&self, subscriber: &SubscriberId) -> Result<WriteResult, Failure> {
        let Some(intake) = &self.intake else { return Err(no_notice()) };
        let step = StepSpan::begin(self);
        let parcel = Parcel {
            id: intake.event_id.clone(),
            kind: intake.event_type.clone(),
            body: intake.body.clone(),
            trace: step.trace,
        };
        crash_point("notice.sending");
        let handed = self.world.subscribers.hand(subscriber, &parcel).await;
        crash_point("notice.answered");
        step.delivered(self, "notice", handed.as_ref().map(|()| "told"));
        handed?;
        let (stored, kept, suggested) = (Vec::new(), Vec::new(), Vec::new());
        Ok(WriteResult::Applied { stored, kept, suggested })
    }

    fn write_request(
        &self,
        number: u64,
        mut fields: Vec<FieldWrite>,
        trace: Option<TraceContext>,
    ) -> delivery::Write {
        let answered = self.run.steps.iter().filter_map(|step| {
            let answer = step.answer.as_ref()?;
            Some(Made {
                field: step.plan.field.clone(),
                enrichment: step.plan.enrichment.clone(),
                model: answer.model.clone(),
                prompt_version: step.plan.prompt_version,
            })
        });
        let made = answered.collect();
        let mut metadata = serde_json::Map::new();
        let mut event_status = None;
        if self.run.steps.is_empty()
            && let Some(payload) = self.payload()
        {
            event_status = payload.status().and_then(|s| clean(&Field::Status, s));
            if let Some(value) = payload.summary().and_then(|s| clean(&Field::Excerpt, s)) {
                let value = FieldValue::Text(value);
                fields.push(FieldWrite {
                    field: Field::Excerpt,
                    value,
                    mode: Mode::Apply,
                    base: None,
                });
            }
            if let Some(serde_json::Value::Object(own)) = payload.metadata() {
                metadata.extend(own.clone());
            }
        }
        if fields.iter().any(|field| field.field == Field::Comment) {
            let payload = self.payload();
            event_status = payload.and_then(|p| p.comment_status().map(str::to_owned));
        }
        let intake = self.intake.as_ref();
        delivery::Write {
            key: self.key.clone(),
            write_number: number,
            delivery_id: self.name(&format!("w{number}")),
            log: self.world.log.id().0,
            source: self.run.incoming.source.clone(),
            input_hash: self.run.input.map(|i| i.hash),
            sequence: sequence_of(self.run.incoming.version),
            external_id: intake.map(|i| i.external_id.clone()).filter(|id| !id.is_empty()),
            event_status,
            fields,
            made,
            metadata,
            trace,
        }
    }

    fn payload(&self) -> Option<Payload> {
        let intake = self.intake.as_ref()?;
        payload_of(&self.world, intake)
    }
}

/// The sender's own count of the post's events, when it counts.
pub(super) const fn sequence_of(version: Option<SourceVersion>) -> Option<u64> {
    match version {
        Some(SourceVersion::Sequence(n)) => Some(n),
        Some(SourceVersion::Modified(_)) | None => None,
    }
}

/// The payload of an intake record; `None` when its source is no longer configured.
pub(super) fn payload_of(world: &World, intake: &Intake) -> Option<Payload> {
    let rules = world.sources.get(&intake.source)?;
    Payload::read(&rules.payload, &intake.body).ok()
}

/// Words from outside that go to WordPress without a model in between are cleaned all the same.
fn clean(field: &Field, text: &str) -> Option<String> {
    match sanitise(field, &FieldValue::Text(text.to_owned()), &PostText::default()) {
        Ok(FieldValue::Text(text)) => Some(text),
        Ok(FieldValue::List(_)) | Err(_) => None,
    }
}

fn found(post: ReadPost) -> (Input, Arc<PostText>) {
    let modified_at = (post.modified_gmt.0 != 0).then_some(post.modified_gmt);
    let input = Input { hash: post.text.input_hash(), modified_at };
    (input, Arc::new(post.text))
}

fn plain(command: PostCommand) -> Answered {
    Answered { command, text: None }
}

fn no_notice() -> Failure {
    let cause = "the notice is no longer in the log";
    Failure::new(FailureClass::Terminal, "notice_gone", cause)
}

fn no_site() -> Failure {
    let cause = "the site is not in the configuration any more; add it again, then retry";
    Failure::new(FailureClass::Terminal, "site_not_configured", cause)
}

fn no_place() -> Failure {
    let cause = "too many AI calls wait for calls under way; the rest comes back later";
    Failure::new(FailureClass::Unavailable, "budget_busy", cause).retry_after_ms(Some(5_000))
}

fn no_enrichment() -> Failure {
    let cause = "the enrichment or its provider is not in the configuration any more; \
                 add it again, then retry";
    Failure::new(FailureClass::Terminal, "enrichment_not_configured", cause)
}
