//! The ledger: what AI calls cost, by day, site, provider, enrichment, field and model, as a fold
//! of the decisions in the log.
//!
//! The log is the truth. So that a start need not read a month of decisions, the rows are written
//! down now and then as records of `cd.desk.costs`, with the place up to which they hold; a start
//! reads those and the decisions after that place. They also outlive the posts' trimmed history.

mod actor;
mod books;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]
mod tests;

pub use actor::{LedgerActor, LedgerMessage, Opened, open};
pub use books::{Books, COSTS_SUBJECT, CostFilter, CostKey, CostRow, CostSums, grouped};
