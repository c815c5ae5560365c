//! From a model's words to text that is safe to store and show anywhere in WordPress.
//!
//! Assume that the post's author controls the model. What comes out is plain text: no tag, no
//! entity that decodes to one, no shortcode, no block comment, no invisible character, no address
//! that was not in the post, within the field's length. Cleaning clean text changes nothing; that
//! is not hoped for but enforced, by cleaning until nothing changes.

use std::collections::HashSet;

use ammonia::Builder;
use unicode_normalization::UnicodeNormalization;

use crate::content::{Field, FieldValue, PostText};
use crate::limits::{
    ANSWER_BYTES_MAX, ANSWER_EXCERPT_CHARS_MAX, ANSWER_ITEMS_MAX, ANSWER_META_CHARS_MAX,
    ANSWER_TERM_CHARS_MAX, ANSWER_TITLE_CHARS_MAX,
};

mod clip;
mod invisible;
mod links;

#[cfg(test)]
mod tests;

use clip::Ending;
use links::Links;

/// Cleanings after which text that still changes is given up. The first finds nothing to change as
/// a rule; a third is needed when clipping cut an address.
const ROUNDS_MAX: usize = 5;

/// Why a model's answer cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing is left of it.
    #[error("the answer has no text")]
    Empty,
    /// Far longer than any field.
    #[error("the answer is over {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    /// Markup hidden in markup, or a script address: someone tries.
    #[error("the answer holds hidden markup or a script address")]
    ActiveContent,
    /// Text for a field of terms.
    #[error("this field takes a list")]
    NotAList,
    /// A list for a field of one text.
    #[error("this field takes one text")]
    NotAText,
}

/// Cleans and clips `value` for `field`. Addresses stay only if `input` holds them.
///
/// Lists lose empty and repeated items and all past the twentieth; one bad item refuses the whole.
///
/// # Errors
/// [`Refused`], when no safe text can be made of it.
pub fn sanitise(
    field: &Field,
    value: &FieldValue,
    input: &PostText,
) -> Result<FieldValue, Refused> {
    let mut links = Links::of(input);
    let (chars_max, ending) = match field {
        Field::Title => (ANSWER_TITLE_CHARS_MAX, Ending::Ellipsis),
        Field::Meta(_) | Field::SeoDescription | Field::Status | Field::Comment => {
            (ANSWER_META_CHARS_MAX, Ending::Ellipsis)
        }
        Field::Excerpt => (ANSWER_EXCERPT_CHARS_MAX, Ending::Ellipsis),
        Field::Tags | Field::Categories => (ANSWER_TERM_CHARS_MAX, Ending::Bare),
    };
    match (field, value) {
        (Field::Tags | Field::Categories, FieldValue::Text(_)) => Err(Refused::NotAList),
        (
            Field::Meta(_)
            | Field::SeoDescription
            | Field::Status
            | Field::Comment
            | Field::Excerpt,
            FieldValue::List(_),
        ) => Err(Refused::NotAText),
        (_, FieldValue::Text(text)) => {
            let clean = clean_until_still(text, chars_max, ending, &mut links)?;
            if clean.is_empty() { Err(Refused::Empty) } else { Ok(FieldValue::Text(clean)) }
        }
        (_, FieldValue::List(items)) => {
            let mut clean: Vec<String> = Vec::new();
            let mut seen = HashSet::new();
            for item in items {
                if clean.len() == ANSWER_ITEMS_MAX {
                    break;
                }
                let item = clean_until_still(item, chars_max, ending, &mut links)?;
                if !item.is_empty() && seen.insert(item.to_lowercase()) {
                    clean.push(item);
                }
            }
            if clean.is_empty() { Err(Refused::Empty) } else { Ok(FieldValue::List(clean)) }
        }
    }
}

fn clean_until_still(
    text: &str,
    chars_max: usize,
    ending: Ending,
    links: &mut Links<'_>,
) -> Result<String, Refused> {
    if text.len() > ANSWER_BYTES_MAX {
        return Err(Refused::TooLong);
    }
    let mut before = text.to_owned();
    for _ in 0..ROUNDS_MAX {
        let after = clean(&before, chars_max, ending, links)?;
        if after == before {
            return Ok(after);
        }
        before = after;
    }
    Err(Refused::ActiveContent)
}

fn clean(
    text: &str,
    chars_max: usize,
    ending: Ending,
    links: &mut Links<'_>,
) -> Result<String, Refused> {
    // Invisible characters go before the tags are looked for and again after entities are decoded:
    // `<scr\u{200b}ipt>` and `&lt;&#x200b;script&gt;` both hide a tag behind one.
    let text = visible(&text_of_html(&visible(text)));
    if text_of_html(&text) != text || links::has_script_address(&text) {
        return Err(Refused::ActiveContent);
    }
    let text = text.replace('<', "‹").replace('>', "›").replace('[', "(").replace(']', ")");
    let text = links.drop_foreign(&text);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(clip::clip(&text, chars_max, ending))
}

fn visible(text: &str) -> String {
    // Nothing to compose, nothing to drop: most of an English answer, and all of it the second time.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.to_owned();
    }
    invisible::drop(&text.nfc().collect::<String>())
}

/// The text a browser would show for `html`: tags, comments, scripts and styles gone, entities
/// decoded once. Text without markup comes out as it is.
fn text_of_html(html: &str) -> String {
    if !html.contains(['<', '&']) {
        return html.to_owned();
    }
    let mut builder = Builder::empty();
    builder.clean_content_tags(HashSet::from(["script", "style"]));
    let escaped = builder.clean(html).to_string();
    // Exactly what html5ever's serialiser escapes in text; `&amp;` last, so that nothing decodes
    // twice.
    escaped
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&nbsp;", "\u{a0}")
        .replace("&amp;", "&")
}
