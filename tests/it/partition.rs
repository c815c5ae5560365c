//! S-14: cut networks. Three machines, each with a node and a NATS server; their cables are pulled
//! under load, for as long as `COPYDESK_SOAK_MINUTES` says (without it: each kind once). The others go
//! on, and afterwards nothing is lost, doubled or out of order.

use std::time::{Duration, Instant};

use crate::pipeline::{
    all_end, newest_stands_and_order_holds, node_between, nothing_is_doubled, nothing_is_forged,
    the_log_is_clean,
};
use crate::support::ai::Ai;
use crate::support::load::{Load, Plan};
use crate::support::machines::{MACHINES, Machines};
use crate::support::node::{Node, SECRET};
use crate::support::sender::{Sender, update};
use crate::support::site::Site;
use crate::support::{Random, now_ms};

/// Longer than a lease, and than NATS takes to elect a leader.
const CUT: Duration = Duration::from_secs(13);
/// From a cut until the rest takes webhooks again.
const GAP_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// One machine from everything.
    Off,
    /// Two machines from each other.
    Parted,
    /// On and off, a second each.
    Flapping,
}

const CUTS: [Cut; 3] = [Cut::Flapping, Cut::Parted, Cut::Off];

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "a proof says how much it proves")]
async fn cut_networks_lose_nothing() {
    let minutes: u64 =
        std::env::var("COPYDESK_SOAK_MINUTES").map_or(0, |text| text.parse().unwrap());
    let seed = now_ms().unsigned_abs();
    let mut random = Random::new(seed);
    let machines = Machines::start();
    let ai = Ai::start_on(&machines.host(), Duration::from_millis(5), seed).await;
    let site = Site::start_on(&machines.host(), 0, seed).await;
    let (mut nodes, mut urls) = (Vec::new(), Vec::new());
    for number in 0..MACHINES {
        let mut node = node_on(&machines, number, &site, &ai);
        urls.push(node.start().await);
        nodes.push(node);
    }
    let pause = Duration::from_millis(200);
    let plan = Plan { after_post: 0, posts: 100, updates: u64::MAX, pause, seed };
    let load = Load::start_at(urls.clone(), plan);
    let until = Instant::now() + Duration::from_secs(60 * minutes);
    let (mut cuts, mut done, mut gaps) = (CUTS.to_vec(), 0_u32, Vec::new());
    while let Some(cut) = cuts.pop() {
        let number = usize::try_from(random.below(3)).unwrap();
        gaps.push(inject(cut, number, &machines, &urls, &load).await);
        done += 1;
        if cuts.is_empty() && Instant::now() < until {
            cuts.push(CUTS[usize::try_from(random.below(3)).unwrap()]);
        }
    }
    let sent = load.stop().await;
    let node = &nodes[0];
    all_end(node, &sent).await;
    newest_stands_and_order_holds(&sent, &site.history());
    nothing_is_doubled(&site.history());
    nothing_is_forged(&site.history(), &ai);
    the_log_is_clean(node);
    gaps.sort_unstable();
    println!(
        "seed {seed}: {done} cuts, {} events accepted: 0 lost, 0 doubled, 0 out of order; below \
         {:.1} % a cut; the rest takes webhooks {:?} after the cut in the median, {:?} at most",
        sent.accepted.len(),
        300.0 / f64::from(done),
        gaps[gaps.len() / 2],
        gaps[gaps.len() - 1],
    );
}

fn node_on(machines: &Machines, number: usize, site: &Site, ai: &Ai) -> Node {
    let address = machines.address(number);
    let node = node_between(&machines.url(), site, ai);
    node.configure(|text| {
        let log = format!("replicas = 3\n[cluster]\nnode = \"n{number}\"\n");
        text.replace("[sites.news]", &format!("{log}[sites.news]"))
    });
    node.in_namespace(&machines.name(number))
        .with_env("COPYDESK_HTTP_LISTEN", &format!("{address}:0"))
        .with_env("COPYDESK_ADMIN_LISTEN", &format!("{address}:0"))
        .with_env("COPYDESK_ADMIN_ALLOW_REMOTE", "true")
        .with_env("COPYDESK_ADMIN_HOSTS", &format!("[\"{address}\"]"))
}

/// Cuts and mends. Returns how long it took until the rest took a webhook.
async fn inject(
    cut: Cut,
    number: usize,
    machines: &Machines,
    urls: &[String],
    load: &Load,
) -> Duration {
    let next = (number + 1) % MACHINES;
    let rest: Vec<String> =
        urls.iter().enumerate().filter(|(n, _)| *n != number).map(|(_, url)| url.clone()).collect();
    load.move_to_all(rest.clone());
    let mut began = Instant::now();
    match cut {
        Cut::Off => machines.cut(number),
        Cut::Parted => machines.part(number, next),
        Cut::Flapping => {
            for _ in 0..6 {
                machines.cut(number);
                tokio::time::sleep(Duration::from_secs(1)).await;
                machines.mend(number);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            began = Instant::now();
        }
    }
    let gap = until_taken(&rest, began).await;
    tokio::time::sleep(CUT.saturating_sub(began.elapsed())).await;
    match cut {
        Cut::Off => machines.mend(number),
        Cut::Parted => machines.join(number, next),
        Cut::Flapping => {}
    }
    load.move_to_all(urls.to_vec());
    gap
}

/// Sends one event, whichever of the nodes takes it.
async fn until_taken(urls: &[String], began: Instant) -> Duration {
    let sender = Sender::new(SECRET);
    let key = format!("gap-{}", now_ms());
    let body = update(9_000, u64::try_from(now_ms()).unwrap(), &key);
    loop {
        for url in urls {
            let url = format!("{url}/webhooks/news");
            let sent = tokio::time::timeout(Duration::from_secs(6), sender.send(&url, &body)).await;
            if sent.is_ok_and(|answer| answer.is_some_and(|(status, _)| status == 202)) {
                return began.elapsed();
            }
        }
        assert!(began.elapsed() < GAP_MAX, "nobody takes webhooks after a cut");
    }
}
