//! The stream of events.

use super::*;

async fn follow(api: &Api, token: &str, path: &str) -> axum::response::Response {
    let request = request(Method::GET, path, Some(token), "");
    api.api.router.clone().oneshot(request).await.unwrap()
}

/// The next so many chunks of a stream, as text.
async fn read(
    body: &mut (impl futures::Stream<Item = Result<bytes::Bytes, axum::Error>> + Unpin),
    chunks: usize,
) -> String {
    let mut text = String::new();
    for _ in 0..chunks {
        text.push_str(std::str::from_utf8(&body.next().await.unwrap().unwrap()).unwrap());
    }
    text
}

const LINE: &str = r#"data: {"post":"POST","at_ms":7,"kind":"received","text":"received post.published","position":N}"#;

fn event(post: &str, position: &str, id: &str) -> String {
    let data = LINE.replace("POST", post).replace(":N}", &format!(":{position}}}"));
    format!("event: received\n{data}\n{id}\n")
}

#[tokio::test(start_paused = true)]
async fn what_happens_is_streamed_until_the_node_ends() {
    let api = Api::new().await;
    let token = api.token(Role::Viewer, &[]).await;
    let response = follow(&api, &token, "/api/v1/events/stream").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body().into_data_stream();
    // A record's id comes with its last line.
    let expected = [
        event("news/42", "3", ""),
        event("news/42", "3", "id: 3\n"),
        event("blog/7", "4", "id: 4\n"),
        event("news/43", "5", "id: 5\n"),
    ];
    assert_eq!(read(&mut body, 4).await, expected.concat());
    assert_eq!(read(&mut body, 1).await, ":\n\n", "after 15 s of quiet");
    api.drain.begin();
    assert!(body.next().await.is_none());
}

#[tokio::test]
async fn a_stream_goes_on_where_it_ended() {
    let api = Api::new().await;
    let token = api.token(Role::Viewer, &[]).await;
    let ask = async |path: &str, id: Option<&str>| {
        let mut request = request(Method::GET, path, Some(&token), "");
        if let Some(id) = id {
            request.headers_mut().insert("last-event-id", id.parse().unwrap());
        }
        api.api.router.clone().oneshot(request).await.unwrap().status().as_u16()
    };
    assert_eq!(ask("/api/v1/events/stream", None).await, 200);
    assert_eq!(ask("/api/v1/events/stream?after=7", None).await, 200);
    assert_eq!(ask("/api/v1/events/stream?after=7", Some("9")).await, 200);
    assert_eq!(ask("/api/v1/events/stream", Some("x")).await, 400);
    assert_eq!(api.asked(), ["follow None", "follow Some(7)", "follow Some(9)"]);
}

#[tokio::test]
async fn a_stream_shows_only_what_is_wanted_and_reached() {
    let api = Api::new().await;
    let scoped = api.token(Role::Viewer, &["news"]).await;
    let all = api.token(Role::Viewer, &[]).await;
    for (token, query, posts) in [
        (&scoped, "", &["news/42", "news/42", "news/43"][..]),
        (&all, "?site=blog", &["blog/7"]),
        (&all, "?post=news/43", &["news/43"]),
    ] {
        let response = follow(&api, token, &format!("/api/v1/events/stream{query}")).await;
        let mut body = response.into_body().into_data_stream();
        let text = read(&mut body, posts.len()).await;
        for post in posts {
            assert!(text.contains(post), "{query}: {text}");
        }
        assert_eq!(text.matches("data:").count(), posts.len(), "{query}: {text}");
        assert!(body.next().now_or_never().is_none(), "nothing more comes");
    }
}

#[tokio::test]
async fn streams_are_bounded_for_each_token() {
    let api = Api::new().await;
    let (token, other) = (api.token(Role::Viewer, &[]).await, api.token(Role::Editor, &[]).await);
    let mut open = Vec::new();
    for _ in 0..10 {
        open.push(follow(&api, &token, "/api/v1/events/stream").await);
    }
    assert_eq!(follow(&api, &token, "/api/v1/events/stream").await.status(), 429);
    assert_eq!(follow(&api, &other, "/api/v1/events/stream").await.status(), 200);
    open.pop();
    assert_eq!(follow(&api, &token, "/api/v1/events/stream").await.status(), 200);
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let api = Api::new().await;
    let token = api.token(Role::Viewer, &[]).await;
    let mut body =
        follow(&api, &token, "/api/v1/events/stream").await.into_body().into_data_stream();
    read(&mut body, 4).await;
    let id = Token::new(
        &token,
        "",
        (Role::Viewer, Reach::Desk),
        None,
        Signed::new("", "", World::now()),
    )
    .id;
    assert!(api.book.revoke(&id, &Signed::new("ann", "left", World::now())).await.unwrap());
    assert!(body.next().await.is_none());
}
