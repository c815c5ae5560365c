//! Shortening that a reader forgives: whole words, else whole characters as people see them.

use unicode_segmentation::UnicodeSegmentation;

/// How clipped text ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// With `…`, so that a reader sees it goes on.
    Ellipsis,
    /// As it is: the name of a term.
    Bare,
}

/// `text`, or as much of it as fits in `chars_max` characters; empty when not even the first
/// character, as people see them, fits.
pub(super) fn clip(text: &str, chars_max: usize, ending: Ending) -> String {
    if text.len() <= chars_max || text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let room = match ending {
        Ending::Ellipsis => chars_max.saturating_sub(1),
        Ending::Bare => chars_max,
    };
    let words = fitting(text.split_word_bounds(), room);
    let kept = if words.is_empty() { fitting(text.graphemes(true), room) } else { words };
    let kept = kept.trim_end_matches([' ', ',', ';', ':', '-', '–', '—', '(', '‹']);
    match ending {
        Ending::Ellipsis if !kept.is_empty() => format!("{kept}…"),
        Ending::Ellipsis | Ending::Bare => kept.to_owned(),
    }
}

/// As many whole pieces as fit in `chars_max` characters.
fn fitting<'t>(pieces: impl Iterator<Item = &'t str>, chars_max: usize) -> String {
    let mut kept = String::new();
    let mut chars = 0;
    for piece in pieces {
        chars += piece.chars().count();
        if chars > chars_max {
            break;
        }
        kept.push_str(piece);
    }
    kept
}
