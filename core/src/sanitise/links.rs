//! Addresses in text: kept when the post itself holds them, dropped otherwise. An address a model
//! made up can carry the reader away, or the prompt.

use std::collections::HashSet;
use std::sync::LazyLock;

use regex::Regex;

use super::visible;
use crate::content::PostText;

/// What readers, WordPress's `make_clickable` or chat programs take for an address. Quotes and
/// brackets end one, in the post's HTML as in plain text.
static ADDRESS: LazyLock<Regex> = LazyLock::new(|| {
    // Word boundaries are ASCII ones: a combining mark before an address must not hide it.
    let rest = r#"[^\s<>"'`()\[\]{}‹›]"#;
    let pattern = [
        format!(r"(?-u:\b)[a-z][a-z0-9+.\-]{{1,30}}:/+{rest}+"),
        format!(r"//[\p{{L}}\p{{N}}\-]+\.{rest}+"),
        format!(r"(?-u:\b)(?:www|ftp)\.{rest}+"),
        format!(r"(?-u:\b)(?:mailto|tel|sms|data|blob|file|magnet):{rest}+"),
        format!(
            r"(?:[\p{{L}}\p{{N}}](?:[\p{{L}}\p{{N}}\-]*[\p{{L}}\p{{N}}])?\.)+\p{{L}}{{2,24}}(?::\d+)?/{rest}*"
        ),
        format!(r"(?-u:\b)(?:\d{{1,3}}\.){{3}}\d{{1,3}}(?::\d+)?/{rest}*"),
    ];
    Regex::new(&format!("(?i){}", pattern.join("|"))).expect("a fixed pattern that tests compile")
});

/// `javascript: the good parts` is a book; an address has no space after the colon.
static SCRIPT_ADDRESS: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(?i)(?:javascript|vbscript|livescript):\S|(?-u:\b)data:[a-z]+/[a-z]";
    Regex::new(pattern).expect("a fixed pattern that tests compile")
});

/// Whether the text holds an address that runs code where it becomes a link.
pub(super) fn has_script_address(text: &str) -> bool {
    SCRIPT_ADDRESS.is_match(text)
}

/// The addresses of a post, collected when the first one is asked for.
pub(super) struct Links<'p> {
    post: &'p PostText,
    found: Option<HashSet<String>>,
}

impl<'p> Links<'p> {
    pub(super) const fn of(post: &'p PostText) -> Self {
        Self { post, found: None }
    }

    /// `text` with a space for each address the post does not hold.
    pub(super) fn drop_foreign(&mut self, text: &str) -> String {
        let mut kept = String::with_capacity(text.len());
        let mut end = 0;
        for found in ADDRESS.find_iter(text) {
            kept.push_str(&text[end..found.start()]);
            let address = trim(found.as_str());
            if self.has(address) {
                kept.push_str(found.as_str());
            } else {
                kept.push(' ');
                kept.push_str(closing(found.as_str()));
            }
            end = found.end();
        }
        kept.push_str(&text[end..]);
        kept
    }

    fn has(&mut self, address: &str) -> bool {
        let post = self.post;
        let found = self.found.get_or_insert_with(|| {
            // The raw HTML is searched, not parsed: its author may be hostile, and 256 KiB of
            // nested tags take a parser many seconds. `&` is the one character of an address that
            // editors escape.
            let mut found = HashSet::new();
            for part in [&post.title, &post.content, &post.excerpt] {
                let raw = visible(part).replace("&amp;", "&").replace("&#038;", "&");
                found.extend(ADDRESS.find_iter(&raw).map(|m| trim(m.as_str()).to_owned()));
            }
            found
        });
        found.contains(address)
    }
}

const CLOSING: [char; 8] = ['.', ',', ';', ':', '!', '?', '…', '/'];

/// The address without the sentence's own marks.
fn trim(address: &str) -> &str {
    address.trim_end_matches(CLOSING)
}

/// The mark that ends the sentence after a dropped address.
fn closing(address: &str) -> &str {
    match address.chars().next_back() {
        Some('.') => ".",
        Some('!') => "!",
        Some('?') => "?",
        Some(_) | None => "",
    }
}
