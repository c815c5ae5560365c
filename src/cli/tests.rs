#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use clap::{CommandFactory, Parser};
use copydesk_actors::desk::TokenBook;
use copydesk_core::refusal::{Code, Refusal};
use copydesk_core::signature::{Secret, SecretRing, WP_RELAY};
use copydesk_core::webhook::{Head, SourceRules, verify};
use copydesk_eventlog::MemoryLog;
use copydesk_proto::{SourceId, Timestamp};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::args::{Cli, InitArgs};
use super::output::{Output, plain, table, time};
use super::{init, run};
use crate::admin::tests::Fake;
use crate::admin::{Access, AdminApi, AdminSettings};
use crate::config::{Environment, Loaded};
use crate::http::{Arrival, Drain, Ingress, Intake, Receipt, Server, Storing};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A node's two listeners with nothing behind them but a fake desk and real verification.
struct Node {
    folder: TempDir,
    config: PathBuf,
    drain: Drain,
    _runtime: Runtime,
}

struct Verifying(SourceRules);

impl Intake for Verifying {
    fn knows(&self, path: &str) -> Option<SourceId> {
        path.strip_prefix("/webhooks/")?.parse().ok()
    }

    fn receive(
        &self,
        _: &SourceId,
        head: &Head<'_>,
        body: Bytes,
        _: Arrival,
    ) -> Result<Storing, Refusal> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let now = Timestamp(i64::try_from(now.as_millis()).unwrap());
        let webhook = verify(&self.0, head, &body, now)?;
        let event_id = format!("{} {}", webhook.payload.event_type, webhook.post);
        Ok(Box::pin(async { Ok(Receipt { event_id, duplicate: false }) }))
    }

    fn ready(&self) -> Result<(), Refusal> {
        Err(Code::LogUnavailable.refuse("never asked"))
    }
}

impl Node {
    fn start() -> Self {
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let drain = Drain::default();
        let any = "127.0.0.1:0".parse().unwrap();
        let bind = || runtime.block_on(Server::bind(any, 10, 10, drain.clone())).unwrap();
        let (public, admin) = (bind(), bind());
        let listen = public.address().unwrap();

        let data = folder.path().join("data");
        let book = runtime.block_on(TokenBook::open(Arc::new(MemoryLog::default()))).unwrap();
        let address = admin.address().unwrap();
        runtime.block_on(Access::open(&book, &data, address)).unwrap();
        let desk = Arc::new(Fake::default());
        let settings = AdminSettings { address, hosts: Vec::new(), requests_per_second: 1_000 };
        let api = Arc::new(AdminApi::new(desk, book, &settings, drain.clone()).unwrap());
        runtime.spawn(admin.run(api));

        let ring = SecretRing::new(vec![Secret::new("k1", SECRET.as_bytes()).unwrap()]).unwrap();
        let name = || "news".parse().unwrap();
        let rules = SourceRules::new(name(), "news".parse().unwrap(), &WP_RELAY, ring);
        let ingress = Ingress::new(Arc::new(Verifying(rules)), Vec::new(), drain.clone());
        runtime.spawn(public.run(Arc::new(ingress)));

        let config = folder.path().join("copydesk.toml");
        let text = format!(
            "data_dir = {data:?}\nhttp.listen = \"{listen}\"\n\
             [sites.news]\nurl = \"http://localhost\"\nuser = \"u\"\n\
             application_password = \"env:P\"\n\
             [sources.news]\nsecrets = [{{ id = \"k1\", value = \"env:S\" }}]\n"
        );
        std::fs::write(&config, text).unwrap();
        Self { folder, config, drain, _runtime: runtime }
    }

    /// Runs a command; what it printed, or how it failed.
    fn says(&self, args: &[&str]) -> Result<String, String> {
        self.says_in(Environment::from([("S", SECRET), ("USER", "ann")]), args)
    }

    /// Runs a command in another environment.
    fn says_in(&self, env: Environment, args: &[&str]) -> Result<String, String> {
        let config = self.config.to_str().unwrap();
        let args = ["copydesk", "--config", config].into_iter().chain(args.iter().copied());
        let cli = Cli::try_parse_from(args).unwrap();
        let printed = Printed::default();
        let output = Output::to(cli.json, Box::new(printed.clone()));
        let result = run(cli, &env, &output).map_err(|error| format!("{error:#}"))?;
        let text = String::from_utf8(printed.0.lock().unwrap().clone()).unwrap();
        // ExitCode has no equality; its Debug form has.
        let well = format!("{result:?}") == format!("{:?}", ExitCode::SUCCESS);
        if well { Ok(text) } else { Err(text) }
    }
}

#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
    for args in [
        "send --source a --url http://x --secret env:A",
        "send --url http://x",
        "send --url http://x --secret plain",
        "send --repeat 0",
        "hold a b",
        "events",
    ] {
        let args = ["copydesk"].into_iter().chain(args.split(' '));
        assert!(Cli::try_parse_from(args.clone()).is_err(), "{args:?}");
    }
}

#[test]
fn commands_show_what_the_desk_knows() {
    let node = Node::start();
    let posts = node.says(&["posts", "list"]).unwrap();
    assert_eq!(
        posts,
        "LAST                      POST     STATUS  CONSIDERED  WAITING  DEAD\n\
         1970-01-01 00:00:00.007Z  news/42  idle    3           0        0\n\
         1970-01-01 00:00:00.007Z  news/42  idle    3           0        0\n",
        "both parts of the list"
    );
    let view = node.says(&["posts", "show", "news/42"]).unwrap();
    assert!(view.contains("received  received post.published"), "{view}");
    assert_eq!(node.says(&["events", "list"]).unwrap(), "nothing\n");
    assert_eq!(node.says(&["events", "list", "--json"]).unwrap(), "[]\n");
    let rest = node.says(&["posts", "list", "--limit", "1"]).unwrap();
    assert!(rest.ends_with("more: --cursor AAAAAAAAAAkAAAAAAAAABA\n"), "{rest}");
    let all = node.says(&["posts", "list", "--limit", "500", "--json"]).unwrap();
    assert_eq!(all.matches("news/42").count(), 2, "part by part: {all}");
    assert!(node.says(&["sites"]).unwrap().contains("https://blog.example.org/"));
    assert!(node.says(&["routes"]).unwrap().contains("r-blog"));
    assert_eq!(node.says(&["providers"]).unwrap(), "nothing\n");
    let sources = node.says(&["sources"]).unwrap();
    assert!(sources.contains("wp-relay") && sources.contains("LAST TICK"), "{sources}");
    assert_eq!(node.says(&["dead-letters", "groups"]).unwrap(), "nothing\n");
    assert!(node.says(&["dead-letters", "list"]).unwrap().contains("wp_gone  it is gone"));
    assert!(node.says(&["status"]).unwrap().contains("5 events wait"));
}

#[test]
fn commands_steer_the_desk() {
    let node = Node::start();
    let held = node.says(&["hold", "site:news", "--reason", "import"]).unwrap();
    assert!(held.contains("site:news  ann via folder-"), "{held}");
    let held = node.says(&["hold", "all", "--by", "bob"]).unwrap();
    assert!(held.contains("bob via folder-"), "{held}");
    assert!(node.says(&["hold"]).unwrap().contains("all"));
    assert_eq!(node.says(&["resume", "post:news/42"]).unwrap(), "post:news/42 goes on\n");
    let retried = node.says(&["dead-letters", "retry", "news/42", "3"]).unwrap();
    assert_eq!(retried, "run 3 of news/42 is tried again\n");

    for (args, words) in [
        (&["dead-letters", "drop", "news/42", "3"][..], "it runs again"),
        (&["dead-letters", "retry", "news/43"][..], "has no dead letter"),
        (&["events", "show", "../posts"][..], "nothing by this name"),
        (&["hold", "everything"][..], "a hold is on all"),
        (&["posts", "show", "42"][..], "SITE/ID"),
        (&["verify"][..], "no log"),
        (&["posts", "list", "--cursor", "x"][..], "take the cursor"),
        (&["tokens", "add", "x", "--role", "root"][..], "a role is viewer"),
        (&["tokens", "revoke", "nobody"][..], "no live token"),
    ] {
        let error = node.says(args).unwrap_err();
        assert!(error.contains(words), "{args:?}: {error}");
    }
}

#[test]
fn tokens_are_given_used_and_revoked() {
    let node = Node::start();
    let token = node.says(&["tokens", "add", "ann", "--role", "viewer", "--site", "news"]).unwrap();
    let url = format!("http://{}", Access::read(&data(&node)).unwrap().address);
    let env = || Environment::from([("COPYDESK_URL", &*url), ("COPYDESK_TOKEN", token.trim())]);
    assert!(node.says_in(env(), &["sites"]).unwrap().contains("news"));
    let refused = node.says_in(env(), &["hold", "site:news"]).unwrap_err();
    assert!(refused.contains("takes the role operator"), "{refused}");
    let half = node.says_in(Environment::from([("COPYDESK_URL", &*url)]), &["sites"]);
    assert!(half.unwrap_err().contains("or neither"));
    let list = node.says(&["tokens", "list"]).unwrap();
    assert!(list.contains("ann") && !list.contains(token.trim()), "{list}");
    assert!(node.says(&["tokens", "revoke", "ann", "--reason", "left"]).unwrap().contains("ann ("));
    assert!(node.says_in(env(), &["sites"]).unwrap_err().contains("a live token"));
}

#[test]
fn a_node_that_is_not_there_is_said_in_words() {
    let node = Node::start();
    node.drain.begin();
    let gone =
        || std::net::TcpStream::connect(Access::read(&data(&node)).unwrap().address).is_err();
    let started = std::time::Instant::now();
    while !gone() {
        assert!(started.elapsed().as_secs() < 20, "the listener stays");
        std::thread::yield_now();
    }
    assert!(node.says(&["status"]).unwrap_err().contains("Is `copydesk serve` running?"));
    assert!(node.says(&["send"]).unwrap_err().contains("Is `copydesk serve` running?"));
    std::fs::remove_file(data(&node).join("admin.json")).unwrap();
    assert!(node.says(&["status"]).unwrap_err().contains("Start one with `copydesk serve`"));
}

fn data(node: &Node) -> PathBuf {
    node.folder.path().join("data")
}

#[test]
fn a_sent_webhook_is_one_the_ingress_takes() {
    let node = Node::start();
    let answer = node.says(&["send", "--post", "42", "--content", "Text."]).unwrap();
    assert_eq!(answer, "202 {\"status\":\"accepted\",\"event_id\":\"post.published news/42\"}\n");
    let three = node.says(&["send", "--repeat", "3", "--event", "post.updated"]).unwrap();
    assert!(three.contains("3 of 3 taken"), "{three}");
    let refused = node.says(&["send", "--event", "nonsense", "--json"]).unwrap_err();
    assert!(refused.contains("unknown_event"), "{refused}");
    let config = std::fs::read_to_string(&node.config).unwrap();
    let listen = config.split('"').nth(3).unwrap().to_owned();
    let url = format!("http://{listen}/webhooks/news");
    assert!(node.says(&["send", "--url", &url, "--secret", "env:S"]).is_ok());
    let other = node.says(&["send", "--url", &url, "--secret", "env:S", "--scheme", "provider"]);
    assert!(other.unwrap_err().contains("missing_header"));
    assert!(node.says(&["send", "--source", "blog"]).unwrap_err().contains("there is: news"));
}

#[test]
fn what_init_writes_is_a_valid_configuration() {
    for (site, url, user) in [
        ("news", "http://localhost", "copydesk"),
        ("my-site_2", "https://x.example.org/blog", "Ann \"A\" O'Hara\\"),
    ] {
        let args = InitArgs { site: site.to_owned(), url: url.to_owned(), user: user.to_owned() };
        let text = init::template(&args, Path::new("s/secret"), Path::new("s/password"));
        let config = Loaded::parse("x", text, &Environment::default()).unwrap().config;
        let written = config.sites.values().next().unwrap();
        assert_eq!((written.user.as_str(), written.url.as_str().starts_with(url)), (user, true));
        assert_eq!(config.routes[0].enrich[0].as_str(), "summary");
        assert_eq!(config.sources.keys().next().unwrap().as_str(), site);
    }
    let bad = InitArgs { site: "News".to_owned(), url: "x".to_owned(), user: String::new() };
    let text = init::template(&bad, Path::new("s"), Path::new("p"));
    assert!(Loaded::parse("x", text, &Environment::default()).is_err());
}

#[test]
fn pages_are_made_from_the_command_line() {
    let node = Node::start();
    for shell in ["bash", "zsh", "fish"] {
        assert!(node.says(&["completions", shell]).unwrap().contains("dead-letters"), "{shell}");
    }
    assert!(node.says(&["man"]).unwrap().contains(".TH copydesk 1"));
    let dir = node.folder.path().to_str().unwrap();
    node.says(&["man", "--dir", dir]).unwrap();
    assert!(node.folder.path().join("copydesk-send.1").exists());
}

#[test]
fn texts_from_elsewhere_cannot_steer_the_terminal() {
    assert_eq!(plain("a\u{1b}[2J\r\nb\u{202e}c é"), "a\u{fffd}[2J\u{fffd}\u{fffd}b\u{fffd}c é");
    let rows = [["é".to_owned(), "1".to_owned()], ["long\n".to_owned(), "2".to_owned()]];
    assert_eq!(table(["a", "b"], &rows), "A      B\né      1\nlong\u{fffd}  2");
    assert_eq!(time(1_700_000_000_123), "2023-11-14 22:13:20.123Z");
    assert_eq!(time(i64::MAX), "?");
}

#[test]
fn verify_reads_the_log_itself_when_no_node_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (config, data) = (folder.path().join("copydesk.toml"), folder.path().join("data"));
    std::fs::write(&config, format!("data_dir = {data:?}\n")).unwrap();
    let verify = || {
        let config = config.to_str().unwrap();
        let cli = Cli::try_parse_from(["copydesk", "--config", config, "verify", "--json"]);
        let printed = Printed::default();
        let output = Output::to(true, Box::new(printed.clone()));
        let code = run(cli.unwrap(), &Environment::default(), &output)?;
        let report: serde_json::Value = serde_json::from_slice(&printed.0.lock().unwrap()).unwrap();
        anyhow::Ok((format!("{code:?}"), report))
    };
    let error = verify().unwrap_err().to_string();
    assert!(error.contains("there is no"), "{error}");
    assert!(!data.exists(), "a look makes nothing");

    let dir = data.join("log");
    std::fs::create_dir_all(&data).unwrap();
    append(&dir, None);
    let (code, report) = verify().unwrap();
    assert_eq!(code, format!("{:?}", ExitCode::SUCCESS));
    assert_eq!(report["checked_records"], 0);
    assert_eq!((&report["posts"], &report["violations"]), (&0.into(), &serde_json::json!([])));

    append(&dir, Some("cd.0.news.1.in"));
    let (code, report) = verify().unwrap();
    assert_eq!(code, format!("{:?}", ExitCode::FAILURE), "{report}");
    assert_eq!(report["checked_records"], 1);
    assert!(report["violations"][0].is_string(), "{report}");
}

/// Makes a log; with a subject, one that holds a record that is none of ours.
fn append(dir: &Path, subject: Option<&str>) {
    use copydesk_eventlog::{EmbeddedLog, EventLog, NewRecord, Subject, embedded};
    let log = EmbeddedLog::open(dir, embedded::Settings::default()).unwrap();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        if let Some(subject) = subject {
            let record = NewRecord {
                subject: Subject::new(subject).unwrap(),
                message_id: None,
                expected_last: None,
                headers: Vec::new(),
                payload: Bytes::from_static(b"no protobuf"),
            };
            log.append(record).await.unwrap();
        }
        log.close().await;
    });
}

#[test]
fn every_refusal_has_a_page() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors");
    for code in Code::ALL {
        let page = std::fs::read_to_string(pages.join(format!("{}.md", code.as_str())));
        let page = page.unwrap_or_else(|error| panic!("{code:?}: {error}"));
        let title = format!("# `{}` ({}): {}\n", code.as_str(), code.status(), code.title());
        assert!(page.starts_with(&title), "{code:?} begins with {title}");
        for part in ["\nLikely causes:\n\n- ", "\nWhat to do: "] {
            assert!(page.contains(part), "{code:?} has {part:?}");
        }
    }
    // A code that went takes its page with it.
    let mut codes: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    codes.extend(crate::admin::Code::ALL.iter().map(|code| code.parts().1));
    assert_eq!(std::fs::read_dir(pages).unwrap().count(), codes.len());
}
