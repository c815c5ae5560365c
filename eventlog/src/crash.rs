//! Places at which a test lets the built program die, without unwinding and without a word.
//!
//! `EVENTLOG_CRASH_AT=sequencer.appended:3` is the third time that place is passed. Only programs
//! built with the feature `testing` look at it: in what is shipped, a place is nothing.

/// Dies here, when this is the time for it.
#[inline]
pub fn crash_point(place: &str) {
    #[cfg(feature = "testing")]
    chosen::passing(place);
    #[cfg(not(feature = "testing"))]
    let _ = place;
}

/// Whether a test has this process work without leases (`EVENTLOG_LEASES=off`): order and one history
/// must hold without them. Never in what is shipped.
#[must_use]
pub fn leases_off() -> bool {
    cfg!(feature = "testing") && std::env::var_os("EVENTLOG_LEASES").is_some_and(|v| v == "off")
}

#[cfg(feature = "testing")]
mod chosen {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static CHOSEN: LazyLock<Option<(String, AtomicU64)>> = LazyLock::new(|| {
        let text = std::env::var("EVENTLOG_CRASH_AT").ok()?;
        let (place, passes) = text.rsplit_once(':')?;
        Some((place.to_owned(), AtomicU64::new(passes.parse().ok()?)))
    });

    pub(super) fn passing(place: &str) {
        let Some((chosen, passes)) = &*CHOSEN else { return };
        if chosen == place && passes.fetch_sub(1, Ordering::Relaxed) == 1 {
            std::process::abort();
        }
    }
}
