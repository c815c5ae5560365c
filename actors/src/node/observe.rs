//! What of a node is looked at when metrics are collected, rather than counted as it happens.

use std::sync::{Arc, Weak};

use opentelemetry::KeyValue;

use crate::World;
use crate::telemetry::{Mailbox, names};

/// Has the node's meter look at it for as long as it lives.
pub(super) fn observe(world: &Arc<World>) {
    gauge(world, "copydesk.backlog", "{event}", "Accepted events that have not ended", |world| {
        vec![(world.backlog(), None)]
    });
    gauge(world, "copydesk.dead_letters", "{run}", "Runs that wait for an operator", |world| {
        vec![(world.partitions.dead_letters(), None)]
    });
    gauge(world, "copydesk.posts.known", "{post}", "Posts with a history", |world| {
        vec![(world.remembered.count(), None)]
    });
    gauge(world, "copydesk.partitions.owned", "{partition}", "Partitions worked on", |world| {
        vec![(u64::try_from(world.partitions.held().len()).unwrap_or(u64::MAX), None)]
    });
    gauge(world, "copydesk.nodes", "{node}", "Nodes that share the log", |world| {
        vec![(world.partitions.nodes(), None)]
    });
    count_taken(world);
    let what = "Messages with work that no actor has taken out yet";
    gauge(world, "copydesk.mailbox.depth", "{message}", what, |world| {
        let depth =
            |(of, name)| (world.telemetry.depth(of), Some(KeyValue::new(names::NAME, name)));
        let mut all: Vec<_> = Mailbox::ALL.map(depth).into();
        let lent = world.credits_max.saturating_sub(world.credits.available_permits());
        let lent = u64::try_from(lent).unwrap_or(u64::MAX);
        all.push((lent, Some(KeyValue::new(names::NAME, "sequencers"))));
        all
    });
    let what = "Posts with unfinished work, by what they wait for";
    gauge(world, "copydesk.waiting.posts", "{post}", what, |world| {
        let posts = world.telemetry.waits().oldest();
        posts.into_iter().map(|(wait, posts, _)| (posts, Some(reason(wait.name())))).collect()
    });
    let what = "Age of the oldest event that waits, by what it waits for";
    gauge(world, "copydesk.waiting.age", "s", what, |world| {
        let now = World::now();
        let posts = world.telemetry.waits().oldest();
        let age = |since: Option<_>| since.map_or(0, |since| now.since_ms(since) / 1_000);
        posts.into_iter().map(|(wait, _, s)| (age(s), Some(reason(wait.name())))).collect()
    });
}

fn count_taken(world: &Arc<World>) {
    let seen: Weak<World> = Arc::downgrade(world);
    let _registered = world
        .telemetry
        .meter()
        .u64_observable_counter("copydesk.partitions.taken")
        .with_unit("{partition}")
        .with_description("Partitions taken, from nodes that died (dead) or free ones (free)")
        .with_callback(move |observer| {
            let Some(world) = seen.upgrade() else { return };
            let (dead, free) = world.partitions.taken();
            observer.observe(dead, &[KeyValue::new(names::OUTCOME, "dead")]);
            observer.observe(free, &[KeyValue::new(names::OUTCOME, "free")]);
        })
        .build();
}

fn reason(name: &'static str) -> KeyValue {
    KeyValue::new(names::WAIT_REASON, name)
}

/// The meter outlives the node; it must not keep it.
fn gauge(
    world: &Arc<World>,
    name: &'static str,
    unit: &'static str,
    what: &'static str,
    look: impl Fn(&World) -> Vec<(u64, Option<KeyValue>)> + Send + Sync + 'static,
) {
    let seen: Weak<World> = Arc::downgrade(world);
    let _registered = world
        .telemetry
        .meter()
        .u64_observable_gauge(name)
        .with_unit(unit)
        .with_description(what)
        .with_callback(move |observer| {
            let Some(world) = seen.upgrade() else { return };
            for (value, label) in look(&world) {
                observer.observe(value, label.as_slice());
            }
        })
        .build();
}
