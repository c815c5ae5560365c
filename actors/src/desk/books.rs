//! What operators see of money and of what posts wait for.

use std::ops::ControlFlow;

use copydesk_core::post::{Reason, waits};
use copydesk_core::treasury::BudgetStatus;
use copydesk_eventlog::{ReadError, Sequence};
use copydesk_proto::PostKey;
use tokio::sync::oneshot;

use super::Desk;
use super::journey::walk::walk;
use super::query;
use crate::World;
use crate::ledger::{Books, CostFilter, CostRow, CostSums, LedgerMessage};
use crate::records::Subjects;
use crate::treasury::TreasuryMessage;

/// Rows of the books.
pub type Costs = Vec<(CostRow, CostSums)>;

/// What a post waits for.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Events accepted and not ended.
    pub waiting: usize,
    /// The reason; `None` when it goes on at once or has nothing to do.
    pub wait: Option<Reason>,
}

impl Desk {
    /// How the budgets stand, by name; empty when the node is stopping.
    pub async fn budgets(&self) -> Vec<BudgetStatus> {
        let (reply, answer) = oneshot::channel();
        if self.world.treasury.cast(TreasuryMessage::Status(reply)).is_err() {
            return Vec::new();
        }
        answer.await.unwrap_or_default()
    }

    /// What AI calls cost, up to this moment.
    ///
    /// # Errors
    /// [`ReadError`] when the log cannot be read.
    pub async fn costs(&self, filter: CostFilter) -> Result<Costs, ReadError> {
        let stopped = || ReadError::Unavailable("the node is stopping".to_owned());
        let (reply, answer) = oneshot::channel();
        let asked = self.world.ledger.cast(LedgerMessage::Rows(filter, reply));
        asked.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// What AI calls for one post cost, as far as its history is kept.
    ///
    /// # Errors
    /// [`ReadError`] when the log cannot be read.
    pub async fn post_costs(&self, key: &PostKey) -> Result<Costs, ReadError> {
        let mut books = Books::default();
        walk(&*self.world.log, &Subjects::of(key).decisions, Sequence(0), |record| {
            let _spent = books.see(key, record);
            ControlFlow::Continue(())
        })
        .await?;
        Ok(books.rows(&CostFilter::default()))
    }

    /// What a post waits for; `None` when nothing was decided about it.
    ///
    /// # Errors
    /// [`ReadError`] when the log cannot be read, or this release cannot read the post's history.
    pub async fn standing(&self, key: &PostKey) -> Result<Option<Standing>, ReadError> {
        let Some(state) = query::state(&*self.world.log, key).await? else { return Ok(None) };
        let wait = waits(&state, &self.world.policy(key), World::now());
        let runs = usize::from(state.run.is_some()) + state.resumed.len();
        Ok(Some(Standing { waiting: state.waiting.len() + runs, wait }))
    }
}
