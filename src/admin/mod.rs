//! The admin API: what commands, programs and the UI ask a running node. It lies on a listener of
//! its own, behind tokens with roles; what each route asks for stands in one table, `policy`.
//!
//! A new noun is a file in `nouns`, a row in `policy::POLICIES`, and its page in
//! `docs/api/openapi.json`, which `copydesk openapi` prints.

mod access;
mod api;
mod caller;
mod cursor;
mod desk;
mod guard;
mod nouns;
mod openapi;
mod pace;
mod policy;
mod problem;
mod rows;
#[cfg(test)]
pub(crate) mod tests;

pub use access::{Access, AccessError, DoorError, FILE_NAME, NAME_PREFIX, new_token};
pub use api::{AdminApi, AdminSettings, Unruled};
pub use cursor::{BadCursor, Cursor};
pub use desk::{Act, Asked, Desk, DeskError, Filter, Following, Page, ROWS_DEFAULT, ROWS_MAX};
pub use nouns::{
    ActRequest, DeadLetterList, EventList, Followed, HoldList, HoldRequest, NewToken, PostList,
    Rows, TokenRequest, TokenRow,
};
pub use openapi::document;
use problem::Refusal;
pub use problem::{Code, Problem};
pub use rows::{
    DeadLetterGroupRow, DeadLetterRow, EventRow, FollowLine, HoldRow, JourneyLine, PostRow,
    PostView, ProviderRow, RouteRow, SiteRow, Status, VerifyReport,
};
