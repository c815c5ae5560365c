//! What the treasury is asked, and the money it lends.

use copydesk_core::budget::{BudgetName, Caps, Withheld};
use copydesk_core::treasury::{BudgetStatus, Grant};
use copydesk_proto::{ProviderId, SiteId, Timestamp};
use ractor::ActorRef;
use tokio::sync::oneshot;

/// What the treasury understands.
#[derive(Debug)]
pub enum TreasuryMessage {
    /// Set money aside for a call.
    Reserve(Request, oneshot::Sender<Result<Grant, NoMoney>>),
    /// A call ended and cost so much.
    Settle(Grant, u64),
    /// Money was spent that nobody here reserved: by another node, as its log says.
    Book {
        /// Who was paid.
        provider: ProviderId,
        /// For whose post.
        site: SiteId,
        /// When.
        at: Timestamp,
        /// How much.
        microdollars: u64,
    },
    /// Put caps in force.
    SetCaps(BudgetName, Caps),
    /// Tell how the budgets stand.
    Status(oneshot::Sender<Vec<BudgetStatus>>),
}

/// A call to be paid for.
#[derive(Debug, Clone)]
pub struct Request {
    pub(super) provider: ProviderId,
    pub(super) site: SiteId,
    pub(super) estimate_microdollars: u64,
}

/// Why no money was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoMoney {
    /// A budget has no room: the work waits for it.
    Withheld(Withheld),
    /// Too many asks wait for calls under way, or the node is stopping.
    Busy,
}

/// Money set aside for one call.
#[derive(Debug)]
#[must_use = "dropped money is spent money"]
pub struct Reserved {
    treasury: ActorRef<TreasuryMessage>,
    /// `None` once settled, and for a call that costs nothing.
    grant: Option<Grant>,
    estimate_microdollars: u64,
}

impl Reserved {
    /// The call cost so much; 0 for one that was not made.
    pub fn settle(mut self, microdollars: u64) {
        self.give_back(microdollars);
    }

    fn give_back(&mut self, microdollars: u64) {
        if let Some(grant) = self.grant.take() {
            // A treasury that has stopped counts nothing any more; the log has the answer.
            let _ = self.treasury.cast(TreasuryMessage::Settle(grant, microdollars));
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.give_back(self.estimate_microdollars);
    }
}

/// Sets money aside for a call. Waits only for calls under way to end.
///
/// # Errors
/// [`NoMoney`]; nothing is reserved.
pub async fn reserve(
    treasury: &ActorRef<TreasuryMessage>,
    provider: &ProviderId,
    site: &SiteId,
    estimate_microdollars: u64,
) -> Result<Reserved, NoMoney> {
    let treasury = treasury.clone();
    if estimate_microdollars == 0 {
        return Ok(Reserved { treasury, grant: None, estimate_microdollars });
    }
    let (reply, answer) = oneshot::channel();
    let request = Request { provider: provider.clone(), site: site.clone(), estimate_microdollars };
    treasury.cast(TreasuryMessage::Reserve(request, reply)).map_err(|_| NoMoney::Busy)?;
    let grant = answer.await.map_err(|_| NoMoney::Busy)??;
    Ok(Reserved { treasury, grant: Some(grant), estimate_microdollars })
}
