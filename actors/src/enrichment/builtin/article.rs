//! A post read once for all recipes: its language, its sentences and what they are about.

use std::collections::{HashMap, HashSet};

use copydesk_core::content::PostText;
use unicode_segmentation::UnicodeSegmentation;

use super::html::{self, Block, Kind};
use super::language::{self, is_wide};
use super::{phrases, sentence};

/// Longest content that is read, in bytes: a 10,000-word article. The rest is not looked at.
pub(super) const INPUT_BYTES_MAX: usize = 64 * 1024;

/// Sentences looked at. The news is in the first ones; the bound keeps ranking under a millisecond.
const SENTENCES_MAX: usize = 200;

/// Inflections mostly differ after this many letters: `Regierung`, `Regierungen`.
const STEM_CHARS: usize = 7;

/// A sentence that may stand in a summary.
pub(super) struct Sentence {
    pub(super) text: String,
    /// Place among all sentences of the text, counted before any was left out.
    pub(super) position: usize,
    pub(super) starts_paragraph: bool,
    /// Leans on the sentence before it ("But he …").
    pub(super) dependent: bool,
    /// What it speaks of, sorted, without repeats.
    pub(super) terms: Vec<u32>,
}

/// What the recipes work on.
pub(super) struct Article {
    pub(super) language: String,
    pub(super) title: String,
    /// Running text, one paragraph a line.
    pub(super) plain: String,
    pub(super) sentences: Vec<Sentence>,
    /// In how many sentences each term occurs.
    pub(super) frequency: Vec<u32>,
    pub(super) title_terms: Vec<u32>,
}

impl Article {
    pub(super) fn read(post: &PostText) -> Self {
        let blocks = html::blocks(clip(&post.content, INPUT_BYTES_MAX));
        let title = html::tidy(&plain_title(&post.title)).replace('\n', " ");
        let mut article = Self::of_blocks(&blocks, Kind::Text, &title, &post.language);
        if article.sentences.is_empty() && blocks.iter().any(|block| block.kind == Kind::Item) {
            let items = Self::of_blocks(&blocks, Kind::Item, &title, &post.language);
            if article.plain.is_empty() || !items.sentences.is_empty() {
                article = items;
            }
        }
        article
    }

    fn of_blocks(blocks: &[Block], kind: Kind, title: &str, declared: &str) -> Self {
        let blocks = || blocks.iter().filter(|block| block.kind == kind);
        let plain = blocks().map(|block| block.text.as_str()).collect::<Vec<_>>().join("\n");
        let language = language::of(&plain, declared);
        let stop_words = language::stop_words(&language);
        let mut index = Index { ids: HashMap::new(), frequency: Vec::new() };
        let mut sentences: Vec<Sentence> = Vec::new();
        let mut seen = HashSet::new();
        let mut position = 0;
        'blocks: for block in blocks() {
            for (at, text) in
                sentence::split(&block.text, &language, stop_words).into_iter().enumerate()
            {
                if position == SENTENCES_MAX {
                    break 'blocks;
                }
                if is_candidate(text, title) && seen.insert(text.to_owned()) {
                    sentences.push(Sentence {
                        text: text.to_owned(),
                        position,
                        starts_paragraph: at == 0,
                        dependent: phrases::leans_back(text, &language),
                        terms: index.terms(text, stop_words, true),
                    });
                }
                position += 1;
            }
        }
        let title_terms = index.terms(title, stop_words, false);
        Self {
            title: title.to_owned(),
            plain,
            sentences,
            frequency: index.frequency,
            title_terms,
            language,
        }
    }
}

/// The text up to `bytes_max`, cut at a character.
pub(in crate::enrichment) fn clip(text: &str, bytes_max: usize) -> &str {
    let end = bytes_max.min(text.len());
    let end = (0..=end).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

fn plain_title(title: &str) -> String {
    if title.contains(['<', '&']) {
        html::blocks(title).into_iter().map(|block| block.text).collect::<Vec<_>>().join(" ")
    } else {
        title.to_owned()
    }
}

/// Whether a sentence may be shown alone: whole, long enough, and part of the article.
fn is_candidate(text: &str, title: &str) -> bool {
    const WORDS_MIN: usize = 4;
    const WIDE_CHARS_MIN: usize = 8;
    let wide = text.chars().filter(|c| is_wide(*c)).count();
    let long = wide >= WIDE_CHARS_MIN || text.unicode_words().nth(WORDS_MIN - 1).is_some();
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    long && sentence::is_whole(text)
        && letters * 2 > text.chars().count()
        && !text.contains("://")
        && !text.contains("www.")
        && !text.contains('@')
        // Code; and `<` in plain text is refused on its way to WordPress.
        && !text.contains(['{', '<', '>'])
        && text.trim_end_matches(sentence::is_mark) != title.trim_end_matches(sentence::is_mark)
        && !phrases::is_boilerplate(text)
}

struct Index {
    ids: HashMap<String, u32>,
    frequency: Vec<u32>,
}

impl Index {
    /// The terms of a text; counted when `count` is set.
    fn terms(&mut self, text: &str, stop_words: &HashSet<&str>, count: bool) -> Vec<u32> {
        let mut terms: Vec<u32> =
            words(text, stop_words).into_iter().map(|word| self.id(word)).collect();
        terms.sort_unstable();
        terms.dedup();
        if count {
            for term in &terms {
                if let Some(frequency) = self.frequency.get_mut(*term as usize) {
                    *frequency += 1;
                }
            }
        }
        terms
    }

    fn id(&mut self, word: String) -> u32 {
        let next = u32::try_from(self.frequency.len()).unwrap_or(u32::MAX);
        let id = *self.ids.entry(word).or_insert(next);
        if id == next {
            self.frequency.push(0);
        }
        id
    }
}

/// Stems of the words that carry meaning; pairs of characters where a script has no spaces.
pub(super) fn words(text: &str, stop_words: &HashSet<&str>) -> Vec<String> {
    let mut words = Vec::new();
    for word in text.unicode_words().filter(|word| !word.starts_with(is_wide)) {
        let lower = word.to_lowercase();
        if lower.chars().nth(1).is_some() && !stop_words.contains(lower.as_str()) {
            // The plural of half of Europe.
            let stem = lower.strip_suffix('s').filter(|stem| stem.len() > 2).unwrap_or(&lower);
            words.push(stem.chars().take(STEM_CHARS).collect());
        }
    }
    let mut previous: Option<char> = None;
    for c in text.chars() {
        let hiragana = matches!(c, '\u{3041}'..='\u{309f}');
        let current = Some(c).filter(|c| is_wide(*c) && c.is_alphabetic() && !hiragana);
        if let (Some(a), Some(b)) = (previous, current) {
            words.push([a, b].iter().collect());
        }
        previous = current;
    }
    words
}
