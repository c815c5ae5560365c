//! A subscriber: takes notices, refuses some, loses its answers to others, and keeps what came.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use copydesk_core::failure::{Failure, FailureClass};
use copydesk_core::post::{End, PostEvent};
use copydesk_core::subscribers::Spec;
use copydesk_eventlog::{EventLog, Sequence};
use copydesk_proto::PostKey;
use serde_json::Value;

use super::World;
use super::lab::{Lab, lock};
use crate::dispatcher::recovery::recover;
use crate::records::{DECISIONS, Decision, post_of};
use crate::sequencer::Remembered;
use crate::subscribers::{Parcel, Settings, TestOutlet, Way, id_of};

/// A notice waits seconds after its first failure, minutes after its second, and then half an hour.
const FAILURES_MAX: usize = 2;

/// A notice that arrived.
#[derive(Debug, Clone)]
struct Arrival {
    id: String,
    /// Which post it is about.
    about: PostKey,
    /// Whether the sender was told that it arrived.
    answered: bool,
}

/// The subscriber, over all lives of the nodes.
#[derive(Debug)]
pub(super) struct Subscriber {
    lab: Arc<Lab>,
    came: Mutex<Vec<Arrival>>,
    /// How often each notice was handed over without an answer, by its id.
    failures: Mutex<BTreeMap<String, usize>>,
}

impl Subscriber {
    pub(super) fn new(lab: Arc<Lab>) -> Self {
        Self { lab, came: Mutex::default(), failures: Mutex::default() }
    }

    /// As a node's configuration has it; none where the plan has none.
    pub(super) fn settings(self: &Arc<Self>) -> Vec<Settings> {
        let spec = Spec {
            id: "crm".parse().unwrap(),
            events: vec!["*".to_owned()],
            sites: Vec::new(),
            matches: Vec::new(),
            fields: Vec::new(),
        };
        let subscriber = Arc::clone(self);
        let way = Way::Test(TestOutlet(Arc::new(move |parcel| subscriber.take(parcel))));
        let settings = Settings { spec, way, keys: Vec::new(), places: 2 };
        Vec::from_iter(self.lab.plan.told.then_some(settings))
    }

    fn take(&self, parcel: &Parcel) -> Result<u16, Failure> {
        let body: Value = serde_json::from_slice(&parcel.body).unwrap();
        let data = |name: &str| body["data"][name].as_str().unwrap().to_owned();
        let about: PostKey = format!("{}/{}", data("site"), data("post")).parse().unwrap();
        let lab = &self.lab;
        let mut all = lock(&self.failures);
        let failures = all.entry(parcel.id.clone()).or_default();
        let answered = *failures >= FAILURES_MAX || !lab.chance(lab.plan.world_percent);
        *failures += usize::from(!answered);
        drop(all);
        // Half of what fails has not even arrived.
        let arrived = answered || lab.chance(50);
        lab.note(format_args!("notice about {about}: arrived {arrived}, answered {answered}"));
        if arrived {
            lock(&self.came).push(Arrival { id: parcel.id.clone(), about, answered });
        }
        let failure = Failure::new(FailureClass::Retry, "subscriber_refuses", "it says no");
        if answered { Ok(204) } else { Err(failure) }
    }
}

/// Whether nothing is left to tell.
pub(super) async fn all_told(world: &World) -> bool {
    let log = world.network.inner();
    let recovery = recover(log, &Remembered::default(), None).await.unwrap();
    !world.lab.plan.told || recovery.unfinished.is_empty()
}

/// I23: each end is told, at least once, under one id, the first time in the order of its post's
/// ends; and by the log once.
pub(super) async fn told(world: &World, wrong: &mut Vec<String>) {
    let came = lock(&world.subscriber.came).clone();
    let mut owed: BTreeMap<String, (PostKey, u64)> = BTreeMap::new();
    let mut handed = 0;
    let log = world.network.inner();
    for record in log.read(Sequence(0), DECISIONS, 100_000).await.unwrap() {
        let key = post_of(&record.subject).unwrap();
        let is_notice = key.subscriber().is_some();
        let mut owing = BTreeSet::new();
        for event in Decision::read(&record).unwrap().events {
            match event {
                PostEvent::NoticeOwed { notice, run, to, at, .. } => {
                    owing.insert(run);
                    owed.extend(to.into_iter().map(|to| {
                        let id = id_of(log.id().0, &key.notices_to(to), notice, at.0);
                        (id, (key.clone(), notice.0))
                    }));
                }
                PostEvent::RunEnded { .. } if is_notice => handed += 1,
                // Of the newer event that took its place they are told.
                PostEvent::RunEnded { end: End::Superseded { .. }, .. } => {}
                PostEvent::RunEnded { run, .. } | PostEvent::DeadLettered { run, .. }
                    if !owing.contains(&run) && world.lab.plan.told =>
                {
                    wrong.push(format!("I23 {key}: the end of {} is told nobody", run.0.0));
                }
                _ => {}
            }
        }
    }
    if handed != owed.len() {
        wrong.push(format!("I23 {} notices are owed, {handed} were handed over", owed.len()));
    }
    for (id, (key, number)) in &owed {
        if !came.iter().any(|arrival| arrival.id == *id && arrival.answered) {
            wrong.push(format!("I23 {key}: notice {number} never arrived"));
        }
    }
    let mut last: BTreeMap<&PostKey, u64> = BTreeMap::new();
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for arrival in came.iter().filter(|arrival| known.insert(&arrival.id)) {
        let Some((key, number)) = owed.get(&arrival.id) else {
            wrong.push(format!("I23 {}: a notice under an unknown id", arrival.about));
            continue;
        };
        let before = last.insert(key, *number).unwrap_or(0);
        if *number <= before {
            wrong.push(format!("I23 {key}: notice {number} came after notice {before}"));
        }
    }
}
