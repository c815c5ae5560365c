//! Reading and writing by WordPress's own routes.

use std::sync::{Arc, Mutex};

use copydesk_core::content::{Field, FieldValue, FieldWrite, Mode, PostText};
use copydesk_core::failure::FailureClass;
use copydesk_proto::{ContentHash, PostId, PostKey, Timestamp};
use serde_json::{Value, json};

use super::super::{Read, ReadPost, SiteClient, WriteOutcome};
use super::stub::{Answer, Seen, Stub};
use super::{core, excerpt, key, post, read, site, tags, text, write};

/// 2026-11-23 08:09:58 UTC.
const MODIFIED: Timestamp = Timestamp(1_795_421_398_000);

fn hash(raw: &str) -> ContentHash {
    ContentHash::of(&[raw])
}

/// WordPress's behaviour over one post: stores what is posted, drops unknown meta silently.
fn wordpress(post: &Mutex<Value>, seen: &Seen) -> Answer {
    let mut post = post.lock().unwrap();
    if seen.method == "POST" {
        for (field, value) in seen.json().as_object().unwrap() {
            match field.as_str() {
                "excerpt" => post["excerpt"]["raw"] = value.clone(),
                "meta" => {
                    let (key, value) = value.as_object().unwrap().iter().next().unwrap();
                    if key != "dropped" {
                        post["meta"][key] = value.clone();
                    }
                }
                other => post[other] = value.clone(),
            }
        }
    }
    Answer::json(200, &*post)
}

async fn site_with(post: Value) -> (Stub, Arc<Mutex<Value>>) {
    let post = Arc::new(Mutex::new(post));
    let shared = Arc::clone(&post);
    (Stub::start(move |seen| wordpress(&shared, seen)).await, post)
}

fn applied(stored: &[(Field, ContentHash)], kept: &[Field], already: bool) -> WriteOutcome {
    let (stored, kept) = (stored.to_vec(), kept.to_vec());
    WriteOutcome::Applied { stored, kept, suggested: vec![], already, modified_at: MODIFIED }
}

#[tokio::test]
async fn a_post_is_read_as_its_editors_see_it() {
    let (stub, _) = site_with(post("Hers")).await;
    let text = PostText {
        title: "Title".to_owned(),
        content: "<p>Text</p>".to_owned(),
        excerpt: "Hers".to_owned(),
        ..PostText::default()
    };
    let expected =
        ReadPost { found: true, text, modified_gmt: MODIFIED, status: "publish".to_owned() };
    assert_eq!(core(&stub).read(&read()).await, Ok(expected));
    let seen = stub.seen().remove(0);
    assert!(seen.target.starts_with("/wp-json/wp/v2/posts/42?context=edit&"), "{}", seen.target);
    assert_eq!(seen.headers["authorization"].len(), "Basic ".len() + 40);
    let agent = concat!("copydesk/", env!("CARGO_PKG_VERSION"));
    assert_eq!(seen.headers["user-agent"], agent);
    assert!(!seen.headers.contains_key("accept-encoding"));
}

#[tokio::test]
async fn a_deleted_or_trashed_post_is_gone() {
    let mut trashed = post("");
    trashed["status"] = json!("trash");
    for answer in [Answer::error(404, "rest_post_invalid_id"), Answer::json(200, trashed)] {
        let stub = Stub::start(move |_| answer.clone()).await;
        assert_eq!(core(&stub).read(&read()).await, Ok(ReadPost::default()));
        let outcome = core(&stub).write(&write(vec![excerpt("Ours")])).await;
        assert_eq!(outcome, Ok(WriteOutcome::Gone));
        assert_eq!(stub.count("POST"), 0);
    }
}

#[tokio::test]
async fn a_write_looks_first_and_carries_its_names() {
    let (stub, _) = site_with(post("")).await;
    let outcome = core(&stub).write(&write(vec![excerpt("Ours")])).await;
    assert_eq!(outcome, Ok(applied(&[(Field::Excerpt, hash("Ours"))], &[], false)));
    let seen = stub.seen();
    assert_eq!([seen[0].method.as_str(), seen[1].method.as_str()], ["GET", "POST"]);
    assert_eq!(seen[1].json(), json!({"excerpt": "Ours"}));
    let header = |name: &str| seen[1].headers[name].as_str();
    assert_eq!(header("idempotency-key"), "log-news-42-3");
    assert_eq!(header("x-copydesk-write"), "3");
    assert_eq!(header("x-copydesk-position"), "17:3");
    assert_eq!(header("traceparent"), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
}

#[tokio::test]
async fn a_changed_text_stops_the_write() {
    let (stub, _) = site_with(post("")).await;
    let now = core(&stub).read(&read()).await.unwrap().text.input_hash();
    let mut other = write(vec![excerpt("Ours")]);
    other.input_hash = Some(hash("an older text"));
    let outcome = core(&stub).write(&other).await;
    assert_eq!(outcome, Ok(WriteOutcome::Changed { input_hash: now }));
    assert_eq!(stub.count("POST"), 0);
    other.input_hash = Some(now);
    assert!(matches!(core(&stub).write(&other).await, Ok(WriteOutcome::Applied { .. })));
}

#[tokio::test]
async fn a_persons_words_are_kept_and_nothing_is_sent() {
    let (stub, _) = site_with(post("Hers")).await;
    let over_ours = FieldWrite { base: Some(hash("Ours before")), ..excerpt("Ours") };
    let if_empty = FieldWrite { mode: Mode::ApplyIfEmpty, ..excerpt("Ours") };
    for field in [excerpt("Ours"), over_ours, if_empty, text(Field::Title, "x")] {
        let kept = [field.field.clone()];
        assert_eq!(core(&stub).write(&write(vec![field])).await, Ok(applied(&[], &kept, false)));
    }
    assert_eq!(stub.count("POST"), 0);
}

#[tokio::test]
async fn our_own_value_is_replaced_even_as_wordpress_normalised_it() {
    let (stub, stored) = site_with(post("")).await;
    let client = core(&stub);
    client.write(&write(vec![excerpt("R & D")])).await.unwrap();
    stored.lock().unwrap()["excerpt"]["raw"] = json!("R &amp; D");
    let again = client.write(&write(vec![excerpt("R & D")])).await;
    let base = hash("R &amp; D");
    assert_eq!(again, Ok(applied(&[(Field::Excerpt, base)], &[], true)));
    let next = FieldWrite { base: Some(base), ..excerpt("Next") };
    let outcome = client.write(&write(vec![next])).await;
    assert_eq!(outcome, Ok(applied(&[(Field::Excerpt, hash("Next"))], &[], false)));
    assert_eq!(stub.count("POST"), 2);
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_not_repeated() {
    for lost in [Answer::Close, Answer::Hang, Answer::html(502), Answer::html(504)] {
        let stored = Arc::new(Mutex::new(post("")));
        let stub = Stub::start(move |seen| {
            let answer = wordpress(&stored, seen);
            if seen.method == "POST" { lost.clone() } else { answer }
        })
        .await;
        let client = core(&stub);
        let request = write(vec![excerpt("Ours")]);
        assert_eq!(client.write(&request).await.unwrap_err().class, FailureClass::Retry);
        let again = client.write(&request).await;
        assert_eq!(again, Ok(applied(&[(Field::Excerpt, hash("Ours"))], &[], true)));
        assert_eq!(stub.count("POST"), 1);
    }
}

#[tokio::test]
async fn plain_permalinks_are_found_out_once() {
    for pretty in [Answer::html(200), Answer::html(301), Answer::html(404), Answer::html(405)] {
        let stored = Mutex::new(post(""));
        let stub = Stub::start(move |seen| {
            if seen.target.starts_with("/blog/?rest_route=/wp/v2/posts/42&") {
                wordpress(&stored, seen)
            } else {
                pretty.clone()
            }
        })
        .await;
        let client = SiteClient::new(site(&format!("{}/blog/", stub.url()))).unwrap();
        let outcome = client.write(&write(vec![excerpt("Ours")])).await;
        assert_eq!(outcome, Ok(applied(&[(Field::Excerpt, hash("Ours"))], &[], false)));
        client.read(&read()).await.unwrap();
        let tried = stub.seen().iter().filter(|s| s.target.contains("/wp-json/")).count();
        assert_eq!((tried, stub.seen().len()), (1, 4));
    }
}

#[tokio::test]
async fn meta_must_be_registered_and_stored() {
    let seo = |key: &str| vec![text(Field::Meta(key.to_owned()), "Words"), excerpt("Ours")];
    let (stub, stored) = site_with(post("")).await;
    let outcome = core(&stub).write(&write(seo("seo"))).await.unwrap();
    let both = [(Field::Meta("seo".to_owned()), hash("Words")), (Field::Excerpt, hash("Ours"))];
    assert_eq!(outcome, applied(&both, &[], false));
    assert_eq!(stored.lock().unwrap()["meta"]["seo"], "Words");

    let check = async |meta: Value, key: &str, code: &str, posts: usize| {
        let mut post = post("");
        post["meta"] = meta;
        let (stub, _) = site_with(post).await;
        let failure = core(&stub).write(&write(seo(key))).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_str()), (FailureClass::Terminal, code));
        assert_eq!(stub.count("POST"), posts, "{code}");
    };
    check(json!([]), "nope", "meta_not_registered", 0).await;
    check(json!({"seo": ""}), "nope", "meta_not_registered", 0).await;
    check(json!({"seo": []}), "seo", "meta_not_text", 0).await;
    check(json!({"dropped": ""}), "dropped", "wordpress_field_not_stored", 1).await;
    let mut bare = post("");
    bare.as_object_mut().unwrap().remove("excerpt");
    let (stub, _) = site_with(bare).await;
    let failure = core(&stub).write(&write(vec![excerpt("Ours")])).await.unwrap_err();
    assert_eq!(failure.code, "wordpress_field_missing");
}

/// 150 tags on two pages: `t1` is 1, …; `R &amp; D` is 150.
fn terms(seen: &Seen) -> Option<Answer> {
    let page = if seen.target.contains("&page=1&") { 1..=100 } else { 101..=150 };
    let name = |id: u64| if id == 150 { "R &amp; D".to_owned() } else { format!("t{id}") };
    let list: Vec<Value> = page.map(|id| json!({"id": id, "name": name(id)})).collect();
    let list = Answer::json(200, json!(list)).with("x-wp-totalpages", "2");
    seen.target.starts_with("/wp-json/wp/v2/tags?").then_some(list)
}

#[tokio::test]
async fn tags_are_added_by_name_and_never_replaced() {
    let stored = Arc::new(Mutex::new(post("")));
    let shared = Arc::clone(&stored);
    let stub =
        Stub::start(move |seen| terms(seen).unwrap_or_else(|| wordpress(&shared, seen))).await;
    let client = core(&stub);
    let value = tags(&["r &  D", "T2", "t2", "unknown"]);
    let outcome = client.write(&write(vec![value.clone()])).await;
    assert_eq!(outcome, Ok(applied(&[(Field::Tags, value.value.hash())], &[], false)));
    assert_eq!(stored.lock().unwrap()["tags"], json!([3, 150, 2]));
    let again = client.write(&write(vec![value.clone()])).await;
    assert_eq!(again, Ok(applied(&[(Field::Tags, value.value.hash())], &[], true)));
    let unknown = client.write(&write(vec![tags(&["unknown"])])).await;
    assert_eq!(unknown, Ok(applied(&[], &[Field::Tags], false)));
    let listed = stub.seen().iter().filter(|s| s.target.contains("/tags?")).count();
    assert_eq!(listed, 2, "the list is read once");
}

#[tokio::test]
async fn a_tag_deleted_meanwhile_makes_the_list_stale() {
    let stub = Stub::start(move |seen| {
        // WordPress ignores unknown ids without a word.
        terms(seen).unwrap_or_else(|| Answer::json(200, post("")))
    })
    .await;
    let client = core(&stub);
    for _ in 0..2 {
        let outcome = client.write(&write(vec![tags(&["t2"])])).await;
        assert_eq!(outcome, Ok(applied(&[], &[Field::Tags], false)));
    }
    let listed = stub.seen().iter().filter(|s| s.target.contains("/tags?")).count();
    assert_eq!(listed, 4);
}

#[tokio::test]
async fn terms_come_with_a_read_when_wanted() {
    let stub = Stub::start(move |seen| {
        if seen.target.contains("/categories?") {
            Answer::json(200, json!([{"id": 1, "name": "Uncategorized"}]))
        } else {
            terms(seen).unwrap_or_else(|| Answer::json(200, post("")))
        }
    })
    .await;
    let with_terms = Read { with_terms: true, ..read() };
    let names = core(&stub).read(&with_terms).await.unwrap().text.terms;
    assert_eq!(
        (names.len(), names[149].as_str(), names[150].as_str()),
        (151, "R & D", "Uncategorized")
    );
}

#[tokio::test]
async fn a_foreign_item_is_no_post() {
    let stub = Stub::start(|_| Answer::json(200, post(""))).await;
    let foreign = PostKey { post: PostId::external("abc").unwrap(), ..key() };
    let failure = core(&stub).read(&Read { key: foreign, ..read() }).await.unwrap_err();
    assert_eq!(
        (failure.class, failure.code.as_str()),
        (FailureClass::Terminal, "not_a_wordpress_post")
    );
    assert!(stub.seen().is_empty());
}

#[tokio::test]
async fn a_list_fits_into_a_text_field() {
    let (stub, stored) = site_with(post("")).await;
    let field = FieldWrite {
        field: Field::Meta("seo".to_owned()),
        value: FieldValue::List(vec!["one".to_owned(), "two".to_owned()]),
        mode: Mode::ApplyIfEmpty,
        base: None,
    };
    core(&stub).write(&write(vec![field])).await.unwrap();
    assert_eq!(stored.lock().unwrap()["meta"]["seo"], "one, two");
}
