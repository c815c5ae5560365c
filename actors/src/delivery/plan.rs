//! What of a write may go into a post: pure decisions over the post as it is.

use std::borrow::Cow;

use copydesk_core::content::{Field, FieldValue, FieldWrite, Mode};
use copydesk_core::failure::Failure;
use copydesk_proto::ContentHash;
use serde_json::{Map, Value};

use super::core_rest::CorePost;
use super::fault;
use super::terms::Taxonomy;

/// The category WordPress gives to a post without one, unless the site set another.
const DEFAULT_CATEGORY: u64 = 1;

/// What is to be sent, and what is settled without sending.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Fields of the request; empty when nothing is left to write.
    pub(super) body: Map<String, Value>,
    /// Fields that hold our value already.
    pub(super) stored: Vec<(Field, ContentHash)>,
    /// Fields left alone.
    pub(super) kept: Vec<Field>,
    /// Fields whose value is only a suggestion; core has no place for it.
    pub(super) suggested: Vec<Field>,
    /// Texts being sent.
    pub(super) texts: Vec<(Field, String)>,
    /// Terms being sent: ours, to be found in the answer.
    pub(super) terms: Vec<(Field, Taxonomy, Vec<u64>, ContentHash)>,
}

/// What to do with one field.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Write,
    Already,
    Keep,
}

/// The taxonomy behind a field, if it is one of terms that may be written.
pub(super) fn taxonomy_of(write: &FieldWrite) -> Option<Taxonomy> {
    match write.field {
        _ if write.mode == Mode::Suggest => None,
        Field::Tags => Some(Taxonomy::Tags),
        Field::Categories => Some(Taxonomy::Categories),
        Field::Excerpt
        | Field::Title
        | Field::SeoDescription
        | Field::Meta(_)
        | Field::Status
        | Field::Comment => None,
    }
}

impl Plan {
    /// Takes one field in. `ids` are the existing terms among its values.
    ///
    /// # Errors
    /// A terminal failure when the post has no such field; nothing has been sent then.
    pub(super) fn add(
        &mut self,
        write: &FieldWrite,
        post: &CorePost,
        ids: &[u64],
    ) -> Result<(), Failure> {
        if write.mode == Mode::Suggest {
            self.suggested.push(write.field.clone());
            return Ok(());
        }
        match &write.field {
            Field::Title | Field::Status | Field::Comment => self.kept.push(write.field.clone()),
            Field::Tags => self.add_terms(write, Taxonomy::Tags, post, ids)?,
            Field::Categories => self.add_terms(write, Taxonomy::Categories, post, ids)?,
            Field::SeoDescription => {
                return Err(fault::terminal(
                    "seo_description_needs_plugin",
                    "only Copydesk's plugin knows where this site keeps its descriptions: install \
                     it, or name the key with field = \"meta:…\"",
                ));
            }
            Field::Excerpt | Field::Meta(_) => {
                let present = post.text_of(&write.field)?;
                let ours = text_of(&write.value);
                match text_step(write, present, &ours) {
                    Step::Keep => self.kept.push(write.field.clone()),
                    Step::Already => self.stored.push((write.field.clone(), stored_hash(present))),
                    Step::Write => self.send_text(&write.field, ours),
                }
            }
        }
        Ok(())
    }

    fn send_text(&mut self, field: &Field, ours: String) {
        if let Field::Meta(key) = field {
            let meta = self.body.entry("meta").or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(meta) = meta {
                meta.insert(key.clone(), Value::String(ours.clone()));
            }
        } else {
            self.body.insert("excerpt".to_owned(), Value::String(ours.clone()));
        }
        self.texts.push((field.clone(), ours));
    }

    fn add_terms(
        &mut self,
        write: &FieldWrite,
        taxonomy: Taxonomy,
        post: &CorePost,
        ids: &[u64],
    ) -> Result<(), Failure> {
        let present = post.terms_of(taxonomy)?;
        let hash = write.value.hash();
        match terms_step(write.mode, taxonomy, present, ids) {
            Step::Keep => self.kept.push(write.field.clone()),
            Step::Already => self.stored.push((write.field.clone(), hash)),
            Step::Write => {
                let mut union = present.to_vec();
                union.extend(ids.iter().filter(|id| !present.contains(id)));
                self.body.insert(taxonomy.name().to_owned(), union.into());
                self.terms.push((write.field.clone(), taxonomy, ids.to_vec(), hash));
            }
        }
        Ok(())
    }

    /// Takes in what the answer to our request shows.
    ///
    /// # Errors
    /// A terminal failure when a text was silently not stored. Returns the taxonomies whose list
    /// of terms turned out to be out of date.
    pub(super) fn confirm(
        &mut self,
        before: &CorePost,
        after: &CorePost,
    ) -> Result<Vec<Taxonomy>, Failure> {
        for (field, ours) in std::mem::take(&mut self.texts) {
            let stored = after.text_of(&field)?;
            // A filter of the site's may change our value; one that is as before was dropped.
            if !same_text(stored, &ours) && stored == before.text_of(&field)? {
                return Err(fault::terminal(
                    "wordpress_field_not_stored",
                    format!(
                        "WordPress answered 200 but did not store {field}: a plugin or a sanitize_callback drops it"
                    ),
                ));
            }
            self.stored.push((field, stored_hash(stored)));
        }
        let mut outdated = Vec::new();
        for (field, taxonomy, ids, hash) in std::mem::take(&mut self.terms) {
            let present = after.terms_of(taxonomy)?;
            // WordPress silently ignores an id that was deleted in the meantime.
            if !ids.iter().all(|id| present.contains(id)) {
                outdated.push(taxonomy);
            }
            if ids.iter().any(|id| present.contains(id)) {
                self.stored.push((field, hash));
            } else {
                self.kept.push(field);
            }
        }
        Ok(outdated)
    }
}

fn text_step(write: &FieldWrite, present: &str, ours: &str) -> Step {
    let of_ours = || write.base == Some(stored_hash(present));
    if same_text(present, ours) {
        Step::Already
    } else if present.trim().is_empty() || (write.mode == Mode::Apply && of_ours()) {
        Step::Write
    } else {
        Step::Keep
    }
}

fn terms_step(mode: Mode, taxonomy: Taxonomy, present: &[u64], ids: &[u64]) -> Step {
    let empty = present.is_empty()
        || (taxonomy == Taxonomy::Categories && present == [DEFAULT_CATEGORY].as_slice());
    if ids.is_empty() {
        Step::Keep
    } else if ids.iter().all(|id| present.contains(id)) {
        Step::Already
    } else if mode == Mode::Apply || empty {
        Step::Write
    } else {
        Step::Keep
    }
}

/// The text form of a value.
pub(super) fn text_of(value: &FieldValue) -> String {
    match value {
        FieldValue::Text(text) => text.clone(),
        FieldValue::List(items) => items.join(", "),
    }
}

/// The hash under which a stored text is known as ours.
fn stored_hash(raw: &str) -> ContentHash {
    ContentHash::of(&[raw])
}

/// Whether what WordPress holds is the text we sent. It stores `&` as `&amp;` for users without
/// `unfiltered_html`, other characters as numbers in old databases, and trims and joins white
/// space in meta.
pub(super) fn same_text(stored: &str, ours: &str) -> bool {
    stored == ours
        || decoded(stored).split_whitespace().eq(decoded(ours).split_whitespace())
        || decoded(stored).split_whitespace().eq(ours.split_whitespace())
}

/// The text with its HTML entities decoded, once.
pub(super) fn decoded(text: &str) -> Cow<'_, str> {
    html_escape::decode_html_entities(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wordpress_may_normalise_our_text() {
        let check = |stored: &str, ours: &str, same: bool| {
            assert_eq!(same_text(stored, ours), same, "{stored:?} {ours:?}");
        };
        check("R &amp; D", "R & D", true);
        check("R &amp; D", "R &amp; D", true);
        check("It&#039;s &quot;so&quot;", "It's \"so\"", true);
        check("caf&#233; &#x1f600;", "café 😀", true);
        check(" one\r\ntwo ", "one two", true);
        check("a &amp;amp; b", "a & b", false);
        check("one two.", "one two", false);
        check("", "one", false);
    }

    #[test]
    fn a_persons_words_stay() {
        let hash = |text: &str| Some(ContentHash::of(&[text]));
        let check = |mode, base, present: &str, expected: Step| {
            let value = FieldValue::Text("ours".to_owned());
            let write = FieldWrite { field: Field::Excerpt, value, mode, base };
            assert_eq!(text_step(&write, present, "ours"), expected, "{mode:?} {present:?}");
        };
        check(Mode::Apply, None, "", Step::Write);
        check(Mode::Apply, None, " \n", Step::Write);
        check(Mode::Apply, None, "hers", Step::Keep);
        check(Mode::Apply, hash("old"), "old", Step::Write);
        check(Mode::Apply, hash("old"), "hers", Step::Keep);
        check(Mode::Apply, hash("old"), "ours", Step::Already);
        check(Mode::ApplyIfEmpty, None, "", Step::Write);
        check(Mode::ApplyIfEmpty, hash("old"), "old", Step::Keep);
        check(Mode::ApplyIfEmpty, None, "ours", Step::Already);
    }

    #[test]
    fn terms_are_only_added() {
        let check = |mode, taxonomy, present: &[u64], ids: &[u64], expected: Step| {
            assert_eq!(terms_step(mode, taxonomy, present, ids), expected, "{present:?} {ids:?}");
        };
        check(Mode::Apply, Taxonomy::Tags, &[3], &[4], Step::Write);
        check(Mode::Apply, Taxonomy::Tags, &[3, 4], &[4], Step::Already);
        check(Mode::Apply, Taxonomy::Tags, &[3], &[], Step::Keep);
        check(Mode::ApplyIfEmpty, Taxonomy::Tags, &[3], &[4], Step::Keep);
        check(Mode::ApplyIfEmpty, Taxonomy::Tags, &[], &[4], Step::Write);
        check(Mode::ApplyIfEmpty, Taxonomy::Categories, &[1], &[4], Step::Write);
        check(Mode::ApplyIfEmpty, Taxonomy::Tags, &[1], &[4], Step::Keep);
    }
}
