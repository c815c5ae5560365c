//! The admin API: what commands and the UI ask a running node. It lies on a listener of its own,
//! behind a token that stands in the data folder.

mod access;
mod api;
mod desk;
mod guard;
mod problem;
#[cfg(test)]
pub(crate) mod tests;

pub use access::{Access, AccessError, FILE_NAME};
pub use api::{AdminApi, Followed, HoldRequest, List};
pub use desk::{
    Asked, DeadLetterRow, Desk, DeskError, EventRow, Filter, FollowLine, Following, HoldRow,
    JourneyLine, PostRow, PostView, ProviderRow, SiteRow, Status, TraceOf, VerifyReport,
};
pub use problem::Problem;

/// Rows a list has when nothing is said.
pub const ROWS_DEFAULT: usize = 50;
/// Rows a list may have. A page that is longer is not read by anyone and slows the node.
pub const ROWS_MAX: usize = 200;
