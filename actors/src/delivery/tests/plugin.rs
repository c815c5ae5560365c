//! By the routes of Copydesk's own plugin. The stand-in answers as the contract says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use copydesk_core::content::{Field, FieldValue, FieldWrite, Mode, PostText};
use copydesk_core::failure::FailureClass;
use copydesk_proto::{ContentHash, PostId, PostKey, Timestamp};
use serde_json::{Value, json};

use super::super::{DeliveryKind, Made, PostStatus, Site, SiteClient, Write, WriteOutcome};
use super::stub::{Answer, Seen, Stub};
use super::{excerpt, key, post, read, site, tags, text, write};

fn client(stub: &Stub, kind: DeliveryKind) -> SiteClient {
    SiteClient::new(Site { kind, ..site(&stub.url()) }).unwrap()
}

fn hash(text: &str) -> ContentHash {
    ContentHash::of(&[text])
}

/// The answer to a write, with what became of its fields.
fn applied(status: &str, fields: Value) -> Value {
    json!({
        "status": status, "write": 3, "delivery_id": "log-news-42-3",
        "modified_gmt": "2026-11-23T08:09:58Z", "fields": fields,
    })
}

fn error(status: u16, code: &str, data: Value) -> Answer {
    Answer::json(status, json!({"code": code, "message": "Words.", "data": data}))
}

fn status() -> Answer {
    Answer::json(
        200,
        json!({
            "plugin": "0.1.0", "api": 1, "wordpress": "7.1.4", "post_types": ["post"],
            "statuses": ["publish"], "seo": null, "now": 1,
        }),
    )
}

fn is_status(seen: &Seen) -> bool {
    seen.target.starts_with("/wp-json/copydesk/v1/status")
}

#[tokio::test]
async fn a_post_is_read_as_its_editors_see_it() {
    let input = PostText {
        title: "Títle".to_owned(),
        content: "<p>Text</p>".to_owned(),
        ..PostText::default()
    };
    let shown = json!({
        "id": 42, "type": "post", "status": "publish", "modified_gmt": "2026-11-23T08:09:58Z",
        "language": "de-AT", "title": "Títle", "content": "<p>Text</p>", "excerpt": "Hers",
        "url": "http://x/42", "author": 1, "tags": ["a"], "categories": [],
        "input_hash": input.input_hash().to_string(), "fields": {},
    });
    let stub = Stub::start(move |_| Answer::json(200, &shown)).await;
    let post = client(&stub, DeliveryKind::Plugin).read(&read()).await.unwrap();
    assert_eq!(stub.seen()[0].target, "/wp-json/copydesk/v1/posts/42");
    assert!(post.found && post.text.excerpt == "Hers" && post.text.language == "de-AT");
    assert_eq!(post.text.input_hash(), input.input_hash());
    assert_eq!(post.modified_gmt, Timestamp(1_795_421_398_000));
    for (status, code) in [(404, "copydesk_gone"), (410, "copydesk_trashed")] {
        let stub = Stub::start(move |_| Answer::error(status, code)).await;
        assert!(!client(&stub, DeliveryKind::Plugin).read(&read()).await.unwrap().found);
    }
}

#[tokio::test]
async fn a_text_that_does_not_survive_the_way_is_said_to() {
    let shown = json!({
        "id": 42, "status": "publish", "modified_gmt": "2026-11-23T08:09:58Z", "title": "T",
        "content": "caf\u{fffd}", "input_hash": hash("other bytes").to_string(),
    });
    let stub = Stub::start(move |_| Answer::json(200, &shown)).await;
    let failure = client(&stub, DeliveryKind::Plugin).read(&read()).await.unwrap_err();
    assert_eq!(failure.code, "wordpress_text_not_utf8");
    assert_eq!(failure.class, FailureClass::Terminal);
}

#[tokio::test]
async fn a_write_carries_its_fence_its_bases_and_who_made_it() {
    let fields = json!({
        "excerpt": {"outcome": "applied", "hash": hash("Ours").to_string()},
        "title": {"outcome": "suggested"},
        "tags": {"outcome": "kept", "reason": "no_such_term"},
    });
    let stub = Stub::start(move |_| Answer::json(200, applied("applied", fields.clone()))).await;
    let ideas = FieldValue::List(vec!["Idea".to_owned(), "Another".to_owned()]);
    let title = FieldWrite { mode: Mode::Suggest, value: ideas, ..text(Field::Title, "") };
    let ours = FieldWrite { base: Some(hash("Before")), ..excerpt("Ours") };
    let request = Write {
        input_hash: Some(hash("input")),
        made: vec![Made {
            field: Field::Excerpt,
            enrichment: "summary".parse().unwrap(),
            model: "gpt-4o-mini".to_owned(),
            prompt_version: 2,
        }],
        log: u64::MAX,
        ..write(vec![ours, title, tags(&["a", "b"])])
    };
    let client = client(&stub, DeliveryKind::Plugin);
    let expected = WriteOutcome::Applied {
        stored: vec![(Field::Excerpt, hash("Ours"))],
        kept: vec![Field::Tags],
        suggested: vec![Field::Title],
        already: false,
        modified_at: Timestamp(1_795_421_398_000),
    };
    assert_eq!(client.write(&request).await, Ok(expected.clone()));
    assert_eq!(client.write(&request).await, Ok(expected));
    let seen = stub.seen();
    assert_eq!(seen[0].body, seen[1].body, "the same bytes go out again");
    assert_eq!(seen[0].target, "/wp-json/copydesk/v1/posts/42/apply");
    assert_eq!(seen[0].headers["idempotency-key"], "log-news-42-3");
    assert_eq!(seen[0].headers["x-copydesk-write"], "3");
    assert!(seen[0].headers.contains_key("traceparent"));
    let plain = |field, value: Value, mode| {
        json!({
            "field": field, "value": value, "mode": mode, "base_hash": null,
            "enrichment": "event", "model": "", "prompt_version": 0,
        })
    };
    let body = json!({
        "delivery_id": "log-news-42-3", "log": "18446744073709551615", "epoch": 0, "write": 3,
        "sequence": 12, "input_hash": hash("input").to_string(),
        "fields": [
            {
                "field": "excerpt", "value": "Ours", "mode": "apply",
                "base_hash": hash("Before").to_string(),
                "enrichment": "summary", "model": "gpt-4o-mini", "prompt_version": 2,
            },
            plain("title", json!("Idea"), "suggest"),
            plain("tags", json!(["a", "b"]), "apply"),
        ],
    });
    assert_eq!(seen[0].json(), body);
}

#[tokio::test]
async fn every_answer_means_one_thing() {
    let check = async |answer: Answer, expected: Result<WriteOutcome, (FailureClass, &str)>| {
        let stub = Stub::start(move |_| answer.clone()).await;
        let outcome =
            client(&stub, DeliveryKind::Plugin).write(&write(vec![excerpt("Ours")])).await;
        let told = outcome.as_ref().map_err(|failure| (failure.class, failure.code.as_str()));
        assert_eq!(told, expected.as_ref().map_err(|expected| *expected));
        outcome
    };
    let fields = json!({"excerpt": {"outcome": "already", "hash": hash("Ours").to_string()}});
    let stands = WriteOutcome::Applied {
        stored: vec![(Field::Excerpt, hash("Ours"))],
        kept: vec![],
        suggested: vec![],
        already: true,
        modified_at: Timestamp(1_795_421_398_000),
    };
    let _ = check(Answer::json(200, applied("already", fields)), Ok(stands)).await;
    let stale = error(409, "copydesk_stale", json!({"status": 409, "current": 9}));
    let _ = check(stale, Ok(WriteOutcome::Stale { current: 9 })).await;
    let data = json!({"status": 412, "input_hash": hash("new").to_string()});
    let changed = error(412, "copydesk_changed", data);
    let _ = check(changed, Ok(WriteOutcome::Changed { input_hash: hash("new") })).await;
    let _ = check(Answer::error(404, "copydesk_gone"), Ok(WriteOutcome::Gone)).await;
    let _ = check(Answer::error(410, "copydesk_trashed"), Ok(WriteOutcome::Gone)).await;
    let (terminal, unavailable) = (FailureClass::Terminal, FailureClass::Unavailable);
    let fenced = error(409, "copydesk_fenced", json!({"current_epoch": 4}));
    let _ = check(fenced, Err((terminal, "wordpress_fenced"))).await;
    let conflict = Answer::error(409, "copydesk_conflict");
    let _ = check(conflict, Err((terminal, "wordpress_write_conflict"))).await;
    let _ =
        check(Answer::error(403, "rest_forbidden"), Err((terminal, "wordpress_forbidden"))).await;
    let _ = check(Answer::error(400, "rest_invalid_param"), Err((terminal, "wordpress_rejected")))
        .await;
    let locked = Answer::error(423, "copydesk_locked").with("retry-after", "60");
    let waits = check(locked, Err((unavailable, "wordpress_post_locked"))).await;
    assert_eq!(waits.unwrap_err().retry_after_ms, Some(60_000));
    let missing = Answer::error(404, "rest_no_route");
    let missing = check(missing, Err((unavailable, "wordpress_plugin_missing"))).await;
    assert!(missing.unwrap_err().cause.contains("install and activate"));
}

#[tokio::test]
async fn another_writes_answer_is_no_success() {
    let fields = json!({"excerpt": {"outcome": "applied", "hash": hash("Ours").to_string()}});
    let right = applied("applied", fields);
    let with = |name: &str, value: Value| {
        let mut wrong = right.clone();
        wrong[name] = value;
        Answer::json(200, wrong)
    };
    for answer in [
        with("write", json!(4)),
        with("delivery_id", json!("log-news-43-3")),
        with("fields", json!([])),
        with("fields", json!({"excerpt": {"outcome": "perhaps"}})),
        with("status", json!("ok")),
        Answer::json(200, "{}"),
        Answer::html(200),
    ] {
        let stub = Stub::start(move |_| answer.clone()).await;
        let client = client(&stub, DeliveryKind::Plugin);
        let failure = client.write(&write(vec![excerpt("Ours")])).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Retry, "{failure:?}");
    }
}

#[tokio::test]
async fn several_writes_go_in_one_request_and_are_answered_one_by_one() {
    let stub = Stub::start(|seen| {
        let body = seen.json();
        let ids = body["writes"].as_array().unwrap().iter().map(|w| w["id"].as_u64().unwrap());
        let results: Vec<Value> = ids
            .filter(|id| *id != 44)
            .map(|id| match id {
                43 => json!({"id": 43, "status": 409, "body": {
                    "code": "copydesk_stale", "message": "", "data": {"current": 9},
                }}),
                _ => {
                    let fields = json!({"excerpt": {"outcome": "applied"}});
                    json!({"id": id, "status": 200, "body": applied("applied", fields)})
                }
            })
            .collect();
        Answer::json(200, json!({"results": results}))
    })
    .await;
    let of = |id| Write {
        key: PostKey { post: PostId::number(id).unwrap(), ..key() },
        ..write(vec![excerpt("Ours")])
    };
    let outcomes = client(&stub, DeliveryKind::Plugin).write_batch(&[of(42), of(43), of(44)]).await;
    assert_eq!(stub.seen()[0].target, "/wp-json/copydesk/v1/posts/apply");
    assert_eq!(stub.seen().len(), 1);
    assert!(matches!(outcomes[0], Ok(WriteOutcome::Applied { .. })), "{outcomes:?}");
    assert_eq!(outcomes[1], Ok(WriteOutcome::Stale { current: 9 }));
    assert_eq!(outcomes[2].as_ref().unwrap_err().class, FailureClass::Retry, "no answer");
}

#[tokio::test]
async fn a_batch_that_is_refused_whole_goes_one_by_one() {
    let stub = Stub::start(|seen| match seen.target.as_str() {
        "/wp-json/copydesk/v1/posts/apply" => Answer::html(413),
        _ => {
            let fields = json!({"excerpt": {"outcome": "applied"}});
            Answer::json(200, applied("applied", fields))
        }
    })
    .await;
    let writes = [write(vec![excerpt("Ours")]), write(vec![excerpt("Ours")])];
    let outcomes = client(&stub, DeliveryKind::Plugin).write_batch(&writes).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

#[tokio::test]
async fn a_provider_event_goes_to_its_own_route() {
    let stub = Stub::start(|_| Answer::json(200, applied("applied", json!([])))).await;
    let item = PostKey { post: PostId::external("job-7").unwrap(), ..key() };
    let mut request = Write { key: item, ..write(vec![excerpt("Short")]) };
    request.external_id = Some("job-7".to_owned());
    request.event_status = Some("completed".to_owned());
    let outcome = client(&stub, DeliveryKind::Plugin).write(&request).await.unwrap();
    let is_stored = |stored: &[(Field, ContentHash)]| stored == [(Field::Excerpt, hash("Short"))];
    assert!(matches!(outcome, WriteOutcome::Applied { stored, .. } if is_stored(&stored)));
    assert_eq!(stub.seen()[0].target, "/wp-json/copydesk/v1/events");
    let body = json!({
        "delivery_id": "log-news-42-3", "log": "17", "epoch": 0, "write": 3, "source": "relay",
        "external_id": "job-7", "status": "completed", "summary": "Short", "metadata": {},
    });
    assert_eq!(stub.seen()[0].json(), body);
}

#[tokio::test]
async fn auto_asks_once_and_then_uses_the_plugin_until_it_is_gone() {
    let gone = Arc::new(AtomicUsize::new(0));
    let shared = Arc::clone(&gone);
    let stub = Stub::start(move |seen| {
        let is_gone = shared.load(Ordering::SeqCst) == 1;
        match seen.target.as_str() {
            _ if seen.target.starts_with("/wp-json/wp/v2/") => Answer::json(200, post("Ours")),
            _ if is_gone => Answer::error(404, "rest_no_route"),
            _ if is_status(seen) => status(),
            _ => Answer::json(200, applied("applied", json!({"excerpt": {"outcome": "applied"}}))),
        }
    })
    .await;
    let client = client(&stub, DeliveryKind::Auto);
    let request = write(vec![excerpt("Ours")]);
    client.write(&request).await.unwrap();
    client.write(&request).await.unwrap();
    assert_eq!(stub.seen().iter().filter(|s| is_status(s)).count(), 1);
    gone.store(1, Ordering::SeqCst);
    let failure = client.write(&request).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Unavailable);
    client.write(&request).await.unwrap();
    client.write(&request).await.unwrap();
    assert_eq!(stub.seen().iter().filter(|s| is_status(s)).count(), 2);
    assert!(stub.seen().last().unwrap().target.starts_with("/wp-json/wp/v2/posts/42"));
}

#[tokio::test]
async fn without_the_plugin_suggestions_wait_with_us_and_nothing_is_asked() {
    let stub = Stub::start(|_| Answer::error(404, "rest_no_route")).await;
    let idea = FieldWrite { mode: Mode::Suggest, ..text(Field::Title, "Idea") };
    let outcome = client(&stub, DeliveryKind::Auto).write(&write(vec![idea])).await.unwrap();
    let WriteOutcome::Applied { stored, kept, suggested, .. } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((stored.len(), kept.len(), suggested), (0, 0, vec![Field::Title]));
    assert!(stub.seen().iter().all(is_status));
}

#[tokio::test]
async fn a_user_who_may_not_use_the_plugin_writes_as_before() {
    let stub = Stub::start(|seen| match is_status(seen) {
        true => Answer::error(403, "rest_forbidden"),
        false => Answer::json(200, post("Ours")),
    })
    .await;
    let outcome = client(&stub, DeliveryKind::Auto).write(&write(vec![excerpt("Ours")])).await;
    assert!(matches!(outcome, Ok(WriteOutcome::Applied { already: true, .. })), "{outcome:?}");
}

#[tokio::test]
async fn the_posts_list_is_told_in_one_request() {
    let stub = Stub::start(|_| Answer::json(200, json!({"updated": 1}))).await;
    let report = PostStatus {
        id: 42,
        sequence: 12,
        state: "failed",
        cause: "why".to_owned(),
        at: Timestamp(7),
    };
    client(&stub, DeliveryKind::Plugin).tell(&[report]).await.unwrap();
    let body = json!({"statuses": [
        {"id": 42, "sequence": 12, "state": "failed", "cause": "why", "at": 7},
    ]});
    assert_eq!(stub.seen()[0].target, "/wp-json/copydesk/v1/posts/statuses");
    assert_eq!(stub.seen()[0].json(), body);
}

#[tokio::test]
async fn rows_of_the_outbox_come_from_where_the_site_answered() {
    let page =
        json!({"rows": [{"id": 7, "body": "{}", "headers": {"x-wp-key-id": "k1"}}], "next": null});
    let stub = Stub::start(move |_| Answer::json(200, &page)).await;
    let page = client(&stub, DeliveryKind::Plugin).outbox(3).await.unwrap();
    assert_eq!(stub.seen()[0].target, "/wp-json/copydesk/v1/outbox?after=3&limit=20");
    assert_eq!((page.rows[0].id, page.next), (7, None));
    assert_eq!(page.peer.map(|peer| peer.is_loopback()), Some(true));
}
