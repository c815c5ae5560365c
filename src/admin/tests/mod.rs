#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod document;
mod door;
mod folder;
mod matrix;
mod requests;
mod stream;
mod tokens;

use std::sync::{Arc, Mutex};

use axum::body::Body;
use copydesk_actors::World;
use copydesk_actors::desk::TokenBook;
use copydesk_actors::desk::trace::Trace;
use copydesk_actors::ledger::{CostFilter, CostKey};
use copydesk_core::access::{Reach, Role, Signed, Token};
use copydesk_core::budget::BudgetName;
use copydesk_core::holds::HoldScope;
use copydesk_eventlog::MemoryLog;
use copydesk_proto::PostKey;
use futures::{FutureExt, StreamExt, stream as parts};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::http::Drain;

/// A desk with the sites `news` and `blog`, a post `news/42` and an event `e-1` of it; writes down
/// what it is asked to do.
#[derive(Default)]
pub(crate) struct Fake {
    asked: Mutex<Vec<String>>,
}

fn line(position: u64) -> JourneyLine {
    let text = "received post.published".to_owned();
    JourneyLine { at_ms: 7, kind: "received".to_owned(), text, position }
}

fn post_row() -> PostRow {
    let (post, status) = ("news/42".to_owned(), "idle".to_owned());
    PostRow { post, status, considered: 3, waiting: 0, dead: 0, last_at: 7 }
}

fn event_row() -> EventRow {
    EventRow {
        event_id: "e-1".to_owned(),
        post: "news/42".to_owned(),
        source: "news".to_owned(),
        event_type: "post.published".to_owned(),
        position: 3,
        received_at: 7,
        state: "applied".to_owned(),
        cause: String::new(),
    }
}

fn dead_letter_row(run: u64) -> DeadLetterRow {
    DeadLetterRow {
        post: "news/42".to_owned(),
        run,
        step: "write".to_owned(),
        code: "wp_gone".to_owned(),
        cause: "it is gone".to_owned(),
        at: 7,
        paid: 1,
    }
}

fn hold_row(scope: &HoldScope, act: Act) -> HoldRow {
    HoldRow { scope: scope.to_string(), by: act.by, reason: act.reason, at: 7 }
}

const JOB: &str = "019ab0c47f0070008000000000000001";

fn job_row(site: &str) -> JobRow {
    JobRow {
        id: JOB.to_owned(),
        verb: "retry".to_owned(),
        filter: JobFilter { site: Some(site.to_owned()), ..JobFilter::default() },
        state: "running".to_owned(),
        by: "ann".to_owned(),
        reason: String::new(),
        created_at: 7,
        at: 7,
        targets: 2,
        done: 1,
        skipped: 0,
        failed: 0,
    }
}

fn budget_row(budget: &str) -> BudgetRow {
    BudgetRow {
        budget: budget.to_owned(),
        day_cap: Some(5_000_000),
        month_cap: None,
        day_spent: 1,
        month_spent: 2,
        reserved: 0,
    }
}

fn subscriber(name: &str) -> SubscriberView {
    let row = SubscriberRow {
        name: name.to_owned(),
        kind: "webhook".to_owned(),
        target: "https://crm.example.org/".to_owned(),
        state: "enabled".to_owned(),
        events: vec!["*".to_owned()],
        ..SubscriberRow::default()
    };
    SubscriberView { row, attempts: Vec::new() }
}

fn site_row(site: &str) -> SiteRow {
    SiteRow {
        site: site.to_owned(),
        url: format!("https://{site}.example.org/"),
        delivery: "core".to_owned(),
        password_set: true,
        breaker: "closed".to_owned(),
        in_flight: 0,
    }
}

impl Fake {
    fn did<T: Send + 'static>(&self, what: String, answer: Result<T, DeskError>) -> Asked<'_, T> {
        self.asked.lock().unwrap().push(what);
        async { answer }.boxed()
    }

    fn page<T: Send + 'static>(
        &self,
        name: &str,
        filter: &Filter,
        rows: Vec<T>,
    ) -> Asked<'_, Page<T>> {
        let next = filter.before.is_none().then_some(Cursor(9, 4));
        self.did(format!("{name} {filter:?}"), Ok(Page { rows, next }))
    }
}

impl Desk for Fake {
    fn status(&self) -> Asked<'_, Status> {
        self.did("status".to_owned(), Ok(Status { backlog: 5, ..Status::default() }))
    }

    fn events(&self, filter: Filter) -> Asked<'_, Page<EventRow>> {
        self.page("events", &filter, Vec::new())
    }

    fn event(&self, event_id: String) -> Asked<'_, EventRow> {
        let known = event_id == "e-1";
        let answer = if known { Ok(event_row()) } else { Err(DeskError::NotFound) };
        self.did(format!("event {event_id}"), answer)
    }

    fn send_event(&self, order: EventOrder) -> Asked<'_, SentRow> {
        let EventOrder { source, body, wait, by, reach } = order;
        let body = String::from_utf8_lossy(&body).into_owned();
        let known = source.as_str() == "news" && reach.has(&"news".parse().unwrap());
        let row = SentRow {
            event_id: "e-2".to_owned(),
            post: "news/42".to_owned(),
            position: 4,
            duplicate: false,
            state: "accepted".to_owned(),
            cause: String::new(),
            ended: !wait.is_zero(),
        };
        let answer = if known { Ok(row) } else { Err(DeskError::NotFound) };
        self.did(format!("send {body} to {source} for {wait:?}, says {by}"), answer)
    }

    fn follow(&self, after: Option<u64>) -> Asked<'_, Following> {
        let of = |post: &str, position| FollowLine { post: post.to_owned(), line: line(position) };
        let records = [
            vec![of("news/42", 3), of("news/42", 3)],
            vec![of("blog/7", 4)],
            vec![of("news/43", 5)],
        ];
        let lines = futures::stream::iter(records).chain(futures::stream::pending()).boxed();
        self.did(format!("follow {after:?}"), Ok(lines))
    }

    fn posts(&self, filter: Filter) -> Asked<'_, Page<PostRow>> {
        self.page("posts", &filter, vec![post_row()])
    }

    fn post(&self, post: PostKey) -> Asked<'_, PostView> {
        let known = post.to_string() == "news/42";
        let view = PostView { row: post_row(), journey: vec![line(3)] };
        self.did(format!("post {post}"), if known { Ok(view) } else { Err(DeskError::NotFound) })
    }

    fn traces(&self, of: TraceOf) -> Asked<'_, Vec<Trace>> {
        let trace = Trace {
            event_id: "e-1".to_owned(),
            post: "news/42".to_owned(),
            event_type: "post.published".to_owned(),
            position: 3,
            trace_id: String::new(),
            outcome: "applied".to_owned(),
            nodes: Vec::new(),
        };
        self.did(format!("traces {of:?}"), Ok(vec![trace]))
    }

    fn dead_letters(&self, filter: Filter) -> Asked<'_, Page<DeadLetterRow>> {
        let of_post = filter.post.as_ref().is_none_or(|post| post.to_string() == "news/42");
        let rows = if of_post { vec![dead_letter_row(3)] } else { Vec::new() };
        self.page("dead", &filter, rows)
    }

    fn dead_letter_groups(&self, filter: Filter) -> Asked<'_, Vec<DeadLetterGroupRow>> {
        self.did(format!("groups {filter:?}"), Ok(Vec::new()))
    }

    fn retry(&self, post: PostKey, run: u64, redo: RedoOrder, act: Act) -> Asked<'_, ()> {
        let redo = if redo == RedoOrder::default() { String::new() } else { format!("{redo:?}") };
        self.did(format!("retry {post} {run} {} {}{redo}", act.by, act.reason), Ok(()))
    }

    fn drop_dead_letter(&self, post: PostKey, run: u64, act: Act) -> Asked<'_, ()> {
        let refused = Err(DeskError::Refused("it runs again".to_owned()));
        self.did(format!("drop {post} {run} {} {}", act.by, act.reason), refused)
    }

    fn holds(&self) -> Asked<'_, Vec<HoldRow>> {
        let act = || Act { by: "ann".to_owned(), reason: "import".to_owned() };
        let scopes = ["all", "provider:main", "site:blog", "post:news/42"];
        let row = |scope: &str| hold_row(&scope.parse().unwrap(), act());
        self.did("holds".to_owned(), Ok(scopes.map(row).to_vec()))
    }

    fn hold(&self, scope: HoldScope, act: Act) -> Asked<'_, HoldRow> {
        let said = format!("hold {scope} {} {}", act.by, act.reason);
        self.did(said, Ok(hold_row(&scope, act)))
    }

    fn release(&self, scope: HoldScope, act: Act) -> Asked<'_, ()> {
        self.did(format!("release {scope} {} {}", act.by, act.reason), Ok(()))
    }

    fn jobs(&self) -> Asked<'_, Vec<JobRow>> {
        self.did("jobs".to_owned(), Ok(["blog", "news"].map(job_row).to_vec()))
    }

    fn job(&self, id: String) -> Asked<'_, JobRow> {
        let answer = if id == JOB { Ok(job_row("news")) } else { Err(DeskError::NotFound) };
        self.did(format!("job {id}"), answer)
    }

    fn plan_job(&self, order: JobOrder) -> Asked<'_, JobPlanRow> {
        self.did(format!("plan {order:?}"), Ok(JobPlanRow::default()))
    }

    fn start_job(&self, order: JobOrder, act: Act) -> Asked<'_, JobRow> {
        let site = order.filter.site.clone().unwrap_or_default();
        self.did(format!("start {order:?} {} {}", act.by, act.reason), Ok(job_row(&site)))
    }

    fn turn_job(&self, id: String, turn: JobTurn, act: Act) -> Asked<'_, JobRow> {
        self.did(format!("{turn:?} {id} {} {}", act.by, act.reason), Ok(job_row("news")))
    }

    fn job_results(&self, id: String, after: Option<Cursor>) -> Asked<'_, Page<JobResultRow>> {
        self.did(format!("results {id} {after:?}"), Ok(Page { rows: Vec::new(), next: None }))
    }

    fn budgets(&self) -> Asked<'_, Vec<BudgetRow>> {
        self.did("budgets".to_owned(), Ok(vec![budget_row("provider:main")]))
    }

    fn set_caps(&self, budget: BudgetName, order: CapsOrder, act: Act) -> Asked<'_, BudgetRow> {
        let said = format!("caps {budget} {order:?} {} {}", act.by, act.reason);
        self.did(said, Ok(budget_row(&budget.to_string())))
    }

    fn costs(&self, filter: CostFilter, reach: Reach, by: Vec<CostKey>) -> Asked<'_, Vec<CostRow>> {
        self.did(format!("costs {filter:?} {reach:?} {by:?}"), Ok(Vec::new()))
    }

    fn post_costs(&self, post: PostKey) -> Asked<'_, Vec<CostRow>> {
        self.did(format!("costs of {post}"), Ok(Vec::new()))
    }

    fn attempts(&self, post: PostKey) -> Asked<'_, Vec<AttemptRow>> {
        self.did(format!("attempts of {post}"), Ok(Vec::new()))
    }

    fn nodes(&self) -> Asked<'_, Vec<NodeRow>> {
        self.did("nodes".to_owned(), Ok(Vec::new()))
    }

    fn subscribers(&self) -> Asked<'_, Vec<SubscriberView>> {
        self.did("subscribers".to_owned(), Ok(vec![subscriber("crm")]))
    }

    fn add_subscriber(&self, order: SubscriberRequest, act: Act) -> Asked<'_, NewSubscriber> {
        let (secret, row) = ("whsec_secret".to_owned(), subscriber(&order.name).row);
        let said = format!("subscribe {order:?} {} {}", act.by, act.reason);
        self.did(said, Ok(NewSubscriber { secret, row: Some(row) }))
    }

    fn turn_subscriber(&self, id: String, turn: SubscriberTurn, act: Act) -> Asked<'_, ()> {
        self.did(format!("{turn:?} {id} {} {}", act.by, act.reason), Ok(()))
    }

    fn rotate_subscriber(&self, id: String, act: Act) -> Asked<'_, String> {
        let said = format!("rotate {id} {} {}", act.by, act.reason);
        self.did(said, Ok("whsec_secret".to_owned()))
    }

    fn ping_subscriber(&self, id: String) -> Asked<'_, NoticeAttemptRow> {
        self.did(format!("ping {id}"), Ok(NoticeAttemptRow::default()))
    }

    fn replay_notices(&self, id: String, order: ReplayOrder, act: Act) -> Asked<'_, u64> {
        self.did(format!("replay {id} {order:?} {} {}", act.by, act.reason), Ok(3))
    }

    fn sites(&self) -> Asked<'_, Vec<SiteRow>> {
        self.did("sites".to_owned(), Ok(["blog", "news"].map(site_row).to_vec()))
    }

    fn sources(&self) -> Asked<'_, Vec<SourceRow>> {
        let row = |site: &str| SourceRow {
            source: site.to_owned(),
            site: site.to_owned(),
            scheme: "wp-relay".to_owned(),
            events: Vec::new(),
            keys: vec![KeyRow { id: "k1".to_owned(), used_at: Some(7) }],
            looked_back_to: None,
            schedule: None,
        };
        self.did("sources".to_owned(), Ok(["blog", "news"].map(row).to_vec()))
    }

    fn providers(&self) -> Asked<'_, Vec<ProviderRow>> {
        self.did("providers".to_owned(), Ok(Vec::new()))
    }

    fn routes(&self) -> Asked<'_, Vec<RouteRow>> {
        let row = |site: &str| RouteRow {
            route: format!("r-{site}"),
            source: site.to_owned(),
            site: site.to_owned(),
            events: vec!["*".to_owned()],
            enrich: Vec::new(),
            coalesce: "every".to_owned(),
            on_dead_letter: "continue".to_owned(),
        };
        self.did("routes".to_owned(), Ok(["blog", "news"].map(row).to_vec()))
    }

    fn verify(&self) -> Asked<'_, VerifyReport> {
        self.did("verify".to_owned(), Err(DeskError::Unavailable("no log".to_owned())))
    }

    fn backup(&self) -> BackupParts {
        self.asked.lock().unwrap().push("backup".to_owned());
        parts::iter([Ok("cd-arch1".into())]).boxed()
    }
}

/// A real router and real tokens before a fake desk.
pub(crate) struct Api {
    pub(crate) api: AdminApi,
    pub(crate) book: Arc<TokenBook>,
    desk: Arc<Fake>,
    drain: Drain,
}

impl Api {
    async fn new() -> Self {
        Self::with_rate(10_000).await
    }

    async fn with_rate(requests_per_second: u32) -> Self {
        let (desk, drain) = (Arc::new(Fake::default()), Drain::default());
        let book = TokenBook::open(Arc::new(MemoryLog::default())).await.unwrap();
        let settings = AdminSettings {
            address: "127.0.0.1:9".parse().unwrap(),
            hosts: vec!["desk.example.org".to_owned()],
            requests_per_second,
        };
        let api = AdminApi::new(desk.clone(), Arc::clone(&book), &settings, drain.clone()).unwrap();
        Self { api, book, desk, drain }
    }

    /// A token, named after what it may do.
    async fn token(&self, role: Role, sites: &[&str]) -> String {
        let secret = new_token().unwrap();
        let reach = match sites {
            [] => Reach::Desk,
            sites => Reach::Sites(sites.iter().map(|site| site.parse().unwrap()).collect()),
        };
        let name = format!("{role}{}", sites.concat());
        let signed = Signed::new("test", "", World::now());
        let token = Token::new(&secret, &name, (role, reach), None, signed);
        self.book.add(&token).await.unwrap();
        secret
    }

    /// Sends; every answer keeps to the form that all have.
    async fn send(&self, request: Request<Body>) -> (StatusCode, Value) {
        let response = self.api.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let header =
            |name: &str| response.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
        assert_eq!(header("cache-control").as_deref(), Some("no-store"));
        assert_eq!(header("x-content-type-options").as_deref(), Some("nosniff"));
        assert_eq!(header("referrer-policy").as_deref(), Some("no-referrer"));
        assert!(header("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
        assert!(!response.headers().keys().any(|name| name.as_str().starts_with("access-control")));
        let id = header("x-request-id").unwrap();
        let content = header("content-type").unwrap();
        assert_eq!(content == "application/problem+json", !status.is_success(), "{content}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if !status.is_success() {
            assert_eq!(body["request_id"], id.as_str());
            assert_eq!(body["status"], status.as_u16());
        }
        (status, body)
    }

    async fn get(&self, token: &str, path: &str) -> (StatusCode, Value) {
        self.send(request(Method::GET, path, Some(token), "")).await
    }

    async fn post(&self, token: &str, path: &str, body: &str) -> (StatusCode, Value) {
        self.send(request(Method::POST, path, Some(token), body)).await
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
