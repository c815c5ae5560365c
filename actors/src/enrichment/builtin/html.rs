//! Post content to plain text, block by block: what a reader would read as running text, and
//! nothing of the page's furniture.

use std::cell::RefCell;
use std::collections::HashMap;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

use super::sentence::unwrap_lines;

/// What a block was in the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Running text.
    Text,
    /// A list item: used only when there is no running text.
    Item,
}

/// One paragraph, without tags, entities decoded, `\n` for a line break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) kind: Kind,
    pub(super) text: String,
}

/// Elements whose text is not part of the article.
const SKIPPED: &[&str] = &[
    "aside",
    "audio",
    "button",
    "canvas",
    "dl",
    "embed",
    "figcaption",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "iframe",
    "math",
    "menu",
    "nav",
    "noscript",
    "object",
    "pre",
    "script",
    "select",
    "style",
    "svg",
    "table",
    "template",
    "textarea",
    "title",
    "video",
];

/// Parts of class names that mark captions, bylines and promotion, as WordPress core and the
/// common themes write them.
const SKIPPED_CLASSES: &[&str] = &[
    "advert",
    "author",
    "breadcrumb",
    "byline",
    "caption",
    "comment",
    "copyright",
    "disclaimer",
    "dateline",
    "newsletter",
    "pullquote",
    "related",
    "share",
    "sharing",
    "sidebar",
    "social",
    "subscribe",
    "toc",
];

/// Elements that end a paragraph.
const BLOCKS: &[&str] = &[
    "address",
    "article",
    "blockquote",
    "body",
    "center",
    "dd",
    "details",
    "div",
    "dt",
    "fieldset",
    "header",
    "hr",
    "html",
    "li",
    "main",
    "ol",
    "p",
    "section",
    "summary",
    "td",
    "th",
    "tr",
    "ul",
];

/// Shortcodes of WordPress core and common plugins whose inside is no article text.
const SKIPPED_SHORTCODES: &[&str] =
    &["audio", "caption", "code", "embed", "gallery", "playlist", "video", "wp_caption"];

/// The article's blocks, in order.
pub(super) fn blocks(content: &str) -> Vec<Block> {
    let content = without_shortcodes(content);
    // Classic content has no paragraph tags: WordPress makes paragraphs of empty lines.
    let classic = !content.contains("<p") && !content.contains("<!-- wp:");
    let sink = Sink(RefCell::new(State { classic, ..State::default() }));
    let tokenizer = Tokenizer::new(sink, TokenizerOpts::default());
    let input = BufferQueue::default();
    input.push_back(StrTendril::from(content.as_str()));
    // `Script` and the like stop the feed; what follows them is still text.
    while !input.is_empty() {
        let _ = tokenizer.feed(&input);
    }
    tokenizer.end();
    let mut state = tokenizer.sink.0.into_inner();
    state.close();
    state.blocks
}

#[derive(Default)]
struct State {
    classic: bool,
    blocks: Vec<Block>,
    text: String,
    /// Open list items.
    items: usize,
    /// The skipped element we are in, and how many of its name are open.
    skipping: Option<(String, usize)>,
}

impl State {
    fn close(&mut self) {
        let text = unwrap_lines(&tidy(&self.text));
        self.text.clear();
        if !text.is_empty() {
            let kind = if self.items > 0 { Kind::Item } else { Kind::Text };
            self.blocks.push(Block { kind, text });
        }
    }

    fn characters(&mut self, text: &str) {
        if self.skipping.is_some() {
            return;
        }
        if !self.classic {
            self.text.extend(text.chars().map(|c| if c == '\n' { ' ' } else { c }));
            return;
        }
        for (at, paragraph) in text.replace('\r', "").split("\n\n").enumerate() {
            if at > 0 {
                self.close();
            }
            self.text.push_str(paragraph);
        }
    }

    fn tag(&mut self, tag: &Tag) {
        let name: &str = &tag.name;
        if let Some((skipped, open)) = &mut self.skipping {
            // A paragraph ends at the next one, closed or not.
            let ends_unclosed = skipped == "p" && tag.kind == TagKind::StartTag && name == "p";
            if skipped == name {
                match tag.kind {
                    TagKind::StartTag if !tag.self_closing => *open += 1,
                    TagKind::StartTag => {}
                    TagKind::EndTag => *open -= 1,
                }
            }
            if ends_unclosed || *open == 0 {
                self.skipping = None;
            }
            if !ends_unclosed {
                return;
            }
        }
        let block = BLOCKS.contains(&name);
        if block {
            self.close();
        }
        match (tag.kind, name) {
            (_, "br") => self.text.push('\n'),
            (TagKind::StartTag, "li") => self.items += 1,
            (TagKind::EndTag, "li") => self.items = self.items.saturating_sub(1),
            (TagKind::EndTag, "ul" | "ol") => self.items = 0,
            _ => {}
        }
        if tag.kind == TagKind::StartTag && !tag.self_closing && is_furniture(tag, block) {
            if name != "sup" {
                self.close();
            }
            if name != "embed" {
                self.skipping = Some((name.to_owned(), 1));
            }
        }
    }
}

fn is_furniture(tag: &Tag, block: bool) -> bool {
    // A footnote mark has a class or an id; a plain superscript is part of a number.
    if SKIPPED.contains(&&*tag.name) || (&*tag.name == "sup" && !tag.attrs.is_empty()) {
        return true;
    }
    block
        && tag.attrs.iter().any(|attribute| {
            &*attribute.name.local == "class"
                && attribute
                    .value
                    .split(|c: char| !c.is_alphanumeric())
                    .any(|word| SKIPPED_CLASSES.contains(&word))
        })
}

struct Sink(RefCell<State>);

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        match token {
            Token::CharacterTokens(text) => self.0.borrow_mut().characters(&text),
            Token::TagToken(tag) => {
                self.0.borrow_mut().tag(&tag);
                if tag.kind == TagKind::StartTag {
                    return match &*tag.name {
                        "script" => TokenSinkResult::RawData(RawKind::ScriptData),
                        "style" | "iframe" | "noscript" => {
                            TokenSinkResult::RawData(RawKind::Rawtext)
                        }
                        "textarea" | "title" => TokenSinkResult::RawData(RawKind::Rcdata),
                        _ => TokenSinkResult::Continue,
                    };
                }
            }
            Token::CommentToken(_)
            | Token::DoctypeToken(_)
            | Token::NullCharacterToken
            | Token::EOFToken
            | Token::ParseError(_) => {}
        }
        TokenSinkResult::Continue
    }
}

/// Spaces collapsed, invisible characters gone, lines trimmed.
pub(super) fn tidy(text: &str) -> String {
    let mut tidy = String::with_capacity(text.len());
    for line in text.split('\n') {
        let start = tidy.len();
        for word in line.split(|c: char| c.is_whitespace()) {
            let before = tidy.len();
            if before > start {
                tidy.push(' ');
            }
            let space = tidy.len();
            tidy.extend(word.chars().filter(|c| !is_invisible(*c)));
            if tidy.len() == space {
                tidy.truncate(before);
            }
        }
        if tidy.len() > start {
            tidy.push('\n');
        }
    }
    tidy.pop();
    tidy
}

/// Controls, soft hyphen, zero-width and bidi controls; the joiners stay, since Persian and Hindi
/// spell with them.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}' | '\u{fffc}'
            | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}')
}

/// Shortcodes out, brackets an editor wrote (`[sic]`, `[he]`) in.
fn without_shortcodes(content: &str) -> String {
    let mut closings = HashMap::new();
    for (at, _) in content.match_indices("[/") {
        if let Some((name, _)) = shortcode(&content[at + 2..]) {
            closings.insert(name, at);
        }
    }
    let mut text = String::with_capacity(content.len());
    let mut rest = 0;
    while let Some(found) = content[rest..].find('[') {
        let at = rest + found;
        text.push_str(&content[rest..at]);
        let closing = content[at + 1..].starts_with('/');
        let inside = at + 1 + usize::from(closing);
        let Some((name, end)) = shortcode(&content[inside..]) else {
            text.push('[');
            rest = at + 1;
            continue;
        };
        let after = inside + end + 1;
        let attributes = content[inside..inside + end].contains('=');
        let closed_at = closings.get(name).copied().filter(|&closing_at| closing_at > at);
        let known = SKIPPED_SHORTCODES.contains(&name);
        if !(closing || attributes || known || closed_at.is_some() || name.contains('_')) {
            text.push_str(&content[at..after]);
            rest = after;
            continue;
        }
        text.push(' ');
        rest = after;
        // The last closing tag is at `closed_at`, so this search always ends, and what it passes
        // is never looked at again.
        if known && !closing && closed_at.is_some() {
            let tag = format!("[/{name}");
            rest = content[after..].find(&tag).map_or(after, |found| after + found);
        }
    }
    text.push_str(&content[rest..]);
    text
}

/// The name of the shortcode that starts here, and where its `]` is.
fn shortcode(text: &str) -> Option<(&str, usize)> {
    /// Longer brackets are no shortcodes; the bound also keeps the scan linear.
    const SHORTCODE_BYTES_MAX: usize = 1024;
    let is_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    let length = text.bytes().take_while(|b| is_name(*b)).count();
    let name = &text[..length];
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return None;
    }
    let next = text.as_bytes().get(length)?;
    if !matches!(next, b']' | b' ' | b'/' | b'\n') {
        return None;
    }
    let end = text.bytes().take(SHORTCODE_BYTES_MAX).position(|b| b == b']' || b == b'[')?;
    (text.as_bytes()[end] == b']').then_some((name, end))
}
