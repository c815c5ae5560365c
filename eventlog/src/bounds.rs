//! What every log refuses, so that a record which one log takes fits into any other.

use crate::{AppendError, NewRecord, RECORD_BYTES_MAX};

/// Most headers on one record: CloudEvents has four, trace context two, and as many of our own.
pub const HEADERS_MAX: usize = 16;

/// Room for a header's separators on the wire (`: ` and CR LF).
const HEADER_SEPARATOR_BYTES: usize = 4;

/// Checks a record against the bounds of [`crate::log`].
///
/// # Errors
/// [`AppendError::Refused`] with what does not fit; a retry cannot help.
pub(crate) fn check(record: &NewRecord) -> Result<(), AppendError> {
    let refuse = |reason: String| Err(AppendError::Refused(reason));
    if record.headers.len() > HEADERS_MAX {
        return refuse(format!("{} headers, at most {HEADERS_MAX}", record.headers.len()));
    }
    let mut bytes = record.payload.len();
    for (at, (name, value)) in record.headers.iter().enumerate() {
        // `Nats-…` headers are commands to the server: `Nats-Rollup` would purge the stream.
        if !is_name(name) || name.get(..5).is_some_and(|p| p.eq_ignore_ascii_case("nats-")) {
            return refuse(format!("the header name {name:?} is no plain token or is reserved"));
        }
        if !is_value(value) {
            return refuse(format!("the value of header {name:?} is not printable ASCII"));
        }
        if record.headers.iter().take(at).any(|(other, _)| other == name) {
            return refuse(format!("the header {name:?} is there twice"));
        }
        bytes += name.len() + value.len() + HEADER_SEPARATOR_BYTES;
    }
    if bytes > RECORD_BYTES_MAX {
        return refuse(format!("{bytes} bytes, at most {RECORD_BYTES_MAX}"));
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Printable ASCII; a space at an end would be lost on the wire.
fn is_value(value: &str) -> bool {
    value.bytes().all(|b| (b' '..=b'~').contains(&b)) && value.trim() == value
}
