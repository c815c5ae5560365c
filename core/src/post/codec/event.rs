//! Events, both ways.

use copydesk_proto::{Timestamp, v1};
use v1::post_event::Kind;

use super::{
    DecodeError, Decoded, all, decode_answer, decode_end, decode_failure, decode_incoming,
    decode_input, decode_plan, decode_stored, decode_value, decode_withheld, decode_write,
    encode_answer, encode_end, encode_failure, encode_incoming, encode_input, encode_plan,
    encode_stored, encode_value, encode_withheld, encode_write, parse, require, step, step_number,
};
use crate::post::event::{Asked, IntakePosition, PostEvent, Redo, RunId, WriteNumber};
use crate::post::{NoticeKind, NoticeNumber};

/// The event as stored.
#[must_use]
pub fn encode_event(event: &PostEvent) -> v1::PostEvent {
    let kind = match event {
        PostEvent::Accepted(incoming) => Kind::Accepted(encode_incoming(incoming)),
        PostEvent::Ignored { incoming, end } => Kind::Ignored(v1::Ignored {
            incoming: Some(encode_incoming(incoming)),
            end: Some(encode_end(end)),
        }),
        PostEvent::Ended { position, end } => {
            Kind::Ended(v1::Ended { position: position.0, end: Some(encode_end(end)) })
        }
        PostEvent::RunStarted { run, plan, blocks, suggests, input, again } => {
            Kind::RunStarted(v1::RunStarted {
                run: run.0.0,
                plan: plan.iter().map(encode_plan).collect(),
                blocks: *blocks,
                input: input.map(encode_input),
                suggests: *suggests,
                again: *again,
            })
        }
        PostEvent::StepAsked { run, step, attempt, at } => Kind::StepAsked(v1::StepAsked {
            run: run.0.0,
            step: step_number(*step),
            attempt: *attempt,
            at_ms: at.0,
        }),
        PostEvent::PostRead { run, input } => {
            Kind::PostRead(v1::PostRead { run: run.0.0, input: Some(encode_input(*input)) })
        }
        PostEvent::StepSkipped { run, step } => {
            Kind::StepSkipped(v1::StepSkipped { run: run.0.0, step: u32::from(*step) })
        }
        PostEvent::EnrichmentAnswered { run, step, answer, reused, of } => {
            Kind::EnrichmentAnswered(v1::EnrichmentAnswered {
                run: run.0.0,
                step: u32::from(*step),
                answer: Some(encode_answer(answer)),
                reused: *reused,
                of: of.as_ref().map(encode_asked),
            })
        }
        PostEvent::WriteIntended { run, write, fields } => Kind::WriteIntended(v1::WriteIntended {
            run: run.0.0,
            write: write.0,
            fields: fields.iter().map(encode_write).collect(),
        }),
        PostEvent::WriteApplied { run, write, stored, kept, suggested } => {
            Kind::WriteApplied(v1::WriteApplied {
                run: run.0.0,
                write: write.0,
                stored: stored.iter().map(|(field, hash)| encode_stored(field, *hash)).collect(),
                kept: kept.iter().map(ToString::to_string).collect(),
                suggested: suggested.iter().map(ToString::to_string).collect(),
            })
        }
        PostEvent::WriteRefused { run, write } => {
            Kind::WriteRefused(v1::WriteRefused { run: run.0.0, write: write.0 })
        }
        PostEvent::StepHeld { run, step, withheld } => Kind::StepHeld(v1::StepHeld {
            run: run.0.0,
            step: step_number(*step),
            withheld: Some(encode_withheld(withheld)),
        }),
        PostEvent::AttemptFailed { run, step, attempt, failure, retry_at, at, of } => {
            Kind::AttemptFailed(v1::AttemptFailed {
                run: run.0.0,
                step: step_number(*step),
                attempt: *attempt,
                failure: Some(encode_failure(failure)),
                retry_at_ms: retry_at.map(|t| t.0),
                at_ms: at.0,
                of: of.as_ref().map(encode_asked),
            })
        }
        PostEvent::NoticeOwed { notice, run, kind, to, kept, suggested, failure, at } => {
            Kind::NoticeOwed(v1::NoticeOwed {
                notice: notice.0,
                run: run.0.0,
                kind: kind.name().to_owned(),
                to: to.iter().map(ToString::to_string).collect(),
                kept: kept.iter().map(ToString::to_string).collect(),
                suggested: suggested.iter().map(ToString::to_string).collect(),
                failure: failure.as_ref().map(encode_failure),
                at_ms: at.0,
            })
        }
        PostEvent::NoticePosted { notice } => {
            Kind::NoticePosted(v1::NoticePosted { notice: notice.0 })
        }
        PostEvent::RunEnded { run, end } => {
            Kind::RunEnded(v1::RunEnded { run: run.0.0, end: Some(encode_end(end)) })
        }
        PostEvent::DeadLettered { run, step, failure, at } => {
            Kind::DeadLettered(v1::DeadLettered {
                run: run.0.0,
                step: step_number(*step),
                failure: Some(encode_failure(failure)),
                at_ms: at.0,
            })
        }
        PostEvent::RetryRequested { run, by, reason, redo } => {
            let redo = (*redo != Redo::default()).then(|| encode_redo(redo));
            Kind::RetryRequested(operator_act(*run, by, reason, redo))
        }
        PostEvent::RunResumed { run } => Kind::RunResumed(v1::RunResumed { run: run.0.0 }),
        PostEvent::DeadLetterDropped { run, by, reason } => {
            Kind::DeadLetterDropped(operator_act(*run, by, reason, None))
        }
        PostEvent::Erased { by, reason } => {
            Kind::Erased(operator_act(RunId(IntakePosition(0)), by, reason, None))
        }
        PostEvent::Checkpointed(state) => Kind::Checkpointed(super::encode_state(state)),
    };
    v1::PostEvent { kind: Some(kind) }
}

/// The event as it happened.
///
/// # Errors
/// [`DecodeError`] for what this release does not know.
pub fn decode_event(stored: &v1::PostEvent) -> Result<PostEvent, DecodeError> {
    Ok(match require(stored.kind.as_ref(), "event")? {
        Kind::Accepted(incoming) => PostEvent::Accepted(decode_incoming(incoming)?),
        Kind::Ignored(e) => PostEvent::Ignored {
            incoming: decode_incoming(require(e.incoming.as_ref(), "incoming")?)?,
            end: decode_end(e.end.as_ref())?,
        },
        Kind::Ended(e) => PostEvent::Ended {
            position: IntakePosition(e.position),
            end: decode_end(e.end.as_ref())?,
        },
        Kind::RunStarted(e) => PostEvent::RunStarted {
            run: run(e.run),
            plan: all(&e.plan, decode_plan)?,
            blocks: e.blocks,
            suggests: e.suggests,
            input: e.input.as_ref().map(decode_input).transpose()?,
            again: e.again,
        },
        Kind::StepAsked(e) => PostEvent::StepAsked {
            run: run(e.run),
            step: step(e.step)?,
            attempt: e.attempt,
            at: Timestamp(e.at_ms),
        },
        Kind::PostRead(e) => PostEvent::PostRead {
            run: run(e.run),
            input: decode_input(require(e.input.as_ref(), "input")?)?,
        },
        Kind::StepSkipped(e) => PostEvent::StepSkipped { run: run(e.run), step: place(e.step)? },
        Kind::EnrichmentAnswered(e) => PostEvent::EnrichmentAnswered {
            run: run(e.run),
            step: place(e.step)?,
            answer: decode_answer(require(e.answer.as_ref(), "answer")?)?,
            reused: e.reused,
            of: e.of.as_ref().map(decode_asked).transpose()?,
        },
        Kind::WriteIntended(e) => PostEvent::WriteIntended {
            run: run(e.run),
            write: WriteNumber(e.write),
            fields: all(&e.fields, decode_write)?,
        },
        Kind::WriteApplied(e) => PostEvent::WriteApplied {
            run: run(e.run),
            write: WriteNumber(e.write),
            stored: all(&e.stored, decode_stored)?,
            kept: all(&e.kept, |field| parse(field, "field"))?,
            suggested: all(&e.suggested, |field| parse(field, "field"))?,
        },
        Kind::WriteRefused(e) => {
            PostEvent::WriteRefused { run: run(e.run), write: WriteNumber(e.write) }
        }
        Kind::AttemptFailed(e) => PostEvent::AttemptFailed {
            run: run(e.run),
            step: step(e.step)?,
            attempt: e.attempt,
            failure: decode_failure(e.failure.as_ref())?,
            retry_at: e.retry_at_ms.map(Timestamp),
            at: Timestamp(e.at_ms),
            of: e.of.as_ref().map(decode_asked).transpose()?,
        },
        Kind::StepHeld(e) => PostEvent::StepHeld {
            run: run(e.run),
            step: step(e.step)?,
            withheld: decode_withheld(e.withheld.as_ref())?,
        },
        Kind::NoticeOwed(e) => PostEvent::NoticeOwed {
            notice: NoticeNumber(e.notice),
            run: run(e.run),
            kind: NoticeKind::named(&e.kind).ok_or(DecodeError("notice"))?,
            to: all(&e.to, |id| parse(id, "subscriber"))?,
            kept: all(&e.kept, |field| parse(field, "field"))?,
            suggested: all(&e.suggested, |field| parse(field, "field"))?,
            failure: e.failure.as_ref().map(|f| decode_failure(Some(f))).transpose()?,
            at: Timestamp(e.at_ms),
        },
        Kind::NoticePosted(e) => PostEvent::NoticePosted { notice: NoticeNumber(e.notice) },
        Kind::RunEnded(e) => {
            PostEvent::RunEnded { run: run(e.run), end: decode_end(e.end.as_ref())? }
        }
        Kind::DeadLettered(e) => PostEvent::DeadLettered {
            run: run(e.run),
            step: step(e.step)?,
            failure: decode_failure(e.failure.as_ref())?,
            at: Timestamp(e.at_ms),
        },
        Kind::RetryRequested(e) => PostEvent::RetryRequested {
            run: run(e.run),
            by: e.by.clone(),
            reason: e.reason.clone(),
            redo: e.redo.as_ref().map(decode_redo).transpose()?.unwrap_or_default(),
        },
        Kind::RunResumed(e) => PostEvent::RunResumed { run: run(e.run) },
        Kind::DeadLetterDropped(e) => PostEvent::DeadLetterDropped {
            run: run(e.run),
            by: e.by.clone(),
            reason: e.reason.clone(),
        },
        Kind::Erased(e) => PostEvent::Erased { by: e.by.clone(), reason: e.reason.clone() },
        Kind::Checkpointed(state) => PostEvent::Checkpointed(Box::new(super::decode_state(state)?)),
    })
}

fn operator_act(run: RunId, by: &str, reason: &str, redo: Option<v1::Redo>) -> v1::OperatorAct {
    v1::OperatorAct { run: run.0.0, by: by.to_owned(), reason: reason.to_owned(), redo }
}

fn encode_redo(redo: &Redo) -> v1::Redo {
    v1::Redo {
        from: redo.from.map(step_number),
        values: redo
            .values
            .iter()
            .map(|(place, value)| v1::EditedValue {
                place: u32::from(*place),
                value: Some(encode_value(value)),
            })
            .collect(),
        providers: redo
            .providers
            .iter()
            .map(|(place, provider)| v1::ChosenProvider {
                place: u32::from(*place),
                provider: provider.to_string(),
            })
            .collect(),
    }
}

fn decode_redo(stored: &v1::Redo) -> Decoded<Redo> {
    Ok(Redo {
        from: stored.from.map(step).transpose()?,
        values: all(&stored.values, |e| Ok((place(e.place)?, decode_value(e.value.as_ref())?)))?,
        providers: all(&stored.providers, |c| {
            Ok((place(c.place)?, parse(&c.provider, "provider")?))
        })?,
    })
}

fn encode_asked(of: &Asked) -> v1::Asked {
    v1::Asked { provider: of.provider.to_string(), field: of.field.to_string() }
}

fn decode_asked(stored: &v1::Asked) -> Decoded<Asked> {
    Ok(Asked {
        provider: parse(&stored.provider, "provider")?,
        field: parse(&stored.field, "field")?,
    })
}

const fn run(position: u64) -> RunId {
    RunId(IntakePosition(position))
}

fn place(stored: u32) -> Decoded<u8> {
    u8::try_from(stored).map_err(|_| DecodeError("step"))
}
