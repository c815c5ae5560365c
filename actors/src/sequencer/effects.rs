//! Carrying out what a decision asked for. Each effect is a task that ends in exactly one answer;
//! an effect may be carried out again after a crash, so each names itself to the other side.

use std::sync::Arc;

use copydesk_core::budget::Withheld;
use copydesk_core::content::{Answer, Field, FieldValue, FieldWrite, Mode, PostText};
use copydesk_core::failure::{Failure, FailureClass};
use copydesk_core::post::{Input, PostCommand, ReadResult, Run, RunId, Step, Write, WriteResult};
use copydesk_core::sanitise::sanitise;
use copydesk_core::webhook::Payload;
use copydesk_proto::{PostKey, TraceContext};

use super::message::Answered;
use crate::World;
use crate::delivery::{self, ReadPost, WriteOutcome, deliver};
use crate::enrichment::ask;
use crate::enrichment::provider::{Question, Reply};
use crate::enrichment::recipe::Recipe;
use crate::records::Intake;
use crate::treasury::{NoMoney, reserve};

/// A run as its effects need it, detached from the post's state.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub world: Arc<World>,
    pub key: PostKey,
    pub run: Run,
    /// The event that leads the run, once it is at hand.
    pub intake: Option<Arc<Intake>>,
    /// The text at work, once it is at hand.
    pub text: Option<Arc<PostText>>,
}

impl Job {
    fn id(&self) -> RunId {
        self.run.id
    }

    fn trace(&self) -> Option<TraceContext> {
        self.intake.as_ref().and_then(|i| i.trace)
    }

    /// `<log>-<site>-<post>-<suffix>`: constant over all tries, unlike any other post's.
    fn name(&self, suffix: &str) -> String {
        let log = self.world.log.id().0;
        format!("{log}-{}-{}-{suffix}", self.key.site, self.key.post)
    }

    /// Reads the post from WordPress.
    pub(super) async fn read(self) -> Answered {
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
        let read = delivery::Read {
            key: self.key.clone(),
            with_terms: self.run.steps.iter().any(|s| wants_terms(&s.plan.field)),
            trace: self.trace(),
        };
        let site = self.world.sites.get(&self.key.site).ok_or_else(no_site)?;
        deliver(site, |reply| delivery::DeliveryMessage::Read(read, reply)).await
    }

    /// Asks for the enrichment at `place` of the plan.
    pub(super) async fn enrich(self, place: u8) -> Answered {
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
                    return plain(PostCommand::Enriched { run, step: place, input, result });
                }
            },
        };
        let command = match self.ask_provider(place, &text).await {
            Ok(result) => PostCommand::Enriched { run, step: place, input: input.hash, result },
            Err(withheld) => PostCommand::Withheld { run, step: Step::Enrich(place), withheld },
        };
        Answered { command, text: Some((run, text)) }
    }

    /// Asks, when there is money for it.
    async fn ask_provider(
        &self,
        place: u8,
        text: &Arc<PostText>,
    ) -> Result<Result<Answer, Failure>, Withheld> {
        let Self { world, run, .. } = self;
        let plan = run.steps.get(usize::from(place)).map(|step| &step.plan);
        let Some((plan, settings, provider, service)) = plan.and_then(|plan| {
            let settings = world.enrichments.get(&plan.enrichment)?;
            let provider = world.providers.get(&plan.provider)?;
            Some((plan, settings, provider, world.services.get(&plan.provider)?))
        }) else {
            return Ok(Err(no_enrichment()));
        };
        let recipe: Recipe = settings.recipe;
        let question = Question {
            recipe,
            field: plan.field.clone(),
            text: Arc::clone(text),
            site: self.key.site.clone(),
            lane: run.incoming.lane,
            call_id: self.name(&format!("{}-{place}", run.id.0.0)),
            trace: self.trace(),
            max_output_tokens: recipe.output_tokens_max(),
        };
        let cost_max = service.cost_max_microdollars(&question);
        let site = &self.key.site;
        let reserved = match reserve(&world.treasury, &plan.provider, site, cost_max).await {
            Ok(reserved) => reserved,
            Err(NoMoney::Withheld(withheld)) => return Err(withheld),
            Err(NoMoney::Busy) => return Ok(Err(no_place())),
        };
        let asked = ask(provider, question).await;
        reserved.settle(match &asked {
            Ok(reply) => reply.cost_microdollars,
            Err(failure) => failure.cost_microdollars,
        });
        Ok(asked.map(|reply| {
            let Reply { value, model, input_tokens, output_tokens, cost_microdollars } = reply;
            let enrichment = plan.enrichment.clone();
            Answer { enrichment, value, model, input_tokens, output_tokens, cost_microdollars }
        }))
    }

    /// Writes the run's results to WordPress.
    pub(super) async fn write(self) -> Answered {
        let run = self.id();
        let Some(Write { number, fields }) = self.run.write.clone() else {
            return plain(PostCommand::Tick);
        };
        let outcome = match self.world.sites.get(&self.key.site) {
            Some(site) => {
                let write = Box::new(self.write_request(number.0, fields));
                deliver(site, |reply| delivery::DeliveryMessage::Write(write, reply)).await
            }
            None => Err(no_site()),
        };
        let result = outcome.map(|outcome| match outcome {
            WriteOutcome::Applied { stored, kept, .. } => WriteResult::Applied { stored, kept },
            WriteOutcome::Changed { .. } => WriteResult::Changed,
            WriteOutcome::Stale { .. } => WriteResult::Stale,
            WriteOutcome::Gone => WriteResult::Gone,
        });
        plain(PostCommand::Written { run, write: number, result })
    }

    fn write_request(&self, number: u64, mut fields: Vec<FieldWrite>) -> delivery::Write {
        let mut metadata = serde_json::Map::new();
        for step in &self.run.steps {
            if let Some(answer) = &step.answer {
                let made = serde_json::json!({
                    "model": answer.model,
                    "prompt_version": step.plan.prompt_version,
                });
                metadata.insert(step.plan.enrichment.to_string(), made);
            }
        }
        let payload = self.payload();
        let mut event_status = None;
        if let (true, Some(payload)) = (self.run.steps.is_empty(), payload) {
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
        let intake = self.intake.as_ref();
        delivery::Write {
            key: self.key.clone(),
            write_number: number,
            delivery_id: self.name(&format!("w{number}")),
            position: format!("{}:{number}", self.world.log.id().0),
            source: self.run.incoming.source.clone(),
            input_hash: self.run.input.map(|i| i.hash),
            external_id: intake.map(|i| i.external_id.clone()).filter(|id| !id.is_empty()),
            event_status,
            fields,
            metadata,
            trace: self.trace(),
        }
    }

    fn payload(&self) -> Option<Payload> {
        let intake = self.intake.as_ref()?;
        payload_of(&self.world, intake)
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
