//! The kinds of value that stand in the file as text: durations, URLs, prices, secrets.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use copydesk_core::pointer::Pointer;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};
use url::Url;

use super::process::LogUrl;

/// Longest duration a setting may name. Longer ones are always a slip of the unit.
const DURATION_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Where a secret is kept. The file names the place, never the secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretRef {
    /// `env:NAME`: an environment variable.
    Env(String),
    /// `file:PATH`: a file, relative to the working directory; its last line end is cut.
    File(PathBuf),
}

/// The text does not say where a secret is kept. Never shows the text: it may be the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a secret does not belong in this file: put it into an environment variable and write \
     \"env:NAME\", or into a file and write \"file:PATH\""
)]
pub struct SecretRefError;

impl FromStr for SecretRef {
    type Err = SecretRefError;

    fn from_str(text: &str) -> Result<Self, SecretRefError> {
        if let Some(name) = text.strip_prefix("env:") {
            let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            let starts = name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
            return if plain && starts {
                Ok(Self::Env(name.to_owned()))
            } else {
                Err(SecretRefError)
            };
        }
        match text.strip_prefix("file:") {
            Some(path) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(_) | None => Err(SecretRefError),
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not `String::deserialize`: its type error would print a number that is a secret.
        let value = toml::Value::deserialize(deserializer)?;
        let text = value.as_str().ok_or_else(|| de::Error::custom(SecretRefError))?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A price of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Price {
    /// Millionths of a dollar for a million tokens; the file says dollars: `"0.15"`.
    pub microdollars_per_million_tokens: u64,
}

/// The text is no price.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a price is dollars for a million tokens as text, with at most 6 decimals: \"0.15\" or \"3\""
)]
pub struct PriceError;

impl FromStr for Price {
    type Err = PriceError;

    fn from_str(text: &str) -> Result<Self, PriceError> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        // 6 and 6 digits: no product below can pass u64, and no model costs a million dollars.
        if !digits(whole) || !digits(part) || whole.len() > 6 || part.len() > 6 {
            return Err(PriceError);
        }
        let dollars: u64 = whole.parse().map_err(|_| PriceError)?;
        let millionths: u64 = format!("{part:0<6}").parse().map_err(|_| PriceError)?;
        Ok(Self { microdollars_per_million_tokens: dollars * 1_000_000 + millionths })
    }
}

impl<'de> Deserialize<'de> for Price {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

/// An amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dollars {
    /// In millionths of a dollar; the file says dollars: `"5.00"`.
    pub microdollars: u64,
}

/// The text is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an amount is dollars as text, with at most 6 decimals: \"5.00\" or \"0.5\"")]
pub struct DollarsError;

impl FromStr for Dollars {
    type Err = DollarsError;

    fn from_str(text: &str) -> Result<Self, DollarsError> {
        // The same form as a price, up to a million dollars.
        let Price { microdollars_per_million_tokens: microdollars } =
            text.parse().map_err(|_| DollarsError)?;
        Ok(Self { microdollars })
    }
}

impl<'de> Deserialize<'de> for Dollars {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

/// Any type that is written as text.
pub(super) fn from_text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

/// The same where the key may be absent.
pub(super) fn from_text_opt<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    from_text(deserializer).map(Some)
}

/// A JSON pointer, where the key may be absent.
pub(super) fn pointer_opt<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Pointer>, D::Error> {
    from_text_opt(deserializer)
}

/// Networks: `["203.0.113.0/24", "2001:db8::7"]`; an address alone is a network of one.
pub(super) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let network = |text: String| {
        let one = text.parse::<IpAddr>().map(IpNet::from);
        text.parse().or(one).map_err(|_| {
            de::Error::custom("a network is written \"203.0.113.0/24\" or \"2001:db8::/32\"")
        })
    };
    Vec::<String>::deserialize(deserializer)?.into_iter().map(network).collect()
}

/// `"10s"`, `"500ms"`, `"5m"`, `"1h30m"`.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?)
}

/// The same, where the key may be absent.
pub(super) fn duration_opt<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

/// The same, or `"off"`.
pub(super) fn duration_or_off<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "off" => Ok(None),
        text => parse_duration(text).map(Some),
    }
}

fn parse_duration<E: de::Error>(text: &str) -> Result<Duration, E> {
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .filter(|duration| *duration <= DURATION_MAX)
        .ok_or_else(|| {
            de::Error::custom(
                "a duration is a number with its unit: \"500ms\", \"10s\", \"5m\", \"1h\"",
            )
        })
}

/// An `http` or `https` URL without user info, query and fragment.
pub(super) fn http_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_http_url(&text).map_err(de::Error::custom)
}

/// The same where an absent key or an empty text means none.
pub(super) fn http_url_opt<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Url>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    parse_http_url(&text).map(Some).map_err(de::Error::custom)
}

fn parse_http_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text)
        .map_err(|_| "not a URL: write \"https://host\" or \"http://host:port\"")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("the URL must begin with \"https://\" or \"http://\"");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("no user or password in a URL: they have keys of their own");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("the URL ends before \"?\" and \"#\"");
    }
    Ok(url)
}

impl FromStr for LogUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "embedded" {
            return Ok(Self::Embedded);
        }
        let servers = text.parse().map(Self::Nats);
        servers.map_err(|error| if error == NO_SERVERS { NO_LOG } else { error })
    }
}

const NO_LOG: &str = "the log is \"embedded\" or NATS servers: \"nats://127.0.0.1:4222\"";
const NO_SERVERS: &str = "NATS servers are written \"nats://a:4222,nats://b:4222\"";

/// NATS servers of one cluster, as `nats://` or `tls://` URLs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsServers(Vec<Url>);

impl FromStr for NatsServers {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let server = |text: &str| {
            let url = Url::parse(text.trim()).map_err(|_| NO_SERVERS)?;
            if !matches!(url.scheme(), "nats" | "tls") || url.host_str().is_none_or(str::is_empty) {
                return Err(NO_SERVERS);
            }
            if !url.username().is_empty() || url.password().is_some() {
                return Err("no user or password in a URL: credentials names a .creds file");
            }
            Ok(url)
        };
        text.split(',').map(server).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for NatsServers {
    /// As the client takes them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<&str> = self.0.iter().map(Url::as_str).collect();
        f.write_str(&servers.join(","))
    }
}
