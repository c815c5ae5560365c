//! `copydesk backup`, `restore` and `export`: the log as a file, and back.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use copydesk_actors::records::{DECISIONS, Decision, INTAKE, Intake, post_of, rfc3339};
use copydesk_eventlog::Record;
use copydesk_eventlog::archive::{self, Archive, Archived, Next};
use copydesk_proto::Timestamp;
use futures::StreamExt;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::client::{AdminClient, Parts};
use super::output::Output;
use super::verify;
use crate::config::{Config, Loaded, LogUrl};
use crate::wiring::{self, OpenLog};

pub(super) async fn backup(
    file: &Path,
    loaded: &Loaded,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let bar = ProgressBar::no_length();
    let progress = |bytes| bar.inc(u64::try_from(bytes).unwrap_or(u64::MAX));
    let archived = match of_node(&loaded.config).await? {
        Some(parts) => archive::keep(parts, file, progress).await,
        None => {
            let OpenLog { log, .. } = verify::open_without_node(&loaded.config).await?;
            let parts = archive::archive(Arc::clone(&log)).map(|part| part.map_err(Into::into));
            let archived = archive::keep(parts, file, progress).await;
            log.close().await;
            archived
        }
    };
    bar.finish_and_clear();
    tell("kept", &archived?, file, output)
}

/// The backup that a running node makes, for a log that it keeps to itself; `None` without one.
async fn of_node(config: &Config) -> anyhow::Result<Option<Parts>> {
    if config.log.url != LogUrl::Embedded {
        return Ok(None);
    }
    let asked = async { Ok(AdminClient::of(&config.data_dir)?.parts(&["backup"]).await?) };
    asked.await.map_or_else(verify::without_node, |parts| Ok(Some(parts)))
}

pub(super) async fn restore(
    file: &Path,
    loaded: &Loaded,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let config = &loaded.config;
    if config.log.url != LogUrl::Embedded {
        bail!("restore fills an embedded log; restore a stream with `nats stream restore`");
    }
    let archived = wiring::restore_log(&config.data_dir, file).await?;
    let OpenLog { log, .. } = wiring::open_log(config).await?;
    let report = wiring::verify_log(&*log, |_| {}).await;
    log.close().await;
    let broken = report.context("the restored log cannot be read")?.violations;
    if !broken.is_empty() {
        bail!("the restored log breaks promises, as the one before did: {}", broken.join("; "));
    }
    tell("restored", &archived, &config.data_dir, output)
}

fn tell(did: &str, archived: &Archived, place: &Path, output: &Output) -> anyhow::Result<ExitCode> {
    let Archived { records, last, .. } = archived;
    if output.json {
        output.value(&json!({ "records": records, "last": last.0, "place": place }))?;
    } else {
        let place = place.display();
        output.line(&format!("{did} {records} records, up to {last}: {place}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A line of JSON for each record of a backup.
pub(super) fn export(file: &Path, output: &Output) -> anyhow::Result<ExitCode> {
    let mut archive = Archive::open(file)?;
    loop {
        match archive.next()? {
            Next::Record(record, _) => output.value(&exported(&record)?)?,
            Next::End(_) => return Ok(ExitCode::SUCCESS),
        }
    }
}

fn exported(record: &Record) -> anyhow::Result<Value> {
    let mut line = json!({
        "sequence": record.sequence.0,
        "at": rfc3339(Timestamp(record.time_ms)),
        "subject": record.subject.as_str(),
        "post": post_of(&record.subject).map(|post| post.to_string()),
    });
    if INTAKE.matches(&record.subject) {
        let intake = Intake::read(record)?;
        line["webhook"] = json!({
            "event_id": intake.event_id,
            "source": intake.source.to_string(),
            "event": intake.event_type,
            "idempotency_key": intake.idempotency_key,
            "received_at": rfc3339(intake.received_at),
            "body": String::from_utf8_lossy(&intake.body),
        });
    } else if DECISIONS.matches(&record.subject) {
        let events = Decision::read(record)?.events;
        line["events"] = events.iter().map(|event| format!("{event:?}")).collect();
    }
    Ok(line)
}
