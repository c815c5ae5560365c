use std::sync::Arc;

use copydesk_core::content::{Answer, Field, FieldValue};
use copydesk_core::failure::{Failure, FailureClass};
use copydesk_core::post::{Asked, IntakePosition, PostEvent, RunId, Step};
use copydesk_eventlog::{EventLog, MemoryLog, Sequence};
use copydesk_proto::{PostKey, Timestamp, v1};
use ractor::Actor;
use tokio::sync::oneshot;

use super::*;
use crate::World;
use crate::alerts::Alerts;
use crate::cluster::{Partitions, Sharers};
use crate::records::{Decision, Subjects};
use crate::treasury::{Opening, TreasuryActor, TreasuryMessage};

const DAY_MS: i64 = 86_400_000;

fn of() -> Option<Asked> {
    Some(Asked { provider: "main".parse().unwrap(), field: Field::Excerpt })
}

fn answered(cost_microdollars: u64, reused: bool) -> PostEvent {
    let answer = Answer {
        enrichment: "summary".parse().unwrap(),
        value: FieldValue::Text("x".to_owned()),
        model: "m".to_owned(),
        input_tokens: 10,
        output_tokens: 2,
        cost_microdollars,
    };
    PostEvent::EnrichmentAnswered {
        run: RunId(IntakePosition(1)),
        step: 0,
        answer,
        reused,
        of: of(),
    }
}

fn failed(cost_microdollars: u64) -> PostEvent {
    PostEvent::AttemptFailed {
        run: RunId(IntakePosition(1)),
        step: Step::Enrich(0),
        attempt: 1,
        failure: Failure::new(FailureClass::Retry, "code", "cause").cost(cost_microdollars),
        retry_at: None,
        at: Timestamp(0),
        of: of(),
    }
}

async fn decide(log: &MemoryLog, post: &str, day: i64, owner: u64, events: Vec<PostEvent>) {
    let key: PostKey = post.parse().unwrap();
    let subject = Subjects::of(&key).decisions;
    let last = log.last(&subject).await.unwrap().map_or(Sequence(0), |record| record.sequence);
    let decision = Decision {
        summary: v1::Summary::default(),
        events,
        decided_at: Timestamp(day * DAY_MS + 5),
        trace: None,
        owner,
        epoch: 0,
    };
    log.append(decision.record(&subject, last)).await.unwrap();
}

fn total(rows: &[(CostRow, CostSums)]) -> u64 {
    rows.iter().map(|(_, sums)| sums.cost_microdollars).sum()
}

#[tokio::test]
async fn answers_and_failed_calls_are_in_the_books_and_kept_answers_are_not() {
    let log = MemoryLog::default();
    decide(&log, "news/1", 100, 1, vec![answered(7, false), answered(7, true)]).await;
    decide(&log, "blog/1", 101, 1, vec![failed(5), answered(3, false)]).await;
    let opened = open(&log).await.unwrap();
    let spent: u64 = opened.spent.iter().map(|(.., microdollars)| microdollars).sum();
    assert_eq!(spent, 15);
    let mut books = Books::default();
    books.catch_up(&log).await.unwrap();
    let rows = |filter| books.rows(&filter);
    let blog = CostFilter { site: Some("blog".to_owned()), ..CostFilter::default() };
    assert_eq!(total(&rows(blog)), 8);
    let first = CostFilter { until_day: Some(101), ..CostFilter::default() };
    assert_eq!(total(&rows(first)), 7);
    let by_model = grouped(&rows(CostFilter::default()), &[CostKey::Model]);
    let sums: Vec<_> = by_model
        .iter()
        .map(|(row, sums)| (row.model.as_str(), sums.calls, sums.failed, sums.cost_microdollars))
        .collect();
    assert_eq!(sums, [("", 0, 1, 5), ("m", 2, 0, 10)]);
}

/// Whatever was written down and wherever the node died, the books say what the decisions say.
#[tokio::test]
async fn a_start_finds_the_books_from_what_was_written_down_and_what_came_after() {
    let log = MemoryLog::default();
    let today = World::now().0 / DAY_MS;
    let mut spent = 0;
    for life in 1..=4 {
        let opened = open(&log).await.unwrap();
        assert_eq!(opened.spent.iter().map(|(.., m)| m).sum::<u64>(), spent, "life {life}");
        let opening = Opening {
            caps: Vec::new(),
            spent: opened.spent.clone(),
            alerts: Alerts::none(),
            sharers: Sharers::default(),
        };
        let (treasury, _) = Actor::spawn(None, TreasuryActor, opening).await.unwrap();
        let node = (life, Arc::new(Partitions::all()));
        let start = (Arc::new(log.clone()) as Arc<dyn EventLog>, opened, treasury.clone(), node);
        let (ledger, _) = Actor::spawn(None, LedgerActor, start).await.unwrap();
        for post in 0..3 {
            // Half of it by another node: the treasury learns of it from the log.
            let key = format!("news/{}", life * 10 + post);
            decide(&log, &key, today, if post == 0 { 99 } else { life }, vec![answered(10, false)])
                .await;
            spent += 10;
        }
        if life % 2 == 0 {
            ledger.cast(LedgerMessage::Book).unwrap();
        }
        let (reply, rows) = oneshot::channel();
        ledger.cast(LedgerMessage::Rows(CostFilter::default(), reply)).unwrap();
        assert_eq!(total(&rows.await.unwrap().unwrap()), spent);
        let (reply, status) = oneshot::channel();
        treasury.cast(TreasuryMessage::Status(reply)).unwrap();
        let booked: Vec<_> = status.await.unwrap().iter().map(|s| s.day_spent).collect();
        assert_eq!(booked, [spent - 20, spent - 20], "all but what this node settles itself");
    }
}

#[test]
fn a_writing_down_without_its_end_counts_for_nothing() {
    let mut books = Books::default();
    let row = |n: usize| CostRow {
        day: 1,
        site: format!("s{n}"),
        provider: "main".to_owned(),
        enrichment: "summary".to_owned(),
        field: "excerpt".to_owned(),
        model: "m".to_owned(),
    };
    for n in 0..=books::ROWS_MAX {
        books.fill(row(n));
    }
    let parts = books.booked();
    assert_eq!(parts.iter().map(|part| part.more).collect::<Vec<_>>(), [true, false]);
}
