//! Extractive summaries: the text's own sentences, whole and in order.
//!
//! A sentence scores by how much it shares with the rest of the text (closeness to the centroid of
//! all sentences) and by how early it comes; sentences are then picked by maximal marginal
//! relevance, so that no two say the same.

use unicode_segmentation::UnicodeSegmentation;

use super::article::{Article, Sentence};
use super::{language, sentence};

/// Sentences in a summary at most; more is no summary.
const SENTENCES_MAX: usize = 4;

/// How much likeness to a chosen sentence costs, against a score of 0 to 1.
const REDUNDANCY_WEIGHT: f32 = 0.6;

/// Under this a sentence adds nothing worth reading.
const SCORE_MIN: f32 = 0.18;

/// A line without a sentence mark must be this long to be text and not a label, in columns.
const LINE_WIDTH_MIN: usize = 60;

/// The summary, at most `width_max` columns; empty when the post has no text.
pub(super) fn summary(article: &Article, width_max: usize) -> String {
    let scores = scores(article);
    let mut chosen: Vec<usize> = Vec::new();
    let mut room = width_max;
    while chosen.len() < SENTENCES_MAX {
        let best = (0..article.sentences.len())
            .filter(|at| !chosen.contains(at))
            .filter(|at| language::width(&article.sentences[*at].text) <= room)
            .filter(|at| stands(article, *at, &chosen))
            .map(|at| (at, scores[at] - REDUNDANCY_WEIGHT * likeness(article, at, &chosen)))
            .max_by(|a, b| a.1.total_cmp(&b.1));
        let Some((at, score)) = best else { break };
        if !chosen.is_empty() && score < SCORE_MIN {
            break;
        }
        room = room.saturating_sub(language::width(&article.sentences[at].text) + 1);
        chosen.push(at);
    }
    if chosen.is_empty() {
        return opening(article, width_max);
    }
    chosen.sort_unstable();
    let mut summary = String::new();
    for sentence in chosen.into_iter().map(|at| &article.sentences[at].text) {
        if !summary.is_empty()
            && !sentence.starts_with(['“', '「'])
            && !sentence.starts_with(language::is_wide)
        {
            summary.push(' ');
        }
        summary.push_str(sentence);
    }
    summary
}

/// When no whole sentence fits: the start of the most telling one, or of the text.
fn opening(article: &Article, width_max: usize) -> String {
    let scores = scores(article);
    let best = (0..article.sentences.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let text = match best {
        Some(at) => article.sentences[at].text.as_str(),
        None => article
            .plain
            .lines()
            .filter(|line| !line.contains(['<', '>', '{']) && !line.contains("://"))
            .find(|line| language::width(line) > LINE_WIDTH_MIN)
            .unwrap_or_default(),
    };
    shorten(text, width_max, &article.language)
}

/// How well each sentence stands for the text, about 0 to 1.
pub(super) fn scores(article: &Article) -> Vec<f32> {
    let weight = |term: &u32| {
        let shared = article.frequency.get(*term as usize).copied().unwrap_or(0);
        // A word of one sentence says nothing about the rest.
        let shared = if shared < 2 {
            0.2
        } else {
            f32::from(u16::try_from(shared).unwrap_or(u16::MAX)).ln_1p()
        };
        if article.title_terms.binary_search(term).is_ok() { shared * 2.0 } else { shared }
    };
    let centrality: Vec<f32> = article
        .sentences
        .iter()
        .map(|sentence| {
            let terms = f32::from(u16::try_from(sentence.terms.len()).unwrap_or(u16::MAX));
            sentence.terms.iter().map(weight).sum::<f32>() / (terms + 4.0).powf(0.7)
        })
        .collect();
    let highest = centrality.iter().copied().fold(f32::EPSILON, f32::max);
    article
        .sentences
        .iter()
        .zip(centrality)
        .map(|(sentence, centrality)| {
            let position = f32::from(u16::try_from(sentence.position).unwrap_or(u16::MAX));
            let early = 1.0 / (1.0 + 0.35 * position);
            let paragraph = if sentence.starts_paragraph { 0.05 } else { 0.0 };
            0.5 * centrality / highest + 0.45 * early + paragraph - blemish(&sentence.text)
        })
        .collect()
}

/// What makes a sentence less fit to stand for the text.
fn blemish(text: &str) -> f32 {
    let question = text.trim_end().ends_with(['?', '？', '؟']);
    let exclamation = text.trim_end().ends_with(['!', '！']);
    let quotation = text.starts_with(['"', '“', '„', '«', '「', '»']);
    let short = language::width(text) < 40;
    [(question, 0.35), (exclamation, 0.1), (quotation, 0.2), (short, 0.1)]
        .iter()
        .filter(|(found, _)| *found)
        .map(|(_, cost)| cost)
        .sum()
}

/// Whether a sentence can be understood where it would stand.
fn stands(article: &Article, at: usize, chosen: &[usize]) -> bool {
    let sentence = &article.sentences[at];
    let follows =
        || chosen.iter().any(|other| article.sentences[*other].position + 1 == sentence.position);
    !sentence.dependent || follows()
}

/// Share of terms in common with the most similar chosen sentence (Dice), 0 to 1.
fn likeness(article: &Article, at: usize, chosen: &[usize]) -> f32 {
    let count = |n: usize| f32::from(u16::try_from(n).unwrap_or(u16::MAX));
    let of = |a: &Sentence, b: &Sentence| {
        let shared = a.terms.iter().filter(|term| b.terms.binary_search(term).is_ok()).count();
        2.0 * count(shared) / count(a.terms.len() + b.terms.len()).max(1.0)
    };
    chosen
        .iter()
        .map(|other| of(&article.sentences[at], &article.sentences[*other]))
        .fold(0.0, f32::max)
}

/// The text within `width_max` columns: cut at a clause, else at a word, marked by an ellipsis.
pub(super) fn shorten(text: &str, width_max: usize, language: &str) -> String {
    if language::width(text) <= width_max {
        return text.to_owned();
    }
    let stop_words = language::stop_words(language);
    let room = width_max.saturating_sub(1);
    let (mut width, mut hard, mut word, mut clause) = (0, 0, 0, 0);
    for (at, grapheme) in text.grapheme_indices(true) {
        let starts_word = grapheme.starts_with(char::is_whitespace);
        let wide = grapheme.starts_with(language::is_wide);
        if starts_word || wide {
            word = at;
            let before = text[..at].chars().next_back();
            let mark = before.is_some_and(is_clause_mark);
            if mark && width * 10 >= room * 6 {
                clause = at;
            }
        }
        width += language::width(grapheme);
        if width > room {
            break;
        }
        hard = at + grapheme.len();
    }
    let word = if word == 0 { hard } else { word.min(hard) };
    let mut cut = &text[..if clause > 0 { clause.min(hard) } else { word }];
    // "… of the …" is no end.
    if clause == 0 {
        while let Some((rest, last)) = cut.trim_end().rsplit_once(char::is_whitespace) {
            let last = last.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
            if !stop_words.contains(last.as_str()) && !last.is_empty() {
                break;
            }
            cut = rest;
        }
    }
    let cut = cut.trim_end_matches(|c: char| {
        c.is_whitespace()
            || is_clause_mark(c)
            || sentence::is_mark(c)
            || matches!(c, '(' | '[' | '-' | '„' | '“' | '«')
    });
    if cut.is_empty() { String::new() } else { format!("{cut}…") }
}

/// Marks between clauses.
pub(super) fn is_clause_mark(c: char) -> bool {
    matches!(c, ',' | ';' | ':' | '–' | '—' | '、' | '，' | '；' | '：' | '،' | '؛' | '·')
}
