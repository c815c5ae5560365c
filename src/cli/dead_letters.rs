//! `copydesk dead-letters`: what waits for a person, and what the person decides.

use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};

use super::args::{ActArgs, PartArgs};
use super::client::AdminClient;
use super::output::{Output, time};
use super::posts::{path_of, show};
use crate::admin::{
    ActRequest, DeadLetterGroupRow, DeadLetterList, DeadLetterRow, PostView, RetryAnswer,
    RetryProvider, RetryRequest, Rows, Words,
};

/// Dead letters one post has at most.
const OF_POST_MAX: usize = 64;

/// Look at what needs a person, and decide.
#[derive(Debug, Subcommand)]
pub enum DeadLetters {
    /// What waits.
    List {
        /// Which part.
        #[command(flatten)]
        part: PartArgs,
        /// Only with this code, as the list shows it.
        #[arg(long)]
        code: Option<String>,
    },
    /// What waits, by site and cause, the largest group first.
    Groups {
        /// Only of this site.
        #[arg(long)]
        site: Option<String>,
    },
    /// The dead letters of a post, and the journey that led there.
    Show {
        /// SITE/ID, for example news/42.
        post: String,
    },
    /// Try again; what was paid for is kept.
    #[command(after_help = "\
Examples:
  copydesk dead-letters retry news/42
  copydesk dead-letters retry news/42 --from tags                ask for the tags once more
  copydesk dead-letters retry news/42 --answer 'summary=The bridge is closed.'
  copydesk dead-letters retry news/42 --provider summary=other")]
    Retry(RetryArgs),
    /// Give up; the post's later events go on.
    Drop(OneArgs),
}

/// A dead letter.
#[derive(Debug, Args)]
pub struct OneArgs {
    /// SITE/ID, for example news/42.
    pub post: String,
    /// The run, as the list shows it; needless when the post has one dead letter.
    pub run: Option<u64>,
    /// Who and why.
    #[command(flatten)]
    pub act: ActArgs,
}

/// A dead letter, and how to try again.
#[derive(Debug, Args)]
pub struct RetryArgs {
    /// Which.
    #[command(flatten)]
    pub one: OneArgs,
    /// Begin at this step: read, write, or an enrichment's name.
    #[arg(long)]
    pub from: Option<String>,
    /// Words in place of an answer; for a list of terms, repeat it.
    #[arg(long, value_name = "ENRICHMENT=WORDS", value_parser = pair)]
    pub answer: Vec<(String, String)>,
    /// Another AI service for an enrichment.
    #[arg(long, value_name = "ENRICHMENT=PROVIDER", value_parser = pair)]
    pub provider: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// One answer for each enrichment; several of one are a list.
fn answers(pairs: Vec<(String, String)>) -> Vec<RetryAnswer> {
    let mut answers: Vec<RetryAnswer> = Vec::new();
    for (enrichment, word) in pairs {
        match answers.iter_mut().find(|answer| answer.enrichment == enrichment) {
            None => answers.push(RetryAnswer { enrichment, value: Words::Text(word) }),
            Some(RetryAnswer { value: Words::List(words), .. }) => words.push(word),
            Some(RetryAnswer { value: value @ Words::Text(_), .. }) => {
                let Words::Text(first) = std::mem::replace(value, Words::List(Vec::new())) else {
                    continue;
                };
                *value = Words::List(vec![first, word]);
            }
        }
    }
    answers
}

impl DeadLetters {
    pub(super) async fn run(self, client: &AdminClient, output: &Output) -> anyhow::Result<()> {
        match self {
            Self::List { part: PartArgs { site, cursor, limit }, code } => {
                let query = json!({ "site": site, "code": code });
                let list = client.list(&["dead-letters"], &query, cursor, limit).await?;
                table(&list.rows, output)?;
                output.more(list.next.as_deref())?;
            }
            Self::Groups { site } => {
                let query = DeadLetterList { site, ..DeadLetterList::default() };
                let Rows { rows, .. } = client.get(&["dead-letters", "groups"], &query).await?;
                groups(&rows, output)?;
            }
            Self::Show { post } => {
                let rows = of_post(client, &post).await?;
                let view: PostView = client.get(&path_of("posts", &post)?, &()).await?;
                if output.json {
                    output.value(&json!({ "dead_letters": rows, "post": view }))?;
                } else {
                    table(&rows, output)?;
                    output.line("")?;
                    show(&view, output)?;
                }
            }
            Self::Retry(RetryArgs { one, from, answer, provider }) => {
                let ActRequest { by, reason } = client.act(one.act);
                let providers = provider.into_iter();
                let providers = providers
                    .map(|(enrichment, provider)| RetryProvider { enrichment, provider })
                    .collect();
                let answers = answers(answer);
                let request = RetryRequest { from, answers, providers, by, reason };
                decide(&one.post, one.run, "retry", &request, client, output).await?;
            }
            Self::Drop(OneArgs { post, run, act }) => {
                decide(&post, run, "drop", &client.act(act), client, output).await?;
            }
        }
        Ok(())
    }
}

fn table(rows: &[DeadLetterRow], output: &Output) -> std::io::Result<()> {
    output.rows(rows, ["at", "post", "run", "step", "code", "cause"], |row| {
        [
            time(row.at),
            row.post.clone(),
            row.run.to_string(),
            row.step.clone(),
            row.code.clone(),
            row.cause.clone(),
        ]
    })
}

fn groups(rows: &[DeadLetterGroupRow], output: &Output) -> std::io::Result<()> {
    output.rows(rows, ["posts", "site", "since", "last", "code", "cause", "example"], |row| {
        [
            row.posts.to_string(),
            row.site.clone(),
            time(row.first_at),
            time(row.last_at),
            row.code.clone(),
            row.cause.clone(),
            row.example.clone(),
        ]
    })
}

async fn of_post(client: &AdminClient, post: &str) -> anyhow::Result<Vec<DeadLetterRow>> {
    let list = client.list(&["dead-letters"], &json!({ "post": post }), None, OF_POST_MAX).await?;
    Ok(list.rows)
}

async fn decide(
    post: &str,
    run: Option<u64>,
    verb: &str,
    request: &impl Serialize,
    client: &AdminClient,
    output: &Output,
) -> anyhow::Result<()> {
    let run = match run {
        Some(run) => run,
        None => match of_post(client, post).await?.as_slice() {
            [only] => only.run,
            [] => bail!("{post} has no dead letter"),
            several => {
                let runs: Vec<String> = several.iter().map(|row| row.run.to_string()).collect();
                bail!("{post} has several dead letters; name the run: {}", runs.join(", "));
            }
        },
    };
    let run = run.to_string();
    let mut path = path_of("dead-letters", post)?;
    path.extend([run.as_str(), verb]);
    let done: Value = client.post(&path, request).await?;
    let said = if verb == "retry" { "is tried again" } else { "is given up" };
    output.done(&done, &format!("run {run} of {post} {said}"))?;
    Ok(())
}
