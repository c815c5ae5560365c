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
mod job_rows;
mod nouns;
mod openapi;
mod pace;
mod policy;
mod problem;
mod rows;
mod strict;
mod subscriber_rows;
#[cfg(test)]
pub(crate) mod tests;

pub use access::{Access, AccessError, DoorError, FILE_NAME, NAME_PREFIX, new_token};
pub use api::{AdminApi, AdminSettings, Unruled};
pub use cursor::{BadCursor, Cursor};
pub use desk::{
    Act, Asked, BackupParts, CapsOrder, Desk, DeskError, EventOrder, Filter, Following, JobTurn,
    Page, ROWS_DEFAULT, ROWS_MAX, RedoOrder, ReplayOrder, SubscriberTurn, TraceOf,
};
pub use job_rows::{AttemptRow, BudgetRow, CostRow, JobPlanRow, JobResultRow, JobRow};
pub use nouns::{
    ActRequest, CapsRequest, CostList, DeadLetterList, EventList, EventRequest, Followed, HoldList,
    HoldRequest, JobFilter, JobOrder, JobRequest, JobResultList, NewToken, PostList, ReplayRequest,
    Replayed, RetryAnswer, RetryProvider, RetryRequest, Rows, TokenRequest, TokenRow, Words,
};
pub use openapi::document;
use problem::Refusal;
pub use problem::{Code, Problem};
pub use rows::{
    DeadLetterGroupRow, DeadLetterRow, EventRow, FollowLine, HoldRow, JourneyLine, KeyRow, NodeRow,
    PostRow, PostView, ProviderRow, RouteRow, ScheduleRow, SentRow, SiteRow, SourceRow, Status,
    TraceNodeRow, TraceRow, VerifyReport,
};
pub use subscriber_rows::{
    NewSubscriber, NoticeAttemptRow, NoticeMatch, SubscriberRequest, SubscriberRow, SubscriberView,
};
