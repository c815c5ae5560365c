//! Mistakes that tests make on purpose, to see that the checkers notice them. The program cannot
//! make any: outside of this crate's tests [`makes`] is always false, and the compiler drops what
//! hangs on it.

/// One way to break a promise.
#[cfg_attr(not(test), expect(dead_code, reason = "only tests choose among them"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// A webhook is accepted though nobody knows whether it was stored.
    AcceptUnknown,
    /// Effects start before the decision that asks for them is stored.
    ActBeforeAppend,
    /// Decisions are appended without the condition.
    NoCondition,
    /// What another owner decided is stepped over, in the same life.
    AdoptNewerLast,
    /// A refused append is taken for a stored one.
    RefusedIsStored,
    /// An append of unknown outcome is done again under a new condition.
    UnknownIsNotStored,
    /// Writes are numbered by a counter in memory.
    NumbersFromMemory,
    /// All writes of a post have one delivery id.
    OneDeliveryId,
    /// After a start, events are considered that were considered before.
    ForgetConsidered,
    /// A snapshot is believed, and what came after it not read.
    SnapshotIsTruth,
    /// Repeats are known by the header alone, which is not signed.
    KeyFromHeader,
    /// Message ids do not hold the site.
    KeyWithoutSite,
    /// An event that the wall clock calls older than the one before is dropped.
    WallClockOrders,
    /// After a start, a run works on its event's own text, not on the one it recorded.
    TextOfTheEvent,
    /// After a start, ends are told nobody that were still to be told.
    ForgetOwed,
    /// The notices of an end do not wait for those of the end before.
    NoticesOvertake,
    /// A notice that is put into the log once more has another id.
    NoticeIdOfTheTry,
}

/// Whether this mistake is made at present: in a test, on its own thread.
#[cfg(not(test))]
pub(crate) const fn makes(_: Mistake) -> bool {
    false
}

#[cfg(test)]
pub(crate) use tests::makes;

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use super::Mistake;

    thread_local! {
        static MADE: Cell<Option<Mistake>> = const { Cell::new(None) };
    }

    pub(crate) fn makes(mistake: Mistake) -> bool {
        MADE.get() == Some(mistake)
    }

    /// Does something while this mistake is made, if it is one.
    pub(crate) fn making<T>(mistake: Option<Mistake>, act: impl FnOnce() -> T) -> T {
        MADE.set(mistake);
        let done = act();
        MADE.set(None);
        done
    }

    pub(crate) const ALL: [Mistake; 17] = [
        Mistake::AcceptUnknown,
        Mistake::ActBeforeAppend,
        Mistake::NoCondition,
        Mistake::AdoptNewerLast,
        Mistake::RefusedIsStored,
        Mistake::UnknownIsNotStored,
        Mistake::NumbersFromMemory,
        Mistake::OneDeliveryId,
        Mistake::ForgetConsidered,
        Mistake::SnapshotIsTruth,
        Mistake::KeyFromHeader,
        Mistake::KeyWithoutSite,
        Mistake::WallClockOrders,
        Mistake::TextOfTheEvent,
        Mistake::ForgetOwed,
        Mistake::NoticesOvertake,
        Mistake::NoticeIdOfTheTry,
    ];
}
