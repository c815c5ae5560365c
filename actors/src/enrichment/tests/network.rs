use std::time::{Duration, Instant};

use bytes::Bytes;
use copydesk_core::content::FieldValue;
use copydesk_core::failure::{Failure, FailureClass};
use copydesk_core::outbound::Rules;
use copydesk_proto::TraceContext;
use serde_json::json;

use super::stub::{Play, Stub, anthropic, error, error_with, openai, openai_without_usage};
use super::{question, question_about};
use crate::enrichment::provider::network::{Kind, Network, NetworkSettings};
use crate::enrichment::provider::{Prices, Provider, Question, Reply};
use crate::enrichment::recipe::Recipe;

const SUMMARY: &str = r#"{"summary":"The harbour is open again after the storm."}"#;

fn settings(stub: &Stub, kind: Kind) -> NetworkSettings {
    NetworkSettings {
        kind,
        base_url: stub.base_url.clone(),
        api_key: Some("secret-canary".to_owned().into()),
        api_key_setting: "providers.main.api_key".to_owned(),
        model: "some-model".to_owned(),
        connect_timeout: Duration::from_secs(5),
        timeout: Duration::from_secs(20),
        proxy: None,
        rules: Rules::trusting(),
        prices: Prices {
            input_microdollars_per_million: 150_000,
            output_microdollars_per_million: 600_000,
        },
    }
}

async fn ask(stub: &Stub, kind: Kind, question: &Question) -> Result<Reply, Failure> {
    Network::new(settings(stub, kind)).unwrap().ask(question).await
}

#[tokio::test]
async fn an_openai_service_is_asked_and_booked() {
    let stub = Stub::start(vec![openai(SUMMARY, "stop")]).await;
    let trace: TraceContext =
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
    let question = Question { trace: Some(trace), ..question(Recipe::Summary) };
    let reply = ask(&stub, Kind::OpenAi, &question).await.unwrap();
    assert_eq!(
        reply,
        Reply {
            value: FieldValue::Text("The harbour is open again after the storm.".to_owned()),
            model: "gpt-test-2026".to_owned(),
            input_tokens: 100,
            output_tokens: 20,
            // 100 × 0.15 + 20 × 0.6 millionths.
            cost_microdollars: 27,
            finish_reason: "stop",
        }
    );
    let asked = &stub.asked()[0];
    assert_eq!(asked.path, "/v1/chat/completions");
    assert_eq!(asked.header("authorization"), "Bearer secret-canary");
    assert_eq!(asked.header("traceparent"), trace.to_string());
    assert_eq!(asked.header("idempotency-key"), "call-7");
    assert_eq!(asked.body["model"], "some-model");
    assert_eq!(asked.body["max_tokens"], 600);
    let schema = &asked.body["response_format"]["json_schema"]["schema"];
    assert_eq!(schema["additionalProperties"], json!(false));
    assert_eq!(asked.body["messages"][0]["role"], "system");
    let user = asked.body["messages"][1]["content"].as_str().unwrap();
    assert!(user.contains("The harbour reopened on Monday") && !user.contains("<p>"), "{user}");
}

#[tokio::test]
async fn an_anthropic_service_is_asked_and_booked() {
    let stub = Stub::start(vec![anthropic(r#"{"tags":["Weather"]}"#, "end_turn")]).await;
    let reply = ask(&stub, Kind::Anthropic, &question(Recipe::Tags)).await.unwrap();
    assert_eq!(reply.value, FieldValue::List(vec!["Weather".to_owned()]));
    assert_eq!(
        (reply.model.as_str(), reply.input_tokens, reply.output_tokens),
        ("claude-test-2026", 90, 10)
    );
    let asked = &stub.asked()[0];
    assert_eq!(asked.path, "/v1/messages");
    assert_eq!(asked.header("x-api-key"), "secret-canary");
    assert_eq!(asked.body["max_tokens"], 250);
    assert_eq!(asked.body["output_config"]["format"]["type"], "json_schema");
}

#[tokio::test]
async fn errors_become_classes_with_plain_words() {
    use FailureClass::{Retry, Terminal, Unavailable};
    let html = Play::Answer(
        200,
        vec![("content-type", "text/html".to_owned())],
        Bytes::from_static(b"<p>"),
    );
    let broken = Play::Answer(
        200,
        vec![("content-type", "application/json".to_owned())],
        Bytes::from_static(b"{\"choices\":["),
    );
    let cases = vec![
        (error(401, "bad key"), Unavailable, "provider_unauthorized", None),
        (error(403, "no"), Unavailable, "provider_unauthorized", None),
        (error(402, "pay"), Unavailable, "provider_quota_exhausted", None),
        (error(429, "insufficient_quota"), Unavailable, "provider_quota_exhausted", None),
        (error_with(429, "retry-after", "7"), Unavailable, "provider_rate_limited", Some(7_000)),
        (error_with(503, "retry-after", "2"), Unavailable, "provider_overloaded", Some(2_000)),
        (error(529, "overloaded"), Unavailable, "provider_overloaded", None),
        (error(500, "oops"), Retry, "provider_error", None),
        (error(502, "oops"), Retry, "provider_error", None),
        (error(408, "slow"), Retry, "provider_error", None),
        (error(404, "no such model"), Terminal, "provider_not_found", None),
        (error(400, "context_length_exceeded"), Terminal, "provider_input_too_long", None),
        (error(400, "content_filter"), Terminal, "provider_refused_content", None),
        (error(422, "what"), Terminal, "provider_request_refused", None),
        (error_with(302, "location", "http://127.0.0.1:1/"), Terminal, "provider_redirected", None),
        (html, Retry, "provider_bad_response", None),
        (broken, Retry, "provider_bad_response", None),
    ];
    for (play, class, code, retry_after_ms) in cases {
        let stub = Stub::start(vec![play]).await;
        let failure = ask(&stub, Kind::OpenAi, &question(Recipe::Summary)).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_str()), (class, code), "{failure:?}");
        assert_eq!(failure.retry_after_ms, retry_after_ms, "{code}");
        assert_eq!(stub.asked().len(), 1, "{code}: errors are not tried again here");
        assert!(!failure.cause.contains("canary") && !failure.cause.contains("ferry"), "{failure}");
        let names_the_setting = failure.cause.contains("providers.main.api_key");
        assert_eq!(names_the_setting, code == "provider_unauthorized", "{failure}");
    }
}

#[tokio::test]
async fn a_silent_service_ends_in_a_timeout_and_an_absent_one_at_once() {
    let stub = Stub::start(vec![Play::Hang]).await;
    let quick =
        NetworkSettings { timeout: Duration::from_millis(200), ..settings(&stub, Kind::OpenAi) };
    let start = Instant::now();
    let provider = Network::new(quick).unwrap();
    let failure = provider.ask(&question(Recipe::Summary)).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (FailureClass::Retry, "provider_timeout"));
    assert!(start.elapsed() >= Duration::from_millis(200));

    let gone = settings(&stub, Kind::OpenAi);
    drop(stub);
    // The listener's task ends when it is next polled; until then a connection may still be taken.
    let quick = NetworkSettings { timeout: Duration::from_millis(200), ..gone };
    let provider = Network::new(quick).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let failure = provider.ask(&question(Recipe::Summary)).await.unwrap_err();
        if failure.code == "provider_unreachable" {
            assert_eq!(failure.class, FailureClass::Unavailable);
            break;
        }
        assert!(Instant::now() < deadline, "{failure:?}");
    }
}

#[tokio::test]
async fn a_malformed_answer_is_repaired_once_and_both_are_booked() {
    let plays = vec![openai("Sure! Here is your summary.", "stop"), openai(SUMMARY, "stop")];
    let stub = Stub::start(plays).await;
    let reply = ask(&stub, Kind::OpenAi, &question(Recipe::Summary)).await.unwrap();
    assert_eq!((reply.input_tokens, reply.output_tokens, reply.cost_microdollars), (200, 40, 54));
    let asked = stub.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1].header("idempotency-key"), "call-7-repair");
    assert_eq!(asked[1].body["messages"][2]["role"], "assistant");

    for (plays, code) in [
        (vec![openai(r#"{"summary":"a","post_id":9}"#, "stop")], "provider_answer_malformed"),
        (vec![openai(r#"{"summary":["a"]}"#, "stop")], "provider_answer_malformed"),
        (vec![openai("{", "length")], "provider_answer_cut_off"),
        (vec![openai("", "stop")], "provider_answer_malformed"),
    ] {
        let stub = Stub::start(plays).await;
        let failure = ask(&stub, Kind::OpenAi, &question(Recipe::Summary)).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_str()), (FailureClass::Terminal, code));
        assert_eq!(stub.asked().len(), 2, "{code}: one repair and no more");
    }
}

#[tokio::test]
async fn a_refusal_is_not_asked_again() {
    for (play, kind) in [
        (openai("I cannot", "content_filter"), Kind::OpenAi),
        (anthropic("I cannot", "refusal"), Kind::Anthropic),
    ] {
        let stub = Stub::start(vec![play]).await;
        let failure = ask(&stub, kind, &question(Recipe::Summary)).await.unwrap_err();
        assert_eq!(failure.code, "provider_refused_content");
        assert_eq!(stub.asked().len(), 1);
    }
}

#[tokio::test]
async fn missing_usage_is_booked_by_estimate() {
    let stub = Stub::start(vec![openai_without_usage(SUMMARY)]).await;
    let reply = ask(&stub, Kind::OpenAi, &question(Recipe::Summary)).await.unwrap();
    assert!(reply.input_tokens > 100, "{reply:?}");
    assert!((10..40).contains(&reply.output_tokens), "{reply:?}");
    assert!(reply.cost_microdollars > 0);
    assert_eq!(reply.model, "some-model");
}

#[tokio::test]
async fn fifty_megabytes_of_answer_are_refused() {
    let long = json!({"summary": "a".repeat(50_000_000)}).to_string();
    let stub = Stub::start(vec![openai(&long, "stop"), openai(SUMMARY, "stop")]).await;
    let failure = ask(&stub, Kind::OpenAi, &question(Recipe::Summary)).await.unwrap_err();
    assert_eq!(
        (failure.class, failure.code.as_str()),
        (FailureClass::Terminal, "provider_answer_too_long")
    );
    assert_eq!(stub.asked().len(), 1, "fifty megabytes are not sent back for repair");
}

#[tokio::test]
async fn a_post_with_nothing_to_say_costs_nothing() {
    let stub = Stub::start(vec![openai(SUMMARY, "stop")]).await;
    let question = question_about(Recipe::Summary, "<figure><img src=x></figure>[gallery]");
    let reply = ask(&stub, Kind::OpenAi, &question).await.unwrap();
    assert_eq!(reply.value, Recipe::Summary.empty());
    assert_eq!(reply.cost_microdollars, 0);
    assert!(stub.asked().is_empty());
}

#[tokio::test]
async fn check_tells_a_good_key_from_a_bad_one() {
    let models = json!({"object": "list", "data": [{"id": "some-model", "object": "model"}]});
    let good = Play::Answer(
        200,
        vec![("content-type", "application/json".to_owned())],
        Bytes::from(models.to_string()),
    );
    let stub = Stub::start(vec![good, error(401, "bad key")]).await;
    let provider = Network::new(settings(&stub, Kind::OpenAi)).unwrap();
    assert_eq!(provider.check().await.unwrap(), ["some-model"]);
    assert_eq!(provider.check().await.unwrap_err().code, "provider_unauthorized");
    assert_eq!(stub.asked()[0].path, "/v1/models");
}

#[test]
fn a_base_url_must_be_http() {
    for url in ["ftp://example.com", "file:///etc/passwd", "data:text/plain,x"] {
        let settings = NetworkSettings {
            kind: Kind::OpenAi,
            base_url: url.parse().unwrap(),
            api_key: None,
            api_key_setting: String::new(),
            model: "m".to_owned(),
            connect_timeout: NetworkSettings::CONNECT_TIMEOUT,
            timeout: NetworkSettings::TIMEOUT,
            proxy: None,
            rules: Rules::trusting(),
            prices: Prices::default(),
        };
        assert!(Network::new(settings).is_err(), "{url}");
    }
}
