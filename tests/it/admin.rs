//! The admin API of the real program: tokens outlive it, what operators do is in its log, and no
//! token is in anything that it writes or says.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};

use crate::support::node::{Node, Parts, SECRET};
use crate::support::sender::{Sender, update};
use crate::support::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn tokens_outlive_the_process_and_stand_nowhere() {
    let site = Site::start(0, 1).await;
    let settings = format!(
        "url = \"{}\"\nuser = \"copydesk\"\ndelivery = \"ingest\"\n\
         application_password = \"env:NEWS_APP_PASSWORD\"",
        site.url
    );
    let parts = Parts { log: "embedded", site: &settings, provider: "", route: "" };
    let mut node = Node::new(&parts).with_env("RUST_LOG", "trace");
    let ingress = format!("{}/webhooks/news", node.start().await);
    let url = format!("http://{}", node.admin_address());
    let root = node.token();

    let new =
        node.json(&["tokens", "add", "ann", "--role", "operator", "--site", "news", "--json"]);
    let ann = new["token"].as_str().unwrap().to_owned();
    let lost = node.json(&["tokens", "add", "bob", "--role", "admin", "--json"]);
    let bob = lost["token"].as_str().unwrap().to_owned();
    for webhook in 1..=3 {
        let key = format!("k-{webhook}");
        assert_eq!(
            Sender::new(SECRET).send(&ingress, &update(webhook, 1, &key)).await.unwrap().0,
            202
        );
    }
    node.quiet().await;

    // As another machine would ask.
    let client = crate::support::client();
    let ask = async |token: &str, path: &str, body: Option<Value>| {
        let path = format!("{url}/api/v1{path}");
        let request = match &body {
            None => client.get(path),
            Some(body) => client.post(path).json(body),
        };
        let response = request.bearer_auth(token).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let hold = json!({ "scope": "site:news", "reason": "new server" });
    let (status, row) = ask(&ann, "/holds", Some(hold)).await;
    assert_eq!((status, &row["by"]), (200, &json!("ann")));
    assert_eq!(ask(&ann, "/holds", Some(json!({ "scope": "site:nosite" }))).await.0, 404);
    assert_eq!(ask(&bob, "/holds", Some(json!({ "scope": "site:nosite" }))).await.0, 404);
    assert_eq!(ask(&ann, "/status", None).await.0, 403);
    assert_eq!(ask(&bob, "/status", None).await.0, 200);
    assert!(node.run(&["tokens", "revoke", "bob", "--reason", "left"]).status.success());
    assert_eq!(ask(&bob, "/status", None).await.0, 401, "at once");
    for wrong in ["/posts/news/99", "/events?limit=x", "/nowhere"] {
        assert!(ask(&ann, wrong, None).await.0 >= 400);
    }

    assert!(node.stop().success());
    node.start().await;
    let url = format!("http://{}", node.admin_address());
    let me = |token: &str| client.get(format!("{url}/api/v1/me")).bearer_auth(token).send();
    assert_eq!(me(&ann).await.unwrap().status(), 200);
    assert_eq!(me(&bob).await.unwrap().status(), 401);
    assert_eq!(node.token(), root, "the folder's token stays");
    let holds = node.get("/holds").await;
    assert_eq!(holds["rows"][0]["reason"], "new server");
    let rows = node.get("/tokens").await["rows"].as_array().unwrap().clone();
    let bobs = rows.iter().find(|row| row["name"] == "bob").unwrap();
    assert_eq!((&bobs["state"], &bobs["reason"]), (&json!("revoked"), &json!("left")));
    assert!(bobs["revoked_by"].as_str().unwrap().contains("folder-"));
    assert!(node.stop().success());

    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&node.data_dir()), 0o700);
    assert_eq!(mode(&node.data_dir().join("admin.json")), 0o600);
    let mut files = vec![node.log_file()];
    files.extend(files_below(&node.data_dir()));
    for token in [&ann, &bob, &root] {
        for form in forms(token) {
            for file in files.iter().filter(|f| *token != root || !f.ends_with("admin.json")) {
                let bytes = std::fs::read(file).unwrap();
                let found = bytes.windows(form.len()).any(|window| window == form);
                assert!(!found, "a token is in {}", file.display());
            }
        }
    }
}

/// A token as it may have slipped out: as it is, its bytes, and both in base64.
fn forms(token: &str) -> Vec<Vec<u8>> {
    let bits = hex::decode(token.trim_start_matches("cd_")).unwrap();
    let base64 = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes).into_bytes();
    vec![token.as_bytes()[3..].to_vec(), base64(token.as_bytes()), base64(&bits), bits]
}

pub(crate) fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}
