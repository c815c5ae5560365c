//! What comes in besides posts, in a real WordPress: comments, which are moderated with a reason,
//! and posts whose turn it is.

use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::site::WordPress;
use crate::support::eventually;
use crate::support::node::SECRET;
use crate::support::sender::Sender;

/// An AI service that finds casinos everywhere they are.
async fn judge() -> String {
    let judged = async |body: String| {
        let (verdict, reason) = if body.contains("roulette") {
            ("spam", "Advertises a casino.")
        } else {
            ("approve", "Answers the post.")
        };
        let content = json!({ "verdict": verdict, "reason": reason }).to_string();
        Json(json!({
            "id": "c", "object": "chat.completion", "created": 1, "model": "judge-1",
            "choices": [{ "index": 0, "finish_reason": "stop",
                "message": { "role": "assistant", "content": content } }],
            "usage": { "prompt_tokens": 50, "completion_tokens": 10, "total_tokens": 60 },
        }))
    };
    let router = Router::new().route("/v1/chat/completions", post(judged));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    base_url
}

const MODERATION: &str = r#"
[enrichments.moderation]
provider = "main"
mode = "apply"

[[routes]]
name = "comments"
source = "news"
events = ["comment.*"]
enrich = ["moderation"]
"#;

/// A comment from a visitor, held as WordPress holds it; its number.
fn comment(wordpress: &WordPress, post: u64, text: &str) -> u64 {
    let id = wordpress.eval(
        "echo wp_insert_comment(['comment_post_ID' => (int) $args[0], 'comment_author' => 'Ann',
            'comment_content' => $args[1], 'comment_approved' => 0]);
         Copydesk\\Sender\\drain(20, 3);",
        &[&post.to_string(), text],
    );
    id.trim().parse().unwrap()
}

fn state(wordpress: &WordPress, comment: u64) -> Value {
    let said = wordpress.eval(
        "echo wp_json_encode([get_comment((int) $args[0])->comment_approved,
            get_comment_meta((int) $args[0], '_copydesk_moderation', true)]);",
        &[&comment.to_string()],
    );
    serde_json::from_str(&said).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn comments_are_moderated_and_never_silently() {
    let wordpress = WordPress::with_plugin().await;
    let provider =
        format!("kind = \"openai\"\nbase_url = \"{}\"\nmodel = \"judge-1\"", judge().await);
    let mut node = wordpress.node_with("embedded", "auto", &provider, MODERATION);
    wordpress.plugin_sends_to(&format!("{}/webhooks/news", node.start().await));
    wordpress.eval(
        "update_option('copydesk_settings', ['comments' => true] + get_option('copydesk_settings'));",
        &[],
    );
    let post = wordpress.publish("A post about the harbour.", "");
    let spam = comment(&wordpress, post, "Play roulette at my casino!");
    let good = comment(&wordpress, post, "Thank you, I did not know that.");
    for (id, approved, verdict, reason) in [
        (spam, "spam", "spam", "Advertises a casino."),
        (good, "1", "approve", "Answers the post."),
    ] {
        let found = eventually("the comment is judged", async || {
            Some(state(&wordpress, id)).filter(|state| state[1].is_object())
        })
        .await;
        assert_eq!(found[0], approved);
        assert_eq!((&found[1]["verdict"], &found[1]["reason"]), (&json!(verdict), &json!(reason)));
        assert_eq!(
            (&found[1]["outcome"], &found[1]["model"]),
            (&json!("applied"), &json!("judge-1"))
        );
    }
    node.quiet().await;
    // Our own change of status is no event.
    let rows = wordpress.rows(
        "SELECT event FROM {p}copydesk_outbox WHERE comment_id IN (%d, %d)",
        &[&spam.to_string(), &good.to_string()],
    );
    assert_eq!(rows.as_array().unwrap().len(), 2, "{rows}");
    assert!(node.stop().success());
}

/// Without the plugin's routes an editor's application password sets the status. What a person has
/// decided since the event stands.
#[tokio::test(flavor = "multi_thread")]
async fn comments_are_moderated_by_wordpress_itself_too() {
    let wordpress = WordPress::alone().await;
    let provider =
        format!("kind = \"openai\"\nbase_url = \"{}\"\nmodel = \"judge-1\"", judge().await);
    let mut node = wordpress.node_with("embedded", "core", &provider, MODERATION);
    let url = format!("{}/webhooks/news", node.start().await);
    let post = wordpress.publish("A post about the ferry.", "");
    let text = "Play roulette at my casino!";
    let ends = async |id: u64, seen: &str| {
        let event = json!({
            "event": "comment.created", "post_id": post, "idempotency_key": format!("c-{id}"),
            "comment": { "id": id, "status": seen, "author_name": "Ann", "content": text },
        });
        assert_eq!(Sender::new(SECRET).send(&url, &event).await.unwrap().0, 202);
        node.quiet().await;
        let events = node.get("/events?limit=1").await;
        let end = events["rows"][0]["state"].as_str().unwrap().to_owned();
        (end, state(&wordpress, id)[0].as_str().unwrap().to_owned())
    };
    let spam = ends(comment(&wordpress, post, text), "hold").await;
    assert_eq!(spam, ("applied".to_owned(), "spam".to_owned()));
    let approved = comment(&wordpress, post, text);
    wordpress.eval("wp_set_comment_status((int) $args[0], 'approve');", &[&approved.to_string()]);
    assert_eq!(ends(approved, "hold").await, ("kept".to_owned(), "1".to_owned()));
    let edited = comment(&wordpress, post, "Play roulette with me, Ann");
    // What was judged is not what stands there.
    assert_eq!(ends(edited, "hold").await, ("kept".to_owned(), "0".to_owned()));
    assert!(node.stop().success());
}

/// The list of posts that a schedule asks for, by the site's own word.
#[tokio::test(flavor = "multi_thread")]
async fn posts_are_listed_by_filter_newest_first() {
    let wordpress = WordPress::with_plugin().await;
    let word = format!("marker{}", std::process::id());
    let posts: Vec<u64> =
        (0..3).map(|n| wordpress.publish(&format!("{word} number {n}."), "")).collect();
    let draft = wordpress.insert("draft", &format!("{word} draft."), "");
    let list =
        wordpress.client().list_posts("posts", &format!("search={word}"), 100).await.unwrap();
    let mut found = list.posts.clone();
    found.sort_unstable();
    assert_eq!(found, posts, "published posts only, not {draft}");
    let two = wordpress.client().list_posts("posts", &format!("search={word}"), 2).await.unwrap();
    assert_eq!((two.posts.len(), two.total), (2, 3));
    let page = wordpress.eval(
        "echo wp_insert_post(['post_title' => 'A page', 'post_type' => 'page',
            'post_status' => 'publish', 'post_content' => $args[0]]);",
        &[&word],
    );
    let pages =
        wordpress.client().list_posts("pages", &format!("search={word}"), 10).await.unwrap();
    assert_eq!(pages.posts, [page.trim().parse::<u64>().unwrap()], "of a type, only its own");
    let wrong =
        wordpress.client().list_posts("posts", "categories=politics", 10).await.unwrap_err();
    assert_eq!(wrong.class, copydesk_core::failure::FailureClass::Terminal, "{wrong}");
}

/// Cron sources of the real program: at the next full minute the posts that a filter names come in,
/// and pages by another, and their routes are run for each.
#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_brings_posts_in_and_its_route_is_run() {
    let wordpress = WordPress::with_plugin().await;
    let word = format!("schedule{}", std::process::id());
    let text = |n: u64| format!("{} {word} has its number {n}.", super::FIRST.join(" "));
    let posts: Vec<u64> = (0..3).map(|n| wordpress.publish(&text(n), "")).collect();
    let other = wordpress.publish(&super::SECOND.join(" "), "");
    let more = format!(
        "[sources.nightly]\nscheme = \"schedule\"\nsite = \"news\"\n\
         [sources.nightly.schedule]\ncron = \"* * * * *\"\nposts = {{ search = \"{word}\" }}\n\
         [[routes]]\nname = \"nightly\"\nsource = \"nightly\"\nevents = [\"post.scheduled\"]\n\
         enrich = [\"summary\"]\n\
         [sources.pages]\nscheme = \"schedule\"\nsite = \"news\"\n\
         [sources.pages.schedule]\ncron = \"* * * * *\"\nrest_base = \"pages\"\n\
         posts = {{ search = \"{word}\" }}\n\
         [enrichments.titles]\n\
         [[routes]]\nname = \"pages\"\nsource = \"pages\"\nevents = [\"post.scheduled\"]\n\
         enrich = [\"titles\"]"
    );
    wordpress.eval(
        "update_option('copydesk_settings', ['post_types' => ['post', 'page']]
            + (array) get_option('copydesk_settings', []));",
        &[],
    );
    let page = wordpress.eval(
        "echo wp_insert_post(['post_title' => 'A page', 'post_type' => 'page',
            'post_status' => 'publish', 'post_content' => $args[0]]);",
        &[&text(9)],
    );
    let page: u64 = page.trim().parse().unwrap();
    let mut node = wordpress.node_with("embedded", "auto", "", &more);
    node.start().await;
    eventually("every post has its excerpt", async || {
        posts.iter().all(|post| !wordpress.excerpt(*post).is_empty()).then_some(())
    })
    .await;
    node.quiet().await;
    for post in &posts {
        let journey = node.get(&format!("/posts/news/{post}")).await;
        assert!(journey.to_string().contains("post.scheduled"), "{journey}");
        // Another tick may have come meanwhile: its text was worked on before.
        let ends = super::states(&node, *post).await;
        assert_eq!(ends.iter().filter(|end| *end == "applied").count(), 1, "{ends:?}");
    }
    assert_eq!(wordpress.excerpt(other), "", "it is not in the list");
    let ends = super::states(&node, page).await;
    assert!(ends.contains(&"suggested".to_owned()), "a page, read by the plugin: {ends:?}");
    let sources = node.get("/sources").await;
    let rows = sources["rows"].as_array().unwrap();
    let nightly = rows.iter().find(|row| row["source"] == "nightly").unwrap();
    assert_eq!(nightly["schedule"]["done"], true, "{nightly}");
    assert!(nightly["schedule"]["last_at"].is_i64(), "{nightly}");
    assert!(node.stop().success());
}
