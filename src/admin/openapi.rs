//! `openapi.json`: what the handlers say of themselves, with what the door adds to every route.

use http::Method;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, InfoBuilder, OpenApi, Ref, RefOr, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};

use super::policy::{Needs, POLICIES, Policy};
use super::{Code, Problem, nouns};

const DESCRIPTION: &str = "\
What operators, programs and the UI ask a running Copydesk node. Reads are GET and change nothing; \
changes are POST, and durable when answered. Lists are parts: take `next` as the next `cursor`. \
Refusals are RFC 9457 problems with a stable `code`. Each token has a role and may be limited to \
sites; what a token does not reach is answered as if it were not there.";

/// The document, as it is checked in and answered.
///
/// # Panics
/// Never: it is made of constants.
#[must_use]
pub fn document() -> String {
    let mut text = finish(nouns::all().split_for_parts().1);
    text.push('\n');
    text
}

/// Adds what the door does.
pub(super) fn finish(mut document: OpenApi) -> String {
    document.info = InfoBuilder::new()
        .title("Copydesk admin API")
        .version("1")
        .description(Some(DESCRIPTION))
        .build();
    let components = document.components.get_or_insert_default();
    components.schemas.insert(Problem::name().into_owned(), Problem::schema());
    components
        .add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    document.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>("token", [])]);
    for policy in POLICIES {
        let item = document.paths.paths.get_mut(policy.path);
        let operation = item.and_then(|item| match policy.method.as_str() {
            "GET" => item.get.as_mut(),
            _ => item.post.as_mut(),
        });
        if let Some(operation) = operation {
            rule(operation, policy);
        }
    }
    serde_json::to_string_pretty(&document).expect("a document of texts is JSON")
}

fn rule(operation: &mut Operation, policy: &Policy) {
    let said = operation.description.take().unwrap_or_default();
    let reach = match policy.needs {
        Needs::Sites => "",
        Needs::Desk => " of the whole desk",
    };
    let takes = format!("Takes the role {}{reach}.", policy.role);
    let paragraphs = [said.trim(), &takes].into_iter().filter(|text| !text.is_empty());
    operation.description = Some(paragraphs.collect::<Vec<_>>().join("\n\n"));
    let of_changes = [Code::Refused, Code::BodyTooLarge, Code::UnsupportedMediaType];
    let reads = policy.method == Method::GET;
    for code in Code::ALL.iter().filter(|code| !(reads && of_changes.contains(code))) {
        let (status, name, title) = code.parts();
        let reply = operation.responses.responses.entry(status.to_string());
        let reply = reply.or_insert_with(|| {
            let content =
                ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build();
            RefOr::T(ResponseBuilder::new().content("application/problem+json", content).build())
        });
        if let RefOr::T(reply) = reply {
            let title = format!("{title} (`{name}`)");
            reply.description = match reply.description.as_str() {
                "" => title,
                others => format!("{others}; {title}"),
            };
        }
    }
}
