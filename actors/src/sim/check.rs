//! The history checker: what the outside saw, joined with what the log says. The numbers
//! of the invariants are those of docs/proof.md.

use std::collections::{BTreeMap, BTreeSet};

use copydesk_core::post::PostEvent;
use copydesk_eventlog::{EventLog, NoSnapshots, Sequence};
use copydesk_proto::PostKey;

use super::sender::FORGED;
use super::site::Stands;
use super::{World, subscriber};
use crate::desk::query::{EventFilter, EventRow, events};
use crate::desk::verify::verify;
use crate::records::{DECISIONS, Decision, INTAKE, Intake, Subjects, post_of};
use crate::sequencer::load::load;

/// States in which an event has not ended.
const OPEN: [&str; 4] = ["unconsidered", "accepted", "working", "waiting"];

/// Whether every event in the log has ended; a dead letter waits for a person and has.
pub(super) async fn all_ended(log: &dyn EventLog) -> bool {
    rows(log).await.iter().all(|row| !OPEN.contains(&row.state))
}

async fn rows(log: &dyn EventLog) -> Vec<EventRow> {
    events(log, &EventFilter::default(), 1_000).await.unwrap().rows
}

/// How everything stands at the end, for comparing two runs.
pub(super) fn final_words(world: &World) -> BTreeMap<PostKey, Stands> {
    world.posts.iter().map(|key| (key.clone(), world.site.stands(key))).collect()
}

/// Everything that is wrong.
pub(super) async fn violations(world: &World) -> Vec<String> {
    let mut wrong = [world.site.wrong(), world.outbox.wrong()].concat();
    let log = world.network.inner();
    let rows = rows(log).await;
    accepted_is_durable(world, &rows, &mut wrong);
    let intakes = no_phantom(world, &mut wrong).await;
    writes_are_fenced_and_land_once(world, &mut wrong).await;
    newest_stands(world, &rows, &mut wrong);
    paid_once(world, &mut wrong).await;
    snapshots_are_folds(world, &mut wrong).await;
    subscriber::told(world, &mut wrong).await;
    for row in rows.iter().filter(|row| row.cause.is_empty() && row.state != "applied") {
        wrong.push(format!("I22 {}: {} without a cause", row.post, row.state));
    }
    // The log's own side: I4, I5, I10 and what else it can show by itself.
    let report = verify(log, |_| {}).await.unwrap();
    wrong.extend(report.violations.iter().map(|v| {
        let post = v.post.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("verify {post} at {}: {}: {}", v.position, v.rule, v.text)
    }));
    if intakes == 0 {
        wrong.push("nothing was taken in".to_owned());
    }
    wrong
}

/// I1: what was accepted is there, and has ended. I4: once.
fn accepted_is_durable(world: &World, rows: &[EventRow], wrong: &mut Vec<String>) {
    let ends: BTreeMap<&str, &EventRow> =
        rows.iter().map(|row| (row.event_id.as_str(), row)).collect();
    for event in world.outbox.events() {
        for id in &event.accepted {
            match ends.get(id.as_str()) {
                None => {
                    wrong.push(format!("I1 {} v{}: accepted and lost", event.key, event.version))
                }
                Some(row) if OPEN.contains(&row.state) => {
                    wrong.push(format!("I1 {} v{}: {}", event.key, event.version, row.state));
                }
                Some(row) if row.post != event.key => {
                    wrong.push(format!("I15 {} v{}: is {}'s", event.key, event.version, row.post));
                }
                Some(_) => {}
            }
        }
    }
}

/// I2: the log holds only what was sent. I3: nothing forged is in it.
async fn no_phantom(world: &World, wrong: &mut Vec<String>) -> usize {
    let sent: BTreeSet<(PostKey, String, Vec<u8>)> = world
        .outbox
        .events()
        .into_iter()
        .map(|event| (event.key, event.idempotency_key, event.body.to_vec()))
        .collect();
    let records = world.network.inner().read(Sequence(0), INTAKE, 10_000).await.unwrap();
    for record in &records {
        let intake = Intake::read(record).unwrap();
        let key = post_of(&record.subject).unwrap();
        // A notice is ours; whether it may be there, `subscriber` looks at.
        if key.subscriber().is_some() {
            continue;
        }
        if !sent.contains(&(key, intake.idempotency_key, intake.body.to_vec())) {
            wrong.push(format!("I2 record {}: nobody sent it", record.sequence));
        }
    }
    records.len()
}

/// I6: numbers grow. I7: each lands once, and the log knows it.
async fn writes_are_fenced_and_land_once(world: &World, wrong: &mut Vec<String>) {
    let mut last: BTreeMap<PostKey, u64> = BTreeMap::new();
    let mut ids: BTreeSet<String> = BTreeSet::new();
    let mut landed: BTreeSet<(PostKey, u64)> = BTreeSet::new();
    for write in world.site.applied() {
        let before = last.insert(write.key.clone(), write.number).unwrap_or(0);
        if write.number <= before {
            wrong.push(format!("I6 {}: write {} after {before}", write.key, write.number));
        }
        if !ids.insert(write.delivery_id.clone()) {
            wrong.push(format!("I7 {}: delivery id used twice", write.key));
        }
        if write.wrote == Some(FORGED) {
            wrong.push(format!("I3 {}: forged words were written", write.key));
        }
        landed.insert((write.key, write.number));
    }
    let mut logged = BTreeSet::new();
    let log = world.network.inner();
    for record in log.read(Sequence(0), DECISIONS, 100_000).await.unwrap() {
        let key = post_of(&record.subject).unwrap();
        // The write of a notice is its handing over.
        if key.subscriber().is_some() {
            continue;
        }
        for event in Decision::read(&record).unwrap().events {
            match event {
                PostEvent::WriteApplied { write, .. } if !logged.insert((key.clone(), write.0)) => {
                    wrong.push(format!("I7 {key}: write {} is applied twice", write.0));
                }
                PostEvent::DeadLettered { run, failure, .. } if failure.cause.is_empty() => {
                    wrong.push(format!("I22 {key}: {} is dead without a cause", run.0.0));
                }
                _ => {}
            }
        }
    }
    for (key, number) in logged.difference(&landed) {
        wrong.push(format!("I7 {key}: write {number} is logged and did not land"));
    }
    for (key, number) in landed.difference(&logged) {
        wrong.push(format!("I7 {key}: write {number} landed and is not logged"));
    }
}

/// I8: the newest words stand, unless a person's do (I9) or the post has a dead letter.
fn newest_stands(world: &World, rows: &[EventRow], wrong: &mut Vec<String>) {
    for key in &world.posts {
        let Stands { version, shows, by_a_person } = world.site.stands(key);
        let dead = rows.iter().any(|row| row.post == *key && row.state == "dead");
        if shows != Some(version) && !by_a_person && !dead {
            wrong.push(format!("I8 {key}: shows {shows:?}, is at version {version}"));
        }
    }
}

/// I13: no call about a text after its answer is in the log. With two owners the second may have
/// begun before it could know.
async fn paid_once(world: &World, wrong: &mut Vec<String>) {
    let mut answered: BTreeMap<(PostKey, u64), u64> = BTreeMap::new();
    let log = world.network.inner();
    for record in log.read(Sequence(0), DECISIONS, 100_000).await.unwrap() {
        let key = post_of(&record.subject).unwrap();
        for event in Decision::read(&record).unwrap().events {
            if let PostEvent::EnrichmentAnswered { answer, reused: false, .. } = event {
                let copydesk_core::content::FieldValue::Text(text) = &answer.value else {
                    continue;
                };
                let (_, version) = super::marked(text).unwrap();
                answered.entry((key.clone(), version)).or_insert(record.sequence.0);
            }
        }
    }
    for call in world.service.calls() {
        let at = answered.get(&(call.key.clone(), call.version));
        if world.lab.plan.owners == 1 && at.is_some_and(|at| *at <= call.at) {
            wrong.push(format!(
                "I13 {} v{}: asked about again after its answer",
                call.key, call.version
            ));
        }
        if call.version == FORGED {
            wrong.push(format!("I3 {}: forged words were asked about", call.key));
        }
    }
}

/// I12: a snapshot and the tail give what all of the log gives.
async fn snapshots_are_folds(world: &World, wrong: &mut Vec<String>) {
    let log = world.network.inner();
    for key in &world.posts {
        let subjects = Subjects::of(key);
        let all = load(log, &NoSnapshots, key, &subjects).await.unwrap().state;
        let short = load(log, world.snapshots.inner(), key, &subjects).await.unwrap().state;
        if all != short {
            wrong.push(format!("I12 {key}: the snapshot tells another story than the log"));
        }
    }
}
