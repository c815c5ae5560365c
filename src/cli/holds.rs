//! `copydesk hold` and `copydesk resume`.

use clap::Args;
use serde_json::Value;

use super::args::ActArgs;
use super::client::AdminClient;
use super::output::{Output, time};
use crate::admin::{ActRequest, HoldRequest, HoldRow, Rows};

/// What `hold` holds.
#[derive(Debug, Args)]
pub struct HoldArgs {
    /// What to hold.
    pub scope: Option<String>,
    /// Who and why.
    #[command(flatten)]
    pub act: ActArgs,
}

/// What `resume` releases.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// What to release, as `copydesk hold` shows it.
    pub scope: String,
    /// Who and why.
    #[command(flatten)]
    pub act: ActArgs,
}

impl HoldArgs {
    pub(super) async fn run(self, client: &AdminClient, output: &Output) -> anyhow::Result<()> {
        let rows = match self.scope {
            Some(scope) => {
                let request = request(scope, client.act(self.act));
                vec![client.post::<HoldRow>(&["holds"], &request).await?]
            }
            None => client.get::<Rows<HoldRow>>(&["holds"], &()).await?.rows,
        };
        output.rows(&rows, ["since", "held", "by", "reason"], |row| {
            [time(row.at), row.scope.clone(), row.by.clone(), row.reason.clone()]
        })?;
        Ok(())
    }
}

impl ResumeArgs {
    pub(super) async fn run(self, client: &AdminClient, output: &Output) -> anyhow::Result<()> {
        let said = format!("{} goes on", self.scope);
        let request = request(self.scope, client.act(self.act));
        let done: Value = client.post(&["holds", "release"], &request).await?;
        output.done(&done, &said)?;
        Ok(())
    }
}

fn request(scope: String, act: ActRequest) -> HoldRequest {
    HoldRequest { scope, by: act.by, reason: act.reason }
}
