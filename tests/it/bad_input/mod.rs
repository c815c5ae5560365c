//! The catalogue of bad input, row by row, over raw sockets against the real program: the exact
//! status and code of each row, and afterwards no effect of anything refused, no word of it in
//! the node's log, and no panic. Also clients that are silent, slow or half gone, by the thousand.
//!
//! | rows | where |
//! | --- | --- |
//! | 1–43 framing, 127–135 paths | `framing.rs` |
//! | 45–54 content headers, 55–90 authentication | `authentication.rs` |
//! | 93–126 bodies | `body.rs` |
//! | 20, 32–35 time, 44 and 91–92 addresses, 125 and 136–140 state | `states.rs` |
//!
//! Where the answer is not what one would expect first, the reason stands beside the row.

mod authentication;
mod body;
mod crowd;
mod framing;
mod hook;
mod states;
mod wire;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Mutex;

use hook::{Hook, OLD, OTHER, SECRET};
use wire::{Answer, Wire};

use crate::support::node::Node;

/// Stands in every request: a header, and where it can be in the body. Must come back nowhere.
const CANARY: &str = "cAnArY-7f3e9a";

const ROWS: u16 = 140;
const ACCEPTED: (u16, &str) = (202, "accepted");
const DUPLICATE: (u16, &str) = (202, "duplicate");
/// What hyper answers before our code runs: a status and no body.
const EMPTY: &str = "";

/// A connection of its own: these bytes get these answers, in order, and then this.
#[derive(Debug, Clone)]
struct Case {
    row: u16,
    what: String,
    bytes: Vec<u8>,
    answers: Vec<(u16, &'static str)>,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The connection takes another request.
    Stays,
    /// The node closes it.
    Closes,
    /// We say that no more comes, and then the node closes it.
    Fin,
}

fn case(
    row: u16,
    what: &str,
    bytes: impl AsRef<[u8]>,
    answers: &[(u16, &'static str)],
    end: End,
) -> Case {
    let what = what.chars().take(60).collect();
    Case { row, what, bytes: bytes.as_ref().to_vec(), answers: answers.to_vec(), end }
}

/// What came of the rows looked at.
#[derive(Debug, Default)]
struct Findings {
    rows: BTreeSet<u16>,
    wrong: Vec<String>,
}

impl Findings {
    /// A row was looked at; `Some` says what is wrong with it.
    fn note(&mut self, row: u16, wrong: impl IntoIterator<Item = String>) {
        self.rows.insert(row);
        self.wrong.extend(wrong.into_iter().map(|wrong| format!("row {row}: {wrong}")));
    }

    fn check(&mut self, row: u16, what: &str, holds: bool) {
        self.note(row, (!holds).then(|| what.to_owned()));
    }

    fn join(&mut self, other: Self) {
        self.rows.extend(other.rows);
        self.wrong.extend(other.wrong);
    }
}

/// A node that takes webhooks, and the ids it said it accepted.
struct Desk {
    node: Node,
    address: SocketAddr,
    accepted: Mutex<BTreeSet<String>>,
}

impl Desk {
    async fn start(config: &str) -> Self {
        Self::start_node(Node::configured(config)).await
    }

    async fn start_node(node: Node) -> Self {
        let mut node = node
            .with_env("NEW_SECRET", SECRET)
            .with_env("OLD_SECRET", OLD)
            .with_env("OTHER_SECRET", OTHER)
            .with_env("RUST_LOG", "debug");
        let url = node.start().await;
        let address = url.strip_prefix("http://").unwrap().parse().unwrap();
        Self { node, address, accepted: Mutex::default() }
    }

    async fn wire(&self) -> Wire {
        Wire::connect(self.address).await
    }

    /// Keeps the id of an accepted event; says what is wrong with the answer.
    fn judge(&self, answer: Option<&Answer>, expected: (u16, &str)) -> Option<String> {
        let Some(answer) = answer else { return Some("no answer".to_owned()) };
        let (status, code) = expected;
        let json = answer.json();
        if answer.status == 202 && json["status"] == "accepted" {
            let id = json["event_id"].as_str().unwrap().to_owned();
            self.accepted.lock().unwrap().insert(id);
        }
        if answer.status != status || (status == 202 && !code.is_empty() && json["status"] != code)
        {
            return Some(format!("{} {}, not {expected:?}", answer.status, answer.body));
        }
        let code = if status == 202 { EMPTY } else { code };
        answer.misfit(code).map(|misfit| format!("{misfit}: {answer:?}"))
    }

    async fn run(&self, case: &Case) -> Option<String> {
        let mut wire = self.wire().await;
        wire.send(&case.bytes).await;
        if case.end == End::Fin {
            wire.finish().await;
        }
        for expected in &case.answers {
            if let Some(wrong) = self.judge(wire.answer().await.as_ref(), *expected) {
                return Some(format!("{}: {wrong}", case.what));
            }
        }
        if case.end == End::Stays {
            wire.send(&Hook::event("").bytes()).await;
            let wrong = self.judge(wire.answer().await.as_ref(), ACCEPTED);
            return wrong.map(|wrong| format!("{}, the request after it: {wrong}", case.what));
        }
        let more = wire.answer().await;
        more.map(|more| format!("{}: still open, {more:?}", case.what))
    }

    /// I3: what was refused has no effect; and nothing of it is in the node's log.
    async fn no_effect_of_the_refused(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let stored = self.stored().await;
        let accepted = self.accepted.lock().unwrap().clone();
        if stored != accepted {
            let odd: Vec<_> = stored.symmetric_difference(&accepted).collect();
            wrong.push(format!("stored and accepted differ: {odd:?}"));
        }
        let said = std::fs::read_to_string(self.node.log_file()).unwrap();
        for word in [CANARY, "panicked", SECRET, OLD, OTHER] {
            if said.contains(word) {
                wrong.push(format!("the node's log says {word}"));
            }
        }
        wrong
    }

    /// The id of every event in the log, but for those known to be repeats.
    async fn stored(&self) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        let mut cursor = String::new();
        loop {
            let page = self.node.get(&format!("/events?limit=200{cursor}")).await;
            let rows = page["rows"].as_array().unwrap();
            ids.extend(rows.iter().map(|row| row["event_id"].as_str().unwrap().to_owned()));
            let Some(next) = page["next"].as_str() else { return ids };
            cursor = format!("&cursor={next}");
        }
    }
}

const CONFIG: &str = r#"
[http]
listen = "127.0.0.1:0"
public_hosts = ["desk"]
[sites.news]
url = "https://wp.test"
user = "copydesk"
application_password = "env:NEWS_APP_PASSWORD"
[sites.other]
url = "https://other.test"
user = "copydesk"
application_password = "env:NEWS_APP_PASSWORD"
[sources.news]
secrets = [{ id = "k1", value = "env:NEW_SECRET" }, { id = "k0", value = "env:OLD_SECRET" }]
hosts = ["wp.test"]
[sources.rotated]
site = "news"
secrets = [{ id = "k1", value = "env:NEW_SECRET" }]
[sources.closed]
site = "news"
enabled = false
secrets = [{ id = "k1", value = "env:NEW_SECRET" }]
[sources.other]
secrets = [{ id = "k1", value = "env:OTHER_SECRET" }]
[enrichments.summary]
[[routes]]
source = "news"
events = ["post.published"]
enrich = ["summary"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_answered_as_the_catalogue_says() {
    let (mut findings, events, down, full, busy, closing, few) = tokio::join!(
        rows_of_a_healthy_node(),
        states::what_became_of_them(),
        states::log_down(),
        states::disk_full(),
        states::backlog_full(),
        states::shutting_down(),
        states::few_connections(),
    );
    for other in [events, down, full, busy, closing, few] {
        findings.join(other);
    }
    assert!(findings.wrong.is_empty(), "{:#?}", findings.wrong);
    let missing: Vec<u16> = (1..=ROWS).filter(|row| !findings.rows.contains(row)).collect();
    assert!(missing.is_empty(), "rows that nobody looked at: {missing:?}");
}

async fn rows_of_a_healthy_node() -> Findings {
    let desk = Desk::start(CONFIG).await;
    let mut findings = Findings::default();
    let one_by_one = async {
        let mut findings = Findings::default();
        for case in [framing::cases(), authentication::cases(), body::cases()].concat() {
            findings.note(case.row, desk.run(&case).await);
        }
        findings
    };
    let (cases, times, addresses, unknown) = tokio::join!(
        one_by_one,
        states::time_limits(&desk),
        states::addresses(&desk),
        states::unknown_is_as_wrong(&desk),
    );
    for other in [cases, times, addresses, unknown] {
        findings.join(other);
    }
    findings.wrong.extend(desk.no_effect_of_the_refused().await);
    findings.check(80, "a start with a short secret", states::short_secret_is_refused());
    findings
}
