//! Names of attributes, in one place: OpenTelemetry's where it has one, ours below `copydesk.`.
//!
//! Those for AI calls left OpenTelemetry's main conventions for ones of their own, which still
//! move; the library's constants are deprecated. What stands here is what current backends read.

/// HTTP conventions.
pub const HTTP_METHOD: &str = "http.request.method";
/// HTTP conventions.
pub const HTTP_ROUTE: &str = "http.route";
/// HTTP conventions.
pub const HTTP_STATUS: &str = "http.response.status_code";
/// HTTP conventions.
pub const URL_SCHEME: &str = "url.scheme";
/// Which host was asked.
pub const SERVER_ADDRESS: &str = "server.address";
/// The code of a failure.
pub const ERROR_TYPE: &str = "error.type";

/// `nats`, or `copydesk_log` for the embedded log.
pub const MESSAGING_SYSTEM: &str = "messaging.system";
/// `publish` or `process`.
pub const MESSAGING_OPERATION: &str = "messaging.operation.name";
/// `cd.in`.
pub const MESSAGING_DESTINATION: &str = "messaging.destination.name";
/// Which of the stream's partitions.
pub const MESSAGING_PARTITION: &str = "messaging.destination.partition.id";
/// The record's place in the log.
pub const MESSAGING_MESSAGE: &str = "messaging.message.id";
/// Of the webhook, in bytes.
pub const MESSAGING_BODY_SIZE: &str = "messaging.message.body.size";

/// `chat`.
pub const GEN_AI_OPERATION: &str = "gen_ai.operation.name";
/// `openai`, `anthropic`, `copydesk`.
pub const GEN_AI_PROVIDER: &str = "gen_ai.provider.name";
/// The model asked for.
pub const GEN_AI_REQUEST_MODEL: &str = "gen_ai.request.model";
/// The model that answered.
pub const GEN_AI_RESPONSE_MODEL: &str = "gen_ai.response.model";
/// Why the answer ended.
pub const GEN_AI_FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
/// Prompt tokens.
pub const GEN_AI_INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
/// Answer tokens.
pub const GEN_AI_OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
/// `input` or `output`.
pub const GEN_AI_TOKEN_TYPE: &str = "gen_ai.token.type";

/// The id the sender was told.
pub const EVENT_ID: &str = "copydesk.event.id";
/// `post.published`, …
pub const EVENT_TYPE: &str = "copydesk.event.type";
/// The request's id, as in our log.
pub const REQUEST_ID: &str = "copydesk.request.id";
/// `site/post`.
pub const POST: &str = "copydesk.post";
/// Which source.
pub const SOURCE: &str = "copydesk.source";
/// Which site.
pub const SITE: &str = "copydesk.site";
/// Which provider, by its name in the configuration.
pub const PROVIDER: &str = "copydesk.provider";
/// How it ended.
pub const OUTCOME: &str = "copydesk.outcome";
/// The code of a refusal.
pub const CODE: &str = "copydesk.code";
/// Which try, from 1.
pub const ATTEMPT: &str = "copydesk.attempt";
/// What was waited for.
pub const WAIT_REASON: &str = "copydesk.wait.reason";
/// How two traces are connected.
pub const LINK: &str = "copydesk.link";
/// The process that began this was killed; another went on from the log.
pub const RECOVERED: &str = "copydesk.recovered";
/// What an AI call cost, in millionths of a dollar.
pub const COST: &str = "copydesk.cost_microdollars";
/// `in` or `ev`; `read` or `write`.
pub const KIND: &str = "copydesk.kind";
/// Name of a part: a provider, a site, a mailbox.
pub const NAME: &str = "copydesk.name";
