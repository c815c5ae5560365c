//! `copydesk posts`: posts and their journeys.

use anyhow::bail;
use clap::Subcommand;
use serde_json::json;

use super::args::PartArgs;
use super::client::AdminClient;
use super::output::{Output, dollars, time};
use crate::admin::{AttemptRow, JourneyLine, PostRow, PostView, Rows};

/// Look at posts.
#[derive(Debug, Subcommand)]
pub enum Posts {
    /// The posts last touched.
    List {
        /// Which part.
        #[command(flatten)]
        part: PartArgs,
        /// Only in this state.
        #[arg(long)]
        state: Option<String>,
    },
    /// Every reading, AI call and write of a post, and how it ended.
    Attempts {
        /// SITE/ID, for example news/42.
        post: String,
    },
    /// One post and its whole journey.
    Show {
        /// SITE/ID, for example news/42.
        post: String,
    },
}

impl Posts {
    pub(super) async fn run(self, client: &AdminClient, output: &Output) -> anyhow::Result<()> {
        match self {
            Self::List { part: PartArgs { site, cursor, limit }, state } => {
                let query = json!({ "site": site, "state": state });
                let list = client.list(&["posts"], &query, cursor, limit).await?;
                table(&list.rows, output)?;
                output.more(list.next.as_deref())?;
            }
            Self::Attempts { post } => {
                let mut path = path_of("posts", &post)?;
                path.push("attempts");
                let rows: Rows<AttemptRow> = client.get(&path, &()).await?;
                attempts(&rows.rows, output)?;
            }
            Self::Show { post } => {
                let view: PostView = client.get(&path_of("posts", &post)?, &()).await?;
                show(&view, output)?;
            }
        }
        Ok(())
    }
}

fn attempts(rows: &[AttemptRow], output: &Output) -> std::io::Result<()> {
    let headings = ["asked", "run", "step", "try", "outcome", "code", "cause", "cost"];
    output.rows(rows, headings, |row| {
        [
            time(row.asked_at),
            row.run.to_string(),
            row.step.clone(),
            row.attempt.to_string(),
            row.outcome.clone(),
            row.code.clone(),
            row.cause.clone(),
            dollars(row.cost_microdollars),
        ]
    })
}

fn table(rows: &[PostRow], output: &Output) -> std::io::Result<()> {
    output.rows(rows, ["last", "post", "status", "considered", "waiting", "dead"], |row| {
        [
            time(row.last_at),
            row.post.clone(),
            row.status.clone(),
            row.considered.to_string(),
            row.waiting.to_string(),
            row.dead.to_string(),
        ]
    })
}

pub(super) fn show(view: &PostView, output: &Output) -> std::io::Result<()> {
    if output.json {
        return output.value(view);
    }
    table(std::slice::from_ref(&view.row), output)?;
    output.line("")?;
    output.rows(&view.journey, ["at", "position", "what", ""], |line: &JourneyLine| {
        [time(line.at_ms), line.position.to_string(), line.kind.clone(), line.text.clone()]
    })
}

/// The path of something that a post has.
pub(super) fn path_of<'p>(first: &'p str, post: &'p str) -> anyhow::Result<Vec<&'p str>> {
    match post.split_once('/') {
        Some((site, id)) => Ok(vec![first, site, id]),
        None => bail!("a post is written SITE/ID, for example news/42"),
    }
}
