//! Judging comments, by the plugin and by WordPress's own route.

use copydesk_core::content::{Field, Mode};
use copydesk_core::failure::FailureClass;
use copydesk_proto::{ContentHash, PostId, PostKey};
use serde_json::{Value, json};

use super::super::{DeliveryKind, Site, SiteClient, Write, WriteOutcome};
use super::stub::{Answer, Stub};
use super::{core, key, site, text, write};

/// A judgement of comment 7, which was held when it was judged.
fn judged(verdict: &str) -> Write {
    let field = text(Field::Comment, &format!("{verdict}: Advertises a casino."));
    Write {
        key: PostKey { post: PostId::external("comment/7").unwrap(), ..key() },
        external_id: Some("comment/7".to_owned()),
        event_status: Some("hold".to_owned()),
        input_hash: Some(ContentHash::of(&["Ann", "Win now"])),
        ..write(vec![field])
    }
}

fn comment(status: &str) -> Value {
    json!({ "id": 7, "status": status, "author_name": "Ann", "content": { "raw": "Win now" } })
}

fn kept(outcome: &WriteOutcome) -> bool {
    matches!(outcome, WriteOutcome::Applied { kept, .. } if *kept == [Field::Comment])
}

#[tokio::test]
async fn a_comment_gets_its_status_by_wordpress_itself() {
    let stub = Stub::start(|seen| {
        Answer::json(200, comment(if seen.method == "POST" { "spam" } else { "hold" }))
    })
    .await;
    let outcome = core(&stub).write(&judged("spam")).await.unwrap();
    assert!(
        matches!(&outcome, WriteOutcome::Applied { stored, already: false, .. }
            if stored[0].0 == Field::Comment),
        "{outcome:?}"
    );
    let seen = stub.seen();
    assert!(seen[1].target.starts_with("/wp-json/wp/v2/comments/7?context=edit"));
    assert_eq!(seen[1].json(), json!({ "status": "spam" }));
}

#[tokio::test]
async fn a_person_who_decided_or_wrote_since_has_the_last_word() {
    for (status, verdict) in [("approved", "spam"), ("spam", "approve")] {
        let stub = Stub::start(move |_| Answer::json(200, comment(status))).await;
        assert!(kept(&core(&stub).write(&judged(verdict)).await.unwrap()));
        assert_eq!(stub.seen().len(), 1, "nothing was sent");
    }
    let edited = json!({
        "id": 7, "status": "hold", "author_name": "Ann", "content": { "raw": "Won" },
    });
    let stub = Stub::start(move |_| Answer::json(200, &edited)).await;
    let outcome = core(&stub).write(&judged("spam")).await.unwrap();
    assert!(kept(&outcome), "the new words have an event of their own");
    for answer in
        [Answer::error(404, "rest_comment_invalid_id"), Answer::json(200, comment("trash"))]
    {
        let stub = Stub::start(move |_| answer.clone()).await;
        assert_eq!(core(&stub).write(&judged("spam")).await, Ok(WriteOutcome::Gone));
    }
}

#[tokio::test]
async fn a_status_that_wordpress_did_not_take_is_no_success() {
    let stub = Stub::start(|_| Answer::json(200, comment("hold"))).await;
    let failure = core(&stub).write(&judged("approve")).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Retry);
    // It stands as it should already.
    let outcome = core(&stub).write(&judged("hold")).await.unwrap();
    assert!(matches!(outcome, WriteOutcome::Applied { already: true, .. }));
}

#[tokio::test]
async fn a_judgement_without_a_reason_or_of_something_else_is_not_sent() {
    let stub = Stub::start(|_| Answer::json(200, comment("hold"))).await;
    let silent = Write { fields: vec![text(Field::Comment, "spam:")], ..judged("spam") };
    let of_post = Write { external_id: None, key: key(), ..judged("spam") };
    for write in [silent, of_post, judged("burn")] {
        let failure = core(&stub).write(&write).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Terminal);
    }
    assert_eq!(stub.seen().len(), 0);
    let mut suggestion = judged("spam");
    suggestion.fields[0].mode = Mode::Suggest;
    let outcome = core(&stub).write(&suggestion).await.unwrap();
    assert!(matches!(outcome, WriteOutcome::Applied { suggested, .. } if suggested.len() == 1));
    assert_eq!(stub.seen().len(), 0);
}

#[tokio::test]
async fn the_plugin_is_told_the_verdict_the_reason_and_what_was_seen() {
    let answer = |outcome: &'static str| {
        move |_: &super::stub::Seen| {
            Answer::json(
                200,
                json!({
                    "status": "applied", "write": 3, "delivery_id": "log-news-42-3", "id": 7,
                    "fields": { "comment": { "outcome": outcome, "hash": ContentHash::of(&["x"]).to_string() } },
                    "comment_status": "spam",
                }),
            )
        }
    };
    let plugin = |stub: &Stub| {
        SiteClient::new(Site { kind: DeliveryKind::Plugin, ..site(&stub.url()) }).unwrap()
    };
    let stub = Stub::start(answer("applied")).await;
    let outcome = plugin(&stub).write(&judged("spam")).await.unwrap();
    assert!(matches!(outcome, WriteOutcome::Applied { stored, .. } if stored.len() == 1));
    let seen = stub.seen();
    assert_eq!(seen[0].target, "/wp-json/copydesk/v1/comments/7/apply");
    let body = seen[0].json();
    assert_eq!(body["seen"], "hold");
    assert_eq!(body["fields"][0]["value"], "spam: Advertises a casino.");
    let stub = Stub::start(answer("kept")).await;
    assert!(kept(&plugin(&stub).write(&judged("spam")).await.unwrap()));
}
