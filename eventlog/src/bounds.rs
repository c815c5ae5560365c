//! What every log refuses, so that a record which one log takes fits into any other.

use crate::{AppendError, NewRecord, RECORD_BYTES_MAX};

/// Most headers of one record: CloudEvents has four, trace context two, and as many of our own.
pub const HEADERS_MAX: usize = 16;

/// Longest subject in bytes: eight tokens of 31, and one length byte in the stored form.
pub const SUBJECT_BYTES_MAX: usize = 255;

/// Longest header value in bytes: a header is a token, not a document, and nats-server takes
/// 64 KiB of them all together.
pub const HEADER_VALUE_BYTES_MAX: usize = 2048;

/// Longest header name in bytes: one length byte in the stored form.
const HEADER_NAME_BYTES_MAX: usize = 64;

/// Room for a header's separators on the wire (`: ` and CR LF).
const HEADER_SEPARATOR_BYTES: usize = 4;

/// Checks a record against the bounds of [`crate::log`].
///
/// # Errors
/// [`AppendError::Refused`] with what does not fit; a retry cannot help.
pub(crate) fn check(record: &NewRecord) -> Result<(), AppendError> {
    let refuse = |reason: String| Err(AppendError::Refused(reason));
    if record.subject.as_str().len() > SUBJECT_BYTES_MAX {
        return refuse(format!("the subject is longer than {SUBJECT_BYTES_MAX} bytes"));
    }
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
            return refuse(format!("the value of header {name:?} is no short printable ASCII"));
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
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=HEADER_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain)
}

/// Printable ASCII; a space at an end would be lost on the wire.
fn is_value(value: &str) -> bool {
    value.len() <= HEADER_VALUE_BYTES_MAX
        && value.trim() == value
        && value.bytes().all(|b| (b' '..=b'~').contains(&b))
}
