//! `copydesk subscribers`: who is told how events end.

use clap::{Args, Subcommand};
use copydesk_core::subscribers::MatchSpec;
use serde_json::Value;

use super::args::ActArgs;
use super::client::AdminClient;
use super::output::{Output, time};
use crate::admin::{
    NewSubscriber, NoticeAttemptRow, NoticeMatch, ReplayRequest, Replayed, Rows, SubscriberRequest,
    SubscriberRow, SubscriberView,
};

/// Add subscribers, test them, and see how they fare.
#[derive(Debug, Subcommand)]
pub enum Subscribers {
    /// The subscribers of the configuration file and those that were added.
    List,
    /// One subscriber and its last attempts.
    Show {
        /// Its name.
        name: String,
    },
    /// Add a subscriber. Its secret is shown once and cannot be shown again.
    #[command(after_help = "\
Examples:
  copydesk subscribers add crm --url https://crm.example.org/hook
  copydesk subscribers add sport --url https://sport.example.org/hook --event post.applied \\
    --match /event/section=sport --match '/event/title:like=(?i)cup|final' \\
    --field /post --field /results --field /event/title")]
    Add(AddArgs),
    /// Send it a test notice, once.
    Test {
        /// Its name.
        name: String,
    },
    /// Send the notices of the last hours once more, each under its id.
    Replay {
        /// Its name.
        name: String,
        /// So many hours back.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=8_760))]
        hours: u32,
        /// Who and why.
        #[command(flatten)]
        act: ActArgs,
    },
    /// Tell it again; what was owed before it was disabled goes on, in order.
    Enable(OneArgs),
    /// Tell it nothing more, and keep nothing for it.
    Disable(OneArgs),
    /// Give one that was added a new secret; the old one signs, too, for a day.
    Rotate(OneArgs),
    /// Forget one that was added; what waits for it is dropped.
    Remove(OneArgs),
}

/// A subscriber.
#[derive(Debug, Args)]
pub struct OneArgs {
    /// Its name.
    pub name: String,
    /// Who and why.
    #[command(flatten)]
    pub act: ActArgs,
}

/// A new subscriber.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// Its name: a-z, 0-9, - and _.
    pub name: String,
    /// Where notices are posted.
    #[arg(long)]
    pub url: String,
    /// Only this event type or pattern; again for more.
    #[arg(long = "event", value_name = "TYPE")]
    pub events: Vec<String>,
    /// Only of this site; again for more.
    #[arg(long = "site", value_name = "SITE")]
    pub sites: Vec<String>,
    /// Only when a field of the data fits: POINTER=TEXT (it is this text), POINTER:TEST=TEXT with
    /// the test is, startswith, endswith, contains or like (a regular expression), or POINTER:any
    /// (it is there); again for more, all of which must hold.
    #[arg(long = "match", value_name = "MATCH", value_parser = notice_match)]
    pub matches: Vec<NoticeMatch>,
    /// Only this part of the data; again for more.
    #[arg(long = "field", value_name = "POINTER")]
    pub fields: Vec<String>,
    /// Who and why.
    #[command(flatten)]
    pub act: ActArgs,
}

impl Subscribers {
    pub(super) async fn run(self, client: &AdminClient, output: &Output) -> anyhow::Result<()> {
        match self {
            Self::List => {
                let rows = client.get::<Rows<SubscriberRow>>(&["subscribers"], &()).await?.rows;
                table(&rows, output)?;
            }
            Self::Show { name } => show(&name, client, output).await?,
            Self::Add(args) => add(args, client, output).await?,
            Self::Test { name } => {
                let act = client.act(ActArgs::default());
                let path = ["subscribers", &name, "test"];
                let row: NoticeAttemptRow = client.post(&path, &act).await?;
                attempts(std::slice::from_ref(&row), output)?;
                anyhow::ensure!(row.ok, "{name} was not reached: {}", row.cause);
            }
            Self::Replay { name, hours, act } => {
                let act = client.act(act);
                let since = copydesk_actors::World::now().0 - i64::from(hours) * 3_600_000;
                let request = ReplayRequest { since, until: None, by: act.by, reason: act.reason };
                let path = ["subscribers", &name, "replay"];
                let replayed: Replayed = client.post(&path, &request).await?;
                let said = format!("{} notices are on their way to {name}", replayed.notices);
                output.done(&serde_json::to_value(&replayed)?, &said)?;
            }
            Self::Enable(one) => turn(one, "enable", "is told again", client, output).await?,
            Self::Disable(one) => turn(one, "disable", "is told nothing", client, output).await?,
            Self::Remove(one) => turn(one, "remove", "is gone", client, output).await?,
            Self::Rotate(OneArgs { name, act }) => {
                let path = ["subscribers", &name, "rotate"];
                let new: NewSubscriber = client.post(&path, &client.act(act)).await?;
                secret(&name, &new, output)?;
            }
        }
        Ok(())
    }
}

async fn turn(
    one: OneArgs,
    verb: &str,
    said: &str,
    client: &AdminClient,
    output: &Output,
) -> anyhow::Result<()> {
    let path = ["subscribers", &one.name, verb];
    let done: Value = client.post(&path, &client.act(one.act)).await?;
    output.done(&done, &format!("{} {said}", one.name))?;
    Ok(())
}

/// `POINTER=TEXT`, `POINTER:TEST=TEXT` or `POINTER:any`. A test is what stands behind the last colon
/// before the text, if it is one.
fn notice_match(text: &str) -> Result<NoticeMatch, String> {
    let (left, compared) = match text.split_once('=') {
        Some((left, compared)) => (left, Some(compared)),
        None => (text, None),
    };
    let named = left.rsplit_once(':').filter(|(_, test)| MatchSpec::TESTS.contains(test));
    let (field, test) = named.unwrap_or((left, "is"));
    if compared.is_none() != (test == "any") {
        let tests = MatchSpec::TESTS[1..].join(", ");
        return Err(format!(
            "write POINTER=TEXT, POINTER:TEST=TEXT with one of {tests}, or POINTER:any"
        ));
    }
    let (field, test) = (field.to_owned(), test.to_owned());
    Ok(NoticeMatch { field, test, text: compared.unwrap_or_default().to_owned() })
}

async fn add(args: AddArgs, client: &AdminClient, output: &Output) -> anyhow::Result<()> {
    let some = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
    let act = client.act(args.act);
    let request = SubscriberRequest {
        name: args.name,
        url: args.url,
        events: some(args.events),
        sites: some(args.sites),
        matches: Some(args.matches).filter(|matches| !matches.is_empty()),
        fields: some(args.fields),
        by: act.by,
        reason: act.reason,
    };
    let new: NewSubscriber = client.post(&["subscribers"], &request).await?;
    secret(&request.name, &new, output)
}

fn secret(name: &str, new: &NewSubscriber, output: &Output) -> anyhow::Result<()> {
    if output.json {
        output.value(new)?;
        return Ok(());
    }
    output.line(&new.secret)?;
    output.note(&format!("The secret of {name}. Keep it now: it is not shown again."));
    Ok(())
}

async fn show(name: &str, client: &AdminClient, output: &Output) -> anyhow::Result<()> {
    let view: SubscriberView = client.get(&["subscribers", name], &()).await?;
    if output.json {
        output.value(&view)?;
        return Ok(());
    }
    table(std::slice::from_ref(&view.row), output)?;
    if let (Some(by), Some(at)) = (&view.row.by, view.row.at) {
        let reason = view.row.reason.as_deref().unwrap_or_default();
        output.note(&format!("{} by {by}, {}: {reason}", view.row.state, time(at)));
    }
    attempts(&view.attempts, output)?;
    Ok(())
}

fn table(rows: &[SubscriberRow], output: &Output) -> std::io::Result<()> {
    let headings = ["name", "kind", "to", "state", "events", "sites", "from"];
    output.rows(rows, headings, |row| {
        let all =
            |list: &[String]| if list.is_empty() { "all".to_owned() } else { list.join(", ") };
        [
            row.name.clone(),
            row.kind.clone(),
            row.target.clone(),
            row.state.clone(),
            row.events.join(", "),
            all(&row.sites),
            if row.configured { "file" } else { "api" }.to_owned(),
        ]
    })
}

fn attempts(rows: &[NoticeAttemptRow], output: &Output) -> std::io::Result<()> {
    let headings = ["when", "notice", "type", "ms", "outcome", "why"];
    output.rows(rows, headings, |row| {
        let outcome = if row.ok { "told" } else { row.code.as_str() };
        [
            time(row.at),
            row.id.clone(),
            row.kind.clone(),
            row.took_ms.to_string(),
            outcome.to_owned(),
            row.cause.clone(),
        ]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_can_be_written() {
        let check = |text: &str, field: &str, test: &str, compared: &str| {
            let (field, test) = (field.to_owned(), test.to_owned());
            let expected = NoticeMatch { field, test, text: compared.to_owned() };
            assert_eq!(notice_match(text), Ok(expected), "{text}");
        };
        check("/event/section=sport", "/event/section", "is", "sport");
        check("/event/section:is=sport", "/event/section", "is", "sport");
        check("/a:startswith=b=c", "/a", "startswith", "b=c");
        check("/a:endswith=", "/a", "endswith", "");
        check("/a:contains=:like", "/a", "contains", ":like");
        check("/a:like=^x=(y|z)$", "/a", "like", "^x=(y|z)$");
        check("/a:any", "/a", "any", "");
        // A colon may stand in a pointer.
        check("/wp:term=7", "/wp:term", "is", "7");
        check("/is:is=x", "/is", "is", "x");
        for wrong in ["/a", "/a:like", "/a:any=x", ""] {
            assert!(notice_match(wrong).is_err(), "{wrong}");
        }
    }
}
