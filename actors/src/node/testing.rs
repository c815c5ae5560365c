//! What tests with a whole node in one process share: settings, a sender.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use copydesk_core::breaker::BreakerPolicy;
use copydesk_core::content::{Field, Mode};
use copydesk_core::outbound::Rules;
use copydesk_core::post::{PlanStep, RoutePlan, Tries};
use copydesk_core::retry::RetryPolicy;
use copydesk_core::routes::{Coalesce, OnDeadLetter, Route, RouteTable};
use copydesk_core::signature::{Parts, Secret, SecretRing, WP_RELAY, sign};
use copydesk_core::webhook::{Head, SourceRules};
use copydesk_eventlog::{MemoryLog, MemorySnapshots};
use serde_json::json;

use super::{Bounds, Node, Settings};
use crate::enrichment::builtin::Builtin;
use crate::enrichment::provider::Provider;
use crate::enrichment::recipe::Recipe;
use crate::enrichment::{EnrichmentArguments, Limits};
use crate::{EnrichmentSettings, World};

const SECRET: &[u8] = b"a secret of at least thirty-two bytes";

/// One site, one route, one provider; nothing is written anywhere.
pub(crate) fn settings(log: &MemoryLog) -> Settings {
    let ring = || SecretRing::new(vec![Secret::new("k1", SECRET).unwrap()]).unwrap();
    let rules =
        SourceRules::new("news".parse().unwrap(), "news".parse().unwrap(), &WP_RELAY, ring());
    let route = Route {
        id: "r1".parse().unwrap(),
        source: "news".parse().unwrap(),
        events: vec!["post.updated".parse().unwrap()],
        matchers: Vec::new(),
        enrich: vec!["summary".parse().unwrap()],
        coalesce: Coalesce::Every,
        on_dead_letter: OnDeadLetter::Continue,
    };
    let step = PlanStep {
        enrichment: "summary".parse().unwrap(),
        provider: "builtin".parse().unwrap(),
        field: Field::Excerpt,
        mode: Mode::Suggest,
        prompt_version: 1,
    };
    let plan =
        RoutePlan { steps: vec![step], coalesce: Coalesce::Every, blocks: false, gap_wait_ms: 0 };
    let made = EnrichmentSettings { recipe: Recipe::Summary, field: Field::Excerpt };
    let limits = Limits {
        concurrency: 4,
        shared: false,
        requests_per_minute: None,
        tokens_per_minute: None,
        breaker: BreakerPolicy::default(),
    };
    let retry = RetryPolicy { attempts_max: 3, base_ms: 10, cap_ms: 100 };
    Settings {
        log: Arc::new(log.clone()),
        snapshots: Arc::new(MemorySnapshots::default()),
        sources: HashMap::from([("news".parse().unwrap(), Arc::new(rules))]),
        routes: RouteTable::new(vec![route]).unwrap(),
        plans: HashMap::from([("r1".parse().unwrap(), plan)]),
        enrichments: HashMap::from([("summary".parse().unwrap(), made)]),
        providers: vec![EnrichmentArguments::new(
            "builtin".parse().unwrap(),
            Arc::new(Builtin),
            limits,
        )],
        fallbacks: HashMap::new(),
        sites: Vec::new(),
        schedules: Vec::new(),
        subscribers: Vec::new(),
        outbound: Rules::trusting(),
        subscriber_key: [7; 32],
        stand_ins: HashMap::new(),
        caps: Vec::new(),
        alerts: crate::alerts::AlertSettings {
            targets: Vec::new(),
            rules: Rules::trusting(),
            gather: Duration::from_secs(1),
            quiet: Duration::from_secs(1),
        },
        tries: Tries {
            read: retry,
            enrich: retry,
            write: retry,
            unavailable_max_ms: 60_000,
            asks_per_hour_max: 1_000,
        },
        bounds: Bounds { posts_busy_max: 4, posts_idle_max: 2, backlog_max: 1_000 },
        keep: Duration::from_secs(86_400),
        archive: None,
        cluster: None,
        telemetry: crate::telemetry::Telemetry::default(),
    }
}

/// Sends "post N, by author N, was updated" until the node has taken it, as a good sender does.
pub(crate) async fn send(node: &Node, post: u64, version: u64) {
    let key = format!("post-{post}-v{version}");
    let body = json!({
        "event": "post.updated", "post_id": post, "sequence": version, "idempotency_key": key,
        "author": post, "title": "A title", "content": text_of(post, version),
    });
    let body = Bytes::from(body.to_string());
    let timestamp = (World::now().0 / 1_000).to_string();
    let parts = Parts { timestamp: &timestamp, key: &key, body: &body };
    let secret = Secret::new("k1", SECRET).unwrap();
    let mut signed = sign(&WP_RELAY, &secret, &parts);
    signed.push(("content-type".to_owned(), "application/json".to_owned()));
    if !signed.iter().any(|(name, _)| name.eq_ignore_ascii_case("idempotency-key")) {
        signed.push(("idempotency-key".to_owned(), key.clone()));
    }
    let names: Vec<String> = signed.iter().map(|(name, _)| name.to_lowercase()).collect();
    let headers: Vec<(&str, &[u8])> =
        names.iter().zip(&signed).map(|(n, (_, value))| (n.as_str(), value.as_bytes())).collect();
    let head = Head { method: "POST", peer: None, headers: &headers };
    let receiver = &node.receivers[&"news".parse().unwrap()];
    for _ in 0..10 {
        let webhook = receiver.verify(&head, &body).unwrap();
        if receiver.store(webhook).await.is_ok() {
            return;
        }
    }
    panic!("never taken");
}

/// A text that only this version of this post has.
pub(crate) fn text_of(post: u64, version: u64) -> String {
    format!("Version {version} of post {post} says this much. It ends here.")
}

/// A node whose one AI service is this.
pub(crate) async fn node_with(log: &MemoryLog, provider: Arc<dyn Provider>) -> Node {
    let mut settings = settings(log);
    settings.providers[0].provider = provider;
    settings.bounds = Bounds { posts_busy_max: 64, posts_idle_max: 64, backlog_max: 100_000 };
    Node::start(settings).await.unwrap()
}
