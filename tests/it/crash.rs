//! The node dies at each place that matters, at its first, its third and its tenth passing, under
//! load and one death after the other on one log; then everything that was accepted has ended as
//! it should. `eventlog::crash_point` marks the places.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use copydesk_eventlog::testing::NatsServer;

use crate::pipeline::{all_is_well, node_between};
use crate::support::ai::Ai;
use crate::support::load::{Load, Plan};
use crate::support::site::Site;

/// On every log.
pub(crate) const PLACES: [&str; 14] = [
    "effect.answered",
    "enrichment.answered",
    "enrichment.asking",
    "ingress.stored",
    "node.recovered",
    "receiver.appended",
    "receiver.verified",
    "sequencer.appended",
    "sequencer.decided",
    "sequencer.loaded",
    "sequencer.saved",
    "sequencer.saving",
    "write.answered",
    "write.sending",
];
pub(crate) const EMBEDDED_PLACES: [&str; 3] = ["log.decided", "log.head_written", "log.synced"];
const JETSTREAM_PLACES: [&str; 2] = ["jetstream.published", "jetstream.publishing"];

/// SIGABRT: it died at the place, and not of something else.
pub(crate) const ABORTED: i32 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn every_place_on_the_embedded_log() {
    every_place("embedded", &EMBEDDED_PLACES, 21).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_place_on_jetstream() {
    let nats = NatsServer::start();
    every_place(&nats.url(), &JETSTREAM_PLACES, 22).await;
}

#[expect(clippy::print_stdout, reason = "a proof says how much it proves")]
async fn every_place(log: &str, places_of_the_log: &[&str], seed: u64) {
    let ai = Ai::start(5, Duration::from_millis(5), seed).await;
    let site = Site::start(5, seed).await;
    let mut node = node_between(log, &site, &ai);
    let pause = Duration::from_millis(60);
    let plan = Plan { after_post: 0, posts: 32, updates: u64::MAX, pause, seed };
    let load = Load::start(node.start().await, plan);
    node.kill();
    let mut deaths = 0;
    for place in PLACES.iter().chain(places_of_the_log) {
        for passing in [1, 3, 10] {
            // A start is passed once in a life.
            if *place == "node.recovered" && passing > 1 {
                continue;
            }
            node.set_env("EVENTLOG_CRASH_AT", &format!("{place}:{passing}"));
            let status = match node.try_start().await {
                Ok(url) => {
                    load.move_to(url);
                    node.dies().await
                }
                Err(status) => status,
            };
            assert_eq!(status.signal(), Some(ABORTED), "{place}:{passing}: {status}");
            deaths += 1;
        }
    }
    node.set_env("EVENTLOG_CRASH_AT", "");
    load.move_to(node.start().await);
    let sent = load.stop().await;
    node.quiet().await;
    all_is_well(&mut node, &sent, &site.history(), &ai).await;
    println!(
        "{deaths} deaths at {} places, {} events accepted: 0 lost, doubled, out of order or stale; \
         below {:.1} % a death",
        PLACES.len() + places_of_the_log.len(),
        sent.accepted.len(),
        300.0 / f64::from(deaths),
    );
}
