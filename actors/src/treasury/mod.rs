//! The treasury: one actor that sets money aside for each AI call before it is made.
//!
//! - A call is reserved in its provider's budget and in its site's, or not made. What is spent
//!   and reserved never passes a cap, as long as [`cost_max_microdollars`] is an upper bound.
//! - Where only calls under way stand in the way, an ask waits here for one of them to end; where
//!   the money is spent, it is answered at once, and the post waits, visibly and durably.
//! - A reservation that is dropped without being settled is spent whole: a call whose outcome
//!   nobody saw may be billed.
//!
//! It holds sums in memory only. The log is the truth: at start the ledger books what it says.
//!
//! [`cost_max_microdollars`]: crate::enrichment::provider::Provider::cost_max_microdollars

mod actor;
mod message;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]
mod tests;

pub use actor::{Opening, TreasuryActor};
pub use message::{NoMoney, Reserved, TreasuryMessage, reserve};
