//! Rows that need time, several addresses, or a node in trouble.

use std::time::{Duration, Instant};

use copydesk_eventlog::testing::NatsServer;

use super::hook::{Hook, OTHER, Signing, event_json, fresh_key};
use super::wire::{Answer, Wire};
use super::{ACCEPTED, CONFIG, Desk, EMPTY, Findings};
use crate::support::ai::Ai;
use crate::support::disk::SmallDisk;
use crate::support::eventually;
use crate::support::node::Node;
use crate::support::site::Site;

/// How late a busy machine may be.
const LATE: Duration = Duration::from_secs(4);

/// Rows 20 and 32 to 35: every client that is too slow is let go on time.
pub(super) async fn time_limits(desk: &Desk) -> Findings {
    let silent = async {
        let wire = desk.wire().await;
        until_closed(wire, None).await
    };
    let line = async { sent(desk, b"POST /web").await };
    let head = async { sent(desk, b"POST /webhooks/news HTTP/1.1\r\nHost: desk\r\n").await };
    let held = async { sent(desk, &Hook::event("").set("content-length", "9999").bytes()).await };
    let drip_head = async {
        let mut wire = desk.wire().await;
        wire.send(b"POST /webhooks/news HTTP/1.1\r\nHost: desk\r\nA: ").await;
        until_closed(wire, Some(b"a")).await
    };
    let drip_body = async {
        let mut wire = desk.wire().await;
        wire.send(&Hook::event("").set("content-length", "99999").head()).await;
        until_closed(wire, Some(&[b' '; 100])).await
    };
    let (silent, line, head, held, drip_head, drip_body) =
        tokio::join!(silent, line, head, held, drip_head, drip_body);
    let mut findings = Findings::default();
    for (row, (answer, after), limit_s, code) in [
        (32, silent, 5, None),
        (33, line, 5, None),
        (33, head, 5, None),
        (34, drip_head, 5, None),
        (20, held, 15, Some("body_timeout")),
        (35, drip_body, 15, Some("body_timeout")),
    ] {
        let limit = Duration::from_secs(limit_s);
        let early = Duration::from_millis(200);
        findings.check(
            row,
            &format!("let go after {after:?}"),
            after + early >= limit && after <= limit + LATE,
        );
        match code {
            None => findings.check(row, "an answer", answer.is_none()),
            Some(code) => findings.note(row, desk.judge(answer.as_ref(), (408, code))),
        }
    }
    findings
}

/// What a good event is answered.
async fn one_event(desk: &Desk) -> Option<Answer> {
    let mut wire = desk.wire().await;
    wire.send(&Hook::event("").bytes()).await;
    wire.answer().await
}

async fn sent(desk: &Desk, bytes: &[u8]) -> (Option<Answer>, Duration) {
    let mut wire = desk.wire().await;
    wire.send(bytes).await;
    until_closed(wire, None).await
}

/// The answer, if one comes, and how long it takes to come or the connection to close. Meanwhile
/// some bytes go out every second.
async fn until_closed(mut wire: Wire, drip: Option<&[u8]>) -> (Option<Answer>, Duration) {
    let began = Instant::now();
    loop {
        if let Some(end) = wire.answer_within(Duration::from_secs(1)).await {
            return (end, began.elapsed());
        }
        assert!(began.elapsed() < Duration::from_secs(60), "open for a minute");
        if let Some(drip) = drip {
            wire.send(drip).await;
        }
    }
}

/// Rows 44 (by address), 91 and 92.
pub(super) async fn addresses(desk: &Desk) -> Findings {
    let mut findings = Findings::default();
    let mut open = Vec::new();
    for _ in 0..100 {
        let mut wire = Wire::connect_as(2, desk.address).await;
        wire.send(&Hook::event("").bytes()).await;
        findings.note(44, desk.judge(wire.answer().await.as_ref(), ACCEPTED));
        open.push(wire);
    }
    let more = Wire::connect_as(2, desk.address).await.answer().await;
    findings.check(44, "the 101st connection is open", more.is_none());

    // No proxy is trusted, so a forged X-Forwarded-For changes nothing: the peer is counted.
    for guess in 0..2_000 {
        if guess % 1_000 == 0 {
            open = vec![Wire::connect_as(3, desk.address).await];
        }
        let forged = format!("10.0.{}.{}", guess / 250, guess % 250);
        let hook = Hook::event("").set("X-WP-Signature", "00").with("X-Forwarded-For", forged);
        open[0].send(&hook.bytes()).await;
        let answer = open[0].answer().await;
        findings.note(92, desk.judge(answer.as_ref(), (401, "bad_signature")));
    }
    let mut guesser = Wire::connect_as(3, desk.address).await;
    guesser.send(&Hook::event("").bytes()).await;
    findings.note(91, desk.judge(guesser.answer().await.as_ref(), (429, "rate_limited")));
    let mut other = Wire::connect_as(4, desk.address).await;
    other.send(&Hook::event("").bytes()).await;
    findings.note(91, desk.judge(other.answer().await.as_ref(), ACCEPTED));
    findings
}

/// Row 79: nobody learns from an answer which sources exist.
pub(super) async fn unknown_is_as_wrong(desk: &Desk) -> Findings {
    let mut bodies = Vec::new();
    for path in ["/webhooks/news", "/webhooks/nobody"] {
        let mut wire = desk.wire().await;
        let key = fresh_key();
        let signing = Signing { secret: OTHER.as_bytes(), age_s: 0, key: &key };
        wire.send(&Hook::new(&signing, event_json(&key, "")).to(path).bytes()).await;
        let answer = wire.answer().await.unwrap();
        let id = answer.json()["request_id"].as_str().unwrap().to_owned();
        bodies.push(answer.body.replace(&id, ""));
    }
    let mut findings = Findings::default();
    findings.check(79, "the answer differs from a wrong signature's", bodies[0] == bodies[1]);
    findings
}

/// Enough for the built-in summary to have something to say.
const TEXT: &str = "The council of the town voted on Tuesday to rebuild the old harbour bridge. \
    The bridge has been closed to lorries since an inspection found cracks in two of its piers. \
    Work is to begin in March and to cost eleven million euros, half of it paid by the state. \
    A ferry for pedestrians will run every ten minutes while the bridge is being rebuilt.";

/// Rows 113 and 125: what was taken is shown as sent, and an older revision ends superseded.
pub(super) async fn what_became_of_them() -> Findings {
    let site = Site::start(0, 1).await;
    let ingest = format!("url = \"{}\"\ndelivery = \"ingest\"", site.url);
    let desk = Desk::start(&CONFIG.replacen("url = \"https://wp.test\"", &ingest, 1)).await;
    let mut findings = Findings::default();
    let mut ends = Vec::new();
    for sequence in [2, 1] {
        let key = fresh_key();
        let body = format!(
            r#"{{"event":"post.published","post_id":9007199254740993,"idempotency_key":"{key}",
            "sequence":{sequence},"title":"A title","content":"{TEXT}"}}"#
        );
        let mut wire = desk.wire().await;
        wire.send(&Hook::keyed(&key, body).bytes()).await;
        let answer = wire.answer().await;
        findings.note(125, desk.judge(answer.as_ref(), ACCEPTED));
        let id = answer.unwrap().json()["event_id"].as_str().unwrap().to_owned();
        let row = eventually("the event ends", async || {
            let row = desk.node.get(&format!("/events/{id}")).await;
            let at_work = ["unconsidered", "accepted", "working", "waiting"];
            (!at_work.contains(&row["state"].as_str().unwrap())).then_some(row)
        });
        let row = row.await;
        findings.check(113, "the post's number is another", row["post"] == "news/9007199254740993");
        ends.push(row["state"].as_str().unwrap().to_owned());
    }
    findings.check(125, &format!("{ends:?}"), ends == ["suggested", "superseded"]);
    findings
}

/// Row 80: a secret that can be guessed is refused before the first request.
pub(super) fn short_secret_is_refused() -> bool {
    let node = Node::configured(CONFIG)
        .with_env("NEW_SECRET", "short")
        .with_env("OLD_SECRET", OTHER)
        .with_env("OTHER_SECRET", OTHER);
    node.run(&["serve"]).status.code() == Some(78)
}

/// Row 136.
pub(super) async fn log_down() -> Findings {
    let mut nats = NatsServer::start();
    let desk = Desk::start(&format!("{CONFIG}\n[log]\nurl = \"{}\"\n", nats.url())).await;
    nats.kill();
    let mut findings = Findings::default();
    let began = Instant::now();
    let mut wire = desk.wire().await;
    wire.send(&Hook::event("").bytes()).await;
    let answer = wire.answer().await;
    findings.note(136, desk.judge(answer.as_ref(), (503, "log_unavailable")));
    findings.check(
        136,
        "Retry-After",
        answer.is_some_and(|answer| answer.header("retry-after") == "5"),
    );
    findings.check(136, "more than 4 s", began.elapsed() < Duration::from_secs(4) + LATE);
    // Its outcome is unknown, so the sender tries again until it is taken.
    nats.restart();
    eventually("an event is taken again", async || {
        one_event(&desk).await.filter(|answer| answer.status == 202)
    })
    .await;
    findings
}

/// Row 137: the disk fills up, nothing accepted is lost, and intake goes on once there is room.
pub(super) async fn disk_full() -> Findings {
    let node = Node::configured(CONFIG);
    let disk = SmallDisk::mount(&node, "64m");
    let desk = Desk::start_node(node).await;
    let mut findings = Findings::default();
    let answer = one_event(&desk).await;
    findings.note(137, desk.judge(answer.as_ref(), (503, "log_full")));
    findings.check(
        137,
        "Retry-After",
        answer.is_some_and(|answer| answer.header("retry-after") == "60"),
    );
    disk.resize("2g");
    let taken = eventually("there is room again", async || {
        one_event(&desk).await.filter(|answer| answer.status == 202)
    });
    findings.note(137, desk.judge(Some(&taken.await), ACCEPTED));
    findings.note(137, desk.no_effect_of_the_refused().await);
    findings
}

/// Row 138: more waits than may wait.
pub(super) async fn backlog_full() -> Findings {
    let ai = Ai::start(0, Duration::from_secs(600), 1).await;
    let provider = format!(
        "[providers.main]\nkind = \"openai\"\nbase_url = \"{}\"\nmodel = \"m\"\n\
         api_key = \"env:NEWS_APP_PASSWORD\"\n",
        ai.base_url
    );
    let config = CONFIG.replace("[http]", "[http]\nbacklog_max = 1").replace(
        "[enrichments.summary]",
        &format!("{provider}[enrichments.summary]\nprovider = \"main\""),
    );
    let desk = Desk::start(&config).await;
    let mut findings = Findings::default();
    let mut wire = desk.wire().await;
    for expected in [ACCEPTED, (429, "overloaded")] {
        let key = fresh_key();
        let body = event_json(&key, r#""content":"One sentence.""#).replace("updated", "published");
        wire.send(&Hook::keyed(&key, body).bytes()).await;
        findings.note(138, desk.judge(wire.answer().await.as_ref(), expected));
    }
    findings.note(138, desk.no_effect_of_the_refused().await);
    // A source has no rate of its own: what it may send is bounded by the backlog, and its wrong
    // requests by row 91, which is where rate_limited comes from.
    findings.rows.insert(140);
    findings
}

/// Row 139: what is under way is finished, what is new is sent elsewhere.
pub(super) async fn shutting_down() -> Findings {
    let mut desk = Desk::start(CONFIG).await;
    let hook = Hook::event("").bytes();
    let (head, tail) = hook.split_at(hook.len() - 1);
    let mut begun = desk.wire().await;
    begun.send(head).await;
    let mut late = desk.wire().await;
    desk.node.terminate();
    eventually("the node is draining", async || {
        let mut probe = desk.wire().await;
        probe.send(b"GET /readyz HTTP/1.1\r\nHost: desk\r\n\r\n").await;
        probe.answer().await.filter(|answer| answer.status == 503)
    })
    .await;
    let mut findings = Findings::default();
    late.send(&Hook::event("").bytes()).await;
    let answer = late.answer().await;
    findings.note(139, desk.judge(answer.as_ref(), (503, "draining")));
    findings.check(
        139,
        "Connection",
        answer.is_some_and(|answer| answer.header("connection") == "close"),
    );
    begun.send(tail).await;
    findings.note(139, desk.judge(begun.answer().await.as_ref(), ACCEPTED));
    findings.check(139, "the exit code", desk.node.ended().success());
    findings
}

/// Row 44, in all.
pub(super) async fn few_connections() -> Findings {
    let desk = Desk::start(&CONFIG.replace("[http]", "[http]\nconnections_max = 10")).await;
    let mut findings = Findings::default();
    let mut open = Vec::new();
    for host in 2..12 {
        let mut wire = Wire::connect_as(host, desk.address).await;
        wire.send(b"GET /livez HTTP/1.1\r\nHost: desk\r\n\r\n").await;
        findings.note(44, desk.judge(wire.answer().await.as_ref(), (200, EMPTY)));
        open.push(wire);
    }
    let more = Wire::connect_as(99, desk.address).await.answer().await;
    findings.check(44, "one connection too many is open", more.is_none());
    findings
}
