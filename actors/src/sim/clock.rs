//! The simulation's clocks. Virtual time only goes forward; the wall clock, which decisions see,
//! may jump.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use copydesk_proto::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

/// When every simulation begins: 2026-11-25 10:00 UTC.
const EPOCH_MS: i64 = 1_795_600_800_000;

thread_local! {
    static CLOCK: Cell<Option<Clock>> = const { Cell::new(None) };
}

#[derive(Debug, Clone, Copy)]
struct Clock {
    /// Virtual milliseconds before this life.
    before_ms: i64,
    /// The start of this life on the runtime's paused clock; `None` between lives.
    started: Option<Instant>,
    jumped_ms: i64,
}

impl Clock {
    fn virtual_ms(self) -> i64 {
        let lived = self.started.map_or(0, |started| started.elapsed().as_millis());
        self.before_ms + i64::try_from(lived).unwrap()
    }
}

fn clock() -> Clock {
    CLOCK.get().expect("a simulation runs on this thread")
}

/// A new simulation on this thread.
pub(crate) fn begin() {
    CLOCK.set(Some(Clock { before_ms: 0, started: None, jumped_ms: 0 }));
}

/// Looks at the clock in one life: far above what the busiest needs. A node that looks more often
/// goes round in a circle in which no time passes.
const LOOKS_MAX: u64 = 300_000;

thread_local! {
    static LOOKS: Cell<u64> = const { Cell::new(0) };
    static ENDLESS: RefCell<Option<Arc<Notify>>> = const { RefCell::new(None) };
}

/// Whether this life had to be ended, because it came to no end.
pub(super) fn endless() -> bool {
    LOOKS.get() > LOOKS_MAX
}

/// A life begins; called inside its runtime. One that goes round in a circle is told so.
pub(crate) fn life_begins(endless: Arc<Notify>) {
    LOOKS.set(0);
    ENDLESS.set(Some(endless));
    CLOCK.set(Some(Clock { started: Some(Instant::now()), ..clock() }));
}

/// It ends; called inside its runtime. Time stands still until the next.
pub(crate) fn life_ends() {
    let now = clock();
    CLOCK.set(Some(Clock { before_ms: now.virtual_ms(), started: None, ..now }));
}

/// Sets the wall clock forward, or back.
pub(crate) fn jump(ms: i64) {
    let now = clock();
    CLOCK.set(Some(Clock { jumped_ms: now.jumped_ms + ms, ..now }));
}

/// Virtual milliseconds since the simulation began.
pub(super) fn virtual_ms() -> i64 {
    clock().virtual_ms()
}

/// The wall clock, while a simulation runs on this thread.
pub(crate) fn wall() -> Option<Timestamp> {
    let now = CLOCK.get()?;
    LOOKS.set(LOOKS.get() + 1);
    if LOOKS.get() == LOOKS_MAX + 1 {
        ENDLESS.with_borrow(|endless| endless.iter().for_each(|endless| endless.notify_one()));
    }
    Some(Timestamp(EPOCH_MS + now.virtual_ms() + now.jumped_ms))
}
