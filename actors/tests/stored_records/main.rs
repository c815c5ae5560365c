//! Every stored version of any release stays readable: what `proto/fixtures/records.v1.json` holds
//! is read as the same value for good, and what this release writes is what stands there.
//!
//! `COPYDESK_WRITE_FIXTURES=1 cargo test -p copydesk-actors --test stored_records` adds the records
//! of new examples. A record that stands there is never rewritten.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod cluster;
mod desk;
mod states;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use copydesk_actors::records::{Decision, DecisionHead, Intake, Replay};
use copydesk_core::budget::{BudgetName, Period, Withheld};
use copydesk_core::content::{Answer, Field, FieldValue, FieldWrite, Mode};
use copydesk_core::failure::{Failure, FailureClass};
use copydesk_core::post::{
    Asked, End, Incoming, Input, IntakePosition, Lane, NoticeNumber, Phase, PlanStep, PostEvent,
    Redo, RunId, SourceVersion, Step, WriteNumber,
};
use copydesk_core::roster::Roster;
use copydesk_eventlog::{Record, Sequence};
use copydesk_proto::{ContentHash, Timestamp, TraceContext, v1};

const AT: Timestamp = Timestamp(1_764_064_800_000);
const RUN: RunId = RunId(IntakePosition(7));

/// A record as this release reads it.
#[derive(Debug, Clone, PartialEq)]
enum Stored {
    Webhook(Box<Intake>),
    Decision(Box<Decision>),
    Desk(v1::DeskDecision),
    Access(v1::AccessDecision),
    Subscriber(v1::SubscriberDecision),
    Costs(v1::CostsBooked),
    Archived(v1::PayloadsArchived),
    Job(Box<v1::JobRecord>),
    Tick(v1::ScheduleTick),
    Roster(Box<Roster>),
}

impl Stored {
    fn write(&self) -> Vec<u8> {
        match self {
            Self::Webhook(intake) => intake.record(&"news/42".parse().unwrap()).payload.to_vec(),
            Self::Decision(decision) => decision.record(&subject(), Sequence(0)).payload.to_vec(),
            Self::Desk(desk) => copydesk_proto::encode(desk).to_vec(),
            Self::Access(access) => copydesk_proto::encode(access).to_vec(),
            Self::Subscriber(event) => copydesk_proto::encode(event).to_vec(),
            Self::Costs(costs) => copydesk_proto::encode(costs).to_vec(),
            Self::Archived(archived) => copydesk_proto::encode(archived).to_vec(),
            Self::Job(job) => copydesk_proto::encode(&**job).to_vec(),
            Self::Tick(tick) => copydesk_proto::encode(tick).to_vec(),
            Self::Roster(roster) => roster.encode().to_vec(),
        }
    }

    /// The same kind of record from bytes.
    fn read(&self, bytes: Vec<u8>) -> Self {
        let record = Record {
            sequence: Sequence(1),
            time_ms: AT.0,
            subject: subject(),
            headers: Vec::new(),
            payload: bytes.clone().into(),
        };
        match self {
            Self::Webhook(_) => Self::Webhook(Box::new(Intake::read(&record).unwrap())),
            Self::Decision(_) => {
                let decision = Decision::read(&record).unwrap();
                let head = DecisionHead::read(&record).unwrap();
                assert_eq!(
                    (&head.summary, head.decided_at, head.owner),
                    (&decision.summary, decision.decided_at, decision.owner)
                );
                Self::Decision(Box::new(decision))
            }
            Self::Desk(_) => Self::Desk(copydesk_proto::decode(bytes.into()).unwrap()),
            Self::Access(_) => Self::Access(copydesk_proto::decode(bytes.into()).unwrap()),
            Self::Subscriber(_) => Self::Subscriber(copydesk_proto::decode(bytes.into()).unwrap()),
            Self::Costs(_) => Self::Costs(copydesk_proto::decode(bytes.into()).unwrap()),
            Self::Archived(_) => Self::Archived(copydesk_proto::decode(bytes.into()).unwrap()),
            Self::Job(_) => Self::Job(Box::new(copydesk_proto::decode(bytes.into()).unwrap())),
            Self::Tick(_) => Self::Tick(copydesk_proto::decode(bytes.into()).unwrap()),
            Self::Roster(_) => Self::Roster(Box::new(Roster::decode(bytes.into()).unwrap())),
        }
    }
}

#[test]
fn stored_records_stay_readable() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../proto/fixtures/records.v1.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|_| "{}".to_owned());
    let mut fixtures: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
    let examples = examples();
    if std::env::var_os("COPYDESK_WRITE_FIXTURES").is_some() {
        for (name, value) in &examples {
            fixtures.entry(name.clone()).or_insert_with(|| hex(&value.write()));
        }
        let text = serde_json::to_string_pretty(&fixtures).unwrap() + "\n";
        std::fs::write(&path, text).unwrap();
    }
    let known: BTreeSet<_> = examples.keys().collect();
    assert_eq!(fixtures.keys().collect::<BTreeSet<_>>(), known, "fixtures and examples differ");
    for (name, value) in &examples {
        let stored = unhex(&fixtures[name]);
        assert_eq!(value.read(stored.clone()), *value, "{name} is read as something else");
        assert_eq!(hex(&value.write()), fixtures[name], "{name} is written otherwise");
    }
}

#[test]
fn every_kind_of_event_has_a_fixture() {
    let seen: BTreeSet<_> = events().iter().map(|(_, event)| kind(event)).collect();
    assert_eq!(seen, KINDS.into(), "an event of post/event.rs is missing here");
}

/// Events of `record.proto`: the numbers of its oneof.
const KINDS: [u32; 22] =
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 21, 30, 31];

/// The number of an event in `record.proto`; a new event does not compile before it is here.
fn kind(event: &PostEvent) -> u32 {
    match event {
        PostEvent::Accepted(_) => 1,
        PostEvent::Ignored { .. } => 2,
        PostEvent::Ended { .. } => 3,
        PostEvent::RunStarted { .. } => 4,
        PostEvent::StepAsked { .. } => 5,
        PostEvent::PostRead { .. } => 6,
        PostEvent::StepSkipped { .. } => 7,
        PostEvent::EnrichmentAnswered { .. } => 8,
        PostEvent::WriteIntended { .. } => 9,
        PostEvent::WriteApplied { .. } => 10,
        PostEvent::WriteRefused { .. } => 11,
        PostEvent::AttemptFailed { .. } => 12,
        PostEvent::RunEnded { .. } => 13,
        PostEvent::DeadLettered { .. } => 14,
        PostEvent::RetryRequested { .. } => 15,
        PostEvent::RunResumed { .. } => 16,
        PostEvent::DeadLetterDropped { .. } => 17,
        PostEvent::Checkpointed(_) => 18,
        PostEvent::StepHeld { .. } => 20,
        PostEvent::Erased { .. } => 21,
        PostEvent::NoticeOwed { .. } => 30,
        PostEvent::NoticePosted { .. } => 31,
    }
}

fn examples() -> BTreeMap<String, Stored> {
    let decision = |event: PostEvent| {
        Stored::Decision(Box::new(Decision {
            summary: summary(),
            events: vec![event],
            decided_at: AT,
            trace: Some(trace()),
            owner: 0x0123_4567_89ab_cdef,
            epoch: 0,
        }))
    };
    let mut all: BTreeMap<_, _> = events()
        .into_iter()
        .map(|(name, event)| (format!("event_{name}"), decision(event)))
        .collect();
    let owing = Decision {
        summary: v1::Summary { owed: 1, ..summary() },
        events: vec![states::notice_owed(None)],
        decided_at: AT,
        trace: None,
        owner: 0x0123_4567_89ab_cdef,
        epoch: 0,
    };
    all.insert("decision_owing".to_owned(), Stored::Decision(Box::new(owing)));
    all.insert("webhook".to_owned(), Stored::Webhook(Box::new(webhook())));
    let bare = Intake {
        external_id: String::new(),
        version: None,
        text_hash: None,
        trace: None,
        route: None,
        ..webhook()
    };
    all.insert("webhook_bare".to_owned(), Stored::Webhook(Box::new(bare)));
    let replay = Replay { by: "ann".to_owned(), job: "4b0a".to_owned() };
    let replayed = Intake { replay: Some(replay), ..webhook() };
    all.insert("webhook_replay".to_owned(), Stored::Webhook(Box::new(replayed)));
    let again = Intake { again: true, ..webhook() };
    let sent = Intake { sent_by: "ann".to_owned(), key_id: String::new(), ..webhook() };
    all.insert("webhook_again".to_owned(), Stored::Webhook(Box::new(again)));
    all.insert("webhook_sent_by".to_owned(), Stored::Webhook(Box::new(sent)));
    let tick = v1::ScheduleTick {
        schema_version: copydesk_proto::SCHEMA_VERSION,
        tick_ms: AT.0,
        done: true,
        posts: 40,
        owner: 0x0123_4567_89ab_cdef,
        at_ms: AT.0 + 60_000,
    };
    all.insert("schedule_tick".to_owned(), Stored::Tick(tick));
    all.extend(cluster::examples());
    all.extend(desk::examples());
    all
}

/// One event of each kind, and more where a kind has several shapes.
fn events() -> Vec<(&'static str, PostEvent)> {
    let mut events = queue_events();
    events.extend(run_events());
    events.extend(
        ends().into_iter().map(|(name, end)| (name, PostEvent::RunEnded { run: RUN, end })),
    );
    let (mut early, late) = (states::state(), states::state());
    // Early releases did not say what a try waits for.
    let tried = early.run.as_mut().unwrap();
    tried.steps[1].progress.phase = Phase::Waiting { until: AT.after_ms(500), because: None };
    events.push(("checkpointed", PostEvent::Checkpointed(Box::new(early))));
    events.push(("checkpointed_because", PostEvent::Checkpointed(Box::new(late))));
    events.push(("checkpointed_owed", PostEvent::Checkpointed(Box::new(states::owed_state()))));
    events.push(("checkpointed_held", PostEvent::Checkpointed(Box::new(states::held_state()))));
    events
}

fn queue_events() -> Vec<(&'static str, PostEvent)> {
    let end = End::Duplicate { of: IntakePosition(3) };
    let modified = Some(SourceVersion::Modified(AT.0));
    let bare = Incoming { version: None, route: None, text: None, ..incoming(9) };
    let backfill = Incoming { lane: Lane::Backfill, ..incoming(10) };
    let by = || "ann".to_owned();
    let retry = |reason: &str, redo| PostEvent::RetryRequested {
        run: RUN,
        by: by(),
        reason: reason.to_owned(),
        redo,
    };
    let drop = |reason: &str| PostEvent::DeadLetterDropped {
        run: RUN,
        by: by(),
        reason: reason.to_owned(),
    };
    vec![
        ("accepted", PostEvent::Accepted(incoming(7))),
        ("accepted_modified", PostEvent::Accepted(Incoming { version: modified, ..incoming(8) })),
        ("accepted_bare", PostEvent::Accepted(bare)),
        ("accepted_again", PostEvent::Accepted(Incoming { again: true, ..incoming(8) })),
        ("ignored", PostEvent::Ignored { incoming: incoming(8), end }),
        ("ended", PostEvent::Ended { position: IntakePosition(7), end: End::Gone }),
        ("accepted_backfill", PostEvent::Accepted(backfill)),
        ("retry_requested", retry("", Redo::default())),
        ("retry_requested_anew", retry("new key", redo())),
        ("run_resumed", PostEvent::RunResumed { run: RUN }),
        ("notice_owed", states::notice_owed(None)),
        ("notice_owed_dead", states::notice_owed(Some(failure(FailureClass::Terminal)))),
        ("notice_posted", PostEvent::NoticePosted { notice: NoticeNumber(2) }),
        ("dead_letter_dropped", drop("")),
        ("dead_letter_dropped_because", drop("spam")),
        ("erased", PostEvent::Erased { by: "ann".to_owned(), reason: "a request".to_owned() }),
    ]
}

fn redo() -> Redo {
    Redo {
        from: Some(Step::Enrich(1)),
        values: vec![(0, FieldValue::Text("By hand.".to_owned()))],
        providers: vec![(1, "other".parse().unwrap())],
    }
}

fn withheld() -> Withheld {
    let budget = BudgetName::Provider("main".parse().unwrap());
    Withheld { budget, period: Period::Month, until: Some(AT.after_ms(9_000)), since: AT }
}

fn run_events() -> Vec<(&'static str, PostEvent)> {
    let (run, attempt, at, write) = (RUN, 2, AT, WriteNumber(5));
    let failed_of = |failure, retry_at, of| {
        let step = Step::Enrich(1);
        PostEvent::AttemptFailed { run, step, attempt, failure, retry_at, at, of }
    };
    let failed = |failure, retry_at| failed_of(failure, retry_at, None);
    let of = || Some(Asked { provider: "main".parse().unwrap(), field: Field::Excerpt });
    let answered_by = failure(FailureClass::Retry).cost(70).response("<h1>Bad gateway</h1>");
    let unavailable = failure(FailureClass::Unavailable).retry_after_ms(Some(7_000));
    let kept = vec![Field::Meta("seo_text".to_owned())];
    let answered_of =
        |answer, reused, of| PostEvent::EnrichmentAnswered { run, step: 0, answer, reused, of };
    let answered = |answer, reused| answered_of(answer, reused, None);
    let answer_text = || answer(FieldValue::Text("A summary.".to_owned()));
    let (fields, stored) = (writes(), vec![(Field::Excerpt, hash("stored"))]);
    let input = input();
    vec![
        (
            "run_started",
            PostEvent::RunStarted {
                run,
                plan: plan(),
                blocks: true,
                suggests: false,
                input: Some(input),
                again: false,
            },
        ),
        (
            "run_started_unread",
            PostEvent::RunStarted {
                run,
                plan: vec![],
                blocks: false,
                suggests: false,
                input: None,
                again: false,
            },
        ),
        (
            "run_started_suggesting",
            PostEvent::RunStarted {
                run,
                plan: plan(),
                blocks: false,
                suggests: true,
                input: None,
                again: false,
            },
        ),
        (
            "run_started_again",
            PostEvent::RunStarted {
                run,
                plan: plan(),
                blocks: false,
                suggests: true,
                input: None,
                again: true,
            },
        ),
        ("step_asked_read", PostEvent::StepAsked { run, step: Step::Read, attempt: 1, at }),
        ("step_asked_write", PostEvent::StepAsked { run, step: Step::Write, attempt, at }),
        ("step_asked_enrich", PostEvent::StepAsked { run, step: Step::Enrich(1), attempt, at }),
        ("post_read", PostEvent::PostRead { run, input }),
        ("step_skipped", PostEvent::StepSkipped { run, step: 1 }),
        ("enrichment_answered", answered(answer_text(), false)),
        ("enrichment_answered_of", answered_of(answer_text(), false, of())),
        ("enrichment_reused", answered(answer(FieldValue::List(vec!["a".to_owned()])), true)),
        ("write_intended", PostEvent::WriteIntended { run, write, fields }),
        (
            "write_suggested",
            PostEvent::WriteApplied {
                run,
                write,
                stored: vec![],
                kept: vec![],
                suggested: vec![Field::Title],
            },
        ),
        ("write_applied", PostEvent::WriteApplied { run, write, stored, kept, suggested: vec![] }),
        ("write_refused", PostEvent::WriteRefused { run, write }),
        ("attempt_failed", failed(failure(FailureClass::Retry), Some(AT.after_ms(500)))),
        ("attempt_failed_unavailable", failed(unavailable, Some(AT.after_ms(7_000)))),
        ("attempt_failed_terminal", failed(failure(FailureClass::Terminal), None)),
        ("attempt_failed_response", failed_of(answered_by, Some(AT.after_ms(500)), of())),
        ("step_held", PostEvent::StepHeld { run, step: Step::Enrich(0), withheld: withheld() }),
        (
            "dead_lettered",
            PostEvent::DeadLettered {
                run,
                step: Step::Write,
                failure: failure(FailureClass::Terminal),
                at,
            },
        ),
    ]
}

fn ends() -> Vec<(&'static str, End)> {
    vec![
        ("run_ended_applied", End::Applied),
        ("run_ended_kept", End::Kept),
        ("run_ended_suggested", End::Suggested),
        ("run_ended_unchanged", End::Unchanged),
        ("run_ended_superseded", End::Superseded { by: IntakePosition(9) }),
        ("run_ended_filtered", End::Filtered { rule: "nothing_to_say".to_owned() }),
        ("run_ended_gone", End::Gone),
        ("run_ended_dropped", End::Dropped { by: "ann".to_owned() }),
    ]
}

fn webhook() -> Intake {
    Intake {
        event_id: "019ab0c4-7f00-7000-8000-000000000001".to_owned(),
        source: "news".parse().unwrap(),
        event_type: "provider.completed".to_owned(),
        external_id: "job-17".to_owned(),
        idempotency_key: "5f0c9a52-9f5e-4c1e-8f6a-0d9f1a2b3c4d".to_owned(),
        body_hash: [0xb0; 32],
        version: Some(SourceVersion::Sequence(12)),
        text_hash: Some(hash("text")),
        again: false,
        received_at: AT,
        key_id: "k1".to_owned(),
        sent_by: String::new(),
        trace: Some(trace()),
        body: b"{\"event\":\"provider.completed\"}".as_slice().into(),
        route: Some("summaries".parse().unwrap()),
        replay: None,
    }
}

fn incoming(position: u64) -> Incoming {
    Incoming {
        position: IntakePosition(position),
        key: [u8::try_from(position).unwrap(); 16],
        body: [0xb0; 8],
        source: "news".parse().unwrap(),
        route: Some("summaries".parse().unwrap()),
        version: Some(SourceVersion::Sequence(position)),
        text: Some(hash("text")),
        again: false,
        received_at: AT,
        lane: Lane::Live,
    }
}

fn summary() -> v1::Summary {
    v1::Summary {
        considered: 7,
        waiting: 1,
        dead: 2,
        state: "retrying".to_owned(),
        wake_at_ms: AT.0 + 500,
        events: 31,
        owed: 0,
    }
}

fn plan() -> Vec<PlanStep> {
    let step = |enrichment: &str, field, mode| PlanStep {
        enrichment: enrichment.parse().unwrap(),
        provider: "main".parse().unwrap(),
        field,
        mode,
        prompt_version: 3,
    };
    vec![step("summary", Field::Excerpt, Mode::Apply), step("tags", Field::Tags, Mode::Suggest)]
}

fn writes() -> Vec<FieldWrite> {
    let write = |field, value, mode, base| FieldWrite { field, value, mode, base };
    let text = FieldValue::Text("A summary.".to_owned());
    let list = FieldValue::List(vec!["Lindau".to_owned(), "Brücke".to_owned()]);
    vec![
        write(Field::Excerpt, text, Mode::Apply, Some(hash("before"))),
        write(Field::Tags, list, Mode::ApplyIfEmpty, None),
    ]
}

fn answer(value: FieldValue) -> Answer {
    Answer {
        enrichment: "summary".parse().unwrap(),
        value,
        model: "gpt-4o-mini".to_owned(),
        input_tokens: 812,
        output_tokens: 64,
        cost_microdollars: 160,
    }
}

fn failure(class: FailureClass) -> Failure {
    Failure::new(class, "provider_error", "the service answered 500")
}

fn input() -> Input {
    Input { hash: hash("text"), modified_at: Some(AT) }
}

fn hash(text: &str) -> ContentHash {
    ContentHash::of(&[text])
}

fn trace() -> TraceContext {
    TraceContext { trace_id: [0x4b; 16], span_id: [0x0a; 8], flags: 1 }
}

fn subject() -> copydesk_eventlog::Subject {
    copydesk_eventlog::Subject::new("cd.1.news.42.ev").unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}
