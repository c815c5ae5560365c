//! Tags and categories: the site's own terms that the text is about, or its key phrases.
//!
//! Key phrases are runs of words between stop words and marks (after RAKE, Rose et al. 2010),
//! scored by how often and how early they occur. YAKE gives no better terms on our samples and
//! takes a hundred times as long.

use std::collections::{HashMap, HashSet};

use unicode_segmentation::UnicodeSegmentation;

use super::article::{self, Article};
use super::language::{self, is_wide};

/// Words in a key phrase.
const PHRASE_WORDS_MAX: usize = 3;

/// Longest key phrase, in characters; a longer run is no term.
const PHRASE_CHARS_MAX: usize = 40;

/// Phrases compared with each other, which takes the square of their number.
const CANDIDATES_MAX: usize = 100;

/// Site terms looked at: as many as a WordPress page of terms, 20 times.
const TERMS_MAX: usize = 2_000;

/// The site's terms that the text speaks of, best first.
pub(super) fn matching_terms(article: &Article, terms: &[String], count_max: usize) -> Vec<String> {
    let text = Stems::of(&article.plain);
    let title = Stems::of(&article.title);
    let mut found: Vec<(usize, usize, &String)> = Vec::new();
    for (at, term) in terms.iter().take(TERMS_MAX).enumerate() {
        let stems = article::words(term, &HashSet::new());
        if stems.is_empty() {
            continue;
        }
        let score = text.occurrences(&stems) + 3 * title.occurrences(&stems);
        // Once in passing is not what a text is about, unless the term is long and so exact.
        if score >= 2 || (score == 1 && stems.len() >= 2) {
            found.push((score, at, term));
        }
    }
    found.sort_by_key(|(score, at, _)| (std::cmp::Reverse(*score), *at));
    found.into_iter().take(count_max).map(|(_, _, term)| term.clone()).collect()
}

/// A text as the places of its stems.
struct Stems {
    places: HashMap<String, Vec<usize>>,
}

impl Stems {
    fn of(text: &str) -> Self {
        let mut places: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, word) in article::words(text, &HashSet::new()).into_iter().enumerate() {
            places.entry(word).or_default().push(at);
        }
        Self { places }
    }

    /// How often the stems come one after another.
    fn occurrences(&self, stems: &[String]) -> usize {
        let at = |stem: &String| self.places.get(stem).map(Vec::as_slice).unwrap_or_default();
        let Some((first, rest)) = stems.split_first() else { return 0 };
        at(first)
            .iter()
            .filter(|start| {
                (1..)
                    .zip(rest)
                    .all(|(offset, stem)| at(stem).binary_search(&(*start + offset)).is_ok())
            })
            .count()
    }
}

/// The text's key phrases as tags, best first.
pub(super) fn key_phrases(article: &Article, count_max: usize) -> Vec<String> {
    let stop_words = language::stop_words(&article.language);
    let mut phrases: HashMap<String, Phrase> = HashMap::new();
    let mut place = 0;
    for line in std::iter::once(article.title.as_str()).chain(article.plain.lines()) {
        for run in runs(line, &article.language, stop_words) {
            for phrase in parts(&run, &article.language) {
                let key = phrase.to_lowercase();
                let known = phrases.entry(key).or_insert_with(|| Phrase::new(&phrase, place));
                known.count += 1;
                if phrase.starts_with(char::is_lowercase) {
                    // Occurs with a small letter, so it is no name.
                    known.text = phrase;
                    known.name = false;
                }
            }
            place += 1;
        }
    }
    let mut ranked: Vec<(f32, Phrase)> = phrases
        .into_values()
        .filter(|phrase| phrase.count >= 2)
        .map(|phrase| (phrase.score(), phrase))
        .collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.text.cmp(&b.1.text)));
    ranked.truncate(CANDIDATES_MAX);
    let mut chosen: Vec<String> = Vec::new();
    for (_, phrase) in &ranked {
        let part = ranked.iter().any(|(_, whole)| phrase.is_part_of(whole));
        if phrase.is_telling() && !part && !chosen.iter().any(|other| overlap(other, &phrase.text))
        {
            chosen.push(phrase.text.clone());
        }
        if chosen.len() == count_max {
            break;
        }
    }
    chosen
}

/// Whether two phrases share a word, or two characters of a script without spaces.
fn overlap(a: &str, b: &str) -> bool {
    let none = HashSet::new();
    let (a, b) = (article::words(a, &none), article::words(b, &none));
    a.iter().any(|word| b.contains(word))
}

struct Phrase {
    text: String,
    count: usize,
    first: usize,
    /// Words, or characters where a script has no spaces.
    length: usize,
    /// Only ever written with a capital, in a script that has them.
    name: bool,
}

impl Phrase {
    fn new(text: &str, first: usize) -> Self {
        let wide = text.starts_with(is_wide);
        let length = if wide { text.chars().count() / 2 } else { text.split(' ').count() };
        let name = text.starts_with(char::is_uppercase);
        Self { text: text.to_owned(), count: 0, first, length, name }
    }

    /// A common word once or twice says nothing about a text, and Han characters may meet by chance
    /// twice.
    fn is_telling(&self) -> bool {
        let wide = self.text.starts_with(is_wide);
        let common = wide || (self.length < 2 && !self.name);
        let short = self.text.chars().count() < 4 && !wide;
        self.count >= if common { 3 } else { 2 } && !(common && short)
    }

    /// Whether this is mostly met inside the longer phrase.
    fn is_part_of(&self, whole: &Self) -> bool {
        whole.text.len() > self.text.len()
            && whole.count * 3 >= self.count * 2
            && whole.text.contains(&self.text)
    }

    fn score(&self) -> f32 {
        let number = |n: usize| f32::from(u16::try_from(n).unwrap_or(u16::MAX));
        let name = if self.name { 1.3 } else { 1.0 };
        number(self.count) * number(self.length) * name / (1.0 + 0.01 * number(self.first))
    }
}

/// Runs of meaningful words, unbroken by stop words or marks.
fn runs(line: &str, language: &str, stop_words: &HashSet<&str>) -> Vec<Vec<String>> {
    let mut runs = Vec::new();
    let mut run: Vec<String> = Vec::new();
    let mut script = None;
    for word in line.split_word_bounds() {
        if word.chars().all(char::is_whitespace) {
            continue;
        }
        let wide = word.starts_with(is_wide);
        let this_script = wide.then(|| word.chars().next().map(script_of)).flatten();
        let meaningful = if wide {
            this_script.is_some_and(|script| script != Script::Hiragana)
                && word.starts_with(char::is_alphabetic)
                && !stop_words.contains(word)
        } else {
            // German nouns have capitals, so what has none is no term.
            is_meaningful(word, stop_words)
                && (language != "de" || word.starts_with(char::is_uppercase))
        };
        if (!meaningful || this_script != script) && !run.is_empty() {
            runs.push(std::mem::take(&mut run));
        }
        script = this_script;
        if meaningful {
            run.push(word.to_owned());
        }
    }
    runs.push(run);
    runs
}

fn is_meaningful(word: &str, stop_words: &HashSet<&str>) -> bool {
    let lower = word.to_lowercase();
    word.chars().nth(1).is_some()
        && word.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '\'' | '’' | '.'))
        && word.starts_with(char::is_alphabetic)
        && !lower.contains(['\'', '’'])
        && !stop_words.contains(lower.as_str())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Script {
    Hiragana,
    Katakana,
    Other,
}

fn script_of(c: char) -> Script {
    match c {
        '\u{3041}'..='\u{309f}' => Script::Hiragana,
        '\u{30a0}'..='\u{30ff}' => Script::Katakana,
        _ => Script::Other,
    }
}

/// The phrases inside a run: words and word groups; of Han characters, 3 to 6 together, in
/// Japanese the whole run, since kana part the words.
fn parts(run: &[String], language: &str) -> Vec<String> {
    let Some(first) = run.first() else { return Vec::new() };
    let wide = first.starts_with(|c| is_wide(c) && !is_hangul(c));
    let (lengths, joint) = match (wide, language) {
        (true, "ja") => (run.len()..=run.len(), ""),
        (true, _) => (3..=6, ""),
        (false, _) => (1..=PHRASE_WORDS_MAX, " "),
    };
    lengths
        .flat_map(|length| run.windows(length))
        .map(|words| words.join(joint))
        .filter(|phrase| (2..=PHRASE_CHARS_MAX).contains(&phrase.chars().count()))
        .collect()
}

fn is_hangul(c: char) -> bool {
    matches!(c, '\u{1100}'..='\u{11ff}' | '\u{ac00}'..='\u{d7a3}')
}
