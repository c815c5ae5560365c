//! The commands that look at a running node and steer it.

use std::process::ExitCode;

use anyhow::bail;
use serde::Deserialize;
use serde_json::Value;

use super::args::{
    DeadLetterArgs, DeadLettersCommand, EventsCommand, HoldArgs, ListArgs, PostsCommand,
};
use super::client::AdminClient;
use super::output::{Output, dollars, plain, time};
use crate::admin::{
    DeadLetterRow, EventRow, Followed, HoldRequest, HoldRow, JourneyLine, List, PostRow, PostView,
    Status,
};
use crate::config::Environment;

#[derive(Deserialize)]
struct Rows<T> {
    rows: Vec<T>,
}

const OK: ExitCode = ExitCode::SUCCESS;

pub(super) async fn status(client: AdminClient, output: &Output) -> anyhow::Result<ExitCode> {
    let status: Status = client.get(&["status"], &()).await?;
    if output.json {
        output.value(&status)?;
        return Ok(OK);
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
    Ok(OK)
}

pub(super) async fn events(
    command: EventsCommand,
    client: AdminClient,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    match command {
        EventsCommand::List { list, post } => {
            let query = List { post, ..query(list) };
            let Rows::<EventRow> { rows } = client.get(&["events"], &query).await?;
            event_table(&rows, output)?;
        }
        EventsCommand::Show { event_id } => {
            let row: EventRow = client.get(&["events", &event_id], &()).await?;
            if output.json {
                output.value(&row)?;
            } else {
                event_table(&[row], output)?;
            }
        }
        EventsCommand::Follow { post } => {
            let each = |line: crate::admin::FollowLine| {
                if output.json {
                    output.value(&line)?;
                } else {
                    let (post, line) = (line.post, line.line);
                    let (at, kind, text) = (time(line.at_ms), plain(&line.kind), plain(&line.text));
                    output.line(&format!("{at}  {:<16}  {kind:<12}  {text}", plain(&post)))?;
                }
                Ok(())
            };
            client.follow(&Followed { post }, each).await?;
        }
    }
    Ok(OK)
}

fn event_table(rows: &[EventRow], output: &Output) -> std::io::Result<()> {
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

pub(super) async fn posts(
    command: PostsCommand,
    client: AdminClient,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    match command {
        PostsCommand::List { list } => {
            let Rows::<PostRow> { rows } = client.get(&["posts"], &query(list)).await?;
            post_table(&rows, output)?;
        }
        PostsCommand::Show { post } => {
            let view: PostView = client.get(&post_path("posts", &post)?, &()).await?;
            show(&view, output)?;
        }
    }
    Ok(OK)
}

fn post_table(rows: &[PostRow], output: &Output) -> std::io::Result<()> {
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

fn show(view: &PostView, output: &Output) -> std::io::Result<()> {
    if output.json {
        return output.value(view);
    }
    post_table(std::slice::from_ref(&view.row), output)?;
    output.line("")?;
    output.rows(&view.journey, ["at", "position", "what", ""], |line: &JourneyLine| {
        [time(line.at_ms), line.position.to_string(), line.kind.clone(), line.text.clone()]
    })
}

pub(super) async fn dead_letters(
    command: DeadLettersCommand,
    client: AdminClient,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    match command {
        DeadLettersCommand::List { list } => {
            let Rows { rows } = client.get(&["dead-letters"], &query(list)).await?;
            dead_table(&rows, output)?;
        }
        DeadLettersCommand::Show { post } => {
            let rows = dead_of(&client, &post).await?;
            let view: PostView = client.get(&post_path("posts", &post)?, &()).await?;
            if output.json {
                output.value(&serde_json::json!({ "dead_letters": rows, "post": view }))?;
            } else {
                dead_table(&rows, output)?;
                output.line("")?;
                show(&view, output)?;
            }
        }
        DeadLettersCommand::Retry(args) => decide(&args, "retry", &client, output).await?,
        DeadLettersCommand::Drop(args) => decide(&args, "drop", &client, output).await?,
    }
    Ok(OK)
}

fn dead_table(rows: &[DeadLetterRow], output: &Output) -> std::io::Result<()> {
    output.rows(rows, ["at", "post", "run", "code", "cause"], |row| {
        [time(row.at), row.post.clone(), row.run.to_string(), row.code.clone(), row.cause.clone()]
    })
}

async fn dead_of(client: &AdminClient, post: &str) -> anyhow::Result<Vec<DeadLetterRow>> {
    let query = List { post: Some(post.to_owned()), ..List::default() };
    let Rows { rows } = client.get(&["dead-letters"], &query).await?;
    Ok(rows)
}

async fn decide(
    args: &DeadLetterArgs,
    verb: &str,
    client: &AdminClient,
    output: &Output,
) -> anyhow::Result<()> {
    let post = &args.post;
    let run = match args.run {
        Some(run) => run,
        None => match dead_of(client, post).await?.as_slice() {
            [only] => only.run,
            [] => bail!("{post} has no dead letter"),
            several => {
                let runs: Vec<String> = several.iter().map(|row| row.run.to_string()).collect();
                bail!("{post} has several dead letters; name the run: {}", runs.join(", "));
            }
        },
    };
    let run = run.to_string();
    let mut path = post_path("dead-letters", post)?;
    path.extend([run.as_str(), verb]);
    let _done: Value = client.post(&path, &()).await?;
    if output.json {
        output.value(&serde_json::json!({ "done": true }))?;
    } else {
        let said = if verb == "retry" { "is tried again" } else { "is given up" };
        output.line(&format!("run {run} of {post} {said}"))?;
    }
    Ok(())
}

pub(super) async fn hold(
    args: HoldArgs,
    client: AdminClient,
    env: &Environment,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let HoldArgs { scope, reason, by } = args;
    let rows = match scope {
        Some(scope) => {
            let by = by.or_else(|| env.get("USER").map(str::to_owned)).unwrap_or_default();
            let row: HoldRow = client.post(&["holds"], &HoldRequest { scope, by, reason }).await?;
            vec![row]
        }
        None => client.get::<Rows<HoldRow>>(&["holds"], &()).await?.rows,
    };
    output.rows(&rows, ["since", "held", "by", "reason"], |row| {
        [time(row.at), row.scope.clone(), row.by.clone(), row.reason.clone()]
    })?;
    Ok(OK)
}

pub(super) async fn resume(
    scope: String,
    client: AdminClient,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let said = format!("{scope} goes on");
    let request = HoldRequest { scope, by: String::new(), reason: String::new() };
    let done: Value = client.post(&["holds", "release"], &request).await?;
    if output.json {
        output.value(&done)?;
    } else {
        output.line(&said)?;
    }
    Ok(OK)
}

fn query(list: ListArgs) -> List {
    let ListArgs { site, state, before, limit } = list;
    List { site, post: None, state, before, limit: Some(limit) }
}

fn post_path<'p>(first: &'p str, post: &'p str) -> anyhow::Result<Vec<&'p str>> {
    match post.split_once('/') {
        Some((site, id)) => Ok(vec![first, site, id]),
        None => bail!("a post is written SITE/ID, for example news/42"),
    }
}
