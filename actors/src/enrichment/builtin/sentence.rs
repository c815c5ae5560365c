//! Text to sentences: UAX #29 boundaries, mended where they cut inside an abbreviation, a number
//! or a quotation.

use std::collections::HashSet;

use unicode_segmentation::UnicodeSegmentation;

/// Abbreviations (without the last full stop) that stand before the word they belong to.
const LEADING: &[&str] = &[
    // English
    "adm",
    "approx",
    "capt",
    "cf",
    "col",
    "dept",
    "dr",
    "e.g",
    "est",
    "fig",
    "gen",
    "gov",
    "hon",
    "i.e",
    "lt",
    "maj",
    "messrs",
    "mr",
    "mrs",
    "ms",
    "mt",
    "no",
    "nos",
    "pp",
    "pres",
    "prof",
    "rep",
    "rev",
    "sen",
    "sgt",
    "st",
    "viz",
    "vol",
    "vs",
    // German
    "abs",
    "allg",
    "art",
    "bzw",
    "ca",
    "d.h",
    "dipl",
    "evtl",
    "ggf",
    "hl",
    "ing",
    "inkl",
    "max",
    "min",
    "mio",
    "mrd",
    "nr",
    "o.ä",
    "rd",
    "sog",
    "str",
    "tel",
    "u.a",
    "u.u",
    "v.a",
    "vgl",
    "z.b",
    "zzgl",
    // French, Spanish, Portuguese, Italian
    "av",
    "avda",
    "bd",
    "cie",
    "dott",
    "dra",
    "ed",
    "exc",
    "excmo",
    "mlle",
    "mme",
    "núm",
    "ntra",
    "p.ex",
    "pág",
    "prof",
    "sig",
    "sr",
    "sra",
    "srta",
    "sta",
    "sto",
    "ud",
    "uds",
    "v.gr",
    // Dutch, Nordic, Polish, Czech, Turkish
    "bl.a",
    "bijv",
    "dhr",
    "f.eks",
    "inż",
    "kl",
    "mevr",
    "mgr",
    "np",
    "t.ex",
    "tzv",
    "tzn",
    "ul",
    "vb",
    "yrd",
    // Russian, Ukrainian, Bulgarian
    "акад",
    "вул",
    "гл",
    "д-р",
    "им",
    "коп",
    "млн",
    "млрд",
    "напр",
    "обл",
    "пл",
    "пр",
    "проф",
    "просп",
    "руб",
    "рис",
    "св",
    "см",
    "стр",
    "тел",
    "тыс",
    "ул",
    // Hindi, Greek
    "डॉ",
    "प्रो",
    "श्री",
    "κ",
    "π.χ",
];

/// Abbreviations that may also end a sentence: what follows decides.
const TRAILING: &[&str] = &[
    "bros", "co", "corp", "d.c", "etc", "inc", "jr", "ltd", "sen", "u.k", "u.n", "u.s", "usw",
    "т.д", "т.п", "т.е", "г", "гг", "в", "др", "a.m", "p.m",
];

/// Months and the like make `3.` an ordinal in these languages.
const ORDINALS: &[&str] =
    &["cs", "da", "de", "et", "fi", "hr", "hu", "is", "lv", "nb", "sk", "sl", "sr", "tr"];

/// Nothing is mended past this length, in bytes: a mark that was never closed must not make one
/// sentence of the whole text, and the work stays linear.
const JOINED_BYTES_MAX: usize = 1200;

/// The sentences of one block, in order, trimmed. Their words are untouched.
pub(super) fn split<'t>(
    block: &'t str,
    language: &str,
    stop_words: &HashSet<&str>,
) -> Vec<&'t str> {
    let mut sentences = Vec::new();
    for line in block.lines() {
        let (mut start, mut end) = (0, 0);
        for (at, piece) in line.split_sentence_bound_indices() {
            let joined = end - start <= JOINED_BYTES_MAX
                && (is_cut(&line[start..end], piece, language, stop_words)
                    || closes_soon(&line[start..end], &line[at..]));
            if at > 0 && !joined {
                sentences.push(&line[start..end]);
                start = at;
            }
            end = at + piece.len();
        }
        sentences.push(&line[start..end]);
    }
    sentences.into_iter().map(str::trim).filter(|sentence| !sentence.is_empty()).collect()
}

/// Whether the boundary before `next` is none.
fn is_cut(sentence: &str, next: &str, language: &str, stop_words: &HashSet<&str>) -> bool {
    let first_word = next.unicode_words().next().unwrap_or_default();
    if first_word.starts_with(char::is_lowercase) || is_attribution(sentence, next) {
        return true;
    }
    let Some(body) = sentence.trim_end().strip_suffix('.') else { return false };
    let opening = |c: char| !c.is_alphanumeric();
    let word =
        body.rsplit(char::is_whitespace).next().unwrap_or_default().trim_start_matches(opening);
    let word = word.to_lowercase();
    if LEADING.contains(&word.as_str()) {
        return true;
    }
    let lone = |part: &str| part.chars().count() == 1 && part.chars().all(char::is_alphabetic);
    let initials = word.split('.').all(lone) && !word.starts_with(super::language::is_wide);
    let ordinal = ORDINALS.contains(&language)
        && (1..=2).contains(&word.len())
        && word.bytes().all(|b| b.is_ascii_digit());
    // A new sentence mostly starts with a small word; `A. S. Smith` has a second initial.
    let initial = lone(&first_word.to_lowercase())
        && next.trim_start().get(first_word.len()..).is_some_and(|rest| rest.starts_with('.'));
    let small_word = !initial && stop_words.contains(first_word.to_lowercase().as_str());
    (initials || ordinal || TRAILING.contains(&word.as_str())) && !small_word
}

/// Whether `next` says who spoke, as Chinese and Japanese put it right behind the quotation.
fn is_attribution(sentence: &str, next: &str) -> bool {
    sentence.ends_with(['”', '」', '』']) && next.starts_with(['他', '她', '说', 'と', '道'])
}

/// Whether a quotation is open at the end of `sentence` and closed in what follows.
fn closes_soon(sentence: &str, rest: &str) -> bool {
    let count = |marks: &[char]| sentence.matches(marks).count();
    // The German closing mark is the English opening one.
    let low = sentence.contains('„');
    let (opened, closed) = if low {
        (count(&['„']), count(&['“', '”']))
    } else {
        (count(&['“']), count(&['”']))
    };
    let ahead = |marks: &[char]| rest.char_indices().take(400).any(|(_, c)| marks.contains(&c));
    (opened > closed && ahead(if low { &['“', '”'] } else { &['”'] }))
        || (count(&['"']) % 2 == 1 && ahead(&['"']))
        || (count(&['«']) > count(&['»']) && ahead(&['»']))
        || (count(&['「']) > count(&['」']) && ahead(&['」']))
        || (count(&['(', '（']) > count(&[')', '）']) && ahead(&[')', '）']))
}

/// Whether the text ends as a sentence does, closing marks aside.
pub(super) fn is_whole(sentence: &str) -> bool {
    sentence
        .trim_end_matches(|c: char| {
            matches!(
                c,
                '"' | '\'' | ')' | ']' | '”' | '“' | '’' | '»' | '›' | '」' | '』' | '）' | '】'
            ) || c.is_whitespace()
        })
        .ends_with(is_mark)
}

/// Sentence marks of the scripts that have one.
pub(super) fn is_mark(c: char) -> bool {
    matches!(
        c,
        '.' | '!'
            | '?'
            | '…'
            | '。'
            | '！'
            | '？'
            | '．'
            | '｡'
            | '।'
            | '॥'
            | '؟'
            | '۔'
            | '։'
            | '።'
            | '။'
            | '៕'
            | '៖'
            | '༎'
            | '᠃'
    )
}

/// Lines of one paragraph that a person wrapped by hand become one; real breaks stay.
pub(super) fn unwrap_lines(text: &str) -> String {
    let mut unwrapped = String::with_capacity(text.len());
    for line in text.lines() {
        if !unwrapped.is_empty() {
            let wrapped = !is_whole(&unwrapped[unwrapped.rfind('\n').map_or(0, |at| at + 1)..])
                && line.starts_with(char::is_lowercase);
            unwrapped.push(if wrapped { ' ' } else { '\n' });
        }
        unwrapped.push_str(line);
    }
    unwrapped
}
