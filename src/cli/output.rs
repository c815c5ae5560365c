//! What commands print. The only place that writes to the terminal.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// Where results go; what went wrong goes to standard error.
pub struct Output {
    /// JSON for programs, else text for people.
    pub(crate) json: bool,
    out: Mutex<Box<dyn Write + Send>>,
}

impl Output {
    /// Standard output, in either form.
    #[must_use]
    pub fn new(json: bool) -> Self {
        Self::to(json, Box::new(io::stdout()))
    }

    pub(crate) fn to(json: bool, out: Box<dyn Write + Send>) -> Self {
        Self { json, out: Mutex::new(out) }
    }

    /// A line of text.
    pub(crate) fn line(&self, text: &str) -> io::Result<()> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> io::Result<()> {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(bytes)?;
        out.flush()
    }

    /// A value as one line of JSON.
    pub(crate) fn value<T: Serialize>(&self, value: &T) -> io::Result<()> {
        self.line(&serde_json::to_string(value)?)
    }

    /// Rows: a JSON array, or a table under these headings.
    pub(crate) fn rows<T: Serialize, const N: usize>(
        &self,
        rows: &[T],
        headings: [&str; N],
        cells: impl Fn(&T) -> [String; N],
    ) -> io::Result<()> {
        if self.json {
            return self.value(&rows);
        }
        if rows.is_empty() {
            return self.line("nothing");
        }
        let cells: Vec<[String; N]> = rows.iter().map(cells).collect();
        self.line(&table(headings, &cells))
    }

    /// That an act is done: the node's answer, or a sentence.
    pub(crate) fn done<T: Serialize>(&self, answer: &T, sentence: &str) -> io::Result<()> {
        if self.json { self.value(answer) } else { self.line(sentence) }
    }

    /// How a list goes on, if it does.
    pub(crate) fn more(&self, cursor: Option<&str>) -> io::Result<()> {
        match cursor {
            Some(cursor) if !self.json => self.line(&format!("more: --cursor {cursor}")),
            Some(_) | None => Ok(()),
        }
    }

    /// A remark for people, beside the result.
    pub(crate) fn note(&self, text: &str) {
        if !self.json {
            self.error(text);
        }
    }

    /// What went wrong. A reader that is gone is no further error.
    pub(crate) fn error(&self, text: &str) {
        let _reader_gone = writeln!(io::stderr().lock(), "{text}");
    }
}

/// Columns as wide as their widest cell, two spaces apart.
pub(crate) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|c| plain(c))).collect();
    let mut widths = headings.map(|heading| heading.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let padded: Vec<String> =
            cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(headings.map(|h| h)).to_uppercase()];
    lines.extend(rows.iter().map(|row| line(row.each_ref().map(String::as_str))));
    lines.join("\n")
}

/// The text on one line, without characters that move the cursor or turn text round: causes come
/// from other machines.
pub(crate) fn plain(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
    text.chars().map(|c| if c.is_control() || turns(c) { '\u{fffd}' } else { c }).collect()
}

/// Milliseconds since 1970 as a time of day in UTC.
pub(crate) fn time(ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(time) => format!("{time:.3}").replace('T', " "),
        Err(_) => "?".to_owned(),
    }
}

/// Millionths of a dollar.
pub(crate) fn dollars(micro: u64) -> String {
    format!("${}.{:06}", micro / 1_000_000, micro % 1_000_000)
}
