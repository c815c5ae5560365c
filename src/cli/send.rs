//! `copydesk send`: a webhook as WordPress would sign and send it.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use copydesk_core::signature::{self, Parts, Secret};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

use super::args::SendArgs;
use super::output::{Output, plain};
use crate::config::{ConfigError, Environment, Loaded, SecretRef, read_secret};

/// A node answers within 5 s or not at all.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Where to send, and as whom.
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) scheme: signature::Scheme,
    pub(crate) secret: Secret,
}

pub(super) async fn send(
    args: &SendArgs,
    load: &dyn Fn() -> Result<Loaded, ConfigError>,
    env: &Environment,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let target = match (&args.url, &args.secret) {
        (Some(url), Some(place)) => {
            let scheme = args.scheme.row();
            let secret = secret(scheme, "k1", place, env)?;
            Target { url: url.clone(), scheme: scheme.clone(), secret }
        }
        (_, _) => configured(&load()?, args.source.as_deref(), env)?,
    };
    let client = client()?;
    let mut times = Vec::new();
    let mut accepted = 0_u32;
    for _ in 0..args.repeat {
        let key = args.key.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let payload = payload(args, &target.scheme, &key);
        let started = Instant::now();
        let answer = post(&client, &target, &key, &payload).await?;
        times.push(started.elapsed());
        accepted += u32::from(answer.status == 202);
        if output.json {
            output.value(&json!({ "status": answer.status, "body": answer.body }))?;
        } else {
            output.line(&format!("{} {}", answer.status, plain(&answer.body.to_string())))?;
        }
    }
    if args.repeat > 1 && !output.json {
        times.sort_unstable();
        let half = times[times.len() / 2];
        let longest = times[times.len() - 1];
        let all = args.repeat;
        output.line(&format!(
            "{accepted} of {all} taken; half within {half:.1?}, all within {longest:.1?}"
        ))?;
    }
    Ok(if accepted == args.repeat { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The source of this name, or the only one.
fn configured(loaded: &Loaded, name: Option<&str>, env: &Environment) -> anyhow::Result<Target> {
    let config = &loaded.config;
    let names: Vec<&str> = config.sources.keys().map(|id| id.as_str()).collect();
    let name = match (name, names.as_slice()) {
        (Some(name), _) => name,
        (None, [only]) => only,
        (None, []) => bail!("the configuration names no source: `copydesk init` shows how"),
        (None, names) => bail!("which source? --source {}", names.join(" | --source ")),
    };
    let found = config.sources.iter().find(|(id, _)| id.as_str() == name);
    let Some((_, source)) = found else {
        bail!("there is no source named {name}; there is: {}", names.join(", "));
    };
    let Some(first) = source.secrets.first() else { bail!("the source {name} has no secret") };
    let listen = config.http.listen;
    if listen.port() == 0 {
        bail!("http.listen takes a free port: say where the node is with --url and --secret");
    }
    let url = format!("http://{}/webhooks/{name}", reachable(listen));
    let scheme = source.signature()?;
    let secret = secret(&scheme, &first.id, &first.value, env)?;
    Ok(Target { url, scheme, secret })
}

/// An address bound to every interface is reached through loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let loopback: IpAddr = match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        address.set_ip(loopback);
    }
    address
}

fn secret(
    scheme: &signature::Scheme,
    id: &str,
    place: &SecretRef,
    env: &Environment,
) -> anyhow::Result<Secret> {
    let value = read_secret(place, env)?;
    Ok(Secret::of(scheme, id, value.expose_secret().as_bytes())?)
}

/// What the node said.
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

/// A client for webhooks.
///
/// # Errors
/// When the system has none.
pub(crate) fn client() -> anyhow::Result<reqwest::Client> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(ANSWER_MAX)
        .build()
        .context("no HTTP client")
}

/// Signs a payload, whose `idempotency_key` is `key`, and sends it.
///
/// # Errors
/// When nothing answers.
pub(crate) async fn post(
    client: &reqwest::Client,
    target: &Target,
    key: &str,
    payload: &Value,
) -> anyhow::Result<Answered> {
    let body = serde_json::to_vec(payload).context("no JSON")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    let timestamp = now.as_secs().to_string();
    let parts = Parts { timestamp: &timestamp, key, body: &body };
    let mut request = client.post(&target.url).header("content-type", "application/json");
    for (name, value) in signature::sign(&target.scheme, &target.secret, &parts) {
        request = request.header(name, value);
    }
    let response = request.body(body).send().await.with_context(|| {
        format!("nothing answers at {}. Is `copydesk serve` running?", target.url)
    })?;
    let status = response.status().as_u16();
    let text = response.text().await.context("the answer was cut off")?;
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Ok(Answered { status, body })
}

fn payload(args: &SendArgs, scheme: &signature::Scheme, key: &str) -> Value {
    let mut payload = Map::new();
    payload.insert("event".to_owned(), json!(args.event));
    if scheme.name == signature::PROVIDER.name {
        payload.insert("external_id".to_owned(), json!(args.post.to_string()));
    } else {
        payload.insert("post_id".to_owned(), json!(args.post));
    }
    payload.insert("idempotency_key".to_owned(), json!(key));
    for (name, text) in [("title", &args.title), ("content", &args.content)] {
        if let Some(text) = text {
            payload.insert(name.to_owned(), json!(text));
        }
    }
    Value::Object(payload)
}
