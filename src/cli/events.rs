//! `copydesk events`: what was taken in, and what becomes of it.

use clap::Subcommand;
use serde_json::json;

use super::args::PartArgs;
use super::client::AdminClient;
use super::output::{Output, plain, time};
use crate::admin::{EventRow, FollowLine, Followed};

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
