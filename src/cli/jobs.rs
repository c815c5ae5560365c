//! `copydesk jobs`: one verb on many posts, in the background.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::args::ActArgs;
use super::client::AdminClient;
use super::output::{Output, dollars, time};
use crate::admin::{JobFilter, JobOrder, JobPlanRow, JobRequest, JobResultRow, JobRow, Rows};

/// Between two looks at a job that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Act on many posts at once.
#[derive(Debug, Subcommand)]
pub enum Jobs {
    /// Start a job, and watch it unless told otherwise; Ctrl-C leaves it at work.
    #[command(after_help = "\
Verbs: retry and drop (dead letters), replay (posts, with today's routes; replay-force asks AI
services anew), drop-waiting, erase

Examples:
  copydesk jobs start retry --site news --code wp_unauthorized --dry-run
  copydesk jobs start retry --site news --code wp_unauthorized --reason 'password renewed'
  copydesk jobs start erase --site news --author 17 --reason 'request of 12 March'
  copydesk jobs start replay --since 2026-11-01T00:00:00Z --detach")]
    Start(StartArgs),
    /// The jobs, newest first.
    List,
    /// How far a job is.
    Show(JobArgs),
    /// What became of each target.
    Results(ResultArgs),
    /// Watch a job until it ends.
    Wait(JobArgs),
    /// Pause a job behind the posts at work.
    Pause(TurnArgs),
    /// Let a paused job go on.
    Resume(TurnArgs),
    /// End a job early; what is done stays done.
    Cancel(TurnArgs),
}

/// A job.
#[derive(Debug, Args)]
pub struct JobArgs {
    /// Its id, as the list shows it.
    pub job: String,
}

/// A job, and who acts on it.
#[derive(Debug, Args)]
pub struct TurnArgs {
    /// Its id, as the list shows it.
    pub job: String,
    /// Who and why.
    #[command(flatten)]
    pub act: ActArgs,
}

/// The results of a job.
#[derive(Debug, Args)]
pub struct ResultArgs {
    /// Its id, as the list shows it.
    pub job: String,
    /// Go on where an earlier list ended.
    #[arg(long)]
    pub cursor: Option<String>,
}

/// What a new job does, and to what.
#[derive(Debug, Args)]
pub struct StartArgs {
    /// retry, drop, replay, replay-force, drop-waiting or erase.
    pub verb: String,
    /// Only of this site.
    #[arg(long)]
    pub site: Option<String>,
    /// Only this post: SITE/ID.
    #[arg(long)]
    pub post: Option<String>,
    /// Only of this source.
    #[arg(long)]
    pub source: Option<String>,
    /// Only what took this route.
    #[arg(long)]
    pub route: Option<String>,
    /// Only dead letters with this code.
    #[arg(long)]
    pub code: Option<String>,
    /// Only posts of which a stored webhook names this author: WordPress's user id, or a comment's
    /// author's name. With replay, replay-force and erase.
    #[arg(long)]
    pub author: Option<String>,
    /// Only what died, or was received last, at this time or later: 2026-11-01T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub since: Option<jiff::Timestamp>,
    /// Only what died, or was received last, before this time.
    #[arg(long, value_name = "TIME")]
    pub until: Option<jiff::Timestamp>,
    /// Only say how much it would be.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not wait for its end.
    #[arg(long)]
    pub detach: bool,
    /// Who and why.
    #[command(flatten)]
    pub act: ActArgs,
}

impl Jobs {
    pub(super) async fn run(self, client: &AdminClient, output: &Output) -> anyhow::Result<()> {
        match self {
            Self::Start(args) => start(args, client, output).await?,
            Self::List => {
                let rows: Rows<JobRow> = client.get(&["jobs"], &()).await?;
                table(&rows.rows, output)?;
            }
            Self::Show(args) => one(&client.get(&["jobs", &args.job], &()).await?, output)?,
            Self::Results(ResultArgs { job, cursor }) => {
                let query = json!({ "cursor": cursor });
                let part: Rows<JobResultRow> =
                    client.get(&["jobs", &job, "results"], &query).await?;
                output.rows(&part.rows, ["post", "run", "outcome", ""], |row| {
                    let run = row.run.to_string();
                    [row.post.clone(), run, row.outcome.clone(), row.detail.clone()]
                })?;
                output.more(part.next.as_deref())?;
            }
            Self::Wait(args) => wait(&args.job, client, output).await?,
            Self::Pause(args) => turn(args, "pause", client, output).await?,
            Self::Resume(args) => turn(args, "resume", client, output).await?,
            Self::Cancel(args) => turn(args, "cancel", client, output).await?,
        }
        Ok(())
    }
}

async fn start(args: StartArgs, client: &AdminClient, output: &Output) -> anyhow::Result<()> {
    let StartArgs { verb, site, post, source, route, code, author, since, until, act, .. } = args;
    let ms = |at: jiff::Timestamp| at.as_millisecond();
    let (since, until) = (since.map(ms), until.map(ms));
    let filter = JobFilter { site, post, source, route, code, author, since, until };
    if args.dry_run {
        let plan: JobPlanRow = client.post(&["jobs", "plan"], &JobOrder { verb, filter }).await?;
        let JobPlanRow { posts, targets, calls, cost_microdollars, calls_unpriced } = plan;
        let cost = dollars(cost_microdollars);
        let said = format!(
            "{targets} targets of {posts} posts; at most {calls} AI calls, about {cost}, and \
             {calls_unpriced} calls without a known price. Nothing was changed."
        );
        output.done(&plan, &said)?;
        return Ok(());
    }
    let act = client.act(act);
    let request = JobRequest { verb, filter, by: act.by, reason: act.reason };
    let job: JobRow = client.post(&["jobs"], &request).await?;
    if args.detach { Ok(one(&job, output)?) } else { wait(&job.id, client, output).await }
}

/// Looks until the job has ended or was paused; progress is drawn on a terminal only.
async fn wait(id: &str, client: &AdminClient, output: &Output) -> anyhow::Result<()> {
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{bar:40} {pos} of {len} targets, {eta} left")
            .context("no progress line")?,
    );
    loop {
        let job: JobRow = client.get(&["jobs", id], &()).await?;
        bar.set_length(job.targets);
        bar.set_position(job.done + job.skipped + job.failed);
        if job.state != "running" {
            bar.finish_and_clear();
            one(&job, output)?;
            if job.failed > 0 {
                bail!("{} targets were refused: copydesk jobs results {id}", job.failed);
            }
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn turn(
    args: TurnArgs,
    verb: &str,
    client: &AdminClient,
    output: &Output,
) -> anyhow::Result<()> {
    let job: JobRow = client.post(&["jobs", &args.job, verb], &client.act(args.act)).await?;
    one(&job, output)?;
    Ok(())
}

fn one(job: &JobRow, output: &Output) -> std::io::Result<()> {
    if output.json { output.value(job) } else { table(std::slice::from_ref(job), output) }
}

fn table(rows: &[JobRow], output: &Output) -> std::io::Result<()> {
    let headings = ["id", "verb", "state", "targets", "done", "skipped", "failed", "since", "by"];
    output.rows(rows, headings, |row| {
        [
            row.id.clone(),
            row.verb.clone(),
            row.state.clone(),
            row.targets.to_string(),
            row.done.to_string(),
            row.skipped.to_string(),
            row.failed.to_string(),
            time(row.created_at),
            row.by.clone(),
        ]
    })
}
