//! What operators see of money, of what posts wait for, and of dead letters in groups.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use copydesk_core::post::{Wait, waits};
use copydesk_core::treasury::BudgetStatus;
use copydesk_eventlog::{ReadError, Sequence};
use copydesk_proto::{PostKey, SiteId, Timestamp};
use tokio::sync::oneshot;

use super::Desk;
use super::journey::walk::walk;
use super::query::{self, DeadLetterRow};
use crate::World;
use crate::ledger::{Books, CostFilter, CostRow, CostSums, LedgerMessage};
use crate::records::Subjects;
use crate::treasury::TreasuryMessage;

/// Rows of the books.
pub type Costs = Vec<(CostRow, CostSums)>;

/// Posts named as examples of a group.
const EXAMPLES_MAX: usize = 5;

/// Dead letters of one cause on one site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadGroup {
    /// The site.
    pub site: SiteId,
    /// The step that failed: `read`, `write`, or the enrichment's name.
    pub step: String,
    /// Stable code of the failure.
    pub code: String,
    /// The newest one's cause, in words.
    pub cause: String,
    /// How many.
    pub count: u64,
    /// The oldest.
    pub first_at: Timestamp,
    /// The newest.
    pub last_at: Timestamp,
    /// Some of the posts.
    pub examples: Vec<PostKey>,
}

/// What a post waits for.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Events accepted and not ended.
    pub waiting: usize,
    /// The reason; `None` when it goes on at once or has nothing to do.
    pub wait: Option<Wait>,
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

    /// Dead letters by site, step and code, the largest group first.
    ///
    /// # Errors
    /// [`ReadError`] when the log cannot be read.
    pub async fn dead_groups(&self, site: Option<SiteId>) -> Result<Vec<DeadGroup>, ReadError> {
        let mut groups: BTreeMap<(SiteId, String, String), DeadGroup> = BTreeMap::new();
        query::each_dead_letter(&*self.world.log, site.as_ref(), |row| group(&mut groups, row))
            .await?;
        let mut groups: Vec<DeadGroup> = groups.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        Ok(groups)
    }
}

fn group(groups: &mut BTreeMap<(SiteId, String, String), DeadGroup>, row: DeadLetterRow) {
    let DeadLetterRow { post, step, code, cause, at, .. } = row;
    let name = (post.site.clone(), step.clone(), code.clone());
    let group = groups.entry(name).or_insert_with(|| DeadGroup {
        site: post.site.clone(),
        step,
        code,
        cause: String::new(),
        count: 0,
        first_at: at,
        last_at: at,
        examples: Vec::new(),
    });
    group.count += 1;
    group.first_at = group.first_at.min(at);
    if at >= group.last_at {
        group.last_at = at;
        group.cause = cause;
    }
    let known: BTreeSet<&PostKey> = group.examples.iter().collect();
    if group.examples.len() < EXAMPLES_MAX && !known.contains(&post) {
        group.examples.push(post);
    }
}
