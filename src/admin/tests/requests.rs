//! What is asked reaches the desk as it was meant.

use super::*;

#[tokio::test]
async fn requests_reach_the_desk_as_they_were_meant() {
    let api = Api::new().await;
    let token = api.token(Role::Operator, &[]).await;
    let (_, status) = api.get(&token, "/api/v1/status").await;
    assert_eq!(status["backlog"], 5);
    let (_, posts) = api.get(&token, "/api/v1/posts?site=news&limit=200").await;
    assert_eq!(posts["rows"][0]["post"], "news/42");
    let next = posts["next"].as_str().unwrap();
    let (_, rest) = api.get(&token, &format!("/api/v1/posts?cursor={next}")).await;
    assert_eq!(rest.get("next"), None);
    let (_, view) = api.get(&token, "/api/v1/posts/news/42").await;
    assert_eq!(view["journey"][0]["kind"], "received");
    let hold = r#"{"scope":"site:news","by":"ann","reason":"import"}"#;
    assert_eq!(api.post(&token, "/api/v1/holds", hold).await.1["scope"], "site:news");
    api.post(&token, "/api/v1/holds/release", r#"{"scope":"post:news/42"}"#).await;
    let why = r#"{"reason":"key renewed"}"#;
    api.post(&token, "/api/v1/dead-letters/news/42/3/retry", why).await;
    let (status, problem) = api.post(&token, "/api/v1/dead-letters/news/42/3/drop", "{}").await;
    assert_eq!((status.as_u16(), &problem["detail"]), (409, &"it runs again".into()));
    let asked = api.asked();
    assert!(asked[1].contains("limit: 200") && asked[1].contains("before: None"), "{asked:?}");
    assert!(asked[2].contains("before: Some(Cursor(9, 4))"), "{asked:?}");
    assert_eq!(
        asked[4..],
        [
            "hold site:news ann via operator import",
            "release post:news/42 operator ",
            "retry news/42 3 operator key renewed",
            "drop news/42 3 operator ",
        ]
    );
}

#[tokio::test]
async fn a_body_is_what_the_document_says_and_no_looser() {
    let api = Api::new().await;
    let token = api.token(Role::Operator, &[]).await;
    let plan = async |body: &str| api.post(&token, "/api/v1/jobs/plan", body).await.0.as_u16();
    assert_eq!(plan(r#"{"verb":"retry","filter":{"since":261.0}}"#).await, 200, "a whole number");
    assert_eq!(plan(r#"{"verb":"retry","filter":{"since":261.5}}"#).await, 400);
    assert_eq!(plan(r#"{"verb":"retry","filter":[null,null]}"#).await, 400, "an array of fields");
    let twice = r#"{"verb":"retry","filter":{"site":"news","site":"other"}}"#;
    assert_eq!(plan(twice).await, 400);
    let long = format!(r#"{{"verb":"retry","filter":{{"code":"{}"}}}}"#, "x".repeat(65));
    assert_eq!(plan(&long).await, 400);
}

#[test]
fn a_cursor_reads_as_it_prints() {
    for cursor in [Cursor(0, 0), Cursor(1, u64::MAX), Cursor(u64::MAX, 7)] {
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }
    // Ten thousand texts that are no cursors: none panics, and what is taken prints the same.
    let mut text = String::from("AAAAAAAAAAAAAAAAAAAAAA");
    for n in 0..10_000_u32 {
        let at = n as usize % 22;
        let byte = char::from(33 + (n.wrapping_mul(2_654_435_761) >> 25) as u8 % 94);
        text.replace_range(at..=at, &byte.to_string());
        if let Ok(cursor) = text.parse::<Cursor>() {
            assert_eq!(cursor.to_string(), text);
        }
    }
}
