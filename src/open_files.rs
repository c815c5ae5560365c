//! File handles: each connection takes one, and the limit a process starts with is often 1,024.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Handles for all but webhooks' connections: the log's files, other services, the admin listener.
const OTHERS: u64 = 1_024;

/// Raises this process's limit to what it may be, and warns when that is not enough for so many
/// connections: at the limit nobody is accepted, and a few thousand silent clients shut out all.
pub(crate) fn allow(connections: usize) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    let limit = if setrlimit(Resource::Nofile, raised).is_ok() { maximum } else { current };
    let needed = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(OTHERS);
    if let Some(limit) = limit.filter(|limit| *limit < needed) {
        warn!(
            limit,
            needed, "too few open files are allowed for http.connections_max; raise LimitNOFILE"
        );
    }
}
