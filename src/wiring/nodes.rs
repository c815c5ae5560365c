//! The nodes that share the log, as the admin API shows them.

use copydesk_actors::World;
use copydesk_actors::cluster::{Cluster, Seen};
use copydesk_core::limits::LEASE_RENEW_MS;
use copydesk_core::roster::Member;
use copydesk_proto::{NodeName, Timestamp};

use crate::admin::NodeRow;

/// A row for each node; one for this process where nobody shares the log.
pub(super) fn node_rows(
    world: &World,
    cluster: Option<&Cluster>,
    started_at: Timestamp,
) -> Vec<NodeRow> {
    let Some(cluster) = cluster else { return vec![alone(world, started_at)] };
    let Some(seen) = cluster.seen() else { return Vec::new() };
    let members = seen.roster.members.iter();
    members.map(|(name, member)| row(&seen, name, member, *name == cluster.name)).collect()
}

fn alone(world: &World, started_at: Timestamp) -> NodeRow {
    NodeRow {
        node: "this".to_owned(),
        this: true,
        state: "works".to_owned(),
        partitions: world.partitions.held(),
        backlog: world.backlog(),
        lease_age_ms: 0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        joined_at: started_at.0,
    }
}

fn row(seen: &Seen, name: &NodeName, member: &Member, this: bool) -> NodeRow {
    let beat = seen.beats.iter().find(|(of, _)| of == name);
    let age = beat.map_or(0, |(_, at)| at.elapsed().as_millis());
    let lease_age_ms = u64::try_from(age).unwrap_or(u64::MAX);
    let state = match (member.leaving, lease_age_ms > 3 * LEASE_RENEW_MS) {
        (_, true) => "silent",
        (true, false) => "leaves",
        (false, false) => "works",
    };
    NodeRow {
        node: name.to_string(),
        this,
        state: state.to_owned(),
        partitions: seen.roster.held_by(name),
        backlog: member.backlog,
        lease_age_ms,
        version: member.release.clone(),
        joined_at: member.joined_at.0,
    }
}
