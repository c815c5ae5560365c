//! Hosts, origins, pace and forms: what is refused before a route is reached.

use super::*;

#[tokio::test]
async fn only_our_own_host_names_are_answered() {
    let api = Api::new().await;
    let token = api.token(Role::Viewer, &[]).await;
    let status = async |host: &str| {
        let mut request = request(Method::GET, "/api/v1/status", Some(&token), "");
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
    let mut none = request(Method::GET, "/api/v1/status", Some(&token), "");
    none.headers_mut().remove("host");
    assert_eq!(api.send(none).await.0, 421);
}

#[tokio::test]
async fn pages_of_other_origins_are_refused() {
    let api = Api::new().await;
    let token = api.token(Role::Admin, &[]).await;
    let ask = async |method: Method, name: &str, value: &str| {
        let path = if method == Method::GET { "/api/v1/holds" } else { "/api/v1/holds/release" };
        let mut request = request(method, path, Some(&token), r#"{"scope":"all"}"#);
        request
            .headers_mut()
            .append(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        api.send(request).await
    };
    for method in [Method::GET, Method::POST] {
        for (name, value) in [
            ("origin", "https://evil.test"),
            ("origin", "null"),
            ("origin", "http://127.0.0.1:10"),
            ("origin", "http://127.0.0.1:9.evil.test"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let (status, problem) = ask(method.clone(), name, value).await;
            let found = (status.as_u16(), &problem["code"]);
            assert_eq!(found, (403, &"cross_origin".into()), "{method} {name}: {value}");
        }
        assert_eq!(api.asked(), [""; 0]);
        for (name, value) in [
            ("origin", "http://127.0.0.1:9"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "none"),
        ] {
            assert_eq!(ask(method.clone(), name, value).await.0, 200, "{method} {name}: {value}");
        }
        api.asked();
    }
    // What a browser sends before a cross-origin request is not answered with leave.
    let options = request(Method::OPTIONS, "/api/v1/holds", Some(&token), "");
    assert_eq!(api.send(options).await.0, 405);
}

#[tokio::test]
async fn reads_change_nothing_and_changes_are_post() {
    let api = Api::new().await;
    let token = api.token(Role::Admin, &[]).await;
    for path in [
        "/api/v1/holds/release",
        "/api/v1/verify",
        "/api/v1/dead-letters/news/42/3/retry",
        "/api/v1/tokens/0123456789ab/revoke",
    ] {
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::PATCH] {
            let request = request(method.clone(), path, Some(&token), "");
            let response = api.api.router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), 405, "{method} {path}");
            assert_eq!(response.headers()["allow"], "POST", "{method} {path}");
        }
    }
    assert_eq!(api.asked(), [""; 0]);
    // The history of what operators did is read only: no path takes a change to an event.
    for path in ["/api/v1/events", "/api/v1/events/e-1", "/api/v1/posts/news/42"] {
        let makes = (path == "/api/v1/events").then_some(Method::POST);
        let changes = [Method::POST, Method::PUT, Method::DELETE, Method::PATCH];
        for method in changes.into_iter().filter(|method| makes.as_ref() != Some(method)) {
            assert_eq!(api.send(request(method, path, Some(&token), "{}")).await.0, 405, "{path}");
        }
    }
    let head = request(Method::HEAD, "/api/v1/status", Some(&token), "");
    let response = api.api.router.clone().oneshot(head).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_token_may_not_ask_too_often_and_slows_no_other() {
    let api = Api::with_rate(2).await;
    let (token, other) =
        (api.token(Role::Viewer, &[]).await, api.token(Role::Viewer, &["news"]).await);
    let mut answers = Vec::new();
    for _ in 0..11 {
        answers.push(api.get(&token, "/api/v1/me").await.0.as_u16());
    }
    assert_eq!(answers, [[200; 10].as_slice(), &[429]].concat(), "five seconds' worth at once");
    assert_eq!(api.get(&other, "/api/v1/me").await.0, 200);
    let request = request(Method::GET, "/api/v1/me", Some(&token), "");
    let response = api.api.router.clone().oneshot(request).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (429, &"1".parse().unwrap())
    );
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    assert_eq!(api.get(&token, "/api/v1/me").await.0, 200);
}

#[tokio::test]
async fn wrong_forms_are_refused_before_the_desk() {
    let api = Api::new().await;
    let token = api.token(Role::Admin, &[]).await;
    for path in [
        "/api/v1/events?limit=0",
        "/api/v1/events?limit=201",
        "/api/v1/events?lmit=1",
        "/api/v1/events?post=42",
        "/api/v1/events?cursor=",
        "/api/v1/events?cursor=9",
        "/api/v1/events?cursor=AAAAAAAAAAAAAAAAAAAAAB",
        "/api/v1/events?cursor=AAAAAAAAAAAAAAAAAAAAAA==",
        "/api/v1/events?limit=1&limit=2",
        "/api/v1/posts?site=A",
        "/api/v1/posts?post=news/42",
        "/api/v1/events/stream?post=x",
        "/api/v1/events/stream?after=-1",
    ] {
        let (status, problem) = api.get(&token, path).await;
        assert_eq!((status.as_u16(), &problem["code"]), (400, &"bad_request".into()), "{path}");
    }
    for body in [
        "",
        "{",
        "[]",
        "null",
        r#"{"scope":"evil"}"#,
        r#"{"scope":"all","role":"admin"}"#,
        r#"{"scope":"all","scope":"site:news"}"#,
        r#"{"scope":"all"} {}"#,
        "{\"scope\":\"all\",\"by\":\"\u{e9}\"", // cut off
    ] {
        assert_eq!(api.post(&token, "/api/v1/holds", body).await.0, 400, "{body}");
    }
    let long = format!(r#"{{"scope":"all","reason":"{}"}}"#, "x".repeat(201));
    assert_eq!(api.post(&token, "/api/v1/holds", &long).await.0, 400);
    let large = format!(r#"{{"scope":"all","reason":"{}"}}"#, "x".repeat(70_000));
    assert_eq!(api.post(&token, "/api/v1/holds", &large).await.0, 413);
    let mut form = request(Method::POST, "/api/v1/holds", Some(&token), r#"{"scope":"all"}"#);
    form.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    assert_eq!(api.send(form).await.0, 415);
    assert_eq!(api.post(&token, "/api/v1/dead-letters/news/42/-1/retry", "{}").await.0, 404);
    assert_eq!(api.asked(), [""; 0]);
}

#[tokio::test]
async fn refusals_say_nothing_of_the_inside() {
    let api = Api::new().await;
    let token = api.token(Role::Admin, &[]).await;
    let mut said = String::new();
    for path in
        ["/api/v1/posts/news/9", "/api/v1/events?limit=x", "/api/v1/x", "/api/v1/posts?cursor=x"]
    {
        said.push_str(&api.get(&token, path).await.1.to_string());
    }
    for body in ["{", r#"{"scope":7}"#] {
        said.push_str(&api.post(&token, "/api/v1/holds", body).await.1.to_string());
    }
    said.push_str(&api.post(&token, "/api/v1/verify", "").await.1.to_string());
    for inside in
        [env!("CARGO_MANIFEST_DIR"), ".rs", "axum", "panic", &token, env!("CARGO_PKG_VERSION")]
    {
        assert!(!said.contains(inside), "{inside} is in {said}");
    }
}

#[tokio::test]
async fn metrics_need_no_token_but_one_of_our_names() {
    let Api { api, .. } = Api::new().await;
    let telemetry = crate::telemetry::Telemetry::untold();
    telemetry.actors().metrics().load(true);
    let router = api.showing(telemetry.scrape()).router;
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
