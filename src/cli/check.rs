//! `copydesk check`: looks at everything the configuration names, and says how to mend it.
//! Changes nothing, but that it makes the data folder and an empty log where there are none.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::ExitCode;

use copydesk_actors::delivery::{Severity, SiteClient};
use copydesk_actors::enrichment::provider::network::Network;
use serde::Serialize;

use super::client::AdminClient;
use super::output::{Output, plain};
use crate::admin::Status;
use crate::config::{Environment, Loaded, LogUrl, Secrets};
use crate::wiring;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What was looked at: `log`, `site news`, `provider main`.
    subject: String,
    /// How it is.
    state: State,
    /// What was seen.
    text: String,
    /// How to mend it; empty when there is nothing to mend or the text says it.
    help: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Ok,
    Warning,
    Wrong,
}

impl Finding {
    fn new(subject: &str, state: State, text: impl Into<String>, help: &str) -> Self {
        Self { subject: subject.to_owned(), state, text: text.into(), help: help.to_owned() }
    }
}

pub(super) async fn check(
    loaded: &Loaded,
    env: &Environment,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let secrets = loaded.secrets(env)?;
    let mut findings = vec![configuration(loaded), folder(&loaded.config.data_dir)];
    findings
        .extend(loaded.notes.iter().map(|n| Finding::new("environment", State::Warning, n, "")));
    if findings.iter().all(|finding| finding.state != State::Wrong) {
        findings.push(log(loaded).await);
    }
    sites(loaded, &secrets, &mut findings).await;
    providers(loaded, &secrets, &mut findings).await;
    report(&findings, output)
}

fn configuration(loaded: &Loaded) -> Finding {
    let (sources, routes) = (loaded.config.sources.len(), loaded.config.routes.len());
    let text = format!("{sources} sources, {routes} routes");
    match (sources, routes) {
        (0, _) => Finding::new("configuration", State::Wrong, text, "`copydesk init` shows how"),
        (_, 0) => {
            let help = "without a route events are stored and nothing follows: add [[routes]]";
            Finding::new("configuration", State::Warning, text, help)
        }
        (_, _) => Finding::new("configuration", State::Ok, text, ""),
    }
}

/// Whether the data folder can be made and written.
fn folder(data_dir: &Path) -> Finding {
    let probe = data_dir.join(format!(".check-{}", std::process::id()));
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
    let written = made
        .and_then(|()| fs::File::create_new(&probe).map(drop))
        .and_then(|()| fs::remove_file(&probe));
    let shown = data_dir.display();
    match written {
        Ok(()) => Finding::new("data folder", State::Ok, format!("{shown} can be written"), ""),
        Err(error) => {
            let text = format!("{shown} cannot be written: {error}");
            let help = "let the user that runs copydesk own it, or set data_dir to another folder";
            Finding::new("data folder", State::Wrong, text, help)
        }
    }
}

async fn log(loaded: &Loaded) -> Finding {
    let config = &loaded.config;
    // An embedded log in use is locked by its node: the node is asked instead.
    if config.log.url == LogUrl::Embedded
        && let Ok(client) = AdminClient::of(&config.data_dir)
        && let Ok(status) = client.get::<Status>(&["status"], &()).await
    {
        let text = format!("in use by the running node: {}", status.log_profile);
        return Finding::new("log", State::Ok, text, "");
    }
    match wiring::open_log(config).await {
        Ok(open) => {
            let durability = open.log.durability();
            let state = if durability.warn { State::Warning } else { State::Ok };
            let text = format!("{}: {}", durability.profile, durability.sentence);
            Finding::new("log", state, text, "")
        }
        Err(error) => Finding::new("log", State::Wrong, format!("{error:#}"), ""),
    }
}

async fn sites(loaded: &Loaded, secrets: &Secrets, findings: &mut Vec<Finding>) {
    for (id, settings) in &loaded.config.sites {
        let subject = format!("site {id}");
        let client = wiring::wordpress(id, settings, &loaded.config, secrets)
            .and_then(|site| SiteClient::new(site).map_err(Into::into));
        let client = match client {
            Ok(client) => client,
            Err(error) => {
                findings.push(Finding::new(&subject, State::Wrong, format!("{error:#}"), ""));
                continue;
            }
        };
        findings.extend(client.probe().await.into_iter().map(|finding| {
            let state = match finding.severity {
                Severity::Good => State::Ok,
                Severity::Warning => State::Warning,
                Severity::Problem => State::Wrong,
            };
            Finding::new(&subject, state, finding.what, &finding.todo)
        }));
    }
}

async fn providers(loaded: &Loaded, secrets: &Secrets, findings: &mut Vec<Finding>) {
    for (id, settings) in &loaded.config.providers {
        let subject = format!("provider {id}");
        let network = match wiring::network_settings(id, settings, &loaded.config, secrets) {
            Ok(Some(settings)) => Network::new(settings).map_err(Into::into),
            Ok(None) => {
                findings.push(Finding::new(&subject, State::Ok, "in this process", ""));
                continue;
            }
            Err(error) => Err(error),
        };
        let network: Network = match network {
            Ok(network) => network,
            Err(error) => {
                findings.push(Finding::new(&subject, State::Wrong, format!("{error:#}"), ""));
                continue;
            }
        };
        findings.push(match network.check().await {
            Ok(models) => {
                let model = &settings.model;
                let known = models.is_empty() || models.contains(model);
                let (state, help) = if known {
                    (State::Ok, "")
                } else {
                    (State::Warning, "the service does not list this model: mind the spelling")
                };
                Finding::new(
                    &subject,
                    state,
                    format!("answers and takes the key; model {model}"),
                    help,
                )
            }
            Err(failure) => Finding::new(&subject, State::Wrong, failure.cause, ""),
        });
    }
}

/// Prints what was found; failure when something is wrong.
fn report(findings: &[Finding], output: &Output) -> anyhow::Result<ExitCode> {
    let well = findings.iter().all(|finding| finding.state != State::Wrong);
    if output.json {
        output.value(&serde_json::json!({ "ok": well, "findings": findings }))?;
    } else {
        for Finding { subject, state, text, help } in findings {
            let mark = match state {
                State::Ok => "ok     ",
                State::Warning => "warning",
                State::Wrong => "WRONG  ",
            };
            output.line(&format!("{mark}  {subject}: {}", plain(text)))?;
            if !help.is_empty() {
                output.line(&format!("         -> {}", plain(help)))?;
            }
        }
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
