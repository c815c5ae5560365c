//! States, both ways.

use copydesk_proto::{Timestamp, v1};
use v1::progress::Phase as Stored;

use super::{
    DecodeError, Decoded, all, bytes, decode_answer, decode_failure, decode_incoming, decode_input,
    decode_plan, decode_stored, decode_version, decode_withheld, decode_write, encode_answer,
    encode_failure, encode_incoming, encode_input, encode_plan, encode_stored, encode_version,
    encode_withheld, encode_write, hash, parse, require, step, step_number,
};
use crate::content::Field;
use crate::post::event::{IntakePosition, RunId, WriteNumber};
use crate::post::state::{
    AskWindow, DeadLetter, Effective, PaidAnswer, Phase, PostState, Progress, Run, RunStep,
    SeenKey, Write,
};
use crate::post::{NoticeKind, NoticeNumber, Owed};

/// The state as stored in snapshots and checkpoints.
#[must_use]
pub fn encode_state(state: &PostState) -> v1::PostState {
    v1::PostState {
        considered: state.considered.0,
        waiting: state.waiting.iter().map(encode_incoming).collect(),
        run: state.run.as_ref().map(encode_run),
        resumed: state.resumed.iter().map(encode_run).collect(),
        dead: state.dead.iter().map(encode_dead).collect(),
        seen: state.seen.iter().map(encode_seen).collect(),
        effective: state.effective.map(|e| v1::Effective {
            position: e.position.0,
            version: e.version.map(encode_version),
        }),
        write_number: state.write_number.0,
        written: state.written.iter().map(|(field, hash)| encode_stored(field, *hash)).collect(),
        settled: state
            .settled
            .iter()
            .map(|(enrichment, (hash, prompt_version))| v1::Settled {
                enrichment: enrichment.to_string(),
                hash: hash.0.to_vec(),
                prompt_version: *prompt_version,
            })
            .collect(),
        answers: state
            .answers
            .iter()
            .map(|paid| v1::PaidAnswer {
                input: paid.input.0.to_vec(),
                prompt_version: paid.prompt_version,
                answer: Some(encode_answer(&paid.answer)),
            })
            .collect(),
        asks_since_ms: state.asks.since.0,
        asks: state.asks.count,
        notice_number: state.notice_number.0,
        owed: state.owed.iter().map(encode_owed).collect(),
    }
}

/// The state as it was.
///
/// # Errors
/// [`DecodeError`] for what this release does not know.
pub fn decode_state(stored: &v1::PostState) -> Result<PostState, DecodeError> {
    let settled = |s: &v1::Settled| {
        Ok((parse(&s.enrichment, "enrichment")?, (hash(&s.hash)?, s.prompt_version)))
    };
    let paid = |p: &v1::PaidAnswer| {
        Ok(PaidAnswer {
            input: hash(&p.input)?,
            prompt_version: p.prompt_version,
            answer: decode_answer(require(p.answer.as_ref(), "answer")?)?,
        })
    };
    let effective = |e: &v1::Effective| {
        Ok(Effective {
            position: IntakePosition(e.position),
            version: e.version.as_ref().map(decode_version).transpose()?,
        })
    };
    Ok(PostState {
        considered: IntakePosition(stored.considered),
        waiting: all(&stored.waiting, decode_incoming)?.into(),
        run: stored.run.as_ref().map(decode_run).transpose()?,
        resumed: all(&stored.resumed, decode_run)?.into(),
        dead: all(&stored.dead, decode_dead)?.into(),
        seen: all(&stored.seen, decode_seen)?.into(),
        effective: stored.effective.as_ref().map(effective).transpose()?,
        write_number: WriteNumber(stored.write_number),
        written: all(&stored.written, decode_stored)?.into_iter().collect(),
        settled: all(&stored.settled, settled)?.into_iter().collect(),
        answers: all(&stored.answers, paid)?,
        asks: AskWindow { since: Timestamp(stored.asks_since_ms), count: stored.asks },
        notice_number: NoticeNumber(stored.notice_number),
        owed: all(&stored.owed, decode_owed)?.into(),
    })
}

fn encode_owed(owed: &Owed) -> v1::Owed {
    let names = |fields: &[Field]| fields.iter().map(ToString::to_string).collect();
    let notice = v1::NoticeOwed {
        notice: owed.notice.0,
        run: owed.run.0.0,
        kind: owed.kind.name().to_owned(),
        to: owed.to.iter().map(ToString::to_string).collect(),
        kept: names(&owed.kept),
        suggested: names(&owed.suggested),
        failure: owed.failure.as_ref().map(encode_failure),
        at_ms: owed.at.0,
    };
    let made = owed.made.iter().map(|(field, answer)| v1::Made {
        field: field.to_string(),
        answer: Some(encode_answer(answer)),
    });
    v1::Owed {
        notice: Some(notice),
        incoming: Some(encode_incoming(&owed.incoming)),
        made: made.collect(),
    }
}

fn decode_owed(stored: &v1::Owed) -> Decoded<Owed> {
    let notice = require(stored.notice.as_ref(), "notice")?;
    let made = |made: &v1::Made| {
        let answer = decode_answer(require(made.answer.as_ref(), "answer")?)?;
        Ok((parse(&made.field, "field")?, answer))
    };
    Ok(Owed {
        notice: NoticeNumber(notice.notice),
        run: RunId(IntakePosition(notice.run)),
        incoming: decode_incoming(require(stored.incoming.as_ref(), "incoming")?)?,
        kind: NoticeKind::named(&notice.kind).ok_or(DecodeError("notice"))?,
        to: all(&notice.to, |id| parse(id, "subscriber"))?,
        made: all(&stored.made, made)?,
        kept: all(&notice.kept, |field| parse(field, "field"))?,
        suggested: all(&notice.suggested, |field| parse(field, "field"))?,
        failure: notice.failure.as_ref().map(|f| decode_failure(Some(f))).transpose()?,
        at: Timestamp(notice.at_ms),
    })
}

fn encode_run(run: &Run) -> v1::Run {
    let step = |step: &RunStep| v1::RunStep {
        plan: Some(encode_plan(&step.plan)),
        progress: Some(encode_progress(&step.progress)),
        answer: step.answer.as_ref().map(encode_answer),
    };
    let write = run.write.as_ref();
    v1::Run {
        incoming: Some(encode_incoming(&run.incoming)),
        steps: run.steps.iter().map(step).collect(),
        input: run.input.map(encode_input),
        read: Some(encode_progress(&run.read)),
        write: write.map_or(0, |w| w.number.0),
        fields: write.map_or_else(Vec::new, |w| w.fields.iter().map(encode_write).collect()),
        write_progress: Some(encode_progress(&run.write_progress)),
        blocks: run.blocks,
        suggests: run.suggests,
        restarts: run.restarts,
    }
}

fn decode_run(stored: &v1::Run) -> Decoded<Run> {
    let step = |s: &v1::RunStep| {
        Ok(RunStep {
            plan: decode_plan(require(s.plan.as_ref(), "plan")?)?,
            progress: decode_progress(s.progress.as_ref())?,
            answer: s.answer.as_ref().map(decode_answer).transpose()?,
        })
    };
    let write = match stored.write {
        0 => None,
        number => {
            let fields = all(&stored.fields, decode_write)?;
            Some(Write { number: WriteNumber(number), fields })
        }
    };
    let incoming = decode_incoming(require(stored.incoming.as_ref(), "incoming")?)?;
    Ok(Run {
        id: RunId(incoming.position),
        incoming,
        steps: all(&stored.steps, step)?,
        input: stored.input.as_ref().map(decode_input).transpose()?,
        read: decode_progress(stored.read.as_ref())?,
        write,
        write_progress: decode_progress(stored.write_progress.as_ref())?,
        blocks: stored.blocks,
        suggests: stored.suggests,
        restarts: stored.restarts,
    })
}

fn encode_progress(progress: &Progress) -> v1::Progress {
    let (phase, until_ms, failure) = match &progress.phase {
        Phase::Idle => (Stored::Idle, 0, None),
        Phase::Asked => (Stored::Asked, 0, None),
        Phase::Waiting { until, because } => (Stored::Waiting, until.0, because.as_ref()),
        Phase::Held(_) => (Stored::Held, 0, None),
        Phase::Done => (Stored::Done, 0, None),
        Phase::Failed(failure) => (Stored::Failed, 0, Some(failure)),
    };
    let withheld = match &progress.phase {
        Phase::Held(withheld) => Some(encode_withheld(withheld)),
        Phase::Idle | Phase::Asked | Phase::Waiting { .. } | Phase::Done | Phase::Failed(_) => None,
    };
    v1::Progress {
        phase: phase.into(),
        until_ms,
        failure: failure.map(encode_failure),
        withheld,
        attempts: progress.attempts,
        counted: progress.counted,
        failing_since_ms: progress.failing_since.map(|t| t.0),
    }
}

fn decode_progress(stored: Option<&v1::Progress>) -> Decoded<Progress> {
    let stored = require(stored, "progress")?;
    let phase = match Stored::try_from(stored.phase).map_err(|_| DecodeError("phase"))? {
        Stored::Idle => Phase::Idle,
        Stored::Asked => Phase::Asked,
        Stored::Waiting => Phase::Waiting {
            until: Timestamp(stored.until_ms),
            because: stored.failure.as_ref().map(|f| decode_failure(Some(f))).transpose()?,
        },
        Stored::Held => Phase::Held(decode_withheld(stored.withheld.as_ref())?),
        Stored::Done => Phase::Done,
        Stored::Failed => Phase::Failed(decode_failure(stored.failure.as_ref())?),
    };
    Ok(Progress {
        phase,
        attempts: stored.attempts,
        counted: stored.counted,
        failing_since: stored.failing_since_ms.map(Timestamp),
    })
}

fn encode_dead(dead: &DeadLetter) -> v1::DeadLetter {
    v1::DeadLetter {
        run: Some(encode_run(&dead.run)),
        step: step_number(dead.step),
        failure: Some(encode_failure(&dead.failure)),
        at_ms: dead.at.0,
    }
}

fn decode_dead(stored: &v1::DeadLetter) -> Decoded<DeadLetter> {
    Ok(DeadLetter {
        run: decode_run(require(stored.run.as_ref(), "run")?)?,
        step: step(stored.step)?,
        failure: decode_failure(stored.failure.as_ref())?,
        at: Timestamp(stored.at_ms),
    })
}

fn encode_seen(seen: &SeenKey) -> v1::SeenKey {
    v1::SeenKey {
        key: seen.key.to_vec(),
        body: seen.body.to_vec(),
        position: seen.position.0,
        at_ms: seen.at.0,
    }
}

fn decode_seen(stored: &v1::SeenKey) -> Decoded<SeenKey> {
    Ok(SeenKey {
        key: bytes(&stored.key, "key")?,
        body: bytes(&stored.body, "body hash")?,
        position: IntakePosition(stored.position),
        at: Timestamp(stored.at_ms),
    })
}
