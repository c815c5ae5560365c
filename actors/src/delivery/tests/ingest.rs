//! Writing by a site's own ingest route.

use copydesk_core::content::{Field, FieldWrite, Mode};
use copydesk_core::failure::FailureClass;
use copydesk_proto::{PostId, PostKey, Timestamp};
use serde_json::{Value, json};

use super::super::{DeliveryKind, Site, SiteClient, Write, WriteOutcome};
use super::stub::{Answer, Stub};
use super::{excerpt, ingest, key, site, tags, text, write};

fn stored() -> Answer {
    Answer::json(201, json!({"id": 7}))
}

async fn sent(write: &Write) -> Value {
    let stub = Stub::start(|_| stored()).await;
    ingest(&stub).write(write).await.unwrap();
    stub.seen().remove(0).json()
}

#[tokio::test]
async fn a_write_is_one_post_with_its_names() {
    let stub = Stub::start(|_| stored()).await;
    let mut request = write(vec![excerpt("Short"), tags(&["a", "b"])]);
    request.fields.push(FieldWrite { mode: Mode::Suggest, ..text(Field::Title, "Idea") });
    request.metadata.insert("model".to_owned(), json!("builtin"));
    let expected = WriteOutcome::Applied {
        stored: vec![
            (Field::Excerpt, request.fields[0].value.hash()),
            (Field::Tags, request.fields[1].value.hash()),
        ],
        kept: vec![],
        suggested: vec![Field::Title],
        already: false,
        modified_at: Timestamp::default(),
    };
    let client = ingest(&stub);
    assert_eq!(client.write(&request).await, Ok(expected.clone()));
    assert_eq!(client.write(&request).await, Ok(expected));
    let seen = stub.seen();
    let body = json!({
        "source": "relay", "external_id": "42", "status": "completed", "summary": "Short",
        "metadata": {"model": "builtin", "tags": ["a", "b"]},
    });
    assert_eq!(seen[0].json(), body);
    assert_eq!(seen[0].body, seen[1].body, "the same bytes go out again");
    assert_eq!(seen[0].target, "/wp-json/ai-guy/v1/ingest");
    for (name, value) in [
        ("idempotency-key", "log-news-42-3"),
        ("x-copydesk-write", "3"),
        ("x-copydesk-position", "17:3"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(seen[0].headers[name], value);
    }
}

#[tokio::test]
async fn the_events_own_words_are_passed_on() {
    let mut request =
        write(vec![text(Field::Status, "by us"), text(Field::Meta("line".to_owned()), "M")]);
    let body = sent(&request).await;
    assert_eq!((body["status"].as_str(), body["summary"].as_str()), (Some("by us"), Some("M")));
    request.key = PostKey { post: PostId::external("job-7").unwrap(), ..key() };
    request.external_id = Some("job-7".to_owned());
    request.event_status = Some("failed".to_owned());
    let body = sent(&request).await;
    assert_eq!(
        (body["status"].as_str(), body["external_id"].as_str()),
        (Some("failed"), Some("job-7"))
    );
    request.external_id = None;
    let stub = Stub::start(|_| stored()).await;
    let failure = ingest(&stub).write(&request).await.unwrap_err();
    assert_eq!((failure.class, stub.seen().len()), (FailureClass::Terminal, 0));
}

#[tokio::test]
async fn only_a_json_object_is_success() {
    for answer in [Answer::html(200), Answer::json(200, "[]"), Answer::json(200, "")] {
        let stub = Stub::start(move |_| answer.clone()).await;
        let failure = ingest(&stub).write(&write(vec![excerpt("Short")])).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Retry);
    }
}

#[tokio::test]
async fn a_newer_write_makes_ours_stale() {
    let check = async |body: Value, current: u64| {
        let stub = Stub::start(move |_| Answer::json(409, &body)).await;
        let outcome = ingest(&stub).write(&write(vec![excerpt("Short")])).await;
        assert_eq!(outcome, Ok(WriteOutcome::Stale { current }));
    };
    check(json!({"code": "stale_write", "current": 9}), 9).await;
    check(json!({"code": "stale_write", "data": {"status": 409, "current": 8}}), 8).await;
    check(json!({"code": "stale_write"}), 0).await;
    let stub = Stub::start(|_| Answer::error(404, "rest_post_invalid_id")).await;
    let outcome = ingest(&stub).write(&write(vec![excerpt("Short")])).await;
    assert_eq!(outcome, Ok(WriteOutcome::Gone));
}

#[tokio::test]
async fn a_route_is_found_with_plain_permalinks_and_a_path_is_taken_as_it_is() {
    let stub = Stub::start(|seen| {
        if seen.target.starts_with("/?rest_route=/ai-guy/v1/ingest") {
            stored()
        } else {
            Answer::html(200)
        }
    })
    .await;
    assert!(ingest(&stub).write(&write(vec![excerpt("Short")])).await.is_ok());
    let stub = Stub::start(|_| stored()).await;
    let settings = Site {
        kind: DeliveryKind::Ingest,
        ingest_path: "/in.php?x=1".to_owned(),
        ..site(&stub.url())
    };
    SiteClient::new(settings).unwrap().write(&write(vec![excerpt("Short")])).await.unwrap();
    assert_eq!(stub.seen()[0].target, "/in.php?x=1");
}
