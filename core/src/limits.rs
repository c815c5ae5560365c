//! Every bound of Copydesk, with its reason. At a bound something defined happens: the request is
//! refused, the work waits, or the oldest entry goes.

/// Largest webhook body, in bytes. A long post is 20 to 60 KiB; the log's record limit is 384 KiB.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// Most header lines of one request; WordPress behind two proxies sends about 20.
pub const HEADERS_MAX: usize = 64;
/// Largest request head, in bytes; room for a 2 KiB URI and an 8 KiB cookie someone else set.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Longest request target, in bytes; ours are under 100.
pub const URI_BYTES_MAX: usize = 2 * 1024;

/// From accept to the end of the head. Hyper's own timer does not start before the first byte.
pub const HEAD_TIMEOUT_MS: u64 = 5_000;
/// From the end of the head to the end of the body: 256 KiB at 17 KiB/s.
pub const BODY_TIMEOUT_MS: u64 = 15_000;
/// Idle time of a kept connection; under the 60 s of common load balancers.
pub const IDLE_TIMEOUT_MS: u64 = 30_000;
/// Longest time until a durable append is answered 503; the sender's own limit is about 5 s.
pub const APPEND_TIMEOUT_MS: u64 = 4_000;
/// Requests answered on one connection, so that load spreads again after a restart elsewhere.
pub const CONNECTION_REQUESTS_MAX: u32 = 1_000;
/// Connections of one address; a site's outbox uses one to four.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 100;
/// Connections in all; at about 10 KiB each this is 100 MB.
pub const CONNECTIONS_MAX: usize = 10_000;

/// Deepest nesting of a payload; the top object is depth 1. Real payloads reach 6.
pub const JSON_DEPTH_MAX: usize = 32;
/// Most values in a payload, counting objects, arrays and scalars.
pub const JSON_NODES_MAX: usize = 5_000;
/// Longest object key, in bytes; WordPress's own limit for a meta key is 255 characters.
pub const JSON_KEY_BYTES_MAX: usize = 256;

/// Longest idempotency key, in bytes: a UUID is 36, a SHA-256 in hex 64.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;
/// Longest event type, in bytes.
pub const EVENT_TYPE_BYTES_MAX: usize = 64;
/// Longest title in a payload, in characters.
pub const TITLE_CHARS_MAX: usize = 1_000;
/// Longest excerpt or summary in a payload, in bytes: what WordPress's column holds.
pub const EXCERPT_BYTES_MAX: usize = 65_535;
/// Most terms of one taxonomy in a payload.
pub const TERMS_MAX: usize = 100;
/// Longest term in a payload, in characters: what WordPress's column holds.
pub const TERM_CHARS_MAX: usize = 200;
/// Longest status, language or post type in a payload, in characters.
pub const WORD_CHARS_MAX: usize = 64;
/// Longest URL in a payload, in bytes.
pub const URL_BYTES_MAX: usize = 2_048;

/// Shortest webhook secret, in bytes: the output size of SHA-256 (RFC 2104, section 3).
pub const SECRET_BYTES_MIN: usize = 32;
/// The same for secrets whose form the sender sets: 24 bytes are 192 bits, the least that Standard
/// Webhooks allows; GitHub's own example has 26.
pub const SECRET_BYTES_ISSUED_MIN: usize = 24;
/// Longest webhook secret, in bytes.
pub const SECRET_BYTES_MAX: usize = 1_024;
/// Secrets of one source, and signatures of one request, that are tried.
pub const SIGNATURES_TRIED_MAX: usize = 8;
/// Longest header name, prefix or template of a custom scheme, in bytes.
pub const CUSTOM_TEXT_BYTES_MAX: usize = 256;
/// Widest window of a custom scheme: an hour of clock error is a fault to mend.
pub const WINDOW_S_MAX: u32 = 3_600;
/// Longest id of a secret, in bytes.
pub const KEY_ID_BYTES_MAX: usize = 64;

/// Idempotency keys one post remembers; the oldest goes. A post with more events than this in 30
/// days is a machine's, and its old duplicates are caught by the content hash.
pub const DEDUPE_RING_MAX: usize = 4_096;
/// How long a post remembers an idempotency key.
pub const IDEMPOTENCY_TTL_MS: u64 = 30 * 24 * 3_600 * 1_000;
/// Events of one post that wait for their turn; past it the intake waits. At one edit a second,
/// 17 minutes of a held post.
pub const WAITING_MAX: usize = 256;
/// Times one run starts again because the text changed under it; a person who types on ends it.
pub const RESTARTS_MAX: u32 = 5;
/// Dead letters one post keeps; the oldest goes.
pub const DEAD_LETTERS_MAX: usize = 64;
/// Paid answers kept per enrichment of a post, so that an undo to a former text costs nothing.
pub const PAID_ANSWERS_MAX: usize = 4;
/// Doublings of the wait for a service that is not there: from half a second to 16 s, so that work
/// goes on within a minute of its return.
pub const UNAVAILABLE_DOUBLINGS_MAX: u32 = 5;
/// The window in which a post's AI calls are counted.
pub const ASK_WINDOW_MS: u64 = 3_600_000;
/// Shortest wait after a Retry-After: `0` must not become a busy loop.
pub const RETRY_AFTER_MS_MIN: u64 = 1_000;
/// Longest wait after a Retry-After: ten years must not park an event for good.
pub const RETRY_AFTER_MS_MAX: u64 = 3_600_000;
/// How long a breaker stays open before one probe; recovery within 60 s leaves room for two.
pub const BREAKER_OPEN_MS: u64 = 30_000;
/// Failures in a row that open a breaker.
pub const BREAKER_FAILURES_MAX: u32 = 5;

/// How long a node may be silent before the others take its partitions.
pub const LEASE_TTL_MS: u64 = 10_000;
/// How often a node says that it lives: twice may go wrong before it stops itself.
pub const LEASE_RENEW_MS: u64 = 3_000;
/// A node stops working when so much has passed since it *sent* its last renewal that went well:
/// three seconds before anybody takes over, whatever its clock's rate.
pub const LEASE_FENCE_MS: u64 = 7_000;
/// Nodes that share a log. Each looks at all others four times a second.
pub const NODES_MAX: usize = 64;

/// Routes in one configuration.
pub const ROUTES_MAX: usize = 1_000;
/// Event patterns, matchers or enrichments of one route.
pub const ROUTE_ITEMS_MAX: usize = 16;
/// Longest JSON pointer or text of a matcher, in bytes.
pub const MATCHER_BYTES_MAX: usize = 512;
/// Largest compiled `Like` pattern, in bytes; keeps `(a{1000}){1000}` out.
pub const PATTERN_COMPILED_BYTES_MAX: usize = 1024 * 1024;
/// Longest quiet period or wait of coalescing: a day.
pub const COALESCE_MS_MAX: u64 = 24 * 3_600 * 1_000;

/// Subscribers there may be. Each holds a connection pool and a share of the places.
pub const SUBSCRIBERS_MAX: usize = 100;
/// Event patterns, matchers, sites or fields of one subscriber.
pub const SUBSCRIBER_ITEMS_MAX: usize = 64;
/// Waits after a notice's failures, in milliseconds: with the first try at once, ten tries over
/// three days (Standard Webhooks 1.0.0, "Deliverability and reliability").
pub const NOTICE_WAITS_MS: [u64; 9] = [
    5_000, 300_000, 1_800_000, 7_200_000, 18_000_000, 36_000_000, 50_400_000, 72_000_000,
    86_400_000,
];
/// How long a subscriber may fail at every try before it is disabled: five days, which is longer
/// than a weekend and longer than one notice is tried.
pub const SUBSCRIBER_FAILING_MS: u64 = 5 * 24 * 3_600 * 1_000;
/// How long it fails before the log is told since when; a restart forgets at most so much.
pub const SUBSCRIBER_NOTED_MS: u64 = 3_600_000;
/// Run ends of one post whose notices are not in the log yet; past it no further run begins.
pub const OWED_MAX: usize = 16;

/// Holds in force at once.
pub const HOLDS_MAX: usize = 10_000;
/// Longest reason or name on a hold, in characters.
pub const HOLD_TEXT_CHARS_MAX: usize = 200;
/// Tokens of the admin API that are live at once: people, dashboards and scripts of one publisher.
pub const TOKENS_MAX: usize = 100;
/// Ended tokens that are still shown, so that an old line of the log can be put to a name.
pub const TOKENS_ENDED_MAX: usize = 100;
/// Longest name or reason of an operator's act, in characters; longer ones are clipped.
pub const OPERATOR_TEXT_CHARS_MAX: usize = 200;

/// Longest model answer for one value that is cleaned at all, in bytes: eight times the longest
/// field. HTML parsing of hostile nesting grows faster than its input.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// Longest title written, in characters.
pub const ANSWER_TITLE_CHARS_MAX: usize = 200;
/// Longest meta value or status line written, in characters.
pub const ANSWER_META_CHARS_MAX: usize = 320;
/// Longest excerpt written, in characters.
pub const ANSWER_EXCERPT_CHARS_MAX: usize = 2_000;
/// Most items of a list written.
pub const ANSWER_ITEMS_MAX: usize = 20;
/// Longest term written, in characters.
pub const ANSWER_TERM_CHARS_MAX: usize = 60;

const _: () = assert!(URI_BYTES_MAX < HEAD_BYTES_MAX);
const _: () = assert!(SUBSCRIBER_NOTED_MS < SUBSCRIBER_FAILING_MS);
const _: () = assert!(EXCERPT_BYTES_MAX < BODY_BYTES_MAX);
const _: () = assert!(HEAD_TIMEOUT_MS < BODY_TIMEOUT_MS && BODY_TIMEOUT_MS < IDLE_TIMEOUT_MS);
const _: () = assert!(CONNECTIONS_PER_ADDRESS_MAX < CONNECTIONS_MAX);
const _: () = assert!(SECRET_BYTES_MIN < SECRET_BYTES_MAX);
const _: () = assert!(IDEMPOTENCY_KEY_BYTES_MAX >= 64, "a derived key is 64 hex digits");
const _: () = assert!(RETRY_AFTER_MS_MIN < RETRY_AFTER_MS_MAX);
const _: () = assert!(2 * LEASE_RENEW_MS < LEASE_FENCE_MS && LEASE_FENCE_MS < LEASE_TTL_MS);
const _: () = assert!(2 * BREAKER_OPEN_MS <= 60_000, "recovery within 60 s of the last fault");
const _: () = assert!(ANSWER_EXCERPT_CHARS_MAX * 4 < ANSWER_BYTES_MAX, "4 bytes a character");
const _: () = assert!(ANSWER_EXCERPT_CHARS_MAX * 4 < EXCERPT_BYTES_MAX);
const _: () = assert!(ANSWER_TERM_CHARS_MAX <= TERM_CHARS_MAX);
