//! What each route asks of a token: one table. A route that is not in it is answered to nobody,
//! and the node does not start with it ([`gaps`]).

use copydesk_core::access::Role::{self, Admin, Editor, Operator, Viewer};
use http::Method;
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::PathItem;

use self::Needs::{Desk, Sites};

/// One line of the table.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) method: Method,
    /// As the router has it.
    pub(super) path: &'static str,
    /// The least role.
    pub(super) role: Role,
    pub(super) needs: Needs,
    /// Whether an answer takes reading much of the log; few are given at once.
    pub(super) heavy: bool,
}

/// How far a token must reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// To the site that is asked for. What is answered is only of the token's sites; a `{site}`
    /// in the path that it does not reach is not there.
    Sites,
    /// To the whole desk.
    Desk,
}

const fn get(path: &'static str, role: Role, needs: Needs) -> Policy {
    Policy { method: Method::GET, path, role, needs, heavy: false }
}

const fn post(path: &'static str, role: Role, needs: Needs) -> Policy {
    Policy { method: Method::POST, path, role, needs, heavy: false }
}

/// A read that takes reading much of the log.
const fn scan(path: &'static str, role: Role, needs: Needs) -> Policy {
    Policy { method: Method::GET, path, role, needs, heavy: true }
}

/// A dry run: reads much of the log, and is asked with a body.
const fn plan(path: &'static str, role: Role, needs: Needs) -> Policy {
    Policy { method: Method::POST, path, role, needs, heavy: true }
}

pub(super) const POLICIES: &[Policy] = &[
    get("/api/v1/openapi.json", Viewer, Sites),
    get("/api/v1/me", Viewer, Sites),
    get("/api/v1/status", Viewer, Desk),
    get("/api/v1/nodes", Viewer, Desk),
    scan("/api/v1/events", Viewer, Sites),
    get("/api/v1/events/stream", Viewer, Sites),
    scan("/api/v1/events/{event_id}", Viewer, Sites),
    post("/api/v1/events", Operator, Sites),
    scan("/api/v1/posts", Viewer, Sites),
    get("/api/v1/posts/{site}/{post}", Viewer, Sites),
    scan("/api/v1/dead-letters", Viewer, Sites),
    scan("/api/v1/dead-letters/groups", Viewer, Sites),
    get("/api/v1/dead-letters/{site}/{post}/{run}", Viewer, Sites),
    post("/api/v1/dead-letters/{site}/{post}/{run}/retry", Editor, Sites),
    post("/api/v1/dead-letters/{site}/{post}/{run}/drop", Editor, Sites),
    get("/api/v1/holds", Viewer, Sites),
    post("/api/v1/holds", Operator, Sites),
    post("/api/v1/holds/release", Operator, Sites),
    get("/api/v1/jobs", Viewer, Sites),
    post("/api/v1/jobs", Operator, Sites),
    plan("/api/v1/jobs/plan", Operator, Sites),
    get("/api/v1/jobs/{job}", Viewer, Sites),
    get("/api/v1/jobs/{job}/results", Viewer, Sites),
    post("/api/v1/jobs/{job}/pause", Operator, Sites),
    post("/api/v1/jobs/{job}/resume", Operator, Sites),
    post("/api/v1/jobs/{job}/cancel", Operator, Sites),
    get("/api/v1/budgets", Viewer, Desk),
    post("/api/v1/budgets", Operator, Desk),
    get("/api/v1/costs", Viewer, Sites),
    get("/api/v1/posts/{site}/{post}/attempts", Editor, Sites),
    get("/api/v1/posts/{site}/{post}/costs", Viewer, Sites),
    scan("/api/v1/traces/{event_id}", Viewer, Sites),
    get("/api/v1/traces/{site}/{post}", Viewer, Sites),
    get("/api/v1/sites", Viewer, Sites),
    get("/api/v1/sites/{site}", Viewer, Sites),
    scan("/api/v1/sources", Viewer, Sites),
    get("/api/v1/providers", Viewer, Desk),
    get("/api/v1/routes", Viewer, Sites),
    post("/api/v1/verify", Operator, Desk),
    scan("/api/v1/backup", Admin, Desk),
    get("/api/v1/subscribers", Viewer, Desk),
    post("/api/v1/subscribers", Admin, Desk),
    get("/api/v1/subscribers/{subscriber}", Viewer, Desk),
    post("/api/v1/subscribers/{subscriber}/test", Operator, Desk),
    plan("/api/v1/subscribers/{subscriber}/replay", Operator, Desk),
    post("/api/v1/subscribers/{subscriber}/enable", Operator, Desk),
    post("/api/v1/subscribers/{subscriber}/disable", Operator, Desk),
    post("/api/v1/subscribers/{subscriber}/rotate", Admin, Desk),
    post("/api/v1/subscribers/{subscriber}/remove", Admin, Desk),
    get("/api/v1/tokens", Admin, Desk),
    post("/api/v1/tokens", Admin, Desk),
    post("/api/v1/tokens/{token}/revoke", Admin, Desk),
];

/// What the table says of a request.
pub(super) enum Ruling {
    /// This is asked for.
    Asks(&'static Policy),
    /// The path takes only these methods.
    Methods(String),
    /// There is no such path.
    Nothing,
}

pub(super) fn ruling(method: &Method, path: &str) -> Ruling {
    // Whoever may read a thing may ask how large it is.
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let of_path = || POLICIES.iter().filter(|policy| policy.path == path);
    if let Some(policy) = of_path().find(|policy| policy.method == *method) {
        return Ruling::Asks(policy);
    }
    let methods: Vec<_> = of_path().map(|policy| policy.method.as_str()).collect();
    if methods.is_empty() { Ruling::Nothing } else { Ruling::Methods(methods.join(", ")) }
}

/// Routes without a line in the table, and lines without a route.
pub(super) fn gaps(document: &OpenApi) -> Vec<String> {
    let routes: Vec<(Method, &str)> = document
        .paths
        .paths
        .iter()
        .flat_map(|(path, item)| methods(item).into_iter().map(move |m| (m, path.as_str())))
        .collect();
    let ruled = |(method, path): &&(Method, &str)| {
        POLICIES.iter().any(|policy| policy.method == *method && policy.path == *path)
    };
    let unruled = routes.iter().filter(|route| !ruled(route));
    let routed = |policy: &&Policy| {
        routes.iter().any(|(method, path)| policy.method == *method && policy.path == *path)
    };
    let idle = POLICIES.iter().filter(|policy| !routed(policy));
    unruled
        .map(|(method, path)| format!("{method} {path} has no policy"))
        .chain(idle.map(|p| format!("{} {} has a policy and no route", p.method, p.path)))
        .collect()
}

/// The methods of a path, each with its operation.
fn methods(item: &PathItem) -> Vec<Method> {
    let known = [
        (&item.get, Method::GET),
        (&item.post, Method::POST),
        (&item.put, Method::PUT),
        (&item.patch, Method::PATCH),
        (&item.delete, Method::DELETE),
        (&item.head, Method::HEAD),
        (&item.options, Method::OPTIONS),
        (&item.trace, Method::TRACE),
    ];
    known.into_iter().filter(|(there, _)| there.is_some()).map(|(_, method)| method).collect()
}
