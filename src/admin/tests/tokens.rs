//! Tokens through the API.

use super::*;

#[tokio::test]
async fn a_token_is_made_used_and_revoked() {
    let api = Api::new().await;
    let admin = api.token(Role::Admin, &[]).await;
    let wanted = r#"{"name":"night.shift","role":"editor","sites":["news"],"expires_in_days":90,
        "by":"ann","reason":"covers for bob"}"#;
    let (status, new) = api.post(&admin, "/api/v1/tokens", wanted).await;
    assert_eq!(status, 201);
    let token = new["token"].as_str().unwrap();
    assert!(token.starts_with("cd_") && token.len() == 67, "256 bits");
    let row = &new["row"];
    assert_eq!(
        (&row["added_by"], &row["reason"]),
        (&"ann via admin".into(), &"covers for bob".into())
    );
    let days =
        (row["expires_at"].as_i64().unwrap() - row["added_at"].as_i64().unwrap()) / 86_400_000;
    assert_eq!((days, &row["state"], &row["sites"][0]), (90, &"live".into(), &"news".into()));

    let (_, me) = api.get(token, "/api/v1/me").await;
    assert_eq!((&me["name"], &me["role"]), (&"night.shift".into(), &"editor".into()));
    let (_, list) = api.get(&admin, "/api/v1/tokens").await;
    let rows = list["rows"].as_array().unwrap();
    let shown = rows.iter().find(|shown| shown["id"] == row["id"]).unwrap();
    assert!(shown["used_at"].is_i64(), "its last use is known");
    assert_eq!(shown["hint"], token[63..]);
    assert!(!list.to_string().contains(token), "shown once");

    let path = format!("/api/v1/tokens/{}/revoke", row["id"].as_str().unwrap());
    assert_eq!(api.post(&admin, &path, r#"{"reason":"lost"}"#).await.0, 200);
    assert_eq!(api.get(token, "/api/v1/me").await.0, 401, "at once");
    assert_eq!(api.post(&admin, &path, "{}").await.0, 404);
    let (_, list) = api.get(&admin, "/api/v1/tokens").await;
    let rows = list["rows"].as_array().unwrap();
    let shown = rows.iter().find(|shown| shown["id"] == row["id"]).unwrap();
    let ended = (&shown["state"], &shown["revoked_by"], &shown["reason"]);
    assert_eq!(ended, (&"revoked".into(), &"admin".into(), &"lost".into()));
    // The name is free again, the token is not.
    assert_eq!(api.post(&admin, "/api/v1/tokens", wanted).await.0, 201);
    assert_eq!(api.post(&admin, "/api/v1/tokens", wanted).await.0, 409);
    assert_eq!(api.get(token, "/api/v1/me").await.0, 401);
}

#[tokio::test]
async fn wrong_tokens_are_not_made() {
    let api = Api::new().await;
    let admin = api.token(Role::Admin, &[]).await;
    for body in [
        r#"{"name":"x"}"#,
        r#"{"name":"x","role":"root"}"#,
        r#"{"name":"","role":"viewer"}"#,
        r#"{"name":"a b","role":"viewer"}"#,
        r#"{"name":"-a","role":"viewer"}"#,
        r#"{"name":"x","role":"viewer","sites":[]}"#,
        r#"{"name":"x","role":"viewer","expires_in_days":0}"#,
        r#"{"name":"x","role":"viewer","expires_in_days":3651}"#,
        r#"{"name":"x","role":"viewer","token":"cd_mine"}"#,
    ] {
        assert_eq!(api.post(&admin, "/api/v1/tokens", body).await.0, 400, "{body}");
    }
    let elsewhere = r#"{"name":"x","role":"viewer","sites":["nosite"]}"#;
    assert_eq!(api.post(&admin, "/api/v1/tokens", elsewhere).await.0, 409);
    assert_eq!(api.book.look(|tokens| tokens.iter().count()), 1);
}

#[tokio::test]
async fn an_expired_token_opens_nothing() {
    let api = Api::new().await;
    let secret = new_token().unwrap();
    let now = World::now();
    let signed = Signed::new("ann", "", now);
    let rights = (Role::Admin, Reach::Desk);
    let token = Token::new(&secret, "x", rights, Some(now), signed);
    api.book.add(&token).await.unwrap();
    assert_eq!(api.get(&secret, "/api/v1/me").await.0, 401);
}
