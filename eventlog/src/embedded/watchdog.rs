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
