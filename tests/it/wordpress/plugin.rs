//! Copydesk and its plugin in a real WordPress, on both logs: an editor's save goes out by the
//! outbox, comes back by the fence, once per change; a person's words stay, whenever they come.

use std::collections::BTreeMap;
use std::time::Duration;

use copydesk_actors::delivery::{DeliveryKind, Made, Site, SiteClient, Write, WriteOutcome};
use copydesk_core::content::{Field, FieldValue, FieldWrite, Mode};
use copydesk_eventlog::testing::NatsServer;
use copydesk_proto::{PostId, PostKey};
use serde_json::{Map, Value, json};

use super::site::WordPress;
use super::{FIRST, SECOND, lines, states, summary_is_of};
use crate::support::ai::Ai;
use crate::support::node::{Node, Parts, SECRET};
use crate::support::sender::Sender;
use crate::support::{PATIENCE, eventually, mark};

#[tokio::test(flavor = "multi_thread")]
async fn the_plugin_carries_a_post_there_and_back_on_the_embedded_log() {
    the_plugin_carries_a_post_there_and_back("embedded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plugin_carries_a_post_there_and_back_on_jetstream() {
    let nats = NatsServer::start();
    the_plugin_carries_a_post_there_and_back(&nats.url()).await;
}

/// Published, then changed, over REST as the block editor does: one event, one enrichment and one
/// write each, and none of our own writes' making. `delivery` is not set: the plugin is found.
async fn the_plugin_carries_a_post_there_and_back(log: &str) {
    let wordpress = WordPress::with_plugin().await;
    let mut node = wordpress.node(log, "auto", "");
    let url = format!("{}/webhooks/news", node.start().await);
    wordpress.plugin_sends_to(&url);

    let post = wordpress.save(None, json!({"title": "A post", "content": FIRST.join(" ")})).await;
    summary_is_of(&wordpress, post, &FIRST).await;
    wordpress.save(Some(post), json!({"content": SECOND.join(" ")})).await;
    summary_is_of(&wordpress, post, &SECOND).await;
    node.quiet().await;

    let outbox = "SELECT event, state FROM {p}copydesk_outbox WHERE post_id = %d ORDER BY id";
    let rows = wordpress.rows(outbox, &[&post.to_string()]);
    let sent = json!([
        {"event": "post.published", "state": "sent"}, {"event": "post.updated", "state": "sent"},
    ]);
    assert_eq!(rows, sent, "one event per save, none of our own");
    assert_eq!(states(&node, post).await, ["applied", "applied"]);
    assert_eq!(lines(&node, post, "answered").await, 2, "one enrichment per change");
    assert_eq!(lines(&node, post, "written").await, 2, "one write per change");
    assert_eq!(wordpress.status(post), ("enriched".to_owned(), 2));

    // "Enrich again": what stands is asked for anew, and written under a number of its own.
    wordpress.eval(AGAIN, &[&post.to_string()]);
    eventually("the post is enriched again", async || {
        (states(&node, post).await == ["applied", "applied", "applied"]).then_some(())
    })
    .await;
    assert_eq!(lines(&node, post, "answered").await, 3);
    assert_eq!(wordpress.status(post), ("enriched".to_owned(), 3));

    // Another sender says that the same text was saved again: nothing is written, and the list
    // says so.
    let again = json!({
        "event": "post.updated", "post_id": post, "sequence": 9, "title": "A post",
        "content": SECOND.join(" "), "idempotency_key": format!("again-{post}"),
    });
    assert_eq!(Sender::new(SECRET).send(&url, &again).await.unwrap().0, 202);
    eventually("the posts list is told", async || {
        (wordpress.status(post) == ("unchanged".to_owned(), 9)).then_some(())
    })
    .await;
    assert!(node.stop().success());
}

/// What the link in the posts list does.
const AGAIN: &str = "Copydesk\\Sender\\enqueue((int) $args[0], 0, function (WP_Post $post): array {
        $payload = Copydesk\\Sender\\post_payload($post, 'post.updated') + ['again' => true];
        return [$payload, Copydesk\\Sender\\source_hash($post)];
    }, null, true);
    Copydesk\\Sender\\drain(20, 3);";

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_excerpt_stays_and_gets_a_suggestion_on_the_embedded_log() {
    a_persons_excerpt_stays_and_gets_a_suggestion("embedded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_excerpt_stays_and_gets_a_suggestion_on_jetstream() {
    let nats = NatsServer::start();
    a_persons_excerpt_stays_and_gets_a_suggestion(&nats.url()).await;
}

async fn a_persons_excerpt_stays_and_gets_a_suggestion(log: &str) {
    const BY_HAND: &str = "Read what the council has decided, by our own reporter.";
    let wordpress = WordPress::with_plugin().await;
    let mut node = wordpress.node(log, "plugin", "");
    wordpress.plugin_sends_to(&format!("{}/webhooks/news", node.start().await));

    let saved = json!({"title": "A post", "content": FIRST.join(" "), "excerpt": BY_HAND});
    let post = wordpress.save(None, saved).await;
    eventually("the event has ended", async || {
        (states(&node, post).await == ["suggested"]).then_some(())
    })
    .await;
    assert_eq!(wordpress.excerpt(post), BY_HAND);
    let suggestions =
        "SELECT field, reason, state, value FROM {p}copydesk_suggestions WHERE post_id = %d";
    let rows = wordpress.rows(suggestions, &[&post.to_string()]);
    let row = &rows[0];
    assert_eq!((rows.as_array().unwrap().len(), &row["field"]), (1, &json!("excerpt")));
    assert_eq!((&row["reason"], &row["state"]), (&json!("human_owned"), &json!("open")));
    assert!(FIRST.iter().any(|sentence| row["value"].as_str().unwrap().contains(sentence)));
    assert!(node.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_between_read_and_write_redoes_the_run_on_the_embedded_log() {
    an_edit_between_read_and_write_redoes_the_run("embedded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_between_read_and_write_redoes_the_run_on_jetstream() {
    let nats = NatsServer::start();
    an_edit_between_read_and_write_redoes_the_run(&nats.url()).await;
}

/// The write is refused by WordPress itself, the new title stays, and the run is done again on it.
async fn an_edit_between_read_and_write_redoes_the_run(log: &str) {
    let wordpress = WordPress::with_plugin().await;
    let ai = Ai::start(0, Duration::from_millis(1), 21).await;
    let mut node = wordpress.node(log, "plugin", &asked_at(&ai));
    wordpress.plugin_sends_to(&format!("{}/webhooks/news", node.start().await));
    assert!(node.run(&["hold", "enrichment:summary"]).status.success());

    let post = wordpress.save(None, json!({"title": "Old", "content": mark(1, 1)})).await;
    eventually("the run has begun and waits", async || {
        (states(&node, post).await == ["working"]).then_some(())
    })
    .await;
    eventually("the posts list says that it is held", async || {
        (wordpress.status(post) == ("held".to_owned(), 1)).then_some(())
    })
    .await;
    // By the database: no event of its own brings the new title.
    wordpress.eval(
        "$wpdb->update($wpdb->posts, ['post_title' => 'New'], ['ID' => (int) $args[0]]);",
        &[&post.to_string()],
    );
    assert!(node.run(&["resume", "enrichment:summary"]).status.success());
    eventually("the event has ended", async || {
        (states(&node, post).await == ["applied"]).then_some(())
    })
    .await;
    assert_eq!(lines(&node, post, "refused").await, 1);
    assert_eq!(ai.calls().len(), 2, "asked about the old title and about the new one");
    assert_eq!(wordpress.excerpt(post), mark(1, 1));
    let title = wordpress.eval("echo get_post((int) $args[0])->post_title;", &[&post.to_string()]);
    assert_eq!(title, "New");
    assert!(node.stop().success());
}

/// Two Copydesks, or one that was held up: the later number stands, whatever comes first.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_write_that_comes_late_is_stale() {
    let wordpress = WordPress::with_plugin().await;
    let post = wordpress.publish(&FIRST.join(" "), "");
    let key = PostKey { site: "news".parse().unwrap(), post: PostId::number(post).unwrap() };
    let (early, late) = (wordpress.client(), wordpress.client());
    let write = |log, number, words: &str| write_of(&key, log, number, words);

    let is_applied = |outcome: &WriteOutcome, again| matches!(outcome, WriteOutcome::Applied { already, .. } if *already == again);
    assert!(is_applied(&late.write(&write(5, 2, "The second.")).await.unwrap(), false));
    let outcome = early.write(&write(5, 1, "The first.")).await;
    assert_eq!(outcome, Ok(WriteOutcome::Stale { current: 2 }));
    assert!(is_applied(&early.write(&write(5, 2, "The second.")).await.unwrap(), true));
    let failure = early.write(&write(5, 2, "Other words.")).await.unwrap_err();
    assert_eq!(failure.code, "wordpress_write_conflict");
    assert!(is_applied(&late.write(&write(6, 1, "A later log's.")).await.unwrap(), false));
    let failure = early.write(&write(5, 3, "The third.")).await.unwrap_err();
    assert_eq!(failure.code, "wordpress_fenced");
    assert_eq!(wordpress.excerpt(post), "A later log's.");

    // A provider's item has a fence of its own.
    let name = format!("job-{post}");
    let item = PostKey { post: PostId::external(&name).unwrap(), ..key.clone() };
    let event = |number, words: &str| Write {
        external_id: Some(name.clone()),
        input_hash: None,
        ..write_of(&item, 5, number, words)
    };
    assert!(is_applied(&late.write(&event(2, "Done.")).await.unwrap(), false));
    let outcome = early.write(&event(1, "Begun.")).await;
    assert_eq!(outcome, Ok(WriteOutcome::Stale { current: 2 }));
    let events =
        "SELECT post_content FROM {p}posts WHERE post_type = 'ai_event' AND post_title = %s";
    let rows = wordpress.rows(events, &[&format!("relay {name}")]);
    assert_eq!(rows, json!([{"post_content": "Done."}]), "one item, the newest words");
}

fn write_of(key: &PostKey, log: u64, write_number: u64, words: &str) -> Write {
    Write {
        key: key.clone(),
        write_number,
        delivery_id: format!("{log}-{}-w{write_number}", key.post),
        log,
        source: "relay".parse().unwrap(),
        input_hash: None,
        sequence: Some(1),
        external_id: None,
        event_status: None,
        fields: vec![FieldWrite {
            field: Field::Excerpt,
            value: FieldValue::Text(words.to_owned()),
            mode: Mode::Apply,
            base: None,
        }],
        made: vec![Made {
            field: Field::Excerpt,
            enrichment: "summary".parse().unwrap(),
            model: "m".to_owned(),
            prompt_version: 1,
        }],
        metadata: Map::new(),
        trace: None,
    }
}

/// `copydesk check` looks at the plugin and names what is in the way.
#[tokio::test(flavor = "multi_thread")]
async fn check_names_what_is_in_the_way_of_the_plugin() {
    let wordpress = WordPress::with_plugin().await;
    let check = |delivery: &str, code: i32, words: &str| {
        let output = wordpress.node("embedded", delivery, "").run(&["check"]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words), "{words:?} is missing: {said}");
    };
    check("plugin", 0, "Copydesk's plugin 0.1.0 answers, for post (publish)");
    check("auto", 0, "Copydesk's plugin 0.1.0 answers");
    wordpress.eval("update_option('copydesk_settings', ['post_types' => []]);", &[]);
    check("plugin", 1, "no post type is chosen");
    let user = wordpress.fact("user");
    wordpress.eval("get_user_by('login', $args[0])->set_role('editor');", &[user]);
    check("plugin", 1, "the user lacks copydesk_write");
    check("auto", 0, "written by WordPress's own REST API, without suggestions");
}

/// Posts and updates of each; enough that every kill finds work under way.
const POSTS: u64 = 8;
const UPDATES: u64 = 3;
const KILLS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_node_is_killed_on_the_embedded_log() {
    nothing_is_lost_when_the_node_is_killed("embedded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_node_is_killed_on_jetstream() {
    let nats = NatsServer::start();
    nothing_is_lost_when_the_node_is_killed(&nats.url()).await;
}

/// Saves go on while the node is killed again and again. What the plugin could not send is
/// fetched from its outbox; in the end each post has the summary of its last text, and no write
/// was carried out twice.
async fn nothing_is_lost_when_the_node_is_killed(log: &str) {
    let wordpress = WordPress::with_plugin().await;
    let ai = Ai::start(0, Duration::from_millis(20), 22).await;
    let site = format!("{}\npull = \"10s\"", wordpress.table(wordpress.url(), "plugin"));
    let parts = Parts { log, site: &site, provider: &asked_at(&ai), route: "" };
    let mut node = Node::new(&parts).with_env("NEWS_APP_PASSWORD", wordpress.password());
    wordpress.plugin_sends_to(&format!("{}/webhooks/news", node.start().await));

    let mut posts = BTreeMap::new();
    for round in 0..UPDATES * POSTS {
        let (number, version) = (round % POSTS, round / POSTS + 1);
        let post = posts.get(&number).copied();
        let saved = json!({"title": format!("Post {number}"), "content": mark(number, version)});
        posts.insert(number, wordpress.save(post, saved).await);
        let step = usize::try_from(round).unwrap();
        if step % 5 == 4 && step / 5 < KILLS {
            node.kill();
            wordpress.plugin_sends_to(&format!("{}/webhooks/news", node.start().await));
        }
    }
    for (number, post) in &posts {
        eventually("the excerpt is of the last text", async || {
            (wordpress.excerpt(*post) == mark(*number, UPDATES)).then_some(())
        })
        .await;
    }
    let in_outbox = "SELECT COUNT(*) AS n FROM {p}copydesk_outbox WHERE state <> 'sent'
        AND post_id BETWEEN %d AND %d";
    let (first, last) = (posts[&0].to_string(), posts[&(POSTS - 1)].to_string());
    eventually("the outbox is empty", async || {
        (wordpress.rows(in_outbox, &[&first, &last])[0]["n"] == "0").then_some(())
    })
    .await;
    node.quiet().await;
    let carried_out = "SELECT post_id, COUNT(*) AS n, COUNT(DISTINCT after_value) AS texts,
            COUNT(DISTINCT write_number) AS numbers FROM {p}copydesk_writes
        WHERE post_id BETWEEN %d AND %d GROUP BY post_id";
    let rows = wordpress.rows(carried_out, &[&first, &last]);
    assert_eq!(rows.as_array().unwrap().len() as u64, POSTS);
    for row in rows.as_array().unwrap() {
        assert!(row["n"] == row["texts"] && row["n"] == row["numbers"], "doubled: {row}");
    }
    let verified = node.run(&["verify", "--json"]);
    let report: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!(report["violations"], json!([]));
    assert!(node.stop().success());
}

fn asked_at(ai: &Ai) -> String {
    format!(
        "kind = \"openai\"\nbase_url = \"{}\"\napi_key = \"env:NEWS_APP_PASSWORD\"\n\
         model = \"m\"\nconcurrency = 64",
        ai.base_url
    )
}

impl WordPress {
    /// With Copydesk's plugin at work, and Copydesk's user in the plugin's role and no other.
    pub(super) async fn with_plugin() -> Self {
        let wordpress = Self::alone().await;
        wordpress.eval(
            "get_user_by('login', $args[0])->set_role('copydesk');",
            &[wordpress.fact("user")],
        );
        wordpress
    }

    /// Webhooks go to this address, by the plugin's outbox, from now on.
    pub(super) fn plugin_sends_to(&self, url: &str) {
        self.eval(
            "update_option('copydesk_settings', ['endpoint' => $args[0]]);
             update_option('copydesk_secrets', ['secret' => $args[1], 'key_id' => 'k1']);
             delete_option('copydesk_paused_until');",
            &[url, SECRET],
        );
    }

    /// Saves a post as its editor does, over REST, and returns its number. A new one is published.
    pub(super) async fn save(&self, post: Option<u64>, mut fields: Value) -> u64 {
        let post = post.map(|post| format!("/{post}")).unwrap_or_default();
        fields["status"] = json!("publish");
        let password = self.facts["users"]["desk"]["application_password"].as_str().unwrap();
        let request = crate::support::client()
            .post(format!("{}/wp/v2/posts{post}", self.fact("rest_url")))
            .basic_auth("desk", Some(password))
            .timeout(PATIENCE)
            .json(&fields);
        let saved: Value = request.send().await.unwrap().json().await.unwrap();
        saved["id"].as_u64().unwrap_or_else(|| panic!("not saved: {saved}"))
    }

    /// Rows of the database; `{p}` is the prefix of its tables.
    pub(super) fn rows(&self, sql: &str, arguments: &[&str]) -> Value {
        let mut all = vec![sql];
        all.extend(arguments);
        let said = self.eval(
            "$sql = str_replace('{p}', $wpdb->prefix, array_shift($args));
             echo wp_json_encode($wpdb->get_results($wpdb->prepare($sql, $args)));",
            &all,
        );
        serde_json::from_str(&said).unwrap_or_else(|_| panic!("{sql}: {said}"))
    }

    /// What the posts list says of a post: its state, and of which event.
    fn status(&self, post: u64) -> (String, u64) {
        let statuses = "SELECT state, sequence FROM {p}copydesk_statuses WHERE post_id = %d";
        let row = &self.rows(statuses, &[&post.to_string()])[0];
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        (text("state"), text("sequence").parse().unwrap_or(0))
    }

    /// A client by the plugin's routes, as a Copydesk has one.
    pub(super) fn client(&self) -> SiteClient {
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let (url, user) = (self.url().parse().unwrap(), self.fact("user").to_owned());
        let site = Site::new("news".parse().unwrap(), url, user, self.password().to_owned().into());
        SiteClient::new(Site { kind: DeliveryKind::Plugin, timeout: PATIENCE, ..site }).unwrap()
    }
}
