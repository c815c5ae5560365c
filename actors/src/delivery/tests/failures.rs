//! Every row of the failure table: what WordPress and what stands before it answer, and what we
//! make of it.

use std::time::Duration;

use copydesk_core::failure::FailureClass::{self, Retry, Terminal, Unavailable};
use serde_json::json;

use super::super::{Site, SiteClient, SiteError};
use super::stub::{Answer, Stub};
use super::{core, excerpt, index, is_index, post, read, site, write};

/// Both a read and the POST of a write that meet `answer` fail as said.
async fn check(answer: Answer, class: FailureClass, code: &str, wait_s: Option<u64>) {
    let given = answer.clone();
    let on_read = Stub::start(move |s| if is_index(s) { index() } else { given.clone() }).await;
    let given = answer.clone();
    let on_write = Stub::start(move |s| match s.method.as_str() {
        _ if is_index(s) => index(),
        "POST" => given.clone(),
        _ => Answer::json(200, post("")),
    })
    .await;
    let read = core(&on_read).read(&read()).await.unwrap_err();
    let write = core(&on_write).write(&write(vec![excerpt("Ours")])).await.unwrap_err();
    for failure in [read, write] {
        let found = (failure.class, failure.code.as_str(), failure.retry_after_ms);
        assert_eq!(found, (class, code, wait_s.map(|s| s * 1_000)), "{answer:?}");
        assert!(failure.cause.len() > 20 && !failure.cause.contains("EFGH"), "{failure:?}");
    }
}

#[tokio::test]
async fn false_successes_fail() {
    check(Answer::html(200), Retry, "wordpress_not_json", None).await;
    check(Answer::json(200, ""), Retry, "wordpress_unexpected_answer", None).await;
    check(Answer::json(200, "<b>Warning</b>{}"), Retry, "wordpress_unexpected_answer", None).await;
    check(Answer::json(200, json!({"ok": true})), Retry, "wordpress_unexpected_answer", None).await;
    let mut other = post("");
    other["id"] = json!(43);
    check(Answer::json(200, other), Retry, "wordpress_unexpected_answer", None).await;
    let moved = Answer::html(301).with("location", "https://example.com/wp-json/?token=x");
    check(moved, Unavailable, "wordpress_redirected", None).await;
}

#[tokio::test]
async fn refusals_say_what_to_mend() {
    let error = Answer::error;
    check(error(401, "rest_cannot_edit"), Unavailable, "wordpress_unauthorized", Some(300)).await;
    check(Answer::html(401), Unavailable, "wordpress_unauthorized", Some(300)).await;
    check(error(400, "rest_invalid_param"), Terminal, "wordpress_rejected", None).await;
    check(error(403, "rest_cannot_edit"), Terminal, "wordpress_forbidden", None).await;
    check(Answer::html(403), Terminal, "wordpress_forbidden", None).await;
    check(error(404, "rest_no_route"), Unavailable, "wordpress_no_route", None).await;
    check(error(404, "other"), Terminal, "wordpress_rejected", None).await;
    check(Answer::html(404), Unavailable, "wordpress_no_rest", None).await;
    check(Answer::html(405), Terminal, "wordpress_rejected", None).await;
    check(error(408, "x"), Retry, "wordpress_timeout", None).await;
    check(error(409, "x"), Terminal, "wordpress_rejected", None).await;
    check(Answer::html(410), Terminal, "wordpress_rejected", None).await;
    check(Answer::html(413), Terminal, "wordpress_too_large", None).await;
}

#[tokio::test]
async fn outages_wait_or_retry() {
    let error = Answer::error;
    let busy = Answer::html(429).with("retry-after", "7");
    check(busy, Unavailable, "wordpress_rate_limited", Some(7)).await;
    let for_ever = Answer::html(429).with("retry-after", "Fri, 31 Dec 2100 00:00:00 GMT");
    check(for_ever, Unavailable, "wordpress_rate_limited", Some(3_600)).await;
    check(error(500, "internal_server_error"), Retry, "wordpress_error", None).await;
    let database =
        json!({"code": "wp_die", "message": "<p>Error establishing a database connection</p>"});
    check(Answer::json(500, database), Retry, "wordpress_database", None).await;
    check(error(500, "db_update_error"), Terminal, "wordpress_value_too_long", None).await;
    check(error(500, "db_insert_error"), Terminal, "wordpress_value_too_long", None).await;
    check(Answer::html(502), Retry, "wordpress_gateway", None).await;
    check(Answer::html(504), Retry, "wordpress_gateway", None).await;
    check(Answer::html(503), Unavailable, "wordpress_unavailable", None).await;
    let busy = Answer::html(503).with("retry-after", "120");
    check(busy, Unavailable, "wordpress_unavailable", Some(120)).await;
    let maintenance = error(503, "wp_die").with("retry-after", "600");
    check(maintenance, Unavailable, "wordpress_unavailable", Some(60)).await;
    check(Answer::html(508), Unavailable, "wordpress_unavailable", None).await;
    check(Answer::html(522), Retry, "wordpress_error", None).await;
    check(Answer::Close, Retry, "wordpress_connection_lost", None).await;
    check(Answer::Hang, Retry, "wordpress_timeout", None).await;
}

#[tokio::test]
async fn a_401_names_its_reason_where_wordpress_lets_us_see_it() {
    let check = async |code: &'static str, index: Answer, words: &str| {
        let stub = Stub::start(
            move |s| {
                if is_index(s) { index.clone() } else { Answer::error(401, code) }
            },
        )
        .await;
        let failure = core(&stub).read(&read()).await.unwrap_err();
        assert!(failure.cause.contains(words), "{failure:?}");
    };
    check("rest_not_logged_in", index(), "drops the Authorization header").await;
    let over_http = Answer::json(200, json!({"namespaces": ["wp/v2"], "authentication": []}));
    check("rest_not_logged_in", over_http, "https://").await;
    check("incorrect_password", index(), "does not accept this user").await;
    check("application_passwords_disabled", index(), "switched off").await;
}

#[tokio::test]
async fn an_endless_answer_is_cut() {
    let stub = Stub::start(|_| Answer::json(200, "x".repeat(3 << 20))).await;
    let failure = core(&stub).read(&read()).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Terminal, "wordpress_answer_too_large"));
}

#[tokio::test]
async fn nobody_at_home() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let failure = SiteClient::new(site(&url)).unwrap().read(&read()).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Unavailable, "wordpress_unreachable"));
    let stub = Stub::start(|_| Answer::Hang).await;
    let tls = stub.url().replace("http:", "https:");
    let settings = Site { connect_timeout: Duration::from_millis(200), ..site(&tls) };
    let failure = SiteClient::new(settings).unwrap().read(&read()).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Unavailable, "wordpress_unreachable"));
}

#[test]
fn settings_that_make_no_request_are_refused() {
    let with = |url: &str, user: &str, path: &str| {
        let settings = Site { user: user.to_owned(), ingest_path: path.to_owned(), ..site(url) };
        SiteClient::new(settings).map(|_| ())
    };
    assert!(with("https://example.com/blog/", "desk", "/in").is_ok());
    for url in ["ftp://example.com", "https://me@example.com", "https://example.com/?p=1"] {
        assert!(matches!(with(url, "desk", "/in"), Err(SiteError::Url)), "{url}");
    }
    for user in ["", "de:sk", "de\nsk"] {
        assert!(matches!(with("https://a.example", user, "/in"), Err(SiteError::User)), "{user}");
    }
    assert!(matches!(with("https://a.example", "desk", "in"), Err(SiteError::IngestPath)));
}
