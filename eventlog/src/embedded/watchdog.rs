//! A thread that notices when the writer never comes back from a commit.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::reader::Shared;

/// The writer's side. Dropping it ends the watchdog.
pub(super) struct Watchdog {
    busy_since: Arc<Mutex<Option<Instant>>>,
    _alive: Sender<()>,
}

impl Watchdog {
    /// Starts the thread. A commit longer than `commit_max` is fatal for the log.
    pub(super) fn start(shared: Arc<Shared>, commit_max: Duration) -> io::Result<Self> {
        let (alive, ended) = channel();
        let busy_since = Arc::new(Mutex::new(None));
        let watched = Arc::clone(&busy_since);
        let thread = std::thread::Builder::new().name("eventlog-watch".to_owned());
        thread.spawn(move || watch(&shared, &watched, &ended, commit_max))?;
        Ok(Self { busy_since, _alive: alive })
    }

    /// Does something that must not take for ever.
    pub(super) fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        set(&self.busy_since, Some(Instant::now()));
        let done = work();
        set(&self.busy_since, None);
        done
    }
}

fn set(busy_since: &Mutex<Option<Instant>>, since: Option<Instant>) {
    *busy_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
}

fn watch(
    shared: &Shared,
    busy_since: &Mutex<Option<Instant>>,
    ended: &Receiver<()>,
    commit_max: Duration,
) {
    while ended.recv_timeout(commit_max / 4) == Err(RecvTimeoutError::Timeout) {
        let since = *busy_since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.is_some_and(|since| since.elapsed() > commit_max) {
            shared.stop(&format!("a commit took longer than {commit_max:?}"));
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

    use futures::executor::block_on;

    use super::super::Settings;
    use super::super::ring::Ring;
    use super::super::store::Store;
    use super::*;
    use crate::{LogId, Sequence};

    #[test]
    fn a_commit_without_end_is_told_and_a_short_one_is_not() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = Store::open(folder.path(), Settings::default()).unwrap();
        let shared = Shared::new(LogId(1), store, Ring::new(Sequence(0), 0), Sequence(0));
        let watchdog = Watchdog::start(Arc::clone(&shared), Duration::from_millis(40)).unwrap();
        watchdog.during(|| {});
        assert_eq!(*shared.fatal.borrow(), None);
        let mut fatal = shared.fatal.subscribe();
        // Ends only because the watchdog says so.
        let reason = watchdog.during(|| block_on(fatal.wait_for(Option::is_some)).unwrap().clone());
        assert!(reason.unwrap().contains("longer than 40ms"));
    }
}
