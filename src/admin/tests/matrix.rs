//! Role × route: every cell is asserted, against the real router.

use super::*;
use crate::admin::policy::POLICIES;

/// What one route answers to each token.
///
/// Columns: viewer, editor, operator, admin of the whole desk; then viewer, editor, operator, admin
/// of the site `news`, which the request is about; then the same of `blog`, which it is not.
struct Row(&'static str, &'static str, &'static str, [u16; 12]);

const READ: &str = "";
const ACT: &str = "{}";
const SEND: &str = r#"{"source":"news","event":{"event":"desk.asked","post_id":42}}"#;
const SEND_AND_WAIT: &str = r#"{"source":"news","event":{"post_id":42},"wait_s":9}"#;
const RETRY_NEWS: &str = r#"{"verb":"retry","filter":{"site":"news"}}"#;
const RETRY_ALL: &str = r#"{"verb":"retry","filter":{}}"#;
const SUBSCRIBER: &str = r#"{"name":"crm","url":"https://crm.example.org/"}"#;
const ERASE_POST: &str = r#"{"verb":"erase","filter":{"post":"news/42"}}"#;

#[rustfmt::skip]
const MATRIX: [Row; 57] = [
    Row("GET",  "/api/v1/openapi.json",                      READ, [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
    Row("GET",  "/api/v1/me",                                READ, [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
    Row("GET",  "/api/v1/status",                            READ, [200, 200, 200, 200, 403, 403, 403, 403, 403, 403, 403, 403]),
    Row("GET",  "/api/v1/nodes",                             READ, [200, 200, 200, 200, 403, 403, 403, 403, 403, 403, 403, 403]),
    Row("GET",  "/api/v1/events",                            READ, [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
    Row("POST", "/api/v1/events",        SEND,                     [403, 403, 202, 202, 403, 403, 202, 202, 403, 403, 404, 404]),
    Row("POST", "/api/v1/events",        SEND_AND_WAIT,            [403, 403, 200, 200, 403, 403, 200, 200, 403, 403, 404, 404]),
    Row("GET",  "/api/v1/events/stream",                     READ, [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
    Row("GET",  "/api/v1/events/e-1",                        READ, [200, 200, 200, 200, 200, 200, 200, 200, 404, 404, 404, 404]),
    Row("GET",  "/api/v1/posts",                             READ, [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
    Row("GET",  "/api/v1/posts/news/42",                     READ, [200, 200, 200, 200, 200, 200, 200, 200, 404, 404, 404, 404]),
    Row("GET",  "/api/v1/dead-letters",                      READ, [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
    Row("GET",  "/api/v1/dead-letters/groups",               READ, [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
    Row("GET",  "/api/v1/dead-letters/news/42/3",            READ, [200, 200, 200, 200, 200, 200, 200, 200, 404, 404, 404, 404]),
    Row("POST", "/api/v1/dead-letters/news/42/3/retry",      ACT,  [403, 200, 200, 200, 403, 200, 200, 200, 403, 404, 404, 404]),
    Row("POST", "/api/v1/dead-letters/news/42/3/drop",       ACT,  [403, 409, 409, 409, 403, 409, 409, 409, 403, 404, 404, 404]),
    Row("GET",  "/api/v1/holds",                             READ, [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
    Row("POST", "/api/v1/holds",         r#"{"scope":"site:news"}"#,    [403, 403, 200, 200, 403, 403, 200, 200, 403, 403, 404, 404]),
    Row("POST", "/api/v1/holds",         r#"{"scope":"all"}"#,          [403, 403, 200, 200, 403, 403, 403, 403, 403, 403, 403, 403]),
    Row("POST", "/api/v1/holds/release", r#"{"scope":"post:news/42"}"#, [403, 403, 200, 200, 403, 403, 200, 200, 403, 403, 404, 404]),
    Row("GET",  "/api/v1/jobs",                              READ, [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
    Row("POST", "/api/v1/jobs",          RETRY_NEWS,               [403, 403, 202, 202, 403, 403, 202, 202, 403, 403, 404, 404]),
    Row("POST", "/api/v1/jobs",          RETRY_ALL,                [403, 403, 202, 202, 403, 403, 202, 202, 403, 403, 202, 202]),
    Row("POST", "/api/v1/jobs",          ERASE_POST,               [403, 403, 403, 202, 403, 403, 403, 202, 403, 403, 403, 404]),
    Row("POST", "/api/v1/jobs/plan",     RETRY_NEWS,               [403, 403, 200, 200, 403, 403, 200, 200, 403, 403, 404, 404]),
    Row("GET",  "/api/v1/jobs/019ab0c47f0070008000000000000001",         READ, [200, 200, 200, 200, 200, 200, 200, 200, 404, 404, 404, 404]),
    Row("GET",  "/api/v1/jobs/019ab0c47f0070008000000000000001/results", READ, [200, 200, 200, 200, 200, 200, 200, 200, 404, 404, 404, 404]),
    Row("POST", "/api/v1/jobs/019ab0c47f0070008000000000000001/pause",   ACT,  [403, 403, 200, 200, 403, 403, 200, 200, 403, 403, 404, 404]),
    Row("POST", "/api/v1/jobs/019ab0c47f0070008000000000000001/resume",  ACT,  [403, 403, 200, 200, 403, 403, 200, 200, 403, 403, 404, 404]),
    Row("POST", "/api/v1/jobs/019ab0c47f0070008000000000000001/cancel",  ACT,  [403, 403, 200, 200, 403, 403, 200, 200, 403, 403, 404, 404]),
    Row("GET",  "/api/v1/budgets",                           READ, [200, 200, 200, 200, 403, 403, 403, 403, 403, 403, 403, 403]),
    Row("POST", "/api/v1/budgets", r#"{"budget":"site:news","day_cap":9}"#, [403, 403, 200, 200, 403, 403, 403, 403, 403, 403, 403, 403]),
    Row("GET",  "/api/v1/costs",                             READ, [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
    Row("GET",  "/api/v1/posts/news/42/attempts",            READ, [403, 200, 200, 200, 403, 200, 200, 200, 403, 404, 404, 404]),
    Row("GET",  "/api/v1/posts/news/42/costs",               READ, [200, 200, 200, 200, 200, 200, 200, 200, 404, 404, 404, 404]),
    Row("POST", "/api/v1/dead-letters/news/42/3/retry", r#"{"answers":[{"enrichment":"tags","value":7}]}"#, [403, 400, 400, 400, 403, 400, 400, 400, 403, 404, 404, 404]),
    Row("GET",  "/api/v1/traces/e-1",                        READ, [200, 200, 200, 200, 200, 200, 200, 200, 404, 404, 404, 404]),
    Row("GET",  "/api/v1/traces/news/42",                    READ, [200, 200, 200, 200, 200, 200, 200, 200, 404, 404, 404, 404]),
    Row("GET",  "/api/v1/sites",                             READ, [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
    Row("GET",  "/api/v1/sites/news",                        READ, [200, 200, 200, 200, 200, 200, 200, 200, 404, 404, 404, 404]),
    Row("GET",  "/api/v1/sources",                           READ, [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
    Row("GET",  "/api/v1/providers",                         READ, [200, 200, 200, 200, 403, 403, 403, 403, 403, 403, 403, 403]),
    Row("GET",  "/api/v1/routes",                            READ, [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
    Row("POST", "/api/v1/verify",                            READ, [403, 403, 503, 503, 403, 403, 403, 403, 403, 403, 403, 403]),
    Row("GET",  "/api/v1/backup",                            READ, [403, 403, 403, 200, 403, 403, 403, 403, 403, 403, 403, 403]),
    Row("GET",  "/api/v1/subscribers",                       READ, [200, 200, 200, 200, 403, 403, 403, 403, 403, 403, 403, 403]),
    Row("POST", "/api/v1/subscribers",   SUBSCRIBER,               [403, 403, 403, 201, 403, 403, 403, 403, 403, 403, 403, 403]),
    Row("GET",  "/api/v1/subscribers/crm",                   READ, [200, 200, 200, 200, 403, 403, 403, 403, 403, 403, 403, 403]),
    Row("POST", "/api/v1/subscribers/crm/test",              ACT,  [403, 403, 200, 200, 403, 403, 403, 403, 403, 403, 403, 403]),
    Row("POST", "/api/v1/subscribers/crm/replay", r#"{"since":1}"#, [403, 403, 200, 200, 403, 403, 403, 403, 403, 403, 403, 403]),
    Row("POST", "/api/v1/subscribers/crm/enable",            ACT,  [403, 403, 200, 200, 403, 403, 403, 403, 403, 403, 403, 403]),
    Row("POST", "/api/v1/subscribers/crm/disable",           ACT,  [403, 403, 200, 200, 403, 403, 403, 403, 403, 403, 403, 403]),
    Row("POST", "/api/v1/subscribers/crm/rotate",            ACT,  [403, 403, 403, 200, 403, 403, 403, 403, 403, 403, 403, 403]),
    Row("POST", "/api/v1/subscribers/crm/remove",            ACT,  [403, 403, 403, 200, 403, 403, 403, 403, 403, 403, 403, 403]),
    Row("GET",  "/api/v1/tokens",                            READ, [403, 403, 403, 200, 403, 403, 403, 403, 403, 403, 403, 403]),
    Row("POST", "/api/v1/tokens",        r#"{"name":"x","role":"root"}"#, [403, 403, 403, 400, 403, 403, 403, 403, 403, 403, 403, 403]),
    Row("POST", "/api/v1/tokens/0123456789ab/revoke",        ACT,  [403, 403, 403, 404, 403, 403, 403, 403, 403, 403, 403, 403]),
];

#[tokio::test]
async fn each_role_may_do_what_the_table_says_and_nothing_else() {
    let api = Api::new().await;
    let mut tokens = Vec::new();
    for sites in [&[][..], &["news"], &["blog"]] {
        for role in Role::ALL {
            tokens.push(api.token(role, sites).await);
        }
    }
    let mut wrong = Vec::new();
    for Row(method, path, body, expected) in MATRIX {
        for (token, expected) in tokens.iter().zip(expected) {
            api.asked();
            let request = request(method.parse().unwrap(), path, Some(token), body);
            let response = api.api.router.clone().oneshot(request).await.unwrap();
            let (status, asked) = (response.status().as_u16(), api.asked());
            if status != expected {
                wrong.push(format!("{method} {path} {body}: {status}, not {expected}"));
            }
            // A role that is missing is found before anything is done.
            if expected == 403 && !asked.is_empty() {
                wrong.push(format!("{method} {path} was refused and did {asked:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_route_is_in_the_matrix_and_asks_for_a_token() {
    let api = Api::new().await;
    let admin = api.token(Role::Admin, &[]).await;
    let (longer, shorter) = (format!("{admin}0"), &admin[..admin.len() - 1]);
    let other = new_token().unwrap();
    for policy in POLICIES {
        let fits = |Row(method, path, _, _): &&Row| {
            let (pattern, path) = (policy.path.split('/'), path.split('/'));
            policy.method == *method
                && pattern.clone().count() == path.clone().count()
                && pattern.zip(path).all(|(p, q)| p == q || p.starts_with('{'))
        };
        let Some(Row(method, path, body, _)) = MATRIX.iter().find(fits) else {
            panic!("{} {} is not in the matrix", policy.method, policy.path);
        };
        for token in [None, Some(""), Some(&longer), Some(shorter), Some(&other)] {
            let request = request(method.parse().unwrap(), path, token, body);
            let (status, problem) = api.send(request).await;
            assert_eq!(
                (status.as_u16(), &problem["code"]),
                (401, &"unauthorized".into()),
                "{path}"
            );
        }
    }
    assert_eq!(api.asked(), [""; 0], "nothing was asked without a token");
    // Nobody without a token learns which paths there are.
    for (method, path) in [(Method::GET, "/nowhere"), (Method::PUT, "/api/v1/status")] {
        assert_eq!(api.send(request(method, path, None, "")).await.0, 401);
    }
}

#[tokio::test]
async fn not_yours_and_not_there_are_the_same_answer() {
    let api = Api::new().await;
    let token = api.token(Role::Admin, &["blog"]).await;
    let mut answers = Vec::new();
    for path in [
        "/api/v1/posts/news/42",
        "/api/v1/posts/news/9999",
        "/api/v1/posts/nosite/1",
        "/api/v1/posts/blog/1",
        "/api/v1/posts/blog/0",
        "/api/v1/posts/News/1",
        "/api/v1/events/e-1",
        "/api/v1/events/e-2",
        "/api/v1/sites/news",
        "/api/v1/sites/nosite",
        "/api/v1/dead-letters/news/42/3",
        "/api/v1/dead-letters/blog/42/3",
        "/nowhere",
    ] {
        let (status, mut problem) = api.get(&token, path).await;
        problem["request_id"] = Value::Null;
        answers.push((path, status, problem));
    }
    for (path, status, problem) in &answers {
        assert_eq!((status.as_u16(), problem), (404, &answers[0].2), "{path}");
    }
    for scope in ["site:news", "site:nosite", "post:news/42", "post:nosite/1"] {
        let body = format!(r#"{{"scope":"{scope}"}}"#);
        for path in ["/api/v1/holds", "/api/v1/holds/release"] {
            let (status, mut problem) = api.post(&token, path, &body).await;
            problem["request_id"] = Value::Null;
            assert_eq!((status.as_u16(), &problem), (404, &answers[0].2), "{scope}");
        }
    }
}

#[tokio::test]
async fn lists_show_only_what_the_token_reaches() {
    let api = Api::new().await;
    let token = api.token(Role::Operator, &["news"]).await;
    let names = async |path: &str, key: &str| -> Vec<String> {
        let (status, list) = api.get(&token, path).await;
        assert_eq!(status, 200, "{path}");
        let rows = list["rows"].as_array().unwrap();
        rows.iter().map(|row| row[key].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("/api/v1/sites", "site").await, ["news"]);
    assert_eq!(names("/api/v1/routes", "route").await, ["r-news"]);
    let (_, jobs) = api.get(&token, "/api/v1/jobs").await;
    assert_eq!(jobs["rows"].as_array().unwrap().len(), 1);
    assert_eq!(names("/api/v1/holds", "scope").await, ["all", "post:news/42"]);
    assert_eq!(names("/api/v1/holds?site=blog", "scope").await, ["all"]);
    api.asked();
    for path in ["events", "posts", "dead-letters", "dead-letters/groups", "costs"] {
        for (query, reach) in [("", r#"SiteId("news")"#), ("?site=blog", "Sites({})")] {
            let (status, _) = api.get(&token, &format!("/api/v1/{path}{query}")).await;
            assert_eq!(status, 200);
            let asked = api.asked();
            assert!(asked[0].contains(reach), "{path}{query}: {asked:?}");
        }
    }
}
