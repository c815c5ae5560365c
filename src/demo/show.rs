//! What the demo shows: an editor at work, and what Copydesk makes of it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use copydesk_core::signature::Secret;
use serde::Serialize;
use serde_json::{Value, json};

use super::folder::Folder;
use super::site::{PretendSite, USER};
use crate::admin::{FollowLine, Followed};
use crate::cli::init::new_secret;
use crate::cli::output::{plain, time};
use crate::cli::send::{self, Answered, Target};
use crate::cli::{AdminClient, Journeys, Output};

/// The post the show is about.
pub(super) const POST: u64 = 1;

const TITLE: &str = "Night trains return to the coast";

const TEXT: &str = "\
The railway company will run night trains to the coast again from the first of May. \
The line was closed nine years ago because too few people used it. \
Since then the number of passengers on the day trains has doubled, and the morning trains are full. \
The new night train leaves the capital at eleven and reaches the harbour before seven. \
A bed costs 39 euros if it is booked a month ahead, and a seat costs 19. \
The mayor of the harbour town expects that the train will bring 60,000 more visitors a year.";

const LATER_TITLE: &str = "Night trains to the coast are sold out until July";

const LATER_TEXT: &str = "\
All beds in the new night trains to the coast were sold out until July within one day. \
The railway company sold 41,000 tickets on the first morning, four times what it had expected. \
Its website could not be reached for two hours because so many people tried to book at once. \
The company will add two sleeping cars to each train from the middle of June. \
Seats are still to be had for most nights, at 19 euros each. \
The mayor of the harbour town asked for a second train on Fridays.";

/// From a webhook to the end of its event; on a slow machine it is a few hundred milliseconds.
const JOURNEY_MAX: Duration = Duration::from_secs(30);

/// The show, with all it needs.
pub(super) struct Show<'s> {
    site: &'s PretendSite,
    target: &'s Target,
    output: &'s Output,
    http: reqwest::Client,
    journeys: Journeys,
}

/// A webhook and what became of it.
#[derive(Debug, Serialize)]
struct Outcome {
    webhook: &'static str,
    answer: String,
    became: String,
}

impl<'s> Show<'s> {
    /// Begins to follow the node of this data folder.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) async fn begin(
        site: &'s PretendSite,
        target: &'s Target,
        data_dir: &Path,
        output: &'s Output,
    ) -> anyhow::Result<Self> {
        let journeys = AdminClient::of(data_dir)?.journeys(&Followed::default()).await?;
        Ok(Self { site, target, output, http: send::client()?, journeys })
    }

    /// Publishes, updates, repeats and forges.
    ///
    /// # Errors
    /// What does not go as it should.
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        self.say(&format!(
            "A Copydesk node takes webhooks at {}.\n\
             A pretend WordPress stands at http://{}/ (open it in a browser).",
            self.target.url, self.site.address
        ))?;
        let mut outcomes = Vec::new();

        self.say(&format!("\nThe editor publishes post {POST}: {TITLE}\n"))?;
        self.site.edit(POST, TITLE, TEXT);
        outcomes.push(self.event("published", "post.published", "demo-1").await?);
        self.excerpt()?;

        self.say(&format!("\nThe editor changes post {POST}: {LATER_TITLE}\n"))?;
        self.site.edit(POST, LATER_TITLE, LATER_TEXT);
        outcomes.push(self.event("updated", "post.updated", "demo-2").await?);
        self.excerpt()?;

        self.say("\nThe same webhook comes again, as after a lost answer; then a forged one.\n")?;
        let again = self.send(self.target, "post.updated", "demo-2").await?;
        outcomes.push(Outcome::refused_or_known("updated, again", &again));
        let forger = Target {
            url: self.target.url.clone(),
            scheme: self.target.scheme.clone(),
            secret: Secret::new("k1", new_secret()?.trim_end().as_bytes())?,
        };
        let forged = self.send(&forger, "post.updated", "demo-3").await?;
        outcomes.push(Outcome::refused_or_known("forged", &forged));

        self.output.rows(&outcomes, ["webhook", "answer", "became"], |outcome| {
            let Outcome { webhook, answer, became } = outcome;
            [(*webhook).to_owned(), answer.clone(), became.clone()]
        })?;
        let became: Vec<&str> = outcomes.iter().map(|outcome| outcome.became.as_str()).collect();
        ensure!(
            became == ["applied", "applied", "duplicate", "refused: bad_signature"],
            "the show did not go as it should"
        );
        Ok(())
    }

    /// Sends a webhook and tells the journey of its event to the end.
    async fn event(
        &mut self,
        webhook: &'static str,
        event: &str,
        key: &str,
    ) -> anyhow::Result<Outcome> {
        let answer = self.send(self.target, event, key).await?;
        let Some(event_id) = answer.body["event_id"].as_str().filter(|_| answer.status == 202)
        else {
            bail!("the node did not take a webhook: {}", plain(&answer.body.to_string()));
        };
        let ended = tokio::time::timeout(JOURNEY_MAX, self.journey(event_id)).await;
        let became = ended.context("the event did not end within 30 s")??;
        Ok(Outcome { webhook, answer: answer.status.to_string(), became })
    }

    async fn journey(&mut self, event_id: &str) -> anyhow::Result<String> {
        let mut ending = None;
        loop {
            let next = self.journeys.next().await?;
            let line = next.context("the node has ended")?;
            self.tell(&line)?;
            let told = &line.line;
            if told.kind == "received" && told.text.ends_with(event_id) {
                ending = Some(format!("event {} ended: ", told.position));
            }
            let ended = ending.as_ref().and_then(|ending| told.text.strip_prefix(ending));
            if let Some(end) = ended {
                return Ok(end.to_owned());
            }
        }
    }

    async fn send(&self, target: &Target, event: &str, key: &str) -> anyhow::Result<Answered> {
        let payload = json!({ "event": event, "post_id": POST, "idempotency_key": key });
        send::post(&self.http, target, key, &payload).await
    }

    fn excerpt(&self) -> anyhow::Result<()> {
        let post = self.site.post(POST).unwrap_or_default();
        ensure!(!post.excerpt.is_empty(), "no excerpt was written");
        if self.output.json {
            self.output.value(&json!({ "post": POST, "excerpt": post.excerpt }))?;
        }
        self.say(&format!("\nWordPress has this excerpt:\n  {}", plain(&post.excerpt)))
    }

    fn tell(&self, line: &FollowLine) -> anyhow::Result<()> {
        if self.output.json {
            self.output.value(line)?;
            return Ok(());
        }
        let told = &line.line;
        let at = time(told.at_ms);
        let clock = at.get(11..23).unwrap_or(&at);
        let (kind, text) = (plain(&told.kind), plain(&told.text));
        self.output.line(&format!("  {clock}  {kind:<9}  {text}"))?;
        Ok(())
    }

    /// Words for people only.
    fn say(&self, text: &str) -> anyhow::Result<()> {
        if !self.output.json {
            self.output.line(text)?;
        }
        Ok(())
    }
}

impl Outcome {
    /// Of a webhook that makes no event of its own.
    fn refused_or_known(webhook: &'static str, answered: &Answered) -> Self {
        let word = |name: &str| answered.body[name].as_str().unwrap_or("?").to_owned();
        let became = match answered.status {
            202 => word("status"),
            _ => format!("refused: {}", word("code")),
        };
        Self { webhook, answer: answered.status.to_string(), became }
    }
}

/// Says what to try while the demo stays up.
pub(super) fn next_steps(
    folder: &Folder,
    site: &PretendSite,
    url: &str,
    output: &Output,
) -> anyhow::Result<()> {
    let (config, secret) = (shell(&folder.config()), shell(&folder.webhook_secret()));
    let password = shell(&folder.password());
    let address = site.address;
    if output.json {
        let next: Value = json!({
            "webhooks": url, "config": folder.config(), "secret": folder.webhook_secret(),
            "site": format!("http://{address}"),
        });
        output.value(&next)?;
        return Ok(());
    }
    output.line(&format!(
        r#"
It stays up until Ctrl-C; everything is in {folder}. In another terminal:

1. Watch what happens:
  copydesk --config {config} events follow

2. Change the post, as its editor:
  curl -su {USER}:"$(cat {password})" -H 'Content-Type: application/json' \
    -d '{{"content": "The first night train has left. It was an hour late. Nobody minded."}}' \
    http://{address}/wp-json/wp/v2/posts/{POST}

3. Send the webhook:
  copydesk send --url {url} --secret file:{secret} --event post.updated --post {POST}

or sign it yourself:
  T=$(date +%s); B='{{"event":"post.updated","post_id":{POST},"idempotency_key":"'$T'"}}'
  S=$(printf %s "$T.$B" | openssl dgst -sha256 -r -hmac "$(cat {secret})" | cut -d' ' -f1)
  curl -i {url} -H 'Content-Type: application/json' -H "Idempotency-Key: $T" \
    -H "X-WP-Timestamp: $T" -H "X-WP-Signature: $S" -d "$B"

4. Check the promises over everything that happened:
  copydesk --config {config} verify"#,
        folder = folder.path.display(),
    ))?;
    Ok(())
}

/// A path as one word of a shell command.
fn shell(path: &Path) -> String {
    let text = path.display().to_string();
    let safe = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if text.chars().all(safe) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
