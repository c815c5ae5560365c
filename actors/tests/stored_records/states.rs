//! States as snapshots and checkpoints hold them.

use copydesk_core::content::{Field, FieldValue};
use copydesk_core::failure::{Failure, FailureClass};
use copydesk_core::post::{
    End, Incoming, IntakePosition, Lane, NoticeKind, NoticeNumber, PostEvent, PostState, Redo,
    RunId, Step, WriteNumber, codec, evolve,
};
use copydesk_proto::v1;

use super::{AT, RUN, answer, failure, hash, incoming, input, plan, withheld, writes};

/// A state with something in each of its parts: a run at work, one waiting, one dead, one resumed.
pub(super) fn state() -> PostState {
    let retry_at = Some(AT.after_ms(500));
    let begin = |position| {
        let run = RunId(IntakePosition(position));
        let input = Some(input());
        let asked = |step| PostEvent::StepAsked { run, step, attempt: 1, at: AT };
        vec![
            PostEvent::Accepted(incoming(position)),
            PostEvent::RunStarted {
                run,
                plan: plan(),
                blocks: false,
                suggests: false,
                input,
                again: false,
            },
            asked(Step::Enrich(0)),
            asked(Step::Enrich(1)),
        ]
    };
    let fail = |position, retry_at| {
        let (run, failure) = (RunId(IntakePosition(position)), failure(FailureClass::Retry));
        let step = Step::Enrich(1);
        PostEvent::AttemptFailed { run, step, attempt: 1, failure, retry_at, at: AT, of: None }
    };
    let bury = |position| {
        let (run, failure) = (RunId(IntakePosition(position)), failure(FailureClass::Retry));
        PostEvent::DeadLettered { run, step: Step::Enrich(1), failure, at: AT }
    };
    let first = RunId(IntakePosition(1));
    let (write, fields) = (WriteNumber(5), writes());
    let answer = answer(FieldValue::Text("A summary.".to_owned()));
    let stored = vec![(Field::Excerpt, hash("stored"))];
    let mut history = begin(1);
    history.extend([
        PostEvent::EnrichmentAnswered { run: first, step: 0, answer, reused: false, of: None },
        PostEvent::WriteIntended { run: first, write, fields },
        PostEvent::WriteApplied { run: first, write, stored, kept: vec![], suggested: vec![] },
        PostEvent::RunEnded { run: first, end: End::Applied },
    ]);
    for position in [2, 3] {
        history.extend(begin(position));
        history.extend([fail(position, None), bury(position)]);
    }
    history.push(PostEvent::RetryRequested {
        run: RunId(IntakePosition(3)),
        by: "ann".to_owned(),
        reason: String::new(),
        redo: Redo::default(),
    });
    history.extend(begin(4));
    history.extend([fail(4, retry_at), PostEvent::Accepted(incoming(5))]);
    history.iter().fold(PostState::default(), evolve)
}

/// A run that waits for money, of an event that an import brought.
pub(super) fn held_state() -> PostState {
    let run = RunId(IntakePosition(1));
    let (step, blocks, suggests, input) = (Step::Enrich(0), false, false, Some(input()));
    [
        PostEvent::Accepted(Incoming { lane: Lane::Backfill, ..incoming(1) }),
        PostEvent::RunStarted { run, plan: plan(), blocks, suggests, input, again: false },
        PostEvent::StepAsked { run, step, attempt: 1, at: AT },
        PostEvent::StepHeld { run, step, withheld: withheld() },
    ]
    .iter()
    .fold(PostState::default(), evolve)
}

/// A run that has ended and that a subscriber is still to be told of.
pub(super) fn owed_state() -> PostState {
    let run = RunId(IntakePosition(1));
    let (blocks, suggests, input) = (false, false, Some(input()));
    let answer = answer(FieldValue::Text("A summary.".to_owned()));
    [
        PostEvent::Accepted(incoming(1)),
        PostEvent::RunStarted { run, plan: plan(), blocks, suggests, input, again: false },
        PostEvent::EnrichmentAnswered { run, step: 0, answer, reused: false, of: None },
        notice_owed(None),
        PostEvent::RunEnded { run, end: End::Applied },
    ]
    .iter()
    .fold(PostState::default(), evolve)
}

/// Snapshots hold a state by itself.
#[test]
fn a_state_survives_its_snapshot() {
    let stored = codec::encode_state(&state());
    let bytes = copydesk_proto::encode(&stored);
    let again: v1::PostState = copydesk_proto::decode(bytes).unwrap();
    assert_eq!(codec::decode_state(&again).unwrap(), state());
}

pub(super) fn notice_owed(failure: Option<Failure>) -> PostEvent {
    PostEvent::NoticeOwed {
        notice: NoticeNumber(2),
        run: RUN,
        kind: if failure.is_some() { NoticeKind::DeadLettered } else { NoticeKind::Applied },
        to: vec!["crm".parse().unwrap(), "archive".parse().unwrap()],
        kept: vec![Field::Tags],
        suggested: vec![Field::Title],
        failure,
        at: AT,
    }
}
