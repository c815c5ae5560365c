//! `copydesk status`, `nodes`, `sites`, `providers` and `routes`.

use super::client::AdminClient;
use super::output::{Output, dollars, plain, time};
use crate::admin::{NodeRow, ProviderRow, RouteRow, Rows, SiteRow, SourceRow, Status};

pub(super) async fn status(client: &AdminClient, output: &Output) -> anyhow::Result<()> {
    let status: Status = client.get(&["status"], &()).await?;
    if output.json {
        output.value(&status)?;
        return Ok(());
    }
    let ready = if status.ready { "takes webhooks in" } else { "takes NO webhooks in" };
    output.line(&format!(
        "copydesk {}, since {}: {ready}",
        status.version,
        time(status.started_at)
    ))?;
    output.line(&format!("log: {}", plain(&status.log_profile)))?;
    output.line(&format!(
        "{} events wait, {} posts busy, {} known, {} dead letters",
        status.backlog, status.busy_posts, status.known_posts, status.dead_letters
    ))?;
    let mut parts: Vec<[String; 4]> = Vec::new();
    for row in &status.providers {
        let name = format!("provider {}", row.provider);
        parts.push([
            name,
            row.breaker.clone(),
            row.in_flight.to_string(),
            dollars(row.cost_microdollars),
        ]);
    }
    for row in &status.sites {
        let name = format!("site {}", row.site);
        parts.push([name, row.breaker.clone(), row.in_flight.to_string(), String::new()]);
    }
    if !parts.is_empty() {
        output.rows(&parts, ["", "breaker", "under way", "spent"], Clone::clone)?;
    }
    Ok(())
}

pub(super) async fn nodes(client: &AdminClient, output: &Output) -> anyhow::Result<()> {
    let rows: Rows<NodeRow> = client.get(&["nodes"], &()).await?;
    let headings = ["node", "state", "partitions", "backlog", "lease age", "version", "since"];
    output.rows(&rows.rows, headings, |row| {
        let asked = if row.this { " (asked)" } else { "" };
        [
            format!("{}{asked}", row.node),
            row.state.clone(),
            row.partitions.len().to_string(),
            row.backlog.to_string(),
            format!("{} ms", row.lease_age_ms),
            row.version.clone(),
            time(row.joined_at),
        ]
    })?;
    Ok(())
}

pub(super) async fn sites(client: &AdminClient, output: &Output) -> anyhow::Result<()> {
    let rows: Rows<SiteRow> = client.get(&["sites"], &()).await?;
    output.rows(&rows.rows, ["site", "address", "delivery", "breaker", "under way"], |row| {
        [
            row.site.clone(),
            row.url.clone(),
            row.delivery.clone(),
            row.breaker.clone(),
            row.in_flight.to_string(),
        ]
    })?;
    Ok(())
}

pub(super) async fn sources(client: &AdminClient, output: &Output) -> anyhow::Result<()> {
    let rows: Rows<SourceRow> = client.get(&["sources"], &()).await?;
    let headings = ["source", "site", "scheme", "last use", "next tick", "last tick", "posts"];
    output.rows(&rows.rows, headings, |row| {
        let shown = |at: Option<i64>| at.map(time).unwrap_or_default();
        let tick = row.schedule.as_ref();
        let last = tick.map(|tick| {
            let rest = if tick.done || tick.last_at.is_none() { "" } else { " (not done)" };
            shown(tick.last_at) + rest
        });
        [
            row.source.clone(),
            row.site.clone(),
            row.scheme.clone(),
            shown(row.keys.iter().filter_map(|key| key.used_at).max()),
            shown(tick.and_then(|tick| tick.next_at)),
            last.unwrap_or_default(),
            tick.map(|tick| tick.posts.to_string()).unwrap_or_default(),
        ]
    })?;
    Ok(())
}

pub(super) async fn providers(client: &AdminClient, output: &Output) -> anyhow::Result<()> {
    let rows: Rows<ProviderRow> = client.get(&["providers"], &()).await?;
    let headings = ["provider", "kind", "model", "key", "breaker", "under way", "spent"];
    output.rows(&rows.rows, headings, |row| {
        [
            row.provider.clone(),
            row.kind.clone(),
            row.model.clone(),
            if row.key_set { "set" } else { "none" }.to_owned(),
            row.breaker.clone(),
            row.in_flight.to_string(),
            dollars(row.cost_microdollars),
        ]
    })?;
    Ok(())
}

pub(super) async fn routes(client: &AdminClient, output: &Output) -> anyhow::Result<()> {
    let rows: Rows<RouteRow> = client.get(&["routes"], &()).await?;
    let headings = ["route", "source", "site", "events", "enrich", "coalesce", "dead letter"];
    output.rows(&rows.rows, headings, |row| {
        [
            row.route.clone(),
            row.source.clone(),
            row.site.clone(),
            row.events.join(", "),
            row.enrich.join(", "),
            row.coalesce.clone(),
            row.on_dead_letter.clone(),
        ]
    })?;
    Ok(())
}
