#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use copydesk_core::holds::HoldScope;
use copydesk_proto::PostKey;
use futures::{FutureExt, StreamExt};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use copydesk_actors::desk::trace::Trace;

use crate::http::Drain;

/// A desk with one post, `news/42`; writes down what it is asked to do.
#[derive(Default)]
pub(crate) struct Fake {
    asked: Mutex<Vec<String>>,
}

fn line() -> JourneyLine {
    let text = "received post.published".to_owned();
    JourneyLine { at_ms: 7, kind: "received".to_owned(), text, position: 3 }
}

fn post_row() -> PostRow {
    let (post, status) = ("news/42".to_owned(), "idle".to_owned());
    PostRow { post, status, considered: 3, waiting: 0, dead: 0, last_at: 7 }
}

fn hold_row(scope: &HoldScope, by: &str, reason: &str) -> HoldRow {
    HoldRow { scope: scope.to_string(), by: by.to_owned(), reason: reason.to_owned(), at: 7 }
}

impl Fake {
    fn did<T: Send + 'static>(&self, what: String, answer: Result<T, DeskError>) -> Asked<'_, T> {
        self.asked.lock().unwrap().push(what);
        async { answer }.boxed()
    }
}

impl Desk for Fake {
    fn status(&self) -> Asked<'_, Status> {
        self.did("status".to_owned(), Ok(Status { backlog: 5, ..Status::default() }))
    }

    fn events(&self, filter: Filter) -> Asked<'_, Vec<EventRow>> {
        self.did(format!("events {filter:?}"), Ok(Vec::new()))
    }

    fn event(&self, event_id: String) -> Asked<'_, EventRow> {
        self.did(format!("event {event_id}"), Err(DeskError::NotFound))
    }

    fn follow(&self, post: Option<PostKey>) -> Asked<'_, Following> {
        let followed = FollowLine { post: "news/42".to_owned(), line: line() };
        let lines = futures::stream::iter([followed.clone(), followed]);
        let lines = if post.is_some() {
            lines.boxed()
        } else {
            lines.chain(futures::stream::pending()).boxed()
        };
        self.did(format!("follow {post:?}"), Ok(lines))
    }

    fn posts(&self, filter: Filter) -> Asked<'_, Vec<PostRow>> {
        self.did(format!("posts {filter:?}"), Ok(vec![post_row()]))
    }

    fn post(&self, post: PostKey) -> Asked<'_, PostView> {
        self.did(format!("post {post}"), Ok(PostView { row: post_row(), journey: vec![line()] }))
    }

    fn traces(&self, of: TraceOf) -> Asked<'_, Vec<Trace>> {
        self.did(format!("traces {of:?}"), Ok(Vec::new()))
    }

    fn dead_letters(&self, filter: Filter) -> Asked<'_, Vec<DeadLetterRow>> {
        self.did(format!("dead {filter:?}"), Ok(Vec::new()))
    }

    fn retry(&self, post: PostKey, run: u64) -> Asked<'_, ()> {
        self.did(format!("retry {post} {run}"), Ok(()))
    }

    fn drop_dead_letter(&self, post: PostKey, run: u64) -> Asked<'_, ()> {
        self.did(format!("drop {post} {run}"), Err(DeskError::Refused("it runs again".to_owned())))
    }

    fn holds(&self) -> Asked<'_, Vec<HoldRow>> {
        self.did("holds".to_owned(), Ok(vec![hold_row(&HoldScope::All, "ann", "import")]))
    }

    fn hold(&self, scope: HoldScope, by: String, reason: String) -> Asked<'_, HoldRow> {
        let row = hold_row(&scope, &by, &reason);
        self.did(format!("hold {scope} {by} {reason}"), Ok(row))
    }

    fn release(&self, scope: HoldScope) -> Asked<'_, ()> {
        self.did(format!("release {scope}"), Ok(()))
    }

    fn verify(&self) -> Asked<'_, VerifyReport> {
        self.did("verify".to_owned(), Err(DeskError::Unavailable("no log".to_owned())))
    }
}

struct Api {
    api: AdminApi,
    desk: Arc<Fake>,
    drain: Drain,
}

const TOKEN: &str = "cd_0123";

impl Api {
    fn new() -> Self {
        let (desk, drain) = (Arc::new(Fake::default()), Drain::default());
        let access = Access { address: "127.0.0.1:9".parse().unwrap(), token: TOKEN.to_owned() };
        let api =
            AdminApi::new(desk.clone(), &access, &["desk.example.org".to_owned()], drain.clone());
        Self { api, desk, drain }
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, Value) {
        let response = self.api.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        assert_eq!(response.headers()["cache-control"], "no-store");
        let json = response.headers()["content-type"].to_str().unwrap().to_owned();
        let problem = json == "application/problem+json";
        assert_eq!(problem, !status.is_success(), "{json}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send(request(Method::GET, path, Some(TOKEN), "")).await
    }

    async fn post(&self, path: &str, body: &str) -> (StatusCode, Value) {
        self.send(request(Method::POST, path, Some(TOKEN), body)).await
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.desk.asked.lock().unwrap())
    }
}

fn request(method: Method, path: &str, token: Option<&str>, body: &str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:9");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.header("content-type", "application/json");
    request.body(Body::from(body.to_owned())).unwrap()
}

/// Every route, and the status a good request gets.
const ROUTES: [(&str, &str, &str, u16); 16] = [
    ("GET", "/api/v1/status", "", 200),
    ("GET", "/api/v1/events", "", 200),
    ("GET", "/api/v1/events/e-1", "", 404),
    ("GET", "/api/v1/events/follow?post=news/42", "", 200),
    ("GET", "/api/v1/posts", "", 200),
    ("GET", "/api/v1/posts/news/42", "", 200),
    ("GET", "/api/v1/traces/e-1", "", 200),
    ("GET", "/api/v1/traces/news/42", "", 200),
    ("GET", "/api/v1/dead-letters", "", 200),
    ("POST", "/api/v1/dead-letters/news/42/3/retry", "", 200),
    ("POST", "/api/v1/dead-letters/news/42/3/drop", "", 409),
    ("GET", "/api/v1/holds", "", 200),
    ("POST", "/api/v1/holds", r#"{"scope":"all"}"#, 200),
    ("POST", "/api/v1/holds/release", r#"{"scope":"all"}"#, 200),
    ("POST", "/api/v1/verify", "", 503),
    ("GET", "/nowhere", "", 404),
];

#[tokio::test]
async fn every_route_asks_for_the_token() {
    let api = Api::new();
    for (method, path, body, good) in ROUTES {
        let method: Method = method.parse().unwrap();
        for token in [None, Some(""), Some("cd_0124"), Some("cd_01234"), Some("cd_012")] {
            let (status, problem) = api.send(request(method.clone(), path, token, body)).await;
            assert_eq!(
                (status.as_u16(), &problem["code"]),
                (401, &json!("unauthorized")),
                "{path}"
            );
        }
        assert_eq!(api.asked(), [""; 0], "{path} was asked without a token");
        let request = request(method, path, Some(TOKEN), body);
        let response = api.api.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), good, "{path}");
        assert_eq!(api.asked().len(), usize::from(path != "/nowhere"), "{path}");
    }
}

#[tokio::test]
async fn metrics_need_no_token_but_one_of_our_names() {
    let api = Api::new();
    let telemetry = crate::telemetry::Telemetry::untold();
    telemetry.actors().metrics().load(true);
    let router = api.api.showing(telemetry.scrape()).router;
    let mut asked = request(Method::GET, "/metrics", None, "");
    let response = router.clone().oneshot(asked).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let shown = String::from_utf8(body.to_vec()).unwrap();
    assert!(shown.contains("copydesk_snapshot_loads_total{copydesk_outcome=\"hit\"} 1"), "{shown}");
    asked = request(Method::GET, "/metrics", None, "");
    asked.headers_mut().insert("host", "evil.test".parse().unwrap());
    let response = router.clone().oneshot(asked).await.unwrap();
    assert_eq!(response.status(), StatusCode::MISDIRECTED_REQUEST);
    // Beside them nothing is open.
    let asked = request(Method::GET, "/metrics/", None, "");
    assert_eq!(router.oneshot(asked).await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn only_our_own_host_names_are_answered() {
    let api = Api::new();
    let status = async |host: &str| {
        let mut request = request(Method::GET, "/api/v1/status", Some(TOKEN), "");
        request.headers_mut().insert("host", host.parse().unwrap());
        api.send(request).await.0.as_u16()
    };
    for own in [
        "127.0.0.1",
        "127.0.0.1:9",
        "localhost:9",
        "LOCALHOST",
        "[::1]:9",
        "127.1.2.3",
        "desk.example.org:443",
    ] {
        assert_eq!(status(own).await, 200, "{own}");
    }
    for other in [
        "evil.test",
        "localhost.evil.test",
        "10.0.0.1:9",
        "",
        "desk.example.org.evil",
        "127.0.0.1.evil.test",
    ] {
        assert_eq!(status(other).await, 421, "{other}");
    }
    let mut none = request(Method::GET, "/api/v1/status", Some(TOKEN), "");
    none.headers_mut().remove("host");
    assert_eq!(api.send(none).await.0, 421);
}

#[tokio::test]
async fn requests_reach_the_desk_as_they_were_meant() {
    let api = Api::new();
    let (_, status) = api.get("/api/v1/status").await;
    assert_eq!(status["backlog"], 5);
    let (_, posts) = api.get("/api/v1/posts?site=news&limit=200&before=9").await;
    assert_eq!(posts["rows"][0]["post"], "news/42");
    let (_, view) = api.get("/api/v1/posts/news/42").await;
    assert_eq!(view["journey"][0]["kind"], "received");
    let hold = r#"{"scope":"site:news","by":"ann","reason":"import"}"#;
    assert_eq!(api.post("/api/v1/holds", hold).await.1["scope"], "site:news");
    api.post("/api/v1/holds/release", r#"{"scope":"post:news/42"}"#).await;
    api.post("/api/v1/dead-letters/news/42/3/retry", "").await;
    let (status, problem) = api.post("/api/v1/dead-letters/news/42/3/drop", "").await;
    assert_eq!((status.as_u16(), &problem["detail"]), (409, &json!("it runs again")));
    let asked = api.asked();
    assert!(asked[1].contains("limit: 200") && asked[1].contains("before: Some(9)"), "{asked:?}");
    assert_eq!(
        asked[3..],
        ["hold site:news ann import", "release post:news/42", "retry news/42 3", "drop news/42 3"]
    );
}

#[tokio::test]
async fn wrong_forms_are_refused_before_the_desk() {
    let api = Api::new();
    for path in [
        "/api/v1/events?limit=0",
        "/api/v1/events?limit=201",
        "/api/v1/events?lmit=1",
        "/api/v1/events?post=42",
        "/api/v1/posts?site=A",
        "/api/v1/posts/news/0",
        "/api/v1/posts/News/1",
        "/api/v1/events/follow?post=x",
    ] {
        let (status, problem) = api.get(path).await;
        assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("bad_request")), "{path}");
    }
    for body in ["", "{", "[]", r#"{"scope":"evil"}"#, r#"{"scope":"all","role":"admin"}"#] {
        assert_eq!(api.post("/api/v1/holds", body).await.0, 400, "{body}");
    }
    let large = format!(r#"{{"scope":"all","reason":"{}"}}"#, "x".repeat(70_000));
    assert_eq!(api.post("/api/v1/holds", &large).await.0, 400);
    assert_eq!(api.get("/api/v1/verify").await.0, 405, "reads change nothing");
    assert_eq!(api.post("/api/v1/dead-letters/news/42/-1/retry", "").await.0, 400);
    assert_eq!(api.asked(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn following_streams_lines_shows_life_and_ends_with_the_node() {
    let api = Api::new();
    let path = "/api/v1/events/follow";
    let response =
        api.api.router.clone().oneshot(request(Method::GET, path, Some(TOKEN), "")).await;
    let mut body = response.unwrap().into_body().into_data_stream();
    for _ in 0..2 {
        let text = body.next().await.unwrap().unwrap();
        let line: FollowLine = serde_json::from_slice(&text).unwrap();
        assert_eq!((line.post.as_str(), &line.line), ("news/42", &super::tests::line()));
    }
    assert_eq!(&body.next().await.unwrap().unwrap()[..], b"\n", "after 15 s of quiet");
    api.drain.begin();
    assert!(body.next().await.is_none());
}

#[tokio::test]
async fn followers_are_bounded() {
    let api = Api::new();
    let path = "/api/v1/events/follow";
    let follow = || api.api.router.clone().oneshot(request(Method::GET, path, Some(TOKEN), ""));
    let mut open = Vec::new();
    for _ in 0..10 {
        open.push(follow().await.unwrap());
    }
    assert_eq!(api.get(path).await.0, 429);
    open.pop();
    assert_eq!(follow().await.unwrap().status(), 200);
}

#[test]
fn access_is_private_and_keeps_its_token() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("a/data");
    assert!(matches!(Access::read(&data), Err(AccessError::Missing(_))));
    let first = Access::publish(&data, "127.0.0.1:1".parse().unwrap()).unwrap();
    let second = Access::publish(&data, "127.0.0.1:2".parse().unwrap()).unwrap();
    assert_eq!(first.token, second.token);
    assert!(first.token.starts_with("cd_") && first.token.len() == 67);
    assert_eq!(Access::read(&data).unwrap(), second);
    assert!(!format!("{second:?}").contains(&second.token));
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&data), mode(&data.join(FILE_NAME))), (0o700, 0o600));

    std::fs::write(data.join(FILE_NAME), "{}").unwrap();
    assert!(matches!(Access::read(&data), Err(AccessError::Broken(_))));
    let third = Access::publish(&data, "127.0.0.1:3".parse().unwrap()).unwrap();
    assert_ne!(third.token, first.token);
}
