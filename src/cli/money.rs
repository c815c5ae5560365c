//! `copydesk budgets` and `costs`.

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use super::args::ActArgs;
use super::client::AdminClient;
use super::output::{Output, dollars};
use super::posts::path_of;
use crate::admin::{BudgetRow, CapsRequest, CostList, CostRow, Rows};
use crate::config::Dollars;

/// Look at budgets, and set their caps.
#[derive(Debug, Args)]
pub struct BudgetsArgs {
    /// What to do; left out, the budgets are listed.
    #[command(subcommand)]
    pub command: Option<BudgetsCommand>,
}

/// Change a budget.
#[derive(Debug, Subcommand)]
pub enum BudgetsCommand {
    /// Set other caps than the configuration's; one that is left out is no limit.
    #[command(after_help = "\
Examples:
  copydesk budgets set provider:main --day 20.00 --month 400.00 --reason 'election day'
  copydesk budgets set site:news --configured")]
    Set {
        /// provider:NAME or site:NAME.
        budget: String,
        /// Dollars that a day (UTC) may cost.
        #[arg(long)]
        day: Option<Dollars>,
        /// Dollars that a calendar month may cost.
        #[arg(long)]
        month: Option<Dollars>,
        /// Give the configuration's caps back.
        #[arg(long, conflicts_with_all = ["day", "month"])]
        configured: bool,
        /// Who and why.
        #[command(flatten)]
        act: ActArgs,
    },
}

/// What AI calls cost.
#[derive(Debug, Args)]
pub struct CostsArgs {
    /// Only of this post: SITE/ID. The other choices but --json have no effect then.
    #[arg(long)]
    pub post: Option<String>,
    /// Only of this site.
    #[arg(long)]
    pub site: Option<String>,
    /// Only of this provider.
    #[arg(long)]
    pub provider: Option<String>,
    /// Only for this field.
    #[arg(long)]
    pub field: Option<String>,
    /// Only of this model.
    #[arg(long)]
    pub model: Option<String>,
    /// From this day (UTC) on: 2026-11-01.
    #[arg(long, value_name = "DAY")]
    pub since: Option<String>,
    /// Before this day (UTC).
    #[arg(long, value_name = "DAY")]
    pub until: Option<String>,
    /// What to sum by, with commas between: day, site, provider, enrichment, field, model.
    #[arg(long, default_value = "site,provider,model")]
    pub by: String,
}

impl BudgetsArgs {
    pub(super) async fn run(self, client: &AdminClient, output: &Output) -> anyhow::Result<()> {
        let rows = match self.command {
            None => client.get::<Rows<BudgetRow>>(&["budgets"], &()).await?.rows,
            Some(BudgetsCommand::Set { budget, day, month, configured, act }) => {
                if day.is_none() && month.is_none() && !configured {
                    bail!("say which caps: --day, --month or --configured");
                }
                let micro = |dollars: Dollars| dollars.microdollars;
                let act = client.act(act);
                let request = CapsRequest {
                    budget,
                    day_cap: day.map(micro),
                    month_cap: month.map(micro),
                    configured,
                    by: act.by,
                    reason: act.reason,
                };
                vec![client.post::<BudgetRow>(&["budgets"], &request).await?]
            }
        };
        let cap = |cap: Option<u64>| cap.map_or_else(|| "none".to_owned(), dollars);
        let headings = ["budget", "day", "of", "month", "of", "reserved"];
        output.rows(&rows, headings, |row| {
            [
                row.budget.clone(),
                dollars(row.day_spent),
                cap(row.day_cap),
                dollars(row.month_spent),
                cap(row.month_cap),
                dollars(row.reserved),
            ]
        })?;
        Ok(())
    }
}

impl CostsArgs {
    pub(super) async fn run(self, client: &AdminClient, output: &Output) -> anyhow::Result<()> {
        let Self { post, site, provider, field, model, since, until, by } = self;
        let rows: Rows<CostRow> = match post {
            Some(post) => {
                let mut path = path_of("posts", &post)?;
                path.push("costs");
                client.get(&path, &()).await?
            }
            None => {
                let by = Some(by);
                let list = CostList { since, until, site, provider, field, model, by };
                client.get(&["costs"], &list).await.context("no costs")?
            }
        };
        let headings = [
            "day",
            "site",
            "provider",
            "enrichment",
            "field",
            "model",
            "calls",
            "failed",
            "tokens in",
            "out",
            "cost",
        ];
        output.rows(&rows.rows, headings, |row| {
            [
                row.day.clone(),
                row.site.clone(),
                row.provider.clone(),
                row.enrichment.clone(),
                row.field.clone(),
                row.model.clone(),
                row.calls.to_string(),
                row.failed.to_string(),
                row.input_tokens.to_string(),
                row.output_tokens.to_string(),
                dollars(row.cost_microdollars),
            ]
        })?;
        Ok(())
    }
}
