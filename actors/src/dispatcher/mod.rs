//! The dispatcher: reads the intake log in order and keeps one sequencer per busy post.
//!
//! - It takes a record only with a credit in hand, and a post's credits come back when the post
//!   rests: so what is in memory is bounded whatever waits in the log.
//! - A post with many records at once gets the first few and is told that it is behind; its
//!   sequencer reads the rest from the log at its own pace. One hot post cannot use up the credits.
//! - A post that waits for a time or an operator is parked: no actor, only its key and its hour.
//! - A sequencer that fails is started again after a pause that grows; the log is the truth.
//!
//! There is no checkpoint to lose: at start the last record of each subject tells which posts
//! have unfinished work (`recovery.rs`), and the log is followed from where it ended before that.

mod actor;
mod message;
mod nursery;
mod places;
mod posts;
mod pump;
pub mod recovery;
mod shares;

pub use actor::{Dispatcher, Start};
pub use message::{DispatcherMessage, DispatcherStatus};
