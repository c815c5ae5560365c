//! The actor, the recipes and both wire formats, against a real HTTP server in the test.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod actor;
mod network;
mod recipe;
mod stub;

use std::sync::Arc;

use copydesk_core::content::PostText;

use super::provider::Question;
use super::recipe::Recipe;

const CONTENT: &str = "<p>The harbour reopened on Monday after a storm. Ferries sail again.</p>";

fn question(recipe: Recipe) -> Question {
    question_about(recipe, CONTENT)
}

fn question_about(recipe: Recipe, content: &str) -> Question {
    let text = PostText {
        title: "Harbour reopens".to_owned(),
        content: content.to_owned(),
        terms: vec!["Harbour".to_owned(), "Weather".to_owned()],
        ..PostText::default()
    };
    Question {
        recipe,
        field: recipe.field(),
        text: Arc::new(text),
        site: "news".parse().unwrap(),
        lane: copydesk_core::post::Lane::Live,
        call_id: "call-7".to_owned(),
        trace: None,
        max_output_tokens: recipe.output_tokens_max(),
    }
}
