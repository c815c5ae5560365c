//! Title ideas: short sentences of the text, without their full stop.

use super::article::Article;
use super::{language, sentence, summary};

/// Columns of a title: what a search result shows.
const WIDTH_MAX: usize = 90;

/// Anything shorter is a remark.
const WIDTH_MIN: usize = 20;

/// Words that open a subordinate clause: what stands before the comma is no title.
const SUBORDINATE: &[&str] = &[
    "after",
    "although",
    "as",
    "because",
    "before",
    "during",
    "if",
    "since",
    "though",
    "unlike",
    "when",
    "while",
    "with",
    "als",
    "bevor",
    "da",
    "nach",
    "nachdem",
    "obwohl",
    "seit",
    "wenn",
    "weil",
    "während",
    "après",
    "avant",
    "bien",
    "depuis",
    "lorsque",
    "pendant",
    "quand",
    "selon",
    "si",
    "aunque",
    "con",
    "cuando",
    "desde",
    "después",
    "mientras",
    "según",
    "tras",
    "após",
    "com",
    "desde",
    "embora",
    "enquanto",
    "quando",
    "segundo",
    "se",
    "dopo",
    "mentre",
    "secondo",
    "toen",
    "terwijl",
    "volgens",
    "если",
    "когда",
    "после",
    "хотя",
    "по",
];

/// Up to `count_max` titles, best first; fewer, or none, when the text offers no fit one.
pub(super) fn ideas(article: &Article, count_max: usize) -> Vec<String> {
    let scores = summary::scores(article);
    let mut order: Vec<usize> = (0..article.sentences.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    // What shares a word with the present title is on its subject; the rest is second choice.
    let on_subject = |at: &usize| {
        article.sentences[*at].terms.iter().any(|term| article.title_terms.contains(term))
    };
    let (mut chosen, rest): (Vec<usize>, Vec<usize>) = order.into_iter().partition(on_subject);
    chosen.extend(rest);
    let mut ideas: Vec<String> = Vec::new();
    for at in chosen {
        let sentence = &article.sentences[at];
        if sentence.dependent || (!ideas.is_empty() && !on_subject(&at)) {
            continue;
        }
        let Some(idea) = headline(&sentence.text) else { continue };
        let known = |other: &String| other.eq_ignore_ascii_case(&idea);
        if !ideas.iter().any(known) && !idea.eq_ignore_ascii_case(&article.title) {
            ideas.push(idea);
        }
        if ideas.len() == count_max {
            break;
        }
    }
    ideas
}

/// The sentence as a headline: whole when it is short, else its main clause.
fn headline(sentence: &str) -> Option<String> {
    if sentence.contains(['"', '“', '”', '„', '«', '»', '「', '」', '(', '（', '\n']) {
        return None;
    }
    if sentence.ends_with(['?', '？', '؟']) {
        return None;
    }
    let body = sentence.trim_end_matches(['.', '。', '।', '۔']);
    let whole = |text: &str| (WIDTH_MIN..=WIDTH_MAX).contains(&language::width(text));
    if whole(body) {
        return Some(body.to_owned());
    }
    let first = body.split_whitespace().next()?.to_lowercase();
    if SUBORDINATE.contains(&first.as_str()) {
        return None;
    }
    // The last clause mark that leaves a headline of some length and is followed by a space:
    // a comma in a number is none.
    let mut cuts = body.char_indices().filter(|(at, c)| {
        let after = &body[at + c.len_utf8()..];
        summary::is_clause_mark(*c)
            && (after.starts_with(char::is_whitespace) || language::is_wide(*c))
            && language::width(&body[..*at]) >= WIDTH_MAX / 2
            && whole(&body[..*at])
            && body[..*at].matches(',').count() == 0
    });
    let (at, _) = cuts.next_back()?;
    let clause = body[..at].trim_end_matches(|c: char| c.is_whitespace() || sentence::is_mark(c));
    Some(clause.to_owned())
}
