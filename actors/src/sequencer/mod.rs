//! The sequencer: one actor per busy post, the only writer of its post's decisions.
//!
//! A turn: take every message that is ready, decide, append with the expected sequence, evolve,
//! act. One record holds all events of a turn, so it is stored whole or not at all. When another
//! owner has written, or the outcome of an append stays unknown, the actor stops without acting;
//! the dispatcher starts another, which reads what the log really holds.
//!
//! The actor holds the mailbox, the last sequence and the text at work. It holds no rule.

mod act;
mod actor;
mod backlog;
mod effects;
pub(crate) mod load;
mod message;
mod remembered;
mod reports;
mod step_span;
mod trail;

pub use actor::{Post, Sequencer, Start};
pub use message::{Answered, Life, Operation, Rest, Rested, SequencerMessage};
pub use remembered::Remembered;
