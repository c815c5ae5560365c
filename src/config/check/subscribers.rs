//! What is wrong with subscribers.

use std::collections::BTreeSet;

use copydesk_core::limits::{SIGNATURES_TRIED_MAX, SUBSCRIBERS_MAX};
use copydesk_core::signature::is_key_id;

use super::Check;

impl Check<'_> {
    pub(super) fn subscribers(&mut self) {
        let config = &self.loaded.config;
        if config.subscribers.len() > SUBSCRIBERS_MAX {
            self.refuse("subscribers", format!("more than {SUBSCRIBERS_MAX} subscribers"), "");
        }
        for (name, subscriber) in &config.subscribers {
            let path = |key: &str| format!("subscribers.{name}.{key}");
            self.range(&path("concurrency"), subscriber.concurrency, 1, 64);
            if subscriber.url.is_some() == subscriber.folder.is_some() {
                let help =
                    "url = \"https://crm.example.org/hook\", or folder = \"/var/lib/notices\"";
                self.refuse(&path("url"), "a subscriber has a url or a folder", help);
            }
            let secrets = if subscriber.url.is_some() { 1..=SIGNATURES_TRIED_MAX } else { 0..=0 };
            if !secrets.contains(&subscriber.secrets.len()) {
                let reason = format!(
                    "a url has 1 to {SIGNATURES_TRIED_MAX} secrets to sign with, a folder none"
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
