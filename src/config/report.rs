//! What is wrong with a configuration, shown at its place: file, line, reason, right form.

use std::fmt;
use std::ops::Range;

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

/// Keys whose line may hold a secret someone wrote by mistake; its text is masked.
const SENSITIVE: [&str; 7] =
    ["value", "api_key", "password", "credentials", "secret", "token", "key"];

/// Everything wrong with a configuration. Printed whole: one run shows all there is to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub reason: String,
    /// The right form, or what to do; empty when the reason says it.
    pub help: String,
}

/// Where something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the file as a whole.
    File {
        /// Its name.
        name: String,
    },
    /// In a line of the file.
    Line {
        /// The file's name.
        name: String,
        /// Counts from 1.
        line: usize,
        /// Counts from 1, in characters.
        column: usize,
        /// How many characters are meant, at least 1.
        width: usize,
        /// The line, secrets masked.
        text: String,
    },
    /// In an environment variable.
    Variable {
        /// Its name.
        name: String,
    },
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, reason, help } = self;
        match place {
            Place::File { name } => write!(f, "{name}: {reason}")?,
            Place::Variable { name } => write!(f, "environment variable {name}: {reason}")?,
            Place::Line { name, line, column, width, text } => {
                let number = line.to_string();
                let gutter = " ".repeat(number.len());
                let (indent, carets) = (" ".repeat(column - 1), "^".repeat(*width));
                writeln!(f, "{name}:{line}:{column}: {reason}")?;
                writeln!(f, "{gutter} |\n{number} | {text}")?;
                write!(f, "{gutter} | {indent}{carets}")?;
            }
        }
        if !help.is_empty() {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// The line of `span` in `text`.
pub(super) fn place_at(name: &str, text: &str, span: &Range<usize>) -> Place {
    let mut start = span.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_text = text[line_start..].split('\n').next().unwrap_or_default();
    let line_text = line_text.trim_end_matches('\r');
    let column = text[line_start..start].chars().count() + 1;
    let meant = text.get(start..span.end.min(text.len())).unwrap_or_default();
    let first = meant.split('\n').next().unwrap_or_default().chars().count();
    let left = line_text.chars().count().saturating_sub(column - 1);
    Place::Line {
        name: name.to_owned(),
        line: text[..line_start].matches('\n').count() + 1,
        column,
        width: first.min(left).max(1),
        text: masked(line_text),
    }
}

/// The line with every quoted text starred, when it names a sensitive key; the places of secrets
/// (`env:…`, `file:…`) stay.
fn masked(line: &str) -> String {
    if !SENSITIVE.iter().any(|word| line.contains(word)) {
        return line.replace('\t', " ");
    }
    let mut shown = String::with_capacity(line.len());
    let mut quote = None;
    let mut hide = false;
    for (at, letter) in line.char_indices() {
        match quote {
            None if letter == '"' || letter == '\'' => {
                let rest = &line[at + 1..];
                hide = !rest.starts_with("env:") && !rest.starts_with("file:");
                quote = Some(letter);
                shown.push(letter);
            }
            Some(mark) if letter == mark => {
                quote = None;
                shown.push(letter);
            }
            Some(_) => shown.push(if hide { '*' } else { letter }),
            None => shown.push(if letter == '\t' { ' ' } else { letter }),
        }
    }
    shown
}

/// A step of a key path: `sources.news.secrets[0].value` has five.
enum Step<'p> {
    Key(&'p str),
    Index(usize),
}

/// The place of a key path in a document, or of the innermost table that exists.
pub(super) fn locate(document: &Spanned<DeTable<'_>>, path: &str) -> Range<usize> {
    let mut span = 0..0;
    let mut table = Some(document.get_ref());
    let mut array = None;
    for step in steps(path) {
        let value: Option<&Spanned<DeValue<'_>>> = match step {
            Step::Key(key) => table
                .and_then(|table| table.iter().find(|(name, _)| name.get_ref() == key))
                .map(|(_, value)| value),
            Step::Index(index) => array.and_then(|array: &toml::de::DeArray<'_>| array.get(index)),
        };
        let Some(value) = value else { break };
        span = value.span();
        table = value.get_ref().as_table();
        array = value.get_ref().as_array();
    }
    span
}

fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    path.split('.').flat_map(|part| {
        let (key, index) = part.split_once('[').unwrap_or((part, ""));
        let index = index.trim_end_matches(']').parse().ok().map(Step::Index);
        std::iter::once(Step::Key(key)).chain(index)
    })
}

/// Serde's words for a bad key or value, in ours, with the nearest right one.
pub(super) fn reword(message: &str) -> (String, String) {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let Some((&wrong, known)) = quoted.split_first() else {
        return (message.to_owned(), String::new());
    };
    if message.starts_with("unknown field") {
        (format!("unknown key `{wrong}`"), suggest(wrong, known.iter().copied()))
    } else if message.starts_with("unknown variant") {
        (format!("`{wrong}` is not a choice here"), suggest(wrong, known.iter().copied()))
    } else if message.starts_with("missing field") {
        (format!("the key `{wrong}` is missing"), String::new())
    } else {
        (message.to_owned(), String::new())
    }
}

/// "did you mean …", or the list of what there is.
pub(super) fn suggest<'k>(wrong: &str, known: impl Iterator<Item = &'k str>) -> String {
    let known: Vec<&str> = known.collect();
    let nearest = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(wrong, name), *name))
        .min()
        .filter(|(distance, name)| *distance <= 1.max(name.len().min(wrong.len()) / 3));
    match nearest {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None if known.is_empty() => "there is none yet".to_owned(),
        None => format!("there is: {}", known.join(", ")),
    }
}
