//! What goes into an enrichment and what comes out: the text of a post, its fields, their values.

use std::fmt;
use std::str::FromStr;

use copydesk_proto::{ContentHash, EnrichmentId};

/// The text of a post as WordPress stores it (`context=edit`), and what is known around it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PostText {
    /// Raw title.
    pub title: String,
    /// Raw content: HTML with block comments.
    pub content: String,
    /// Raw excerpt, possibly written by a person.
    pub excerpt: String,
    /// BCP 47 language, or empty when unknown.
    pub language: String,
    /// Names of terms that exist on the site and may be chosen; empty when not read.
    pub terms: Vec<String>,
}

impl PostText {
    /// Hash of what an enrichment reads. The fields we write are left out, so that our own write
    /// never looks like a change.
    #[must_use]
    pub fn input_hash(&self) -> ContentHash {
        ContentHash::of(&[&self.title, &self.content])
    }
}

/// A place in WordPress that a result may be written to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// The post's excerpt.
    Excerpt,
    /// A title idea; never written over the title, only suggested.
    Title,
    /// Tags, by name.
    Tags,
    /// Categories, by name.
    Categories,
    /// The description for search results, where the site's own SEO plugin keeps it.
    SeoDescription,
    /// A registered meta key.
    Meta(String),
    /// A status line for an item (provider events and the ingest route).
    Status,
    /// A comment's status, with the reason: a [`Judgement`] as text.
    Comment,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Excerpt => f.write_str("excerpt"),
            Self::Title => f.write_str("title"),
            Self::Tags => f.write_str("tags"),
            Self::Categories => f.write_str("categories"),
            Self::SeoDescription => f.write_str("seo_description"),
            Self::Meta(key) => write!(f, "meta:{key}"),
            Self::Status => f.write_str("status"),
            Self::Comment => f.write_str("comment"),
        }
    }
}

/// The text names no field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a field is excerpt, title, tags, categories, seo_description, status, comment or meta:<key> \
     (1 to 64 of a-z 0-9 _ -)"
)]
pub struct UnknownField;

impl FromStr for Field {
    type Err = UnknownField;

    fn from_str(text: &str) -> Result<Self, UnknownField> {
        match text {
            "excerpt" => Ok(Self::Excerpt),
            "title" => Ok(Self::Title),
            "tags" => Ok(Self::Tags),
            "categories" => Ok(Self::Categories),
            "seo_description" => Ok(Self::SeoDescription),
            "status" => Ok(Self::Status),
            "comment" => Ok(Self::Comment),
            other => {
                let key = other.strip_prefix("meta:").ok_or(UnknownField)?;
                let plain =
                    |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
                if (1..=64).contains(&key.len()) && key.bytes().all(plain) {
                    Ok(Self::Meta(key.to_owned()))
                } else {
                    Err(UnknownField)
                }
            }
        }
    }
}

/// A value for a [`Field`], plain text only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldValue {
    /// One line or paragraph.
    Text(String),
    /// Terms by name, or several ideas.
    List(Vec<String>),
}

impl FieldValue {
    /// Whether there is nothing to say. Nothing is never written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
        }
    }

    /// Hash of the value, as compared with what WordPress stores.
    #[must_use]
    pub fn hash(&self) -> ContentHash {
        match self {
            Self::Text(text) => ContentHash::of(&[text]),
            Self::List(items) => {
                ContentHash::of(&items.iter().map(String::as_str).collect::<Vec<_>>())
            }
        }
    }
}

/// A word of a closed list and the reason for it, as text: `spam: advertises a casino`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement<'t> {
    /// The word.
    pub verdict: &'t str,
    /// Why, in a sentence.
    pub reason: &'t str,
}

impl<'t> Judgement<'t> {
    /// Reads it; `None` for a text without a reason: nothing is judged silently.
    #[must_use]
    pub fn read(text: &'t str) -> Option<Self> {
        let (verdict, reason) = text.split_once(':')?;
        let judgement = Self { verdict: verdict.trim(), reason: reason.trim() };
        (!judgement.verdict.is_empty() && !judgement.reason.is_empty()).then_some(judgement)
    }
}

impl fmt::Display for Judgement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.verdict, self.reason)
    }
}

/// What may happen to a field's present value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// Keep the result as a suggestion for an editor; change nothing.
    #[default]
    Suggest,
    /// Write only into an empty field.
    ApplyIfEmpty,
    /// Write into an empty field or over a value of ours; never over a person's words.
    Apply,
}

/// One field of one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldWrite {
    /// Where.
    pub field: Field,
    /// What.
    pub value: FieldValue,
    /// Under which condition.
    pub mode: Mode,
    /// Hash of the value we last stored there; `None` when we never wrote it. A present value
    /// with any other hash is a person's.
    pub base: Option<ContentHash>,
}

/// What a recipe made, cleaned and checked, with what it cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Which enrichment.
    pub enrichment: EnrichmentId,
    /// The value for the enrichment's field.
    pub value: FieldValue,
    /// The model that answered, as the provider named it.
    pub model: String,
    /// Prompt tokens; an estimate when the provider gave none.
    pub input_tokens: u32,
    /// Answer tokens; an estimate when the provider gave none.
    pub output_tokens: u32,
    /// Price in millionths of a dollar.
    pub cost_microdollars: u64,
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]
mod tests {
    use super::*;

    /// The plugin's PHP reads the same file.
    #[test]
    fn hashes_are_those_of_the_shared_vectors() {
        let file = include_str!("../../proto/fixtures/hashes.json");
        let file: serde_json::Value = serde_json::from_str(file).unwrap();
        let vectors = file["vectors"].as_array().unwrap();
        assert!(vectors.len() > 5);
        for vector in vectors {
            let parts: Vec<&str> =
                vector["parts"].as_array().unwrap().iter().map(|p| p.as_str().unwrap()).collect();
            let hash = ContentHash::of(&parts);
            assert_eq!(vector["hash"], hash.to_string(), "{}", vector["name"]);
            assert_eq!(hash.to_string().parse(), Ok(hash));
        }
        assert!("00".parse::<ContentHash>().is_err());
        let upper = ContentHash::of(&[]).to_string().to_uppercase();
        assert!(upper.parse::<ContentHash>().is_err());
    }
}
