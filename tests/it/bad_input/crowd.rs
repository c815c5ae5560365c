//! Thousands of clients that are silent, slow or half gone, and a good one among them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::hook::Hook;
use super::wire::Wire;
use super::{ACCEPTED, CONFIG, Desk};
use crate::support::eventually;
use crate::support::node::Node;

const CROWD: usize = 5_000;
/// Clients that come at once. The kernel drops those beyond what it keeps until it is accepted, and
/// silent ones never find out.
const STEP: usize = 500;
/// Good events sent while the crowd is there.
const GOOD: usize = 500;
/// For 99 of 100 good events among the crowd, on a machine that runs other tests.
const SLOWEST: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_silent_slow_and_half_open_clients_does_not_hurt_a_good_one() {
    may_open(2 * CROWD);
    let config = CONFIG.replace("[http]", "[http]\nconnections_per_ip_max = 10000");
    // What a login shell gives; the node must see to the handles that its limits need.
    let desk = Desk::start_node(Node::configured(&config).with_open_files(1_024)).await;
    let mut crowd = JoinSet::new();
    for number in 0..CROWD {
        if number % STEP == 0 {
            let there = async || (desk.node.sockets() >= number * 9 / 10).then_some(());
            eventually("those who came before are there", there).await;
        }
        crowd.spawn(bad_client(number, desk.address));
    }
    eventually("the crowd is there", async || (desk.node.sockets() > CROWD * 9 / 10).then_some(()))
        .await;

    let mut times = Vec::new();
    for _ in 0..GOOD {
        let began = Instant::now();
        let mut wire = desk.wire().await;
        wire.send(&Hook::event("").bytes()).await;
        let answer = wire.answer().await;
        times.push(began.elapsed());
        assert_eq!(desk.judge(answer.as_ref(), ACCEPTED), None);
    }
    assert!(desk.node.sockets() > CROWD * 8 / 10, "the crowd was there all the time");
    times.sort_unstable();
    let (median, late) = (times[GOOD / 2], times[GOOD * 99 / 100]);
    assert!(late < SLOWEST, "median {median:?}, 99 of 100 within {late:?}");

    crowd.shutdown().await;
    eventually("the crowd is forgotten", async || (desk.node.sockets() < 20).then_some(())).await;
    assert_eq!(desk.no_effect_of_the_refused().await, Vec::<String>::new());
}

/// One of the crowd; when it is closed, it comes again.
async fn bad_client(number: usize, address: SocketAddr) {
    let half = Hook::event("").set("content-length", "9999");
    let mut kind = number % 4;
    loop {
        let mut wire = Wire::connect(address).await;
        match kind {
            0 => {}
            1 => wire.send(b"POST /webhooks/news HTTP/1.1\r\nHost: de").await,
            2 => wire.send(&half.bytes()).await,
            // It says that it has nothing more to say, in the middle of a head; then it is silent.
            _ => {
                wire.send(b"POST /webhooks/news HTTP/1.1\r\n").await;
                wire.finish().await;
                kind = 0;
            }
        }
        // Stays until the node closes; an answer before that may be a 408.
        while wire.answer().await.is_some() {}
    }
}

/// Lets this process open so many files.
fn may_open(files: usize) {
    let pid = std::process::id().to_string();
    let limit = format!("--nofile={files}");
    let status = std::process::Command::new("prlimit").args(["--pid", &pid, &limit]).status();
    assert!(status.unwrap().success(), "prlimit {limit}");
}
