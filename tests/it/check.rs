//! `copydesk check` names what is wrong and says what to do, each trouble made for real.

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use copydesk_eventlog::testing::NatsServer;
use serde_json::json;

use crate::support::client;
use crate::support::node::{Node, Parts};
use crate::wordpress::site::WordPress;

/// Exit code of a configuration that cannot be used (sysexits.h, `EX_CONFIG`).
const EXIT_CONFIG: i32 = 78;

/// Larger than any answer of a small site.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What `check` said.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    all: String,
}

impl Said {
    fn by(node: &Node) -> Self {
        let output = node.run(&["check"]);
        let all = [output.stdout, output.stderr].concat();
        Self { code: output.status.code(), all: String::from_utf8(all).unwrap() }
    }

    /// What is wrong, each with the advice below it.
    fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut lines = self.all.lines().peekable();
        while let Some(line) = lines.next() {
            if let Some(what) = line.strip_prefix("WRONG") {
                let help = lines.next_if(|next| next.trim_start().starts_with("-> "));
                wrong.push(format!("{}\n{}", what.trim(), help.unwrap_or_default().trim()));
            }
        }
        wrong
    }

    /// Exactly one thing is wrong, and it is said in these words.
    fn only(&self, subject: &str, words: &[&str]) {
        let wrong = self.wrong();
        assert_eq!((self.code, wrong.len()), (Some(1), 1), "{}", self.all);
        assert!(wrong[0].starts_with(&format!("{subject}: ")), "{}", self.all);
        for word in words {
            assert!(wrong[0].contains(word), "{word:?} is missing: {}", self.all);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_wrong_with_a_good_configuration() {
    let wordpress = WordPress::alone().await;
    for delivery in ["core", "ingest"] {
        let said = Said::by(&wordpress.node("embedded", delivery, ""));
        assert_eq!((said.code, said.wrong().len()), (Some(0), 0), "{}", said.all);
        for subject in ["configuration", "data folder", "log", "site news", "provider main"] {
            let ok = |line: &str| line.starts_with("ok") && line.contains(&format!(" {subject}: "));
            assert!(said.all.lines().any(ok), "{subject} is not ok: {}", said.all);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_application_password_is_named() {
    let wordpress = WordPress::alone().await;
    let node = wordpress.node("embedded", "core", "");
    let said = Said::by(&node.with_env("NEWS_APP_PASSWORD", "abcd efgh ijkl mnop qrst uvwx"));
    let words = [
        "does not accept this user with this application password",
        "-> make a new application password",
    ];
    said.only("site news", &words);
    assert!(!said.all.contains("abcd efgh"), "the password is shown: {}", said.all);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_wordpress_is_named() {
    let wordpress = WordPress::alone().await;
    // Bound and never listened on: it stays ours, and refuses every connection.
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    let node = at(&wordpress, &url);
    Said::by(&node)
        .only("site news", &["no connection to the site", "is the url right and the server up?"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stripped_authorization_header_is_named() {
    let wordpress = WordPress::alone().await;
    let router = Router::new().fallback(pass_on).with_state(wordpress.url().to_owned());
    let node = at(&wordpress, &serve(router).await);
    let words = [
        "the Authorization header does not reach WordPress",
        "-> pass the header on",
        "CGIPassAuth On",
    ];
    Said::by(&node).only("site news", &words);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_ai_key_is_named() {
    let wordpress = WordPress::alone().await;
    let refuse = async || {
        let error = json!({"error": {"message": "Incorrect API key", "code": "invalid_api_key"}});
        (StatusCode::UNAUTHORIZED, Json(error))
    };
    let url = serve(Router::new().fallback(refuse)).await;
    let provider = format!(
        "kind = \"openai\"\nbase_url = \"{url}/v1\"\napi_key = \"env:AI_KEY\"\nmodel = \"m\""
    );
    let node = wordpress.node("embedded", "core", &provider).with_env("AI_KEY", "canary-key-5678");
    let said = Said::by(&node);
    said.only("provider main", &["refused the key (HTTP 401)", "check providers.main.api_key"]);
    assert!(!said.all.contains("canary"), "the key is shown: {}", said.all);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unwritable_folder_is_named() {
    let wordpress = WordPress::alone().await;
    let node = wordpress.node("embedded", "core", "");
    // Rights do not stop root, who runs the tests in a container; a file where the folder should
    // be stops everyone.
    std::fs::write(node.data_dir(), "a file").unwrap();
    let inside = node.data_dir().join("data");
    let node = node.with_env("COPYDESK_DATA_DIR", inside.to_str().unwrap());
    let words = [
        inside.to_str().unwrap(),
        "cannot be written",
        "-> let the user that runs copydesk own it",
        "data_dir",
    ];
    Said::by(&node).only("data folder", &words);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_nats_server_is_named() {
    let wordpress = WordPress::alone().await;
    let nats = NatsServer::start_version("2.10.26");
    let node = wordpress.node(&nats.url(), "core", "");
    Said::by(&node).only("log", &["upgrade nats-server", "2.10.26", "at least"]);
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let site = "url = \"http://127.0.0.1\"\nuser = \"copydesk\"\nconcurency = 4\n\
                application_password = \"env:NEWS_APP_PASSWORD\"";
    let node = Node::new(&Parts { log: "embedded", site, provider: "", route: "" });
    let file = node.data_dir().with_file_name("copydesk.toml");
    let text = std::fs::read_to_string(file).unwrap();
    let line = 1 + text.lines().position(|line| line.starts_with("concurency")).unwrap();
    let said = Said::by(&node);
    assert_eq!(said.code, Some(EXIT_CONFIG), "{}", said.all);
    let place = format!("copydesk.toml:{line}:1: ");
    for words in [&place, "unknown key `concurency`", "did you mean `concurrency`?"] {
        assert!(said.all.contains(words), "{words:?} is missing: {}", said.all);
    }
}

/// A node that looks for WordPress at this address.
fn at(wordpress: &WordPress, url: &str) -> Node {
    let site = wordpress.table(url, "core");
    let parts = Parts { log: "embedded", site: &site, provider: "", route: "" };
    Node::new(&parts).with_env("NEWS_APP_PASSWORD", wordpress.password())
}

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// A proxy that drops the Authorization header, as Apache with CGI does.
async fn pass_on(State(site): State<String>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut headers = parts.headers;
    headers.remove(header::AUTHORIZATION);
    headers.remove(header::HOST);
    headers.remove(header::CONTENT_LENGTH);
    let body = axum::body::to_bytes(body, BODY_BYTES_MAX).await.unwrap();
    let request = client().request(parts.method, format!("{site}{}", parts.uri)).headers(headers);
    let answer = request.body(body).send().await.unwrap();
    let (status, content_type) =
        (answer.status(), answer.headers().get(header::CONTENT_TYPE).cloned());
    let bytes: Bytes = answer.bytes().await.unwrap();
    let mut response = (status, bytes).into_response();
    if let Some(content_type) = content_type {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    response
}
