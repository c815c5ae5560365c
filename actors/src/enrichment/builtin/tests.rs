//! What an editor would and would not accept.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use copydesk_core::content::{FieldValue, PostText};
use proptest::prelude::*;

use super::samples::{Expected, SAMPLES, Sample};
use super::*;

fn post(title: &str, content: &str) -> PostText {
    PostText { title: title.to_owned(), content: content.to_owned(), ..PostText::default() }
}

fn text(recipe: Recipe, post: &PostText) -> String {
    match make(recipe, post) {
        FieldValue::Text(text) => text,
        FieldValue::List(items) => panic!("a list: {items:?}"),
    }
}

fn list(recipe: Recipe, post: &PostText) -> Vec<String> {
    match make(recipe, post) {
        FieldValue::List(items) => items,
        FieldValue::Text(text) => panic!("a text: {text}"),
    }
}

fn summary_of(content: &str) -> String {
    text(Recipe::Summary, &post("", content))
}

#[test]
fn articles_in_ten_languages_are_summed_up_as_an_editor_would_accept() {
    for Sample { language, title, content, expected } in SAMPLES {
        let Expected { summary, titles, tags } = expected;
        let post = post(title, content);
        assert_eq!(language::detect(&plain_text(content)), Some(*language));
        assert_eq!(text(Recipe::Summary, &post), *summary, "{language}");
        assert_eq!(list(Recipe::Titles, &post), *titles, "{language}");
        assert_eq!(list(Recipe::Tags, &post), *tags, "{language}");
    }
}

#[test]
fn a_summary_is_whole_sentences_of_the_text_in_their_order() {
    for Sample { title, content, .. } in SAMPLES {
        let plain = plain_text(content);
        for (recipe, width_max) in [
            (Recipe::Summary, SUMMARY_WIDTH_MAX),
            (Recipe::MetaDescription, META_DESCRIPTION_WIDTH_MAX),
        ] {
            let summary = text(recipe, &post(title, content));
            assert!(language::width(&summary) <= width_max, "{summary}");
            assert!(language::width(&summary) >= width_max / 3, "{summary}");
            assert!(sentence::is_whole(&summary), "{summary}");
            let language = language::of(&plain, "");
            let mut after = 0;
            for part in sentence::split(&summary, &language, language::stop_words(&language)) {
                let found = plain[after..].find(part);
                assert!(found.is_some(), "{part:?} is not in the text after the one before");
                after += found.unwrap() + part.len();
            }
        }
    }
}

#[test]
fn page_furniture_never_reaches_a_summary() {
    let article = "The museum opens its new wing on Saturday after four years of building work.";
    let furniture = [
        "<h2>The museum opens its new wing, and everybody comes to see it.</h2>",
        "<figure><img><figcaption>The new wing of the museum seen from the park.</figcaption></figure>",
        "[caption id=\"1\" width=\"300\"]<img src=x> The new wing of the museum from the park.[/caption]",
        "[gallery ids=\"1,2,3\"]",
        "<p class=\"wp-caption-text\">The new wing of the museum seen from the park.</p>",
        "<p class=\"post-byline\">By Jane Doe, who writes about museums for us.</p>",
        "<p>https://example.com/museum opens a new wing for all.</p>",
        "<pre><code>let museum = open(\"new wing of the museum\"); // It opens.</code></pre>",
        "<script>document.write('The museum opens its new wing today.');</script>",
        "<style>.museum::after { content: 'The museum opens its wing.' }</style>",
        "<ul><li>The museum wing costs nothing on Sundays</li><li>Museum shop</li></ul>",
        "<table><tr><td>The museum opens its doors at nine in the morning.</td></tr></table>",
        "<aside>The museum opened in 1904 and has four floors.</aside>",
        "<!-- wp:html {\"a\":\"The museum opens its new wing.\"} --><!-- /wp:html -->",
        "<p>Subscribe to our museum newsletter and never miss a wing.</p>",
        "<p>Photo: The museum opens its new wing to the public.</p>",
        "<form><p>The museum opens your mail if you give it here.</p></form>",
    ];
    for part in furniture {
        for content in [format!("{part}<p>{article}</p>"), format!("<p>{article}</p>{part}")] {
            assert_eq!(summary_of(&content), article, "{part}");
        }
    }
}

#[test]
fn sentences_end_where_a_reader_ends_them() {
    let cases: &[(&str, &[&str])] = &[
        (
            "Dr. Smith met Mrs. Jones at St. Mary's. They spoke.",
            &["Dr. Smith met Mrs. Jones at St. Mary's.", "They spoke."],
        ),
        ("J. R. R. Tolkien lived here. He wrote.", &["J. R. R. Tolkien lived here.", "He wrote."]),
        ("He left the U.S. The ship sailed.", &["He left the U.S.", "The ship sailed."]),
        ("The U.S. Senate met at 9 a.m. Friday.", &["The U.S. Senate met at 9 a.m. Friday."]),
        (
            "“Is it safe? I doubt it.” So she stayed.",
            &["“Is it safe? I doubt it.”", "So she stayed."],
        ),
        ("\"Great!\" he said. All laughed.", &["\"Great!\" he said.", "All laughed."]),
        (
            "It cost 3.5 million. See example.com for more.",
            &["It cost 3.5 million.", "See example.com for more."],
        ),
        ("Wait… what? Yes.", &["Wait… what?", "Yes."]),
    ];
    for (given, expected) in cases {
        assert_eq!(sentence::split(given, "en", language::stop_words("en")), *expected);
    }
    let german = "Am 3. Mai kam Prof. Dr. Berg, d. h. der Chef. Er blieb bis zum 19. Juni.";
    assert_eq!(
        sentence::split(german, "de", language::stop_words("de")),
        ["Am 3. Mai kam Prof. Dr. Berg, d. h. der Chef.", "Er blieb bis zum 19. Juni.",]
    );
}

#[test]
fn a_sentence_over_the_limit_is_cut_at_a_clause_or_word_with_an_ellipsis() {
    let clause = format!(
        "The committee met for a long time in the old town hall, {}end.",
        "and again ".repeat(40)
    );
    let meta = text(Recipe::MetaDescription, &post("", &clause));
    assert!(meta.ends_with('…') && language::width(&meta) <= META_DESCRIPTION_WIDTH_MAX, "{meta}");
    let words = format!("{}stopped.", "remarkable developments continued ".repeat(20));
    let meta = text(Recipe::MetaDescription, &post("", &words));
    assert!(
        meta.ends_with("developments continued…")
            || meta.ends_with("remarkable…")
            || meta.ends_with("developments…"),
        "{meta}"
    );
    let thai = "ภาษาไทยไม่มีเครื่องหมายจบประโยค".repeat(30);
    let summary = summary_of(&thai);
    assert!(summary.ends_with('…') && language::width(&summary) <= SUMMARY_WIDTH_MAX);
}

#[test]
fn classic_content_without_tags_has_paragraphs_and_wrapped_lines() {
    let content = "By Jane Doe\n\nThe harbour master closed the port on Monday\nafter a storm damaged the pier.\n\nRelated";
    assert_eq!(
        summary_of(content),
        "The harbour master closed the port on Monday after a storm damaged the pier."
    );
}

#[test]
fn brackets_of_an_editor_stay_and_shortcodes_go() {
    let cases = [
        (
            "<p>He said [sic] that it [the law] was fine by him.</p>",
            "He said [sic] that it [the law] was fine by him.",
        ),
        (
            "<p>[dropcap]T[/dropcap]he law of the land was fine by him.</p>",
            "T he law of the land was fine by him.",
        ),
        ("<p>The law was fine by him.[su_note color=\"red\"]</p>", "The law was fine by him."),
        (
            "<p>The [embed]https://example.com/v[/embed] law was fine by him.</p>",
            "The law was fine by him.",
        ),
    ];
    for (content, expected) in cases {
        assert_eq!(plain_text(content), expected);
    }
}

#[test]
fn a_post_without_text_gives_empty_values() {
    for content in
        ["", "<!-- wp:gallery --><figure><img></figure><!-- /wp:gallery -->", "[gallery]"]
    {
        let post = post("Pictures", content);
        for recipe in Recipe::ALL {
            assert_eq!(make(recipe, &post), recipe.empty(), "{recipe}");
        }
    }
}

#[test]
fn existing_terms_are_chosen_and_no_others() {
    let sample = &SAMPLES[0];
    let terms = ["Public transport", "Harbour", "Football", "Trams", "Politics", "Line"];
    let terms = terms.map(str::to_owned).to_vec();
    let post = PostText { terms, ..post(sample.title, sample.content) };
    assert_eq!(list(Recipe::Tags, &post), ["Trams", "Line", "Harbour", "Public transport"]);
    let none = PostText { terms: vec!["Football".to_owned()], ..post };
    assert_eq!(list(Recipe::Categories, &none), Vec::<String>::new());
}

#[test]
fn short_or_mixed_texts_have_no_detected_language() {
    for text in ["Hello world", "Guten Tag zusammen", "Nouvelle version disponible", ""] {
        assert_eq!(language::detect(text), None, "{text}");
    }
    assert_eq!(language::of("Guten Tag", "de_AT"), "de");
}

#[test]
fn reading_time_counts_words_or_characters() {
    assert_eq!(language::reading_minutes(""), 1);
    assert_eq!(language::reading_minutes(&"word ".repeat(714)), 3);
    assert_eq!(language::reading_minutes(&"字".repeat(1_500)), 3);
}

#[test]
fn hostile_sizes_come_to_an_end() {
    let hostile = [
        "a! ".repeat(40_000),
        "[a]".repeat(40_000),
        "[caption]".repeat(14_000) + "[/caption]",
        "<p".repeat(60_000),
        "„".repeat(40_000),
        "<figure>".repeat(16_000),
        "中国人".repeat(14_000),
        "A b. ".repeat(26_000),
        "&lt;".repeat(30_000),
        "\n".repeat(130_000),
    ];
    // No clock here: what is quadratic in these takes minutes, and the test runner ends it.
    for text in hostile {
        for recipe in Recipe::ALL {
            let _ = make(recipe, &post(&text, &text));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_input_gives_a_bounded_value(
        parts in proptest::collection::vec(prop_oneof![
            any::<String>(),
            "[<>/a-z\\[\\]= \"&;.!?]{0,40}",
            "(<p>|</p>|<li>|<br>|<figure>|</figure>|<script>|<!--|-->|\\[caption\\]|\\[/caption\\]|&amp;|„|“|。|।|\\. )",
            "[A-Za-zäöüßа-яА-Я一-龥ぁ-ん]{1,12}( [a-z]{1,8}){0,12}[.!?。]",
        ], 0..40),
        title in any::<String>(),
        declared in any::<String>(),
    ) {
        let post = PostText { language: declared, ..post(&title, &parts.concat()) };
        for recipe in Recipe::ALL {
            match make(recipe, &post) {
                FieldValue::Text(text) => {
                    prop_assert!(language::width(&text) <= SUMMARY_WIDTH_MAX);
                    prop_assert!(!text.chars().any(char::is_control));
                }
                FieldValue::List(items) => prop_assert!(items.len() <= TAGS_MAX),
            }
        }
    }
}
