//! Messages to people about what needs a person: grouped, so that 10,000 dead letters of one
//! cause are one message with a count, and spaced, so that a storm is not a storm of messages.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use copydesk_core::outbound::Rules;
use http::Method;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::warn;
use url::Url;

use crate::outbound::Outbound;

/// Alerts that wait to be grouped; further ones are counted nowhere, but the first of their group
/// is among those before them.
const WAITING_MAX: usize = 10_000;

/// Groups of one message, and groups that are remembered; the oldest is forgotten.
const GROUPS_MAX: usize = 100;

/// Something a person should know. No post content, no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Alerts of one group are told together.
    pub group: String,
    /// A sentence.
    pub text: String,
}

/// How a receiver of alerts wants them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertForm {
    /// `{"alerts": [{"group", "text", "count"}]}`.
    Json,
    /// `{"text": …}`, as Slack and those compatible with it.
    Slack,
}

/// Where alerts go, and how often.
#[derive(Debug, Clone)]
pub struct AlertSettings {
    /// The receivers.
    pub targets: Vec<(AlertForm, Url)>,
    /// Which addresses they may have.
    pub rules: Rules,
    /// How long alerts are collected before they are told.
    pub gather: Duration,
    /// How long a group that was told is quiet; what comes meanwhile is counted and told after.
    pub quiet: Duration,
}

/// The way to raise alerts. Cheap to clone; never waits.
#[derive(Debug, Clone)]
pub struct Alerts(Option<mpsc::Sender<Alert>>);

impl Alerts {
    /// Nobody is told.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Starts telling the targets, for as long as a clone of the answer lives.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn start(settings: AlertSettings) -> Result<Self, reqwest::Error> {
        if settings.targets.is_empty() {
            return Ok(Self::none());
        }
        let client = Outbound::new(settings.rules.clone())?;
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        tokio::spawn(tell_for_ever(settings, client, receiver));
        Ok(Self(Some(sender)))
    }

    /// Raises an alert.
    pub fn raise(&self, alert: Alert) {
        if let Some(sender) = &self.0 {
            // Full: the group has been told, or waits to be.
            let _ = sender.try_send(alert);
        }
    }
}

/// What is known of a group.
#[derive(Debug, Clone)]
struct Group {
    text: String,
    count: u64,
    told_at: Option<Instant>,
}

/// The groups. Says what is to be told when.
#[derive(Debug, Default)]
struct Groups(BTreeMap<String, Group>);

impl Groups {
    fn add(&mut self, Alert { group, text }: Alert) {
        if self.0.len() >= GROUPS_MAX && !self.0.contains_key(&group) {
            let idle = self.0.iter().filter(|(_, g)| g.count == 0).min_by_key(|(_, g)| g.told_at);
            let Some(name) = idle.map(|(name, _)| name.clone()) else { return };
            self.0.remove(&name);
        }
        let known =
            self.0.entry(group).or_insert(Group { text: String::new(), count: 0, told_at: None });
        known.text = text;
        known.count += 1;
    }

    /// The groups that may be told now, with their counts; they are quiet from now on.
    fn take(&mut self, now: Instant, quiet: Duration) -> Vec<(String, String, u64)> {
        let mut told = Vec::new();
        for (name, group) in &mut self.0 {
            let may = group.told_at.is_none_or(|at| now.duration_since(at) >= quiet);
            if group.count > 0 && may {
                told.push((name.clone(), group.text.clone(), group.count));
                group.count = 0;
                group.told_at = Some(now);
            }
        }
        told
    }

    fn has_untold(&self) -> bool {
        self.0.values().any(|group| group.count > 0)
    }
}

async fn tell_for_ever(
    settings: AlertSettings,
    client: Outbound,
    mut alerts: mpsc::Receiver<Alert>,
) {
    let mut groups = Groups::default();
    let mut open = true;
    while open || groups.has_untold() {
        // While something waits for its quiet time to end, look again after each gathering.
        if !groups.has_untold() {
            match alerts.recv().await {
                Some(alert) => groups.add(alert),
                None => return,
            }
        }
        let until = Instant::now() + settings.gather;
        while let Ok(next) = tokio::time::timeout_at(until, alerts.recv()).await {
            match next {
                Some(alert) => groups.add(alert),
                None => {
                    open = false;
                    break;
                }
            }
        }
        let told = groups.take(Instant::now(), settings.quiet);
        if !told.is_empty() {
            tell(&settings.targets, &client, &told).await;
        }
        if !open {
            return;
        }
    }
}

async fn tell(targets: &[(AlertForm, Url)], client: &Outbound, told: &[(String, String, u64)]) {
    for (form, url) in targets {
        let body = message(*form, told).to_string();
        let json = HeaderValue::from_static("application/json");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, json)]);
        match client.send(Method::POST, url, headers, Bytes::from(body)).await {
            Ok(answer) if answer.status.is_success() => {}
            Ok(answer) => warn!(status = answer.status.as_u16(), "an alert was not taken"),
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "an alert was not delivered");
            }
        }
    }
}

fn message(form: AlertForm, told: &[(String, String, u64)]) -> Value {
    match form {
        AlertForm::Json => json!({
            "alerts": told
                .iter()
                .map(|(group, text, count)| json!({"group": group, "text": text, "count": count}))
                .collect::<Vec<_>>(),
        }),
        AlertForm::Slack => {
            let line = |(_, text, count): &(String, String, u64)| {
                // Slack reads &, < and > as markup.
                let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                if *count > 1 { format!("{text} ({count} times)") } else { text }
            };
            json!({"text": told.iter().map(line).collect::<Vec<_>>().join("\n")})
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn alert(group: &str) -> Alert {
        Alert { group: group.to_owned(), text: format!("text of <{group}>") }
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_is_told_once_with_its_count_and_then_is_quiet() {
        let mut groups = Groups::default();
        (0..500).for_each(|_| groups.add(alert("a")));
        groups.add(alert("b"));
        let (now, quiet) = (Instant::now(), Duration::from_secs(60));
        let told = |groups: &mut Groups, now| -> Vec<(String, u64)> {
            groups.take(now, quiet).into_iter().map(|(group, _, count)| (group, count)).collect()
        };
        assert_eq!(told(&mut groups, now), [("a".to_owned(), 500), ("b".to_owned(), 1)]);
        groups.add(alert("a"));
        groups.add(alert("a"));
        assert_eq!(told(&mut groups, now + Duration::from_secs(59)), []);
        assert_eq!(told(&mut groups, now + Duration::from_secs(60)), [("a".to_owned(), 2)]);
        assert!(!groups.has_untold());
    }

    #[test]
    fn groups_are_bounded() {
        let mut groups = Groups::default();
        for n in 0..10_000 {
            groups.add(alert(&n.to_string()));
        }
        assert_eq!(groups.0.len(), GROUPS_MAX);
    }

    #[tokio::test]
    async fn a_slack_message_arrives_with_its_markup_disarmed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap()).parse().unwrap();
        let alerts = Alerts::start(AlertSettings {
            targets: vec![(AlertForm::Slack, url)],
            rules: Rules::trusting(),
            gather: Duration::from_millis(1),
            quiet: Duration::from_secs(60),
        })
        .unwrap();
        alerts.raise(alert("a"));
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut said = String::new();
        while !said.contains('}') {
            let mut bytes = [0; 4096];
            let n = stream.read(&mut bytes).await.unwrap();
            said.push_str(std::str::from_utf8(&bytes[..n]).unwrap());
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        assert!(said.ends_with(r#"{"text":"text of &lt;a&gt;"}"#), "{said}");
    }
}
