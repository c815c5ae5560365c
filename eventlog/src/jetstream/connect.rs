//! Finding the server and the stream, and refusing what cannot keep the promises.

use std::time::{Duration, Instant};

use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{Context, ErrorCode, context::ContextBuilder};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, ServerAddr};

use super::settings::{
    MESSAGE_BYTES_MAX, SERVER_NEEDED, Settings, TRY_MAX, stream_config, wrong_settings,
};

/// Why the log could not be opened, by what the operator must do.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address or the credentials cannot be used as they are.
    #[error("the NATS settings cannot be used: {0}")]
    BadSettings(String),
    /// No server answered in time.
    #[error("no NATS server with JetStream answered: {0}")]
    Unreachable(String),
    /// The server refused the user or the password.
    #[error("the NATS server refused the credentials")]
    Unauthorized,
    /// The server is too old.
    #[error("the NATS server is version {found}, at least {needed} is needed")]
    OldServer {
        /// What it says it is.
        found: String,
        /// What is needed.
        needed: String,
    },
    /// The stream is there with settings that would lose or reorder records.
    #[error("the stream {stream} cannot be used: {}", reasons.join("; "))]
    WrongStream {
        /// Its name.
        stream: String,
        /// What must be different.
        reasons: Vec<String>,
    },
    /// The server refused to create or to show the stream.
    #[error("the NATS server refused the stream {stream}: {reason}")]
    Refused {
        /// Its name.
        stream: String,
        /// What it said.
        reason: String,
    },
}

/// A connection to servers that can keep the log.
pub(super) async fn client(settings: &Settings) -> Result<Client, ConnectError> {
    check_server(dial(settings).await?)
}

/// A connection, waiting for a server that is still starting.
pub(super) async fn dial(settings: &Settings) -> Result<Client, ConnectError> {
    let servers = settings.url.split(',').map(|one| one.trim().parse::<ServerAddr>());
    // The address may hold a password, so it is not repeated.
    let servers: Vec<ServerAddr> = servers
        .collect::<Result<_, _>>()
        .map_err(|_| ConnectError::BadSettings("the url is not nats://host:port".to_owned()))?;
    let deadline = Instant::now() + settings.connect_max;
    let mut pause = Duration::from_millis(50);
    loop {
        let error = match options(settings, &servers).await?.connect(servers.as_slice()).await {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                return Err(ConnectError::Unauthorized);
            }
            ConnectErrorKind::ServerParse => {
                return Err(ConnectError::BadSettings(error.to_string()));
            }
            ConnectErrorKind::Dns
            | ConnectErrorKind::TimedOut
            | ConnectErrorKind::Tls
            | ConnectErrorKind::Io
            | ConnectErrorKind::MaxReconnects => {}
        }
        if Instant::now() + pause > deadline {
            return Err(ConnectError::Unreachable(error.to_string()));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

async fn options(
    settings: &Settings,
    servers: &[ServerAddr],
) -> Result<ConnectOptions, ConnectError> {
    let options = ConnectOptions::new()
        .name("copydesk")
        .ping_interval(Duration::from_secs(10))
        .request_timeout(Some(TRY_MAX));
    // The client takes no credentials from an address by itself.
    let with_user = servers.iter().find_map(|one| Some((one.username()?, one.password()?)));
    let options = match with_user {
        None => options,
        Some((user, password)) => options.user_and_password(decoded(user), decoded(password)),
    };
    match &settings.credentials_file {
        None => Ok(options),
        Some(file) => options.credentials_file(file).await.map_err(|e| {
            ConnectError::BadSettings(format!("credentials file {}: {e}", file.display()))
        }),
    }
}

/// Text from an address, where `%40` stands for `@`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        match part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend_from_slice(part.get(2..).unwrap_or_default().as_bytes());
            }
            None => {
                bytes.push(b'%');
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn check_server(client: Client) -> Result<Client, ConnectError> {
    let server = client.server_info();
    let mut parts = server.version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if found < SERVER_NEEDED {
        let needed = format!("{}.{}", SERVER_NEEDED.0, SERVER_NEEDED.1);
        return Err(ConnectError::OldServer { found: server.version, needed });
    }
    if server.max_payload < MESSAGE_BYTES_MAX {
        let reason = format!("max_payload is {}, needed {MESSAGE_BYTES_MAX}", server.max_payload);
        return Err(ConnectError::BadSettings(reason));
    }
    Ok(client)
}

pub(super) fn context(client: Client) -> Context {
    // Our own semaphore bounds what is under way, by bytes.
    ContextBuilder::new().timeout(TRY_MAX).max_ack_inflight(100_000).build(client)
}

/// The stream, created if it is missing.
pub(super) async fn stream(context: &Context, settings: &Settings) -> Result<Stream, ConnectError> {
    let deadline = Instant::now() + settings.connect_max;
    loop {
        match try_stream(context, settings).await {
            // A cluster that has just started has no leader yet.
            Err(ConnectError::Unreachable(_)) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            done => return done,
        }
    }
}

async fn try_stream(context: &Context, settings: &Settings) -> Result<Stream, ConnectError> {
    let refused =
        |reason: String| ConnectError::Refused { stream: settings.stream.clone(), reason };
    let found = match context.get_stream(&settings.stream).await {
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(e) if e.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                create(context, settings).await
            }
            GetStreamErrorKind::Request => Err(ConnectError::Unreachable(error.to_string())),
            GetStreamErrorKind::JetStream(e) if e.code() == 503 => {
                Err(ConnectError::Unreachable(e.to_string()))
            }
            GetStreamErrorKind::JetStream(e) => Err(refused(e.to_string())),
            GetStreamErrorKind::EmptyName | GetStreamErrorKind::InvalidStreamName => {
                Err(ConnectError::BadSettings("the stream's name".to_owned()))
            }
        },
        Ok(stream) => Ok(stream),
    }?;
    let reasons = wrong_settings(&found.cached_info().config);
    if reasons.is_empty() {
        Ok(found)
    } else {
        Err(ConnectError::WrongStream { stream: settings.stream.clone(), reasons })
    }
}

async fn create(context: &Context, settings: &Settings) -> Result<Stream, ConnectError> {
    let refused =
        |reason: String| ConnectError::Refused { stream: settings.stream.clone(), reason };
    context.create_stream(stream_config(settings)).await.map_err(|error| match error.kind() {
        CreateStreamErrorKind::TimedOut | CreateStreamErrorKind::JetStreamUnavailable => {
            ConnectError::Unreachable(error.to_string())
        }
        // Another node may have created it a moment ago: the next look finds it.
        CreateStreamErrorKind::JetStream(e)
            if e.code() == 503 || e.error_code() == ErrorCode::STREAM_NAME_EXIST =>
        {
            ConnectError::Unreachable(e.to_string())
        }
        CreateStreamErrorKind::JetStream(e) => refused(e.to_string()),
        CreateStreamErrorKind::EmptyStreamName | CreateStreamErrorKind::InvalidStreamName => {
            ConnectError::BadSettings("the stream's name".to_owned())
        }
        CreateStreamErrorKind::DomainAndExternalSet
        | CreateStreamErrorKind::Response
        | CreateStreamErrorKind::ResponseParse
        | CreateStreamErrorKind::NotFound => refused(error.to_string()),
    })
}
