//! What is wrong with subscribers.

use std::collections::BTreeSet;

use copydesk_core::limits::{SIGNATURES_TRIED_MAX, SUBSCRIBERS_MAX};
use copydesk_core::signature::is_key_id;

use super::Check;
use crate::config::{SecretRef, StoreUrl};

impl Check<'_> {
    pub(super) fn subscribers(&mut self) {
        let config = &self.loaded.config;
        if config.subscribers.len() > SUBSCRIBERS_MAX {
            self.refuse("subscribers", format!("more than {SUBSCRIBERS_MAX} subscribers"), "");
        }
        for (name, subscriber) in &config.subscribers {
            let path = |key: &str| format!("subscribers.{name}.{key}");
            self.range(&path("concurrency"), subscriber.concurrency, 1, 64);
            let ways = [
                subscriber.url.is_some(),
                subscriber.folder.is_some(),
                subscriber.store.is_some(),
                subscriber.nats.is_some(),
            ];
            if ways.iter().filter(|way| **way).count() != 1 {
                let reason = "a subscriber has one of url, folder, store and nats";
                self.refuse(&path("url"), reason, "docs/subscribers.md shows each");
            }
            if subscriber.store.as_ref().is_some_and(|store| store.url == StoreUrl::None) {
                let help = "store = { url = \"s3://BUCKET/PREFIX\" }";
                self.refuse(&path("store.url"), "a store has a url", help);
            }
            if let Some(SecretRef::Env(_)) =
                subscriber.nats.as_ref().and_then(|n| n.credentials.as_ref())
            {
                let reason = "NATS reads its .creds from a file";
                self.refuse(&path("nats.credentials"), reason, "write \"file:PATH\"");
            }
            let secrets = if subscriber.url.is_some() { 1..=SIGNATURES_TRIED_MAX } else { 0..=0 };
            if !secrets.contains(&subscriber.secrets.len()) {
                let reason = format!(
                    "a url has 1 to {SIGNATURES_TRIED_MAX} secrets to sign with, a sink none"
                );
                let help = "secrets = [{ id = \"k1\", value = \"env:NAME\" }]";
                self.refuse(&path("secrets"), reason, help);
            }
            let mut ids = BTreeSet::new();
            for (index, secret) in subscriber.secrets.iter().enumerate() {
                if !is_key_id(&secret.id) || !ids.insert(&secret.id) {
                    let path = path(&format!("secrets[{index}].id"));
                    self.refuse(
                        &path,
                        "the ids of its secrets differ and are 1 to 64 of A-Z a-z 0-9 . _ -",
                        "",
                    );
                }
            }
            for (at, site) in subscriber.sites.iter().enumerate() {
                let known = config.sites.keys().map(|id| id.as_str());
                self.name(&path(&format!("sites[{at}]")), "site", site.as_str(), known);
            }
            let tests = subscriber.matches.iter().enumerate();
            let wrong = tests.filter_map(|(at, one)| Some((at, one.matcher().err()?)));
            let wrong: Vec<_> = wrong.collect();
            for (at, error) in &wrong {
                let help = "for example { field = \"/event/section\", is = \"sport\" }";
                self.refuse(&path(&format!("match[{at}]")), error.to_string(), help);
            }
            if wrong.is_empty()
                && let Err(error) = subscriber.spec(name).subscription()
            {
                let path = path(&format!("{}[{}]", error.setting, error.place));
                self.refuse(&path, error.reason, "docs/subscribers.md has an example");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Environment, Loaded};

    #[test]
    fn the_examples_of_the_document_can_be_pasted() {
        let text = include_str!("../../../docs/subscribers.md");
        let examples = text.split("```toml\n").skip(1);
        let all: Vec<&str> = examples.filter_map(|rest| rest.split("```").next()).collect();
        assert_eq!(all.len(), 2);
        let config = Loaded::parse("copydesk.toml", all.join("\n"), &Environment::default());
        let names = config.map(|loaded| loaded.config.subscribers.into_keys());
        let names = names.map(|names| names.map(|name| name.to_string()).collect::<Vec<_>>());
        assert!(names.is_ok_and(|names| names == ["bus", "crm", "files", "lake"]));
    }

    #[test]
    fn a_subscriber_has_one_way_that_can_be_used() {
        let parse = |table: &str| {
            let text = format!("[subscribers.a]\n{table}");
            Loaded::parse("copydesk.toml", text, &Environment::default())
        };
        let check = |table: &str, words: &str| {
            let shown = parse(table).expect_err(table).to_string();
            assert!(shown.contains(words), "{words:?} is missing in:\n{shown}");
        };
        let secrets = "secrets = [{ id = \"k\", value = \"env:S\" }]";
        let nats = |rest: &str| format!("nats = {{ url = \"nats://a:4222\", {rest} }}");
        check("events = [\"*\"]", "one of url, folder, store and nats");
        check("folder = \"/a\"\nstore = { url = \"/b\" }", "one of url, folder, store and nats");
        check(&format!("folder = \"/a\"\n{secrets}"), "a sink none");
        check("url = \"https://crm.example.org/\"", "1 to");
        check("store = {}", "a store has a url");
        check("store = { url = \"s3://B\" }", "a store is a folder's absolute path");
        check("nats = { url = \"http://a\", subject = \"b\" }", "NATS servers are written");
        check("nats = { url = \"nats://u:p@a\", subject = \"b\" }", "no user or password");
        check(&nats("subject = \"cd.0.news.1.ev\""), "`cd.` at its head are taken");
        check(&nats("subject = \"a.*\""), "without spaces and wildcards");
        check(&nats("subject = \"a\", credentials = \"env:S\""), "from a file");
        check("nats = { url = \"nats://a:4222\" }", "subject");
        for fits in [
            format!("url = \"https://crm.example.org/\"\n{secrets}"),
            "store = { url = \"s3://bucket/prefix\" }".to_owned(),
            "store = { url = \"/var/lib/notices\" }".to_owned(),
            nats("subject = \"newsroom.notices\", credentials = \"file:bus.creds\""),
        ] {
            assert!(parse(&fits).is_ok(), "{fits}");
        }
    }
}
