//! Environment variables: the place of secrets, and the overlay over the file.
//!
//! `COPYDESK_HTTP_LISTEN` sets `[http] listen`, `COPYDESK_DATA_DIR` sets `data_dir`, and
//! `COPYDESK_SITES__NEWS__URL` sets `[sites.news] url`: `__` goes one table deeper, names are
//! lower-cased. The text is read as TOML (`8`, `true`, `["a", "b"]`) where the key wants that,
//! else as plain text.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_spanned::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// Tables whose keys need no `__`.
const SECTIONS: [&str; 8] =
    ["http", "admin", "log", "cluster", "telemetry", "limits", "retention", "archive"];
/// Tables of named tables.
const MAPS: [&str; 4] = ["sites", "sources", "providers", "enrichments"];
/// Keys of the top level.
const TOP: [&str; 1] = ["data_dir"];
/// What is no setting: the configuration file itself, and the node that commands talk to.
const NO_SETTINGS: [&str; 3] = ["COPYDESK_CONFIG", "COPYDESK_TOKEN", "COPYDESK_URL"];

/// A copy of the environment, so that tests bring their own.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The environment of this process; variables that are not UTF-8 are left out.
    #[must_use]
    pub fn process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(text).collect())
    }

    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

/// One setting that comes from a variable.
pub(super) struct Override {
    /// The variable.
    pub(super) name: String,
    /// Its text.
    text: String,
    /// Tables and key, outermost first, as far as names go.
    steps: Vec<String>,
    /// Whether the text must not be read as TOML.
    pub(super) plain: bool,
}

impl Override {
    /// The key path as `Loaded::refuse` names it.
    pub(super) fn path(&self) -> String {
        self.steps.join(".")
    }

    /// Puts the value into the document. Its span is `marker`, which lies behind the text.
    pub(super) fn apply<'d>(&'d self, document: &mut DeTable<'d>, marker: &Range<usize>) {
        let Some((key, tables)) = self.steps.split_last() else { return };
        let mut table = document;
        for step in tables {
            let entry = entry(table, step, marker);
            if entry.get_ref().as_table().is_none() {
                *entry.get_mut() = DeValue::Table(DeTable::new());
            }
            let DeValue::Table(inner) = entry.get_mut() else { return };
            table = inner;
        }
        *entry(table, key, marker) = Spanned::new(marker.clone(), self.value(marker));
    }

    fn value(&self, marker: &Range<usize>) -> DeValue<'_> {
        let plain = DeValue::String(self.text.as_str().into());
        if self.plain {
            return plain;
        }
        match DeValue::parse(&self.text).map(|value| marked(value.into_inner(), marker)) {
            Ok(DeValue::Datetime(_)) | Err(_) => plain,
            Ok(value) => value,
        }
    }
}

/// The overrides, and the names of `COPYDESK_` variables that set nothing.
pub(super) fn overrides(env: &Environment, document: &DeTable<'_>) -> (Vec<Override>, Vec<String>) {
    let (mut found, mut ignored) = (Vec::new(), Vec::new());
    for (name, text) in &env.0 {
        let Some(rest) = name.strip_prefix("COPYDESK_") else { continue };
        if NO_SETTINGS.contains(&name.as_str()) {
            continue;
        }
        match steps(&rest.to_lowercase(), document) {
            Some(steps) => {
                found.push(Override {
                    name: name.clone(),
                    text: text.clone(),
                    steps,
                    plain: false,
                });
            }
            None => ignored.push(name.clone()),
        }
    }
    (found, ignored)
}

/// Tables and key of a variable; `None` when its first word names no table of ours, as with the
/// `COPYDESK_PORT_…` that Kubernetes sets for a service named copydesk.
fn steps(name: &str, document: &DeTable<'_>) -> Option<Vec<String>> {
    if TOP.contains(&name) {
        return Some(vec![name.to_owned()]);
    }
    let parts: Vec<&str> = name.split("__").collect();
    if parts.len() == 1 {
        let (section, key) = name.split_once('_')?;
        let known = SECTIONS.contains(&section) && !key.is_empty();
        return known.then(|| vec![section.to_owned(), key.to_owned()]);
    }
    let known = SECTIONS.contains(&parts[0]) || MAPS.contains(&parts[0]);
    if !known || parts.iter().any(|part| part.is_empty()) {
        return None;
    }
    let mut steps: Vec<String> = parts.iter().map(|&part| part.to_owned()).collect();
    // A variable cannot hold `-`: a name of the file that differs only there is meant.
    let names = document.get(parts[0]).and_then(|value| value.get_ref().as_table());
    let named = names
        .and_then(|names| names.keys().find(|key| key.get_ref().replace('-', "_") == parts[1]));
    if let Some(named) = named {
        steps[1] = named.get_ref().to_string();
    }
    Some(steps)
}

fn entry<'t, 'd>(
    table: &'t mut DeTable<'d>,
    key: &'d str,
    marker: &Range<usize>,
) -> &'t mut Spanned<DeValue<'d>> {
    table
        .entry(Spanned::new(marker.clone(), key.into()))
        .or_insert_with(|| Spanned::new(marker.clone(), DeValue::Table(DeTable::new())))
}

/// The same value, every span inside set to `marker`.
fn marked<'d>(value: DeValue<'d>, marker: &Range<usize>) -> DeValue<'d> {
    let item = |value: Spanned<DeValue<'d>>| {
        Spanned::new(marker.clone(), marked(value.into_inner(), marker))
    };
    match value {
        DeValue::Array(items) => {
            DeValue::Array(items.into_iter().map(item).collect::<DeArray<'d>>())
        }
        DeValue::Table(entries) => DeValue::Table(
            entries
                .into_iter()
                .map(|(key, value)| (Spanned::new(marker.clone(), key.into_inner()), item(value)))
                .collect(),
        ),
        plain @ (DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)) => plain,
    }
}
