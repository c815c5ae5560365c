//! Which language a text is in, its stop words, and how long it takes to read.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use unicode_segmentation::UnicodeSegmentation;

/// Below this a trigram detector guesses ("Guten Tag zusammen" is Norwegian to it).
const DETECTABLE_CHARS_MIN: usize = 50;

/// More text makes the answer slower, not better: 0.1 ms here.
const DETECTED_CHARS_MAX: usize = 400;

/// Silent reading of running text: 238 words a minute in English (Brysbaert 2019).
const WORDS_PER_MINUTE: usize = 238;

/// The same for Chinese and Japanese, in characters.
const CHARACTERS_PER_MINUTE: usize = 500;

/// ISO 639-1 code of the text's language; `None` when the text is too short or the answer is not
/// reliable.
#[must_use]
pub fn detect(text: &str) -> Option<&'static str> {
    let end = text.char_indices().nth(DETECTED_CHARS_MAX).map_or(text.len(), |(at, _)| at);
    let text = &text[..end];
    // Han and kana say more per character than letters do.
    let characters: usize = text.chars().map(|c| if is_wide(c) { 3 } else { 1 }).sum();
    if characters < DETECTABLE_CHARS_MIN {
        return None;
    }
    whatlang::detect(text)
        .filter(whatlang::Info::is_reliable)
        .and_then(|info| iso_639_1(info.lang()))
}

/// The language to work in: what the text shows, else what the site says.
pub(super) fn of(text: &str, declared: &str) -> String {
    let primary = || declared.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
    detect(text).map_or_else(primary, str::to_owned)
}

/// Minutes of silent reading, at least 1.
#[must_use]
pub fn reading_minutes(text: &str) -> usize {
    let wide = text.chars().filter(|c| is_wide(*c)).count();
    let words = text.unicode_words().filter(|word| !word.starts_with(is_wide)).count();
    let seconds = wide * 60 / CHARACTERS_PER_MINUTE + words * 60 / WORDS_PER_MINUTE;
    seconds.div_ceil(60).max(1)
}

/// Han, kana, hangul and full-width forms: about two columns each.
pub(super) fn is_wide(c: char) -> bool {
    matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe4f}' | '\u{ff00}'..='\u{ff60}'
        | '\u{20000}'..='\u{3fffd}')
}

/// Columns of a text: what a limit of characters means to the eye.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(|c| if is_wide(c) { 2 } else { 1 }).sum()
}

/// Words that carry no meaning of their own; empty for an unknown language.
pub(super) fn stop_words(language: &str) -> &'static HashSet<&'static str> {
    static ALL: LazyLock<HashMap<&str, HashSet<&str>>> = LazyLock::new(|| {
        stop_words::available_languages()
            .iter()
            .filter_map(|code| {
                Some((*code, stop_words::lookup(code)?.iter().copied().collect::<HashSet<_>>()))
            })
            .collect()
    });
    static NONE: LazyLock<HashSet<&str>> = LazyLock::new(HashSet::new);
    // The lists know Norwegian by its old code only.
    let language = if language == "nb" { "no" } else { language };
    ALL.get(language).unwrap_or(&NONE)
}

/// whatlang speaks ISO 639-3.
fn iso_639_1(lang: whatlang::Lang) -> Option<&'static str> {
    const CODES: &[(&str, &str)] = &[
        ("afr", "af"),
        ("ara", "ar"),
        ("aze", "az"),
        ("bel", "be"),
        ("ben", "bn"),
        ("bul", "bg"),
        ("cat", "ca"),
        ("ces", "cs"),
        ("cmn", "zh"),
        ("dan", "da"),
        ("deu", "de"),
        ("ell", "el"),
        ("eng", "en"),
        ("epo", "eo"),
        ("est", "et"),
        ("fin", "fi"),
        ("fra", "fr"),
        ("guj", "gu"),
        ("heb", "he"),
        ("hin", "hi"),
        ("hrv", "hr"),
        ("hun", "hu"),
        ("hye", "hy"),
        ("ind", "id"),
        ("ita", "it"),
        ("jpn", "ja"),
        ("kan", "kn"),
        ("kat", "ka"),
        ("khm", "km"),
        ("kor", "ko"),
        ("lat", "la"),
        ("lav", "lv"),
        ("lit", "lt"),
        ("mal", "ml"),
        ("mar", "mr"),
        ("mkd", "mk"),
        ("mya", "my"),
        ("nep", "ne"),
        ("nld", "nl"),
        ("nob", "nb"),
        ("pan", "pa"),
        ("pes", "fa"),
        ("pol", "pl"),
        ("por", "pt"),
        ("ron", "ro"),
        ("rus", "ru"),
        ("sin", "si"),
        ("slk", "sk"),
        ("slv", "sl"),
        ("spa", "es"),
        ("srp", "sr"),
        ("swe", "sv"),
        ("tam", "ta"),
        ("tel", "te"),
        ("tgl", "tl"),
        ("tha", "th"),
        ("tur", "tr"),
        ("ukr", "uk"),
        ("urd", "ur"),
        ("uzb", "uz"),
        ("vie", "vi"),
        ("zul", "zu"),
    ];
    CODES.iter().find(|(three, _)| *three == lang.code()).map(|(_, two)| *two)
}
