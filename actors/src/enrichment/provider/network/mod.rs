//! AI services over HTTP: any OpenAI-compatible server, and Anthropic.
//!
//! The wire formats are genai's; this module is its only point of contact. genai reads an answer's
//! body whole before we see it, so [`recipe::OUTPUT_BYTES_MAX`] bounds what we go on with, and the
//! total timeout what a hostile server can send.

mod failure;

use std::sync::Arc;
use std::time::Duration;

use copydesk_core::content::FieldValue;
use copydesk_core::failure::{Failure, FailureClass};
use copydesk_core::outbound::{Refused, Rules};
use futures::future::BoxFuture;
use genai::adapter::AdapterKind;
use genai::chat::{
    ChatMessage, ChatOptions, ChatRequest, ChatResponse, JsonSpec, StopReason, Usage,
};
use genai::resolver::{AuthData, Endpoint};
use genai::{Client, Headers, ModelIden, ServiceTarget};
use opentelemetry::StringValue;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{Face, Prices, Provider, Question, Reply, estimate_tokens, tokens_max};
use crate::enrichment::recipe::{self, Misfit, Prompt};
use crate::outbound;

/// Longest model name kept from an answer, in bytes: it is stored with every result.
const MODEL_BYTES_MAX: usize = 100;

/// Our own words in a request, the schema, a repair's complaint and the wire's own tokens, in bytes.
const WORDS_BYTES_MAX: usize = 3 * 1024;

/// Site terms in a request, in bytes: 200 of at most 120.
const TERMS_BYTES_MAX: usize = 200 * 124;

/// Which wire format a service speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `POST {base_url}/chat/completions`, as OpenAI and everyone compatible with it.
    OpenAi,
    /// `POST {base_url}/messages`, as Anthropic.
    Anthropic,
}

/// How to reach a service.
#[derive(Debug, Clone)]
pub struct NetworkSettings {
    /// The wire format.
    pub kind: Kind,
    /// Up to and including the version: `https://api.openai.com/v1`.
    pub base_url: Url,
    /// The key; `None` for a local server that asks for none.
    pub api_key: Option<SecretString>,
    /// Where the key is set, for error messages: `providers.main.api_key`.
    pub api_key_setting: String,
    /// The model's name, sent as it is.
    pub model: String,
    /// For the TCP and TLS handshake; 5 s by default.
    pub connect_timeout: Duration,
    /// For one whole request; 60 s by default, what a long answer of a slow model takes.
    pub timeout: Duration,
    /// An egress proxy. The environment's proxy variables are never used.
    pub proxy: Option<Url>,
    /// Which addresses its name may have.
    pub rules: Rules,
    /// What tokens cost.
    pub prices: Prices,
}

impl NetworkSettings {
    /// The default [`connect_timeout`](Self::connect_timeout).
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    /// The default [`timeout`](Self::timeout).
    pub const TIMEOUT: Duration = Duration::from_secs(60);
}

/// The HTTP client could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// TLS or the proxy.
    #[error("set up the HTTP client")]
    Http(#[source] reqwest::Error),
    /// The URL cannot be extended by a path.
    #[error("a base URL starts with http:// or https:// and names a host")]
    BaseUrl,
    /// The address is not one that may be called.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// genai refused.
    #[error("set up the AI client: {0}")]
    Client(String),
}

/// A provider over HTTP.
#[derive(Debug)]
pub struct Network {
    settings: NetworkSettings,
    client: Client,
    target: ServiceTarget,
    face: Face,
}

impl Network {
    /// A client with its own connections.
    ///
    /// # Errors
    /// [`SetupError`] when TLS, the proxy or the base URL is unusable.
    pub fn new(settings: NetworkSettings) -> Result<Self, SetupError> {
        let http = matches!(settings.base_url.scheme(), "http" | "https");
        if !http || settings.base_url.host_str().is_none() {
            return Err(SetupError::BaseUrl);
        }
        settings.rules.check_url(&settings.base_url)?;
        let kind = match settings.kind {
            Kind::OpenAi => AdapterKind::OpenAI,
            Kind::Anthropic => AdapterKind::Anthropic,
        };
        let key = settings.api_key.as_ref().map(SecretString::expose_secret).unwrap_or_default();
        let base_url = format!("{}/", settings.base_url.as_str().trim_end_matches('/'));
        let target = ServiceTarget {
            endpoint: Endpoint::from_owned(base_url),
            auth: AuthData::Key(key.to_owned()),
            // Forced: genai would guess the service from the model's name.
            model: ModelIden::new(kind, settings.model.as_str()),
        };
        let client = Client::builder()
            .with_reqwest(http_client(&settings)?)
            .build()
            .map_err(|error| SetupError::Client(error.to_string()))?;
        let face = face_of(&settings);
        Ok(Self { settings, client, target, face })
    }

    /// Lists the service's models: says whether it is there and takes the key, and costs nothing.
    ///
    /// # Errors
    /// The [`Failure`] a question would end with.
    pub async fn check(&self) -> Result<Vec<String>, Failure> {
        let ServiceTarget { endpoint, auth, model } = self.target.clone();
        self.client
            .all_model_names(model.adapter_kind, (endpoint, auth))
            .await
            .map_err(|error| failure::of(&error, &self.settings))
    }

    async fn ask_model(&self, question: &Question) -> Result<Reply, Failure> {
        let mut spent = Spent::new(&self.settings.model);
        let asked = self.ask_with(question, &mut spent).await;
        asked.map_err(|failure| {
            // An answer that was lost on the way may be billed all the same.
            let lost = matches!(
                failure.code.as_str(),
                "provider_timeout" | "provider_connection_lost" | "provider_bad_response"
            );
            let lost = if lost { self.request_cost_max(question) } else { 0 };
            let prices = self.settings.prices;
            let known = prices.cost_microdollars(spent.input_tokens, spent.output_tokens);
            failure.cost(known.saturating_add(lost))
        })
    }

    async fn ask_with(&self, question: &Question, spent: &mut Spent) -> Result<Reply, Failure> {
        let Some(prompt) = question.recipe.prompt(&question.text, rand::random()) else {
            return Ok(spent.reply(question.recipe.empty(), self.settings.prices));
        };
        let answer = self.call(question, &prompt, None, spent).await?;
        let value = match answer.value(question) {
            Ok(value) => value,
            // Not to be mended by asking again, or not worth sending back.
            Err(unfit @ (Unfit::Refused | Unfit::Malformed(Misfit::TooLong))) => {
                return Err(unfit.into());
            }
            Err(unfit) => {
                let repair = Repair { answer: answer.text, complaint: unfit.complaint() };
                let answer = self.call(question, &prompt, Some(repair), spent).await?;
                answer.value(question)?
            }
        };
        let value = recipe::clean(&question.field, value, &question.text)?;
        Ok(spent.reply(value, self.settings.prices))
    }

    /// The most that one request may cost: the text as it may be sent, our words around it, and
    /// for a repair the first answer.
    fn request_cost_max(&self, question: &Question) -> u64 {
        let text = &question.text;
        let content = text.content.len().min(recipe::INPUT_BYTES_MAX) + text.title.len().min(1_000);
        let terms: usize = text.terms.iter().map(|term| term.len() + 4).sum();
        let input = tokens_max(content + terms.min(TERMS_BYTES_MAX) + WORDS_BYTES_MAX)
            .saturating_add(question.max_output_tokens);
        self.settings.prices.cost_microdollars(input, question.max_output_tokens)
    }

    async fn call(
        &self,
        question: &Question,
        prompt: &Prompt,
        repair: Option<Repair>,
        spent: &mut Spent,
    ) -> Result<ModelAnswer, Failure> {
        // The repair is another request, so it must not be taken for a repeat of the first.
        let key = match &repair {
            None => question.call_id.clone(),
            Some(_) => format!("{}-repair", question.call_id),
        };
        let mut headers = vec![("idempotency-key".to_owned(), key)];
        if let Some(trace) = &question.trace {
            headers.push(("traceparent".to_owned(), trace.to_string()));
        }
        let mut messages = vec![ChatMessage::user(prompt.user.as_str())];
        if let Some(repair) = repair {
            if !repair.answer.is_empty() {
                messages.push(ChatMessage::assistant(repair.answer));
            }
            messages.push(ChatMessage::user(repair.complaint));
        }
        let options = ChatOptions::default()
            .with_max_tokens(question.max_output_tokens)
            .with_extra_headers(Headers::from(headers))
            .with_response_format(JsonSpec::new(
                question.recipe.name(),
                question.recipe.schema().clone(),
            ));
        let request = ChatRequest::new(messages).with_system(prompt.system.as_str());
        let response = self
            .client
            .exec_chat(self.target.clone(), request, Some(&options))
            .await
            .map_err(|error| failure::of(&error, &self.settings))?;
        let answer = ModelAnswer::of(response);
        spent.book(prompt, &answer);
        Ok(answer)
    }
}

impl Provider for Network {
    fn face(&self) -> Face {
        self.face.clone()
    }

    fn ask<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Result<Reply, Failure>> {
        Box::pin(self.ask_model(question))
    }

    fn cost_max_microdollars(&self, question: &Question) -> u64 {
        // The answer, and one repair of it.
        self.request_cost_max(question).saturating_mul(2)
    }
}

fn face_of(settings: &NetworkSettings) -> Face {
    let system = match settings.kind {
        Kind::OpenAi => "openai",
        Kind::Anthropic => "anthropic",
    };
    let shared = |text: &str| StringValue::from(Arc::<str>::from(text));
    let host = settings.base_url.host_str().map(shared);
    Face { system, model: shared(&settings.model), host }
}

fn http_client(settings: &NetworkSettings) -> Result<reqwest::Client, SetupError> {
    let mut builder = outbound::builder(&settings.rules)
        .connect_timeout(settings.connect_timeout)
        .timeout(settings.timeout);
    if let Some(proxy) = &settings.proxy {
        builder = builder.proxy(reqwest::Proxy::all(proxy.clone()).map_err(SetupError::Http)?);
    }
    builder.build().map_err(SetupError::Http)
}

/// The second request's additions.
struct Repair {
    answer: String,
    complaint: String,
}

/// What we use of an answer.
struct ModelAnswer {
    text: String,
    stop: Option<StopReason>,
    usage: Usage,
    model: String,
}

impl ModelAnswer {
    fn of(response: ChatResponse) -> Self {
        let model = response.provider_model_iden.model_name.to_string();
        let stop = response.stop_reason.clone();
        let usage = response.usage.clone();
        Self { text: response.into_first_text().unwrap_or_default(), stop, usage, model }
    }

    /// The service's word for it may be anything; ours are few.
    const fn finish_reason(&self) -> &'static str {
        match &self.stop {
            Some(StopReason::Completed(_) | StopReason::StopSequence(_)) | None => "stop",
            Some(StopReason::MaxTokens(_)) => "length",
            Some(StopReason::ContentFilter(_)) => "content_filter",
            Some(StopReason::ToolCall(_)) => "tool_calls",
            Some(StopReason::Other(_)) => "other",
        }
    }

    fn value(&self, question: &Question) -> Result<FieldValue, Unfit> {
        match &self.stop {
            Some(StopReason::ContentFilter(_)) => return Err(Unfit::Refused),
            Some(StopReason::MaxTokens(_)) => return Err(Unfit::CutOff),
            Some(
                StopReason::Completed(_)
                | StopReason::ToolCall(_)
                | StopReason::StopSequence(_)
                | StopReason::Other(_),
            )
            | None => {}
        }
        question.recipe.decode(&self.text, &question.text).map_err(Unfit::Malformed)
    }
}

/// Why an answer that came cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Unfit {
    Refused,
    CutOff,
    Malformed(Misfit),
}

impl Unfit {
    /// What the model is told.
    fn complaint(&self) -> String {
        match self {
            Self::CutOff => "Your answer was cut off. Answer again, much shorter.".to_owned(),
            Self::Malformed(misfit) => format!(
                "That could not be used: {misfit}. Answer again with only the JSON object asked \
                 for."
            ),
            Self::Refused => String::new(),
        }
    }
}

impl From<Unfit> for Failure {
    fn from(unfit: Unfit) -> Self {
        let (code, cause) = match unfit {
            Unfit::Refused => (
                "provider_refused_content",
                "the model or its content filter declined to work on this post".to_owned(),
            ),
            Unfit::CutOff => (
                "provider_answer_cut_off",
                "the answer did not fit the token limit, twice; a model that thinks before it \
                 answers needs a higher max_output_tokens"
                    .to_owned(),
            ),
            Unfit::Malformed(Misfit::TooLong) => {
                ("provider_answer_too_long", format!("{}", Misfit::TooLong))
            }
            Unfit::Malformed(misfit) => (
                "provider_answer_malformed",
                format!("{misfit}, twice; choose a model that supports structured output"),
            ),
        };
        Self::new(FailureClass::Terminal, code, cause)
    }
}

/// Tokens of all requests of one question.
struct Spent {
    input_tokens: u32,
    output_tokens: u32,
    model: String,
    finish_reason: &'static str,
}

impl Spent {
    fn new(model: &str) -> Self {
        Self { input_tokens: 0, output_tokens: 0, model: model.to_owned(), finish_reason: "stop" }
    }

    fn book(&mut self, prompt: &Prompt, answer: &ModelAnswer) {
        let reported =
            |tokens: Option<i32>| tokens.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
        let input = reported(answer.usage.prompt_tokens).unwrap_or_else(|| {
            estimate_tokens(&prompt.system).saturating_add(estimate_tokens(&prompt.user))
        });
        let output = reported(answer.usage.completion_tokens)
            .unwrap_or_else(|| estimate_tokens(&answer.text));
        self.input_tokens = self.input_tokens.saturating_add(input);
        self.output_tokens = self.output_tokens.saturating_add(output);
        let model = answer.model.chars().filter(|c| c.is_ascii_graphic()).take(MODEL_BYTES_MAX);
        self.model = model.collect();
        self.finish_reason = answer.finish_reason();
    }

    fn reply(&self, value: FieldValue, prices: Prices) -> Reply {
        let cost_microdollars = prices.cost_microdollars(self.input_tokens, self.output_tokens);
        Reply {
            value,
            model: self.model.clone(),
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            cost_microdollars,
            finish_reason: self.finish_reason,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]
mod tests {
    use copydesk_core::content::PostText;

    use super::*;
    use crate::enrichment::recipe::Recipe;

    /// What is reserved stands on this.
    #[test]
    fn our_own_words_are_fewer_than_what_is_reserved_for_them() {
        let text = PostText {
            content: "<p>One sentence.</p>".to_owned(),
            terms: vec!["news".to_owned()],
            ..PostText::default()
        };
        for recipe in Recipe::ALL {
            let prompt = recipe.prompt(&text, u64::MAX).unwrap();
            let schema = recipe.schema().to_string();
            let misfit =
                Unfit::Malformed(Misfit::Schema { path: "/properties/x/items".to_owned() });
            let words = prompt.system.len() + prompt.user.len() + schema.len();
            let words = words + misfit.complaint().len() - text.content.len();
            assert!(words + 512 < WORDS_BYTES_MAX, "{recipe}: {words} bytes");
        }
    }
}
