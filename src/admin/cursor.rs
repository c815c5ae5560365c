//! Where a list goes on. Opaque to clients, and good on any node: a place in the log, not a page
//! number.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A position in the log and, for lists with several rows of a post, the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(pub u64, pub u64);

/// The text is no cursor of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("take the cursor from the `next` of the page before, as it is")]
pub struct BadCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.0.to_be_bytes(), self.1.to_be_bytes()].concat();
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let mut bytes = [0; 16];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(16) => {
                let number = u128::from_be_bytes(bytes);
                let low = |number: u128| u64::try_from(number & u128::from(u64::MAX));
                let (Ok(position), Ok(row)) = (low(number >> 64), low(number)) else {
                    return Err(BadCursor);
                };
                Ok(Self(position, row))
            }
            Ok(_) | Err(_) => Err(BadCursor),
        }
    }
}
