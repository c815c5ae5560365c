//! `copydesk events`: what was taken in, and what becomes of it.

use std::io;

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::json;

use super::args::{ActArgs, PartArgs};
use super::client::AdminClient;
use super::output::{Output, plain, time};
use crate::admin::{EventRequest, EventRow, FollowLine, Followed, SentRow};

/// Look at events.
#[derive(Debug, Subcommand)]
pub enum Events {
    /// The newest events.
    List {
        /// Which part.
        #[command(flatten)]
        part: PartArgs,
        /// Only in this state.
        #[arg(long)]
        state: Option<String>,
        /// Only of this post: SITE/ID.
        #[arg(long)]
        post: Option<String>,
    },
    /// One event.
    Show {
        /// The id its sender was told.
        event_id: String,
    },
    /// Send an event of one's own, to a source with scheme = "api".
    #[command(after_help = "\
Examples:
  copydesk events send --source desk '{\"event\": \"desk.asked\", \"post_id\": 42}'
  copydesk events send --source desk --wait 30 - < event.json

It is durable when the command ends. With --wait: exit code 0 when it ended in time.")]
    Send {
        /// The source it belongs to.
        #[arg(long)]
        source: String,
        /// Wait up to so many seconds for its end.
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..=60))]
        wait: Option<u64>,
        /// What happened: a JSON object as a webhook of the source would have it, or - to read one.
        event: String,
    },
    /// Watch what happens, as it happens. Ctrl-C ends it.
    #[command(after_help = "\
Examples:
  copydesk events follow
  copydesk events follow --post news/42
  copydesk events follow --after 1041 --json | jq -r .text")]
    Follow {
        /// Only of this site.
        #[arg(long)]
        site: Option<String>,
        /// Only of this post: SITE/ID.
        #[arg(long)]
        post: Option<String>,
        /// Begin after this position in the log, instead of now.
        #[arg(long)]
        after: Option<u64>,
    },
}

impl Events {
    pub(super) async fn run(self, client: &AdminClient, output: &Output) -> anyhow::Result<()> {
        match self {
            Self::List { part: PartArgs { site, cursor, limit }, state, post } => {
                let query = json!({ "site": site, "state": state, "post": post });
                let list = client.list(&["events"], &query, cursor, limit).await?;
                table(&list.rows, output)?;
                output.more(list.next.as_deref())?;
            }
            Self::Show { event_id } => {
                let row: EventRow = client.get(&["events", &event_id], &()).await?;
                if output.json {
                    output.value(&row)?;
                } else {
                    table(&[row], output)?;
                }
            }
            Self::Send { source, wait, event } => {
                let event = if event == "-" { io::read_to_string(io::stdin())? } else { event };
                let event = serde_json::from_str(&event).context("the event is a JSON object")?;
                let by = client.act(ActArgs::default()).by;
                let order = EventRequest { source, event, wait_s: wait, by };
                let row: SentRow = client.post(&["events"], &order).await?;
                if output.json {
                    output.value(&row)?;
                } else {
                    let SentRow { event_id, post, state, cause, .. } = &row;
                    let cause = if cause.is_empty() { "" } else { &format!(": {}", plain(cause)) };
                    output.line(&format!("{event_id}  {}  {state}{cause}", plain(post)))?;
                }
                if wait.is_some() && !row.ended {
                    bail!("it has not ended yet; `copydesk events show {}` tells", row.event_id);
                }
            }
            Self::Follow { site, post, after } => {
                let each = |line| tell(line, output);
                client.follow(&Followed { site, post, after }, each).await?;
            }
        }
        Ok(())
    }
}

fn tell(line: FollowLine, output: &Output) -> anyhow::Result<()> {
    if output.json {
        output.value(&line)?;
    } else {
        let (post, line) = (line.post, line.line);
        let (at, kind, text) = (time(line.at_ms), plain(&line.kind), plain(&line.text));
        output.line(&format!("{at}  {:<16}  {kind:<12}  {text}", plain(&post)))?;
    }
    Ok(())
}

fn table(rows: &[EventRow], output: &Output) -> std::io::Result<()> {
    let headings = ["received", "post", "event", "state", "position", "id", "cause"];
    output.rows(rows, headings, |row| {
        [
            time(row.received_at),
            row.post.clone(),
            row.event_type.clone(),
            row.state.clone(),
            row.position.to_string(),
            row.event_id.clone(),
            row.cause.clone(),
        ]
    })
}
