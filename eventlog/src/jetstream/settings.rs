//! How to reach the stream, and the fixed bounds with their reasons.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::stream;

use crate::{DUPLICATE_WINDOW, RECORD_BYTES_MAX};

/// Settings of a [`JetStreamLog`](super::JetStreamLog).
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// One or more server addresses, separated by commas; may hold a user and a password.
    pub url: String,
    /// The stream's name.
    pub stream: String,
    /// Copies of the stream, used when it is created: 1, 3 or 5.
    pub replicas: usize,
    /// A file with a user's JWT and key.
    pub credentials_file: Option<PathBuf>,
    /// The operator says that every server runs with `sync_interval: always`. A client cannot
    /// ask a server for it.
    pub sync_always: bool,
    /// How long to wait for a server at start.
    pub connect_max: Duration,
    /// How long an append under a message id is tried: a webhook's sender waits for it.
    pub append_max: Duration,
    /// How long an append under an expected sequence is tried: longer than a change of leader,
    /// which took up to 6.6 s.
    pub fenced_append_max: Duration,
    /// How long a read is tried.
    pub read_max: Duration,
}

impl fmt::Debug for Settings {
    /// Without the password that the url may hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = |one: &str| one.rsplit('@').next().unwrap_or_default().to_owned();
        let servers: Vec<_> = self.url.split(',').map(host).collect();
        let mut shown = f.debug_struct("Settings");
        shown.field("servers", &servers).field("stream", &self.stream);
        shown.field("replicas", &self.replicas).finish_non_exhaustive()
    }
}

impl Settings {
    /// The usual settings for a server's address.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            stream: "copydesk".to_owned(),
            replicas: 1,
            credentials_file: None,
            sync_always: false,
            connect_max: Duration::from_secs(30),
            append_max: Duration::from_secs(4),
            fenced_append_max: Duration::from_secs(30),
            read_max: Duration::from_secs(15),
        }
    }
}

/// Every subject of the log begins with this.
pub(super) const SUBJECT_PREFIX: &str = "cd.";

/// The subjects of the stream.
pub(super) const SUBJECTS: &str = "cd.>";

/// The oldest server whose answers this module knows.
pub(super) const SERVER_NEEDED: (u32, u32) = (2, 12);

/// Largest message: a record, and room for the headers of the protocol itself (message id,
/// expected sequence, their names).
pub(super) const MESSAGE_BYTES_MAX: usize = RECORD_BYTES_MAX + 1024;

/// One try of an append or an API request; a change of leader takes longer, so there are more.
pub(super) const TRY_MAX: Duration = Duration::from_secs(2);

/// KiB of appends under way at once; above it appends wait in their tasks. 32,000 records of
/// 1 KB: more than a server takes in a second.
pub(super) const IN_FLIGHT_KIB_MAX: u32 = 32 * 1024;

/// Pause before the same bytes are sent again.
pub(super) const RETRY_PAUSE_MS: std::ops::RangeInclusive<u64> = 50..=400;

/// Messages a consumer is asked for at once.
pub(super) const PULL_MESSAGES_MAX: usize = 500;

/// Bytes a consumer is asked for at once; far above one record.
pub(super) const PULL_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A consumer that nobody asks goes away after this.
pub(super) const CONSUMER_IDLE_MAX: Duration = Duration::from_secs(10);

/// A waiting pull says that it lives this often, so that a lost one is noticed.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long a tail tries to find its stream again before it ends with an error.
pub(super) const TAIL_RECOVERY_MAX: Duration = Duration::from_secs(60);

/// Records of a history that are asked for one by one; a consumer costs as much as ten.
pub(super) const SINGLE_GETS_MAX: usize = 10;

/// The stream as we create it.
pub(super) fn stream_config(settings: &Settings) -> stream::Config {
    stream::Config {
        name: settings.stream.clone(),
        subjects: vec![SUBJECTS.to_owned()],
        retention: stream::RetentionPolicy::Limits,
        storage: stream::StorageType::File,
        // The default, old, drops unread events without a word.
        discard: stream::DiscardPolicy::New,
        max_messages: -1,
        max_bytes: -1,
        max_messages_per_subject: -1,
        max_message_size: i32::try_from(MESSAGE_BYTES_MAX).unwrap_or(i32::MAX),
        num_replicas: settings.replicas,
        duplicate_window: DUPLICATE_WINDOW,
        deny_delete: true,
        // A trim is a purge of one subject.
        deny_purge: false,
        // A direct get may be answered by a follower that lags.
        allow_direct: false,
        ..stream::Config::default()
    }
}

/// What of an existing stream would break a promise, as `key is X, must be Y`.
pub(super) fn wrong_settings(found: &stream::Config) -> Vec<String> {
    let size = i64::from(found.max_message_size);
    let needed = i64::try_from(MESSAGE_BYTES_MAX).unwrap_or(i64::MAX);
    let direct = found.allow_direct || found.mirror_direct;
    let foreign = found.mirror.is_some()
        || found.sources.as_ref().is_some_and(|sources| !sources.is_empty())
        || found.subject_transform.is_some();
    let persisted = !matches!(found.persist_mode, Some(stream::PersistenceMode::Async));
    let checks = [
        (found.subjects == [SUBJECTS], format!("subjects must be {SUBJECTS}")),
        (found.retention == stream::RetentionPolicy::Limits, "retention must be limits".into()),
        (found.storage == stream::StorageType::File, "storage must be file".into()),
        (found.discard == stream::DiscardPolicy::New, "discard must be new".into()),
        (found.max_age.is_zero(), "max_age must be 0".into()),
        (found.max_messages < 1, "max_msgs must be -1".into()),
        (found.max_messages_per_subject < 1, "max_msgs_per_subject must be -1".into()),
        (size < 1 || size >= needed, format!("max_msg_size must be -1 or at least {needed}")),
        (found.duplicate_window >= DUPLICATE_WINDOW, "duplicate_window must be 120s".into()),
        (found.deny_delete, "deny_delete must be true".into()),
        (!found.deny_purge, "deny_purge must be false".into()),
        (!found.allow_rollup, "allow_rollup_hdrs must be false".into()),
        (!found.allow_message_ttl, "allow_msg_ttl must be false".into()),
        (!direct, "allow_direct must be false".into()),
        (!found.no_ack && !found.sealed, "no_ack and sealed must be false".into()),
        (!foreign, "it must have no mirror, sources or transform".into()),
        (persisted, "persist_mode must be default".into()),
    ];
    checks.into_iter().filter(|(right, _)| !right).map(|(_, must)| must).collect()
}
