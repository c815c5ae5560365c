#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::folder::Folder;
use super::run;
use crate::cli::{DemoArgs, Output};
use crate::serve::Ended;
use crate::telemetry::Telemetry;

#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn shown(folder: &Folder, json: bool) -> String {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let printed = Printed::default();
    let output = Output::to(json, Box::new(printed.clone()));
    let args = DemoArgs { once: true, ..DemoArgs::default() };
    let telemetry = Telemetry::untold();
    assert_eq!(run(folder, &args, &telemetry, &output).await.unwrap(), Ended::Asked);
    let bytes = printed.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_show_goes_from_webhooks_to_excerpts() {
    let text = shown(&Folder::make(None).unwrap(), false).await;
    for part in [
        "received   post.published from demo",
        "write 1 applied: excerpt",
        "write 2 applied: excerpt",
        "WordPress has this excerpt:\n  The railway company will run night trains",
        "updated, again  202     duplicate",
        "forged          401     refused: bad_signature",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    let excerpts: Vec<&str> =
        text.split("this excerpt:\n").skip(1).filter_map(|rest| rest.lines().next()).collect();
    assert_eq!(excerpts.len(), 2, "{text}");
    assert_ne!(excerpts[0], excerpts[1], "the second text has an excerpt of its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_show_is_there_for_programs_and_keeps_a_named_folder() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("my demo");
    let text = shown(&Folder::make(Some(&dir)).unwrap(), true).await;
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["kind"] == "written" && line["post"] == "demo/1"));
    assert_eq!(lines.last().unwrap()[0]["became"], "applied");
    assert!(dir.join("data/log").exists(), "a named folder is kept");
    let again = Folder::make(Some(&dir)).err().unwrap().to_string();
    assert!(again.contains("name a new folder"), "{again}");
}

#[test]
fn a_temporary_folder_goes() {
    let folder = Folder::make(None).unwrap();
    let path = folder.path.clone();
    assert!(path.exists());
    drop(folder);
    assert!(!path.exists());
}
