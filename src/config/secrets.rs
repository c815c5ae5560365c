//! The secrets themselves, read once at start from where the configuration says they are.

use std::collections::BTreeMap;
use std::path::Path;

use copydesk_core::signature::{STANDARD_WEBHOOKS, Scheme, Secret, WP_RELAY};
use secrecy::{ExposeSecret, SecretString};

use super::{ConfigError, Environment, Loaded, Problem, SecretRef, Store};

/// Largest file of a secret, in bytes: a NATS `.creds` file is under 2 KiB.
const SECRET_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Every secret the configuration names. Not printable.
pub struct Secrets(BTreeMap<SecretRef, SecretString>);

impl Secrets {
    /// The secret kept at a place of the configuration these were read for.
    #[must_use]
    pub fn get(&self, place: &SecretRef) -> Option<&SecretString> {
        self.0.get(place)
    }
}

/// Why a secret cannot be had. Never shows the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable does not exist.
    #[error("the environment variable {0} is not set")]
    Unset(String),
    /// The file cannot be read.
    #[error("the file {path} cannot be read")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// There is nothing there, or too much.
    #[error("the secret at {0} is empty or longer than 64 KiB")]
    Size(String),
}

/// Reads one secret.
///
/// # Errors
/// [`SecretError`] when it is not there.
pub fn read_secret(place: &SecretRef, env: &Environment) -> Result<SecretString, SecretError> {
    let text = match place {
        SecretRef::Env(name) => {
            env.get(name).ok_or_else(|| SecretError::Unset(name.clone()))?.to_owned()
        }
        SecretRef::File(path) => read_file(path)?,
    };
    if text.is_empty() { Err(SecretError::Size(place.to_string())) } else { Ok(text.into()) }
}

impl Loaded {
    /// Reads every secret the configuration names.
    ///
    /// # Errors
    /// All that are missing or too short, each with its line.
    pub fn secrets(&self, env: &Environment) -> Result<Secrets, ConfigError> {
        let (mut found, mut problems) = (BTreeMap::new(), Vec::new());
        for (path, place, scheme) in self.secret_places() {
            match read_secret(&place, env) {
                Ok(secret) => {
                    let value = secret.expose_secret().as_bytes();
                    let made = scheme.map(|scheme| Secret::of(&scheme, "id", value));
                    if let Some(Err(error)) = made {
                        let reason = format!("the secret at {place} does not fit: {error}");
                        problems.push(self.problem(&path, reason, MAKE_ONE));
                    }
                    found.insert(place, secret);
                }
                Err(error) => problems.push(self.problem(&path, reason(&error), help(&error))),
            }
        }
        if problems.is_empty() { Ok(Secrets(found)) } else { Err(ConfigError { problems }) }
    }

    /// Key path and place of every secret; for a source's also the scheme, which sets its form.
    fn secret_places(&self) -> Vec<(String, SecretRef, Option<Scheme>)> {
        let config = &self.config;
        let mut places = Vec::new();
        if let Some(place) = &config.log.credentials {
            places.push(("log.credentials".to_owned(), place.clone(), None));
        }
        places.extend(store_places("archive", &config.archive));
        for (name, site) in &config.sites {
            let path = format!("sites.{name}.application_password");
            places.push((path, site.application_password.clone(), None));
        }
        for (name, source) in &config.sources {
            for (index, secret) in source.secrets.iter().enumerate() {
                let path = format!("sources.{name}.secrets[{index}].value");
                places.push((path, secret.value.clone(), source.signature().ok()));
            }
        }
        for (name, provider) in &config.providers {
            if let Some(place) = &provider.api_key {
                places.push((format!("providers.{name}.api_key"), place.clone(), None));
            }
        }
        for (name, subscriber) in &config.subscribers {
            for (index, secret) in subscriber.secrets.iter().enumerate() {
                let path = format!("subscribers.{name}.secrets[{index}].value");
                places.push((path, secret.value.clone(), Some(STANDARD_WEBHOOKS.clone())));
            }
            let stores = subscriber.store.iter();
            places
                .extend(stores.flat_map(|s| store_places(&format!("subscribers.{name}.store"), s)));
            let credentials = subscriber.nats.iter().filter_map(|nats| nats.credentials.clone());
            let path = format!("subscribers.{name}.nats.credentials");
            places.extend(credentials.map(|place| (path.clone(), place, None)));
        }
        if let Some(place) = &config.outbound.subscriber_key {
            places.push((
                "outbound.subscriber_key".to_owned(),
                place.clone(),
                Some(WP_RELAY.clone()),
            ));
        }
        for (kind, list) in [("webhooks", &config.alerts.webhooks), ("slack", &config.alerts.slack)]
        {
            for (index, place) in list.iter().enumerate() {
                places.push((format!("alerts.{kind}[{index}]"), place.clone(), None));
            }
        }
        places
    }
}

fn store_places(table: &str, store: &Store) -> Vec<(String, SecretRef, Option<Scheme>)> {
    let keys = [("access_key", &store.access_key), ("secret_key", &store.secret_key)];
    let set = keys.into_iter().filter_map(|(key, place)| Some((key, place.clone()?)));
    set.map(|(key, place)| (format!("{table}.{key}"), place, None)).collect()
}

const MAKE_ONE: &str = "`openssl rand -hex 32` makes a good one; both sides must have the same";

fn reason(error: &SecretError) -> String {
    match error {
        SecretError::Unreadable { source, .. } => format!("{error}: {source}"),
        SecretError::Unset(_) | SecretError::Size(_) => error.to_string(),
    }
}

fn help(error: &SecretError) -> &'static str {
    match error {
        SecretError::Unset(_) => "set it where copydesk is started, or write \"file:PATH\"",
        SecretError::Unreadable { .. } => "the path counts from the folder copydesk is started in",
        SecretError::Size(_) => "put the secret there, and nothing else",
    }
}

fn read_file(path: &Path) -> Result<String, SecretError> {
    let shown = || path.display().to_string();
    let unreadable = |source| SecretError::Unreadable { path: shown(), source };
    if std::fs::metadata(path).map_err(unreadable)?.len() > SECRET_FILE_BYTES_MAX {
        return Err(SecretError::Size(shown()));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    Ok(text.strip_suffix('\n').unwrap_or(&text).trim_end_matches('\r').to_owned())
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

impl Problem {
    /// A problem with help.
    pub(super) fn new(
        place: super::Place,
        reason: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self { place, reason: reason.into(), help: help.into() }
    }
}
