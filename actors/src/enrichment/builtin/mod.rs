//! The provider inside the process: no key, no network, no cost, the same answer every time.
//!
//! It makes nothing up: summaries and titles are the post's own sentences, tags and categories are
//! the site's own terms or phrases of the text. A post with nothing to say gives an empty value.

mod article;
mod html;
mod keyword;
pub mod language;
mod phrases;
mod sentence;
mod summary;
mod title;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use copydesk_core::content::{FieldValue, Judgement, PostText};
use copydesk_core::failure::Failure;
use futures::future::BoxFuture;

use self::article::Article;
pub(super) use self::article::clip;
use super::provider::{Provider, Question, Reply};
use super::recipe::Recipe;

/// Columns of a summary: what WordPress themes show of an excerpt (55 words), a little under.
pub const SUMMARY_WIDTH_MAX: usize = 320;

/// Columns of a meta description: what search results show.
pub const META_DESCRIPTION_WIDTH_MAX: usize = 155;

const TITLES_MAX: usize = 3;
const TAGS_MAX: usize = 6;
const CATEGORIES_MAX: usize = 2;

/// The model name in answers; the number changes with the results.
pub const MODEL: &str = "copydesk-builtin-1";

/// The built-in provider.
#[derive(Debug, Clone, Copy, Default)]
pub struct Builtin;

impl Provider for Builtin {
    fn cost_max_microdollars(&self, _: &Question) -> u64 {
        0
    }

    fn ask<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Result<Reply, Failure>> {
        // Under 2 ms for a usual article, so it may stay on the caller's thread.
        Box::pin(std::future::ready(answer(question)))
    }
}

fn answer(question: &Question) -> Result<Reply, Failure> {
    let value = make(question.recipe, &question.text);
    let value = super::recipe::clean(&question.field, value, &question.text)?;
    Ok(Reply {
        value,
        model: MODEL.to_owned(),
        input_tokens: 0,
        output_tokens: 0,
        cost_microdollars: 0,
        finish_reason: "stop",
    })
}

/// What the recipe makes of the post, before cleaning.
#[must_use]
pub fn make(recipe: Recipe, post: &PostText) -> FieldValue {
    let article = Article::read(post);
    match recipe {
        // It makes nothing up, and judges nobody.
        Recipe::Moderation | Recipe::Lead if plain_text(&post.content).is_empty() => recipe.empty(),
        Recipe::Moderation => {
            judged("hold", "no AI service judges comments here: a person decides")
        }
        Recipe::Lead => judged("other", "no AI service reads enquiries here: a person decides"),
        Recipe::Summary => FieldValue::Text(summary::summary(&article, SUMMARY_WIDTH_MAX)),
        Recipe::MetaDescription => {
            FieldValue::Text(summary::summary(&article, META_DESCRIPTION_WIDTH_MAX))
        }
        Recipe::Titles => FieldValue::List(title::ideas(&article, TITLES_MAX)),
        Recipe::Tags if post.terms.is_empty() => {
            FieldValue::List(keyword::key_phrases(&article, TAGS_MAX))
        }
        Recipe::Tags => FieldValue::List(keyword::matching_terms(&article, &post.terms, TAGS_MAX)),
        Recipe::Categories => {
            FieldValue::List(keyword::matching_terms(&article, &post.terms, CATEGORIES_MAX))
        }
    }
}

fn judged(verdict: &str, reason: &str) -> FieldValue {
    FieldValue::Text(Judgement { verdict, reason }.to_string())
}

/// The running text of a post's content, one paragraph a line, without tags.
#[must_use]
pub fn plain_text(content: &str) -> String {
    html::blocks(article::clip(content, article::INPUT_BYTES_MAX))
        .into_iter()
        .map(|block| block.text)
        .collect::<Vec<_>>()
        .join("\n")
}
