//! `copydesk verify`: every promise the log can show, checked over all of it.

use std::process::ExitCode;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};

use super::client::{AdminClient, ClientError};
use super::output::{Output, plain};
use crate::admin::VerifyReport;
use crate::config::{Config, Loaded, LogUrl};
use crate::wiring::{self, OpenLog};

pub(super) async fn verify(loaded: &Loaded, output: &Output) -> anyhow::Result<ExitCode> {
    let config = &loaded.config;
    let asked = ask_node(config).await.map_or_else(without_node, |report| Ok(Some(report)))?;
    let report = match asked {
        Some(report) => report,
        None => read(config).await?,
    };
    tell(&report, output)?;
    Ok(if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A node that runs keeps its log to itself.
async fn ask_node(config: &Config) -> anyhow::Result<VerifyReport> {
    Ok(AdminClient::of(&config.data_dir)?.post(&["verify"], &()).await?)
}

/// `None` when there is no node to ask.
pub(super) fn without_node<T>(error: anyhow::Error) -> anyhow::Result<Option<T>> {
    match error.downcast_ref::<ClientError>() {
        // Something else may have its port by now. A node that does run has locked the log.
        Some(
            ClientError::Unknown(_) | ClientError::NotRunning { .. } | ClientError::Strange(_),
        ) => Ok(None),
        Some(ClientError::Refused(_)) | None => Err(error),
    }
}

/// The log itself, for when no node has it open.
pub(super) async fn open_without_node(config: &Config) -> anyhow::Result<OpenLog> {
    // Opening makes what is missing: in the wrong folder that would be an empty log, all well.
    if config.log.url == LogUrl::Embedded && !config.data_dir.exists() {
        let folder = config.data_dir.display();
        bail!("there is no {folder}: name the configuration of the node with --config");
    }
    wiring::open_log(config).await
}

async fn read(config: &Config) -> anyhow::Result<VerifyReport> {
    let OpenLog { log, .. } = open_without_node(config).await?;
    let end = log.last_sequence().await.context("the log cannot be read")?;
    // Drawn on standard error, and only where that is a terminal.
    let bar = ProgressBar::new(end.0).with_style(
        ProgressStyle::with_template("{bar:40} {pos} of {len} records, {eta} left")
            .context("no progress line")?,
    );
    let report = wiring::verify_log(&*log, |records| bar.set_position(records)).await;
    bar.finish_and_clear();
    log.close().await;
    report.context("the log cannot be read")
}

fn tell(report: &VerifyReport, output: &Output) -> std::io::Result<()> {
    if output.json {
        return output.value(report);
    }
    let VerifyReport { checked_records, posts, violations } = report;
    for violation in violations {
        output.line(&format!("BROKEN  {}", plain(violation)))?;
    }
    let broken = violations.len();
    output.line(&format!("{checked_records} records of {posts} posts, {broken} broken promises"))
}
