//! Fetching webhooks from a site that cannot send them: its cron never runs, or its host lets
//! nothing out. A row of the site's outbox is the webhook as it would have been sent, and goes the
//! same way: verified by the rules of a source of that site, then stored by its receiver. It is
//! acknowledged to the site once it is durable here.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use copydesk_core::failure::Failure;
use copydesk_core::refusal::{Code, Refusal};
use copydesk_core::webhook::Head;
use tracing::{debug, info, warn};

use crate::cluster::Partitions;
use crate::delivery::{OutboxRow, SiteClient};
use crate::receiver::{Came, Receiver, Taking};
use crate::records::partition_of;

/// Pages of one round. What is left after them is fetched in the next: one site must not keep the
/// log to itself after a long silence.
const PAGES_MAX: usize = 50;

/// Fetches again and again, for as long as it is polled.
pub async fn pull_for_ever(
    client: Arc<SiteClient>,
    receivers: Vec<Receiver>,
    every: Duration,
    partitions: Arc<Partitions>,
) {
    let site = &client.site().id;
    loop {
        tokio::time::sleep(every).await;
        // One of the nodes that share the log does it, by the site's name.
        if !partitions.holds(partition_of(site)) {
            continue;
        }
        match pull(&client, &receivers).await {
            Ok(0) => {}
            Ok(webhooks) => info!(%site, webhooks, "fetched from the site's outbox"),
            Err(Failure { code, cause, .. }) => {
                warn!(%site, code, cause, "the site's outbox could not be fetched; next time");
            }
        }
    }
}

/// One round. Returns how many webhooks are stored that the site had not sent.
///
/// # Errors
/// The site's [`Failure`]. What was fetched until then stays.
pub async fn pull(client: &SiteClient, receivers: &[Receiver]) -> Result<u64, Failure> {
    // A site that can send does, and keeps its own books about it.
    if let Err(Failure { code, .. }) = client.drain().await {
        debug!(site = %client.site().id, code, "the outbox was not drained");
    }
    let (mut after, mut fetched) = (0, 0);
    for _ in 0..PAGES_MAX {
        let page = client.outbox(after).await?;
        let mut taken = Vec::with_capacity(page.rows.len());
        let mut full = false;
        for row in &page.rows {
            match take(receivers, row, page.peer).await {
                Ok(()) => taken.push(row.id),
                // Only what we cannot do at present has a time to come back at.
                Err(refusal) if refusal.retry_after_s.is_some() => {
                    full = true;
                    break;
                }
                // It stays in the outbox, where the site's people see it.
                Err(refusal) => {
                    let code = refusal.code;
                    warn!(site = %client.site().id, row = row.id, code, "a row was refused");
                }
            }
        }
        if !taken.is_empty() {
            client.acknowledge(&taken).await?;
            fetched += u64::try_from(taken.len()).unwrap_or(u64::MAX);
        }
        match page.next {
            Some(next) if next > after && !full => after = next,
            Some(_) | None => return Ok(fetched),
        }
    }
    Ok(fetched)
}

/// Verifies and stores one row by the first source of the site whose signature it has.
async fn take(
    receivers: &[Receiver],
    row: &OutboxRow,
    peer: Option<IpAddr>,
) -> Result<(), Refusal> {
    let lower: Vec<(String, &str)> =
        row.headers.iter().map(|(name, value)| (name.to_lowercase(), value.as_str())).collect();
    let mut headers: Vec<(&str, &[u8])> =
        lower.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    if !lower.iter().any(|(name, _)| name == "content-type") {
        headers.push(("content-type", b"application/json"));
    }
    let head = Head { method: "POST", peer, headers: &headers };
    let body = Bytes::from(row.body.clone());
    let mut refused = Code::BadSignature.refuse("no source has this site");
    for receiver in receivers {
        match receiver.verify(&head, &body) {
            Ok(mut webhook) => {
                let (telemetry, source) = (receiver.telemetry(), webhook.source.clone());
                let taking = Taking::begin(telemetry, &mut webhook, SystemTime::now());
                let stored = receiver.store(webhook).await;
                taking.end(telemetry, &Came::Fetched, stored.as_ref());
                let (outcome, code) = match &stored {
                    Ok(receipt) if receipt.duplicate => ("duplicate", ""),
                    Ok(_) => ("accepted", ""),
                    Err(refusal) => ("refused", refusal.code),
                };
                telemetry.metrics().webhook(source.to_shared(), outcome, code);
                return stored.map(drop);
            }
            Err(refusal) => refused = refusal,
        }
    }
    Err(refused)
}
