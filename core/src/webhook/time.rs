//! Times in payloads. Strict in form, because jiff reads more than RFC 3339, and by the calendar.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// An RFC 3339 time with its offset, as milliseconds since 1970. Years 0001 to 9999; no leap
/// second, which no clock of ours can show.
pub(super) fn rfc3339(text: &str) -> Option<i64> {
    let (date_time, offset) = split(text)?;
    let offset_ok = match offset.as_bytes() {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', rest @ ..] => {
            shaped(rest, "00:00") && &offset[1..3] <= "23" && &offset[4..] <= "59"
        }
        _ => false,
    };
    if !offset_ok || !plausible(date_time) {
        return None;
    }
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

/// An RFC 3339 time, or WordPress's `modified_gmt` (`2026-11-23T08:00:00`, also with a space):
/// UTC without saying so.
pub(super) fn gmt(text: &str) -> Option<i64> {
    let (date_time, offset) = split(text)?;
    if !offset.is_empty() {
        return rfc3339(text);
    }
    if !plausible(date_time) {
        return None;
    }
    let civil: DateTime = text.parse().ok()?;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_millisecond())
}

/// Splits into date and time (with fraction), and offset.
fn split(text: &str) -> Option<(&str, &str)> {
    let seconds_end = "0000-00-00T00:00:00".len();
    if text.len() > 40 || !text.is_ascii() || text.len() < seconds_end {
        return None;
    }
    let rest = &text[seconds_end..];
    let fraction = match rest.strip_prefix('.') {
        Some(digits) => {
            let count = digits.bytes().take_while(u8::is_ascii_digit).count();
            if !(1..=9).contains(&count) {
                return None;
            }
            count + 1
        }
        None => 0,
    };
    Some(text.split_at(seconds_end + fraction))
}

fn plausible(date_time: &str) -> bool {
    let bytes = &date_time.as_bytes()[.."0000-00-00T00:00:00".len()];
    let separator = matches!(bytes[10], b'T' | b't' | b' ');
    separator
        && shaped(&bytes[..10], "0000-00-00")
        && shaped(&bytes[11..], "00:00:00")
        && !bytes.starts_with(b"0000")
        && !bytes.ends_with(b"60")
}

/// Whether `bytes` has digits where `shape` has `0`, and the same character elsewhere.
fn shaped(bytes: &[u8], shape: &str) -> bool {
    bytes.len() == shape.len()
        && bytes
            .iter()
            .zip(shape.bytes())
            .all(|(&b, s)| if s == b'0' { b.is_ascii_digit() } else { b == s })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_strictly() {
        let check = |text: &str, strict: Option<i64>, lenient: Option<i64>| {
            assert_eq!((rfc3339(text), gmt(text)), (strict, lenient), "{text}");
        };
        let at = Some(1_795_420_800_000);
        check("2026-11-23T08:00:00Z", at, at);
        check("2026-11-23t08:00:00z", at, at);
        check("2026-11-23 08:00:00Z", at, at);
        check("2026-11-23T09:30:00+01:30", at, at);
        check("2026-11-23T08:00:00.250Z", at.map(|ms| ms + 250), at.map(|ms| ms + 250));
        check("2026-11-23T08:00:00", None, at);
        check("2026-11-23 08:00:00", None, at);
        check("1969-12-31T23:59:59Z", Some(-1_000), Some(-1_000));
        check("2024-02-29T00:00:00", None, Some(1_709_164_800_000));
        for bad in [
            "",
            "2026-11-23",
            "yesterday",
            "1795420800",
            "0000-00-00 00:00:00",
            "0000-01-01T00:00:00Z",
            "99999-01-01T00:00:00Z",
            "+002026-11-23T08:00:00Z",
            "2026-02-31T00:00:00Z",
            "2025-02-29T00:00:00",
            "2026-13-01T00:00:00Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T08:60:00Z",
            "2016-12-31T23:59:60Z",
            "2026-11-23T08:00Z",
            "20261123T080000Z",
            "2026-11-23T08:00:00.Z",
            "2026-11-23T08:00:00,5Z",
            "2026-11-23T08:00:00+01",
            "2026-11-23T08:00:00+0100",
            "2026-11-23T08:00:00+25:00",
            "2026-11-23T08:00:00Z[UTC]",
            "2026-11-23T08:00:00[UTC]",
            "2026-11-23T08:00:00 Z",
            " 2026-11-23T08:00:00Z",
            "٢٠٢٦-11-23T08:00:00Z",
        ] {
            check(bad, None, None);
        }
    }
}
