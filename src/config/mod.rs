//! `copydesk.toml`: its shape, its defaults, the environment over it, and what is wrong with it.
//!
//! Reading a configuration needs no secret: commands that only look at a node work without the
//! node's environment. [`Loaded::secrets`] reads them for those that need them.

mod check;
mod environment;
mod process;
mod report;
mod secrets;
mod shape;
mod source;
mod store;
mod subscriber;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use toml::de::DeTable;

pub use environment::Environment;
pub use process::{
    Admin, Alerts, Http, Limits, Log, LogFormat, LogUrl, OtlpProtocol, Outbound, Retention,
    Telemetry,
};
pub use report::{ConfigError, Place, Problem};
pub use secrets::{SecretError, Secrets, read_secret};
pub use shape::{
    BUILTIN, Coalesce, Config, Delivery, Enrichment, Match, MatchError, Mode, OnDeadLetter,
    Provider, ProviderKind, Route, Site,
};
pub use source::{
    About, Body, CustomScheme, Encoding, Idempotency, Map, ScheduleTable, Scheme, Source,
    SourceSecret, UnknownEvents, Version,
};
pub use store::{Store, StoreUrl};
pub use subscriber::{Nats, Subscriber};
pub use values::{
    Dollars, DollarsError, NatsServers, Price, PriceError, SecretRef, SecretRefError,
};

/// The file every key is shown and explained in; parses to [`Config::default`].
pub const DEFAULT_TOML: &str = include_str!("default.toml");

/// Name of the file that is read when none is named.
pub const FILE_NAME: &str = "copydesk.toml";

/// Largest configuration file, in bytes; a thousand routes are 300 KB.
const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A configuration that was read and checked, with what is needed to point into it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// What someone should look at, though it stops nothing.
    pub notes: Vec<String>,
    name: String,
    text: String,
    /// Variable by the key path it set.
    variables: BTreeMap<String, String>,
}

/// Reads a file, or `copydesk.toml` when none is named. Without such a file the defaults and the
/// environment make the configuration.
///
/// # Errors
/// Everything that is wrong, with its place.
pub fn load(path: Option<&Path>, env: &Environment) -> Result<Loaded, ConfigError> {
    let file = path.unwrap_or(Path::new(FILE_NAME));
    let name = file.display().to_string();
    let refuse = |reason: String, help: &str| {
        ConfigError::from(Problem::new(Place::File { name: name.clone() }, reason, help))
    };
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && path.is_none() => Vec::new(),
        Err(error) => {
            let help = "`copydesk init` writes one; --config FILE names another";
            return Err(refuse(format!("cannot be read: {error}"), help));
        }
    };
    if bytes.len() > FILE_BYTES_MAX {
        return Err(refuse("larger than 4 MiB".to_owned(), ""));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| refuse("not UTF-8 text".to_owned(), "save the file as UTF-8"))?;
    Loaded::parse(&name, text, env)
}

impl Loaded {
    /// Reads a text; `name` is what messages call it.
    ///
    /// # Errors
    /// Everything that is wrong, with its place.
    pub fn parse(name: &str, text: String, env: &Environment) -> Result<Self, ConfigError> {
        let mut loaded = Self {
            config: Config::default(),
            notes: Vec::new(),
            name: name.to_owned(),
            text,
            variables: BTreeMap::new(),
        };
        loaded.config = loaded.read(env)?;
        let problems = check::check(&loaded);
        if problems.is_empty() { Ok(loaded) } else { Err(ConfigError { problems }) }
    }

    /// An error at a key path such as `sources.news.secrets[0].value`, for checks made later.
    #[must_use]
    pub fn refuse(&self, path: &str, reason: &str, help: &str) -> ConfigError {
        self.problem(path, reason, help).into()
    }

    /// A problem at a key path.
    #[must_use]
    pub fn problem(
        &self,
        path: &str,
        reason: impl Into<String>,
        help: impl Into<String>,
    ) -> Problem {
        let place = match self.variables.get(path) {
            Some(name) => Place::Variable { name: name.clone() },
            None => match DeTable::parse(&self.text) {
                Ok(document) => {
                    let span = report::locate(&document, path);
                    report::place_at(&self.name, &self.text, &span)
                }
                Err(_) => Place::File { name: self.name.clone() },
            },
        };
        Problem::new(place, reason, help)
    }

    fn read(&mut self, env: &Environment) -> Result<Config, ConfigError> {
        let document = DeTable::parse(&self.text).map_err(|error| self.syntax(&error))?;
        let (mut overrides, ignored) = environment::overrides(env, document.get_ref());
        drop(document);
        let config = loop {
            let mut document = DeTable::parse(&self.text).map_err(|error| self.syntax(&error))?;
            for (index, variable) in overrides.iter().enumerate() {
                // Spans behind the text tell which variable an error is about.
                let marker = self.text.len() + 1 + index;
                variable.apply(document.get_mut(), &(marker..marker));
            }
            let error = match Config::deserialize(toml::de::Deserializer::from(document)) {
                Ok(config) => break config,
                Err(error) => error,
            };
            let variable = error
                .span()
                .and_then(|span| span.start.checked_sub(self.text.len() + 1))
                .and_then(|index| overrides.get_mut(index));
            match variable {
                // `INPUT_PRICE=0.15` looks like a number and is wanted as text.
                Some(variable)
                    if !variable.plain && error.message().contains("expected a string") =>
                {
                    variable.plain = true;
                }
                Some(variable) => {
                    let (reason, help) = report::reword(error.message());
                    let place = Place::Variable { name: variable.name.clone() };
                    return Err(Problem::new(place, reason, help).into());
                }
                None => return Err(self.syntax(&error)),
            }
        };
        self.notes.extend(ignored.iter().map(|name| format!("{name} sets nothing: ignored")));
        self.variables =
            overrides.into_iter().map(|variable| (variable.path(), variable.name)).collect();
        Ok(config)
    }

    fn syntax(&self, error: &toml::de::Error) -> ConfigError {
        let (reason, help) = report::reword(error.message());
        let place = match error.span() {
            Some(span) => report::place_at(&self.name, &self.text, &span),
            None => Place::File { name: self.name.clone() },
        };
        Problem::new(place, reason, help).into()
    }
}
