//! What `copydesk check` finds out.

use serde_json::{Value, json};

use super::super::{DeliveryKind, Severity, Site, SiteClient};
use super::stub::{Answer, Seen, Stub};
use super::{core, index, ingest, is_index, site};

/// The answer of XML-RPC to right credentials, shortened.
const XMLRPC_RIGHT: &str = "<methodResponse><params><name>blogid</name></params></methodResponse>";
/// And to wrong ones.
const XMLRPC_WRONG: &str = "<methodResponse><fault><name>faultCode</name><value><int>403</int></value></fault></methodResponse>";
/// And where it is switched off.
const XMLRPC_OFF: &str = "<methodResponse><fault><name>faultCode</name><value><int>405</int></value></fault></methodResponse>";

fn xml(body: &str) -> Answer {
    let headers = vec![("content-type", "text/xml".to_owned())];
    Answer::Http { status: 200, headers, body: body.to_owned() }
}

fn me(capabilities: &[&str]) -> Answer {
    let capabilities: Value = capabilities.iter().map(|c| ((*c).to_owned(), json!(true))).collect();
    Answer::json(200, json!({"id": 2, "roles": ["desk"], "capabilities": capabilities}))
}

const ENOUGH: [&str; 3] = ["edit_posts", "edit_others_posts", "edit_published_posts"];

/// A site whose `users/me` and XML-RPC answer as given.
fn wordpress(seen: &Seen, me: &Answer, xmlrpc: &str) -> Answer {
    match seen.target.as_str() {
        _ if is_index(seen) => index(),
        "/xmlrpc.php" => xml(xmlrpc),
        target if target.starts_with("/wp-json/wp/v2/users/me?context=edit") => me.clone(),
        _ => Answer::error(404, "rest_no_route"),
    }
}

async fn codes(client: &SiteClient) -> Vec<String> {
    client.probe().await.into_iter().map(|finding| finding.code).collect()
}

#[tokio::test]
async fn a_site_in_order_has_nothing_to_mend() {
    let stub = Stub::start(|seen| wordpress(seen, &me(&ENOUGH), "")).await;
    let findings = core(&stub).probe().await;
    assert_eq!(findings.len(), 2);
    assert!(findings.iter().all(|f| f.severity == Severity::Good && f.todo.is_empty()));
    assert!(findings[0].what.contains("\"News\""));
    let index = stub.seen().remove(0);
    assert!(!index.headers.contains_key("authorization"), "the password goes nowhere unasked");
}

#[tokio::test]
async fn a_stripped_header_is_told_from_a_wrong_password() {
    let check = async |xmlrpc: &'static str, code: &str| {
        let refused = Answer::error(401, "rest_not_logged_in");
        let stub = Stub::start(move |seen| wordpress(seen, &refused, xmlrpc)).await;
        let findings = core(&stub).probe().await;
        let last = findings.last().unwrap();
        assert_eq!((last.severity, last.code.as_str()), (Severity::Problem, code));
        assert!(!last.todo.is_empty());
        stub.seen().pop().unwrap()
    };
    check(XMLRPC_WRONG, "wordpress_wrong_password").await;
    check(XMLRPC_OFF, "wordpress_unauthorized").await;
    check("<html>", "wordpress_unauthorized").await;
    let asked = check(XMLRPC_RIGHT, "authorization_header_stripped").await;
    assert!(asked.body.contains("<string>abcd EFGH ijkl MNOP qrst UVWX</string>"));
    assert!(!asked.headers.contains_key("authorization"));
}

#[tokio::test]
async fn a_site_without_application_passwords_says_why() {
    let bare = json!({"name": "News", "namespaces": ["wp/v2"], "authentication": []});
    let stub = Stub::start(move |_| Answer::json(200, &bare)).await;
    assert_eq!(codes(&core(&stub)).await, ["reachable", "wordpress_needs_https"]);
    let refused = Answer::error(401, "application_passwords_disabled_for_user");
    let stub = Stub::start(move |seen| wordpress(seen, &refused, "")).await;
    assert_eq!(codes(&core(&stub)).await, ["reachable", "application_passwords_off"]);
}

#[tokio::test]
async fn an_api_closed_to_strangers_is_asked_with_the_password() {
    let stub = Stub::start(|seen| match is_index(seen) {
        true => Answer::error(401, "rest_disabled"),
        false => wordpress(seen, &me(&ENOUGH), ""),
    })
    .await;
    assert_eq!(codes(&core(&stub)).await, ["credentials"]);
}

#[tokio::test]
async fn too_much_and_too_little_power_are_named() {
    let check = async |capabilities: Vec<&'static str>, expected: &[&str]| {
        let stub = Stub::start(move |seen| wordpress(seen, &me(&capabilities), "")).await;
        assert_eq!(codes(&core(&stub)).await[2..], *expected);
    };
    check(vec!["edit_posts"], &["missing_capability"]).await;
    check([&ENOUGH[..], &["unfiltered_html"]].concat(), &["unfiltered_html"]).await;
    check([&ENOUGH[..], &["unfiltered_html", "manage_options"]].concat(), &["administrator"]).await;
}

#[tokio::test]
async fn a_wrong_address_is_named() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let client = SiteClient::new(site(&url)).unwrap();
    assert_eq!(codes(&client).await, ["wordpress_unreachable"]);
    let stub = Stub::start(|_| Answer::html(404)).await;
    assert_eq!(codes(&core(&stub)).await, ["wordpress_no_rest"]);
    let stub = Stub::start(|_| Answer::json(200, json!({"hello": "world"}))).await;
    assert_eq!(codes(&core(&stub)).await, ["wordpress_no_rest"]);
    let stub = Stub::start(|_| {
        Answer::html(404)
            .with("link", "<https://example.com/news/wp-json/>; rel=\"https://api.w.org/\"")
    })
    .await;
    let findings = core(&stub).probe().await;
    assert_eq!(findings[0].code, "wordpress_other_root");
    assert!(findings[0].what.contains("https://example.com/news/wp-json/"));
}

#[tokio::test]
async fn a_missing_ingest_route_is_named() {
    let check = async |routes: Value, expected: &str| {
        let stub = Stub::start(move |seen| match seen.target.as_str() {
            "/wp-json/ai-guy/v1?_fields=routes" => Answer::json(200, json!({"routes": routes})),
            _ if is_index(seen) => Answer::json(
                200,
                json!({
                    "name": "News", "namespaces": ["ai-guy", "ai-guy/v1", "wp/v2"],
                    "authentication": {"application-passwords": {}},
                }),
            ),
            _ => wordpress(seen, &me(&[]), ""),
        })
        .await;
        assert_eq!(codes(&ingest(&stub)).await.last().unwrap(), expected);
    };
    check(json!({"/ai-guy/v1/ingest": {"methods": ["POST"]}}), "ingest_route").await;
    check(json!({"/ai-guy/v1/ingest": {"methods": ["GET"]}}), "ingest_route_missing").await;
    check(json!({"/ai-guy/v1/other": {"methods": ["POST"]}}), "ingest_route_missing").await;
    let stub = Stub::start(|seen| wordpress(seen, &me(&[]), "")).await;
    assert_eq!(codes(&ingest(&stub)).await.last().unwrap(), "ingest_route_missing");
}

#[tokio::test]
async fn plain_http_to_another_machine_is_a_warning() {
    // A name of this machine that is not written as loopback.
    let stub = Stub::start(|seen| wordpress(seen, &me(&ENOUGH), "")).await;
    let url = stub.url().replace("127.0.0.1", "[::ffff:127.0.0.1]");
    let client = SiteClient::new(Site { kind: DeliveryKind::Core, ..site(&url) }).unwrap();
    assert_eq!(codes(&client).await, ["reachable", "plain_http", "credentials"]);
}

#[tokio::test]
async fn the_plugin_is_looked_at() {
    let status = |api: u64, post_types: &[&str]| {
        Answer::json(
            200,
            json!({
                "plugin": "0.1.0", "api": api, "post_types": post_types, "statuses": ["publish"],
                "seo": "yoast",
            }),
        )
    };
    let check = async |kind, answer: Answer, may: &'static [&'static str], expected: &[&str]| {
        let stub = Stub::start(move |seen| match seen.target.as_str() {
            "/wp-json/copydesk/v1/status" => answer.clone(),
            _ => wordpress(seen, &me(may), ""),
        })
        .await;
        let client = SiteClient::new(Site { kind, ..site(&stub.url()) }).unwrap();
        let findings = client.probe().await;
        let codes: Vec<_> = findings.iter().skip(2).map(|f| f.code.as_str()).collect();
        assert_eq!(codes, expected);
        findings
    };
    let (plugin, auto) = (DeliveryKind::Plugin, DeliveryKind::Auto);
    let well = check(plugin, status(1, &["post"]), &[], &["plugin"]).await;
    assert!(well[2].what.contains("for post (publish); descriptions go to yoast"));
    check(plugin, status(0, &["post"]), &[], &["plugin_old"]).await;
    check(auto, status(1, &[]), &[], &["plugin_no_post_types"]).await;
    let missing = || Answer::error(404, "rest_no_route");
    let forbidden = || Answer::error(403, "rest_forbidden");
    let found = check(plugin, missing(), &ENOUGH, &["plugin_missing"]).await;
    assert_eq!(found[2].severity, Severity::Problem);
    check(plugin, forbidden(), &ENOUGH, &["plugin_forbidden"]).await;
    let found = check(auto, missing(), &ENOUGH, &["plugin_missing"]).await;
    assert_eq!(found[2].severity, Severity::Warning);
    check(auto, forbidden(), &[], &["plugin_forbidden", "missing_capability"]).await;
}
