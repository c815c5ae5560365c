//! One post: what may happen to it and what follows. Four functions, no framework.
//!
//! | function | in → out | rule |
//! | --- | --- | --- |
//! | [`decide`] | state, command, policy, now → events | holds every rule |
//! | [`evolve`] | state, event → state | holds none, cannot fail |
//! | [`react`] | event → effect | asked once, after the event is durable |
//! | [`outstanding`] | state → effects | asked once, after recovery |
//!
//! Laws, tested over every prefix of generated histories (`properties.rs`): what is outstanding
//! after a fold is what was asked for and not answered, so a crash between append and act loses
//! nothing; and folding a tail onto a snapshot gives what folding everything gives.

pub mod codec;
mod decide;
mod event;
mod notice;
mod policy;
mod react;
mod redo;
mod state;
mod wait;
mod waits;

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a failed helper is a failed test; an oracle looks at few kinds of events"
)]
mod properties;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]
mod testing;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]
mod tests;

pub use decide::{
    PostCommand, ReadResult, Rejection, Turn, WriteResult, decide, held, is_new, next_wake,
};
pub use event::{
    Asked, End, Incoming, Input, IntakePosition, Lane, NoticeNumber, PlanStep, PostEvent, Redo,
    RunId, SourceVersion, Step, WriteNumber,
};
pub use notice::{NoticeKind, Owed};
pub use policy::{Policy, RoutePlan, Tries};
pub use react::{Effect, outstanding, react};
pub use state::{
    AskWindow, DeadLetter, Effective, PaidAnswer, Phase, PostState, Progress, Run, RunStep,
    SeenKey, Write, evolve,
};
pub use wait::{Wait, waits_for};
pub use waits::{Reason, waits};
