//! `copydesk tokens`: who may operate the desk.

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::args::ActArgs;
use super::client::AdminClient;
use super::output::{Output, time};
use crate::admin::{NewToken, Rows, TokenRequest, TokenRow};

/// Give and revoke tokens for the admin API.
#[derive(Debug, Subcommand)]
pub enum Tokens {
    /// Make a token. It is shown once and cannot be shown again.
    #[command(after_help = "\
Roles: viewer (look), editor (also retry and drop), operator (also hold, release, bulk, verify),
admin (also tokens, subscribers)

Examples:
  copydesk tokens add grafana --role viewer
  copydesk tokens add ann --role editor --site news --expires-in-days 90 --reason 'night shift'
  COPYDESK_URL=http://127.0.0.1:8090 COPYDESK_TOKEN=cd_… copydesk posts list")]
    Add(AddArgs),
    /// The tokens, with those that ended last.
    List,
    /// Revoke a token at once, on every node. Its streams end.
    Revoke {
        /// Its id or, if it is live, its name.
        token: String,
        /// Who and why.
        #[command(flatten)]
        act: ActArgs,
    },
}

/// A new token.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// Who holds it; recorded with each act.
    pub name: String,
    /// viewer, editor, operator or admin.
    #[arg(long)]
    pub role: String,
    /// Only this site; again for more. Without it, the whole desk.
    #[arg(long = "site", value_name = "SITE")]
    pub sites: Vec<String>,
    /// Ends after so many days.
    #[arg(long)]
    pub expires_in_days: Option<u32>,
    /// Who and why.
    #[command(flatten)]
    pub act: ActArgs,
}

impl Tokens {
    pub(super) async fn run(self, client: &AdminClient, output: &Output) -> anyhow::Result<()> {
        match self {
            Self::Add(args) => add(args, client, output).await?,
            Self::List => table(&list(client).await?, output)?,
            Self::Revoke { token, act } => {
                let rows = list(client).await?;
                let named = |row: &&TokenRow| row.name == token && row.state == "live";
                let row = rows.iter().find(|row| row.id == token);
                let Some(row) = row.or_else(|| rows.iter().find(named)) else {
                    bail!("no live token has this id or name; see `copydesk tokens list`");
                };
                let path = ["tokens", &row.id, "revoke"];
                let done: Value = client.post(&path, &client.act(act)).await?;
                output.done(&done, &format!("{} ({}) opens nothing any more", row.name, row.id))?;
            }
        }
        Ok(())
    }
}

async fn list(client: &AdminClient) -> anyhow::Result<Vec<TokenRow>> {
    Ok(client.get::<Rows<TokenRow>>(&["tokens"], &()).await?.rows)
}

async fn add(args: AddArgs, client: &AdminClient, output: &Output) -> anyhow::Result<()> {
    let AddArgs { name, role, sites, expires_in_days, act } = args;
    let sites = Some(sites).filter(|sites| !sites.is_empty());
    let act = client.act(act);
    let request =
        TokenRequest { name, role, sites, expires_in_days, by: act.by, reason: act.reason };
    let new: NewToken = client.post(&["tokens"], &request).await?;
    if output.json {
        output.value(&new)?;
        return Ok(());
    }
    output.line(&new.token)?;
    output.note(&format!(
        "The token of {} ({}), as {}. Keep it now: it is not shown again.",
        new.row.name, new.row.id, new.row.role
    ));
    Ok(())
}

fn table(rows: &[TokenRow], output: &Output) -> std::io::Result<()> {
    let headings =
        ["id", "name", "role", "sites", "ends with", "state", "made", "expires", "last use"];
    output.rows(rows, headings, |row| {
        let day = |at: Option<i64>| at.map_or_else(|| "never".to_owned(), time);
        [
            row.id.clone(),
            row.name.clone(),
            row.role.clone(),
            row.sites.as_ref().map_or_else(|| "all".to_owned(), |sites| sites.join(", ")),
            row.hint.clone(),
            row.state.clone(),
            time(row.added_at),
            day(row.expires_at),
            day(row.used_at),
        ]
    })
}
