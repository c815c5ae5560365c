//! Places at which a test lets the built program die, without unwinding and without a word; and a
//! disk that a test makes slow.
//!
//! `EVENTLOG_CRASH_AT=sequencer.appended:3` is the third time that place is passed.
//! `EVENTLOG_SYNC_MS_IN=/tmp/ms` is a file that says how many milliseconds longer each sync of the
//! embedded log takes, from one to the next. Only programs built with the feature `testing` look at
//! either: in what is shipped, a place is nothing.

/// Dies here, when this is the time for it.
#[inline]
pub fn crash_point(place: &str) {
    #[cfg(feature = "testing")]
    chosen::passing(place);
    #[cfg(not(feature = "testing"))]
    let _ = place;
}

/// The disk takes this much longer to sync, when a test wants it so.
#[inline]
pub(crate) fn slow_sync() {
    #[cfg(feature = "testing")]
    chosen::syncing();
}

/// Whether a test has this process work without leases (`EVENTLOG_LEASES=off`): order and one history
/// must hold without them. Never in what is shipped.
#[must_use]
pub fn leases_off() -> bool {
    cfg!(feature = "testing") && std::env::var_os("EVENTLOG_LEASES").is_some_and(|v| v == "off")
}

#[cfg(feature = "testing")]
mod chosen {
    use std::ffi::OsString;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    static SYNC_MS_IN: LazyLock<Option<OsString>> =
        LazyLock::new(|| std::env::var_os("EVENTLOG_SYNC_MS_IN"));

    pub(super) fn syncing() {
        let Some(file) = &*SYNC_MS_IN else { return };
        let ms = std::fs::read_to_string(file).ok().and_then(|ms| ms.trim().parse().ok());
        std::thread::sleep(Duration::from_millis(ms.unwrap_or(0)));
    }

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
