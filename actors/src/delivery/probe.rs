//! What `copydesk check` asks a site: can we reach it, does it know us, may we write?

use copydesk_core::failure::Failure;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::client::SiteClient;
use super::fault;
use super::ingest::place_of;
use super::site::DeliveryKind;
use super::transport::{Place, Request};
use super::way::{API, Answering, PluginStatus};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// As it should be.
    Good,
    /// Works, and should be better.
    Warning,
    /// Deliveries will fail.
    Problem,
}

/// One thing found out about a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Stable short code.
    pub code: String,
    /// What is the case.
    pub what: String,
    /// What to do about it; empty when nothing is to be done.
    pub todo: String,
}

impl Finding {
    fn new(severity: Severity, code: &str, what: impl Into<String>, todo: &str) -> Self {
        Self { severity, code: code.to_owned(), what: what.into(), todo: todo.to_owned() }
    }

    fn of(failure: Failure) -> Self {
        // A failure's cause already says how to mend it.
        Self {
            severity: Severity::Problem,
            code: failure.code,
            what: failure.cause,
            todo: String::new(),
        }
    }
}

const PLUGIN_ABSENT: (&str, &str, &str) = (
    "plugin_missing",
    "Copydesk's plugin is missing or not active",
    "install and activate it in WordPress; delivery = \"core\" does without",
);
const PLUGIN_FORBIDDEN: (&str, &str, &str) = (
    "plugin_forbidden",
    "Copydesk's plugin is there, but the user lacks copydesk_write",
    "give the user the role copydesk, which the plugin makes",
);

/// Capabilities that writing into other people's published posts takes.
const CAPABILITIES: [&str; 3] = ["edit_posts", "edit_others_posts", "edit_published_posts"];

#[derive(Debug, Deserialize)]
struct Me {
    #[serde(default)]
    roles: Vec<String>,
    /// An object, or `[]` for none.
    #[serde(default)]
    capabilities: Value,
}

impl Me {
    fn can(&self, capability: &str) -> bool {
        self.capabilities.get(capability).and_then(Value::as_bool).unwrap_or(false)
    }
}

impl SiteClient {
    /// Looks the site over, from the connection to the capabilities, and stops where going on
    /// makes no sense. Writes nothing. At most nine requests.
    pub async fn probe(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Err(finding) = self.look(&mut findings).await {
            findings.push(finding);
        }
        findings
    }

    async fn look(&self, findings: &mut Vec<Finding>) -> Result<(), Finding> {
        self.look_at_address(findings).await?;
        let me = self.look_at_user(findings).await?;
        match self.site.kind {
            DeliveryKind::Core => core_capabilities(&me, findings),
            DeliveryKind::Ingest => self.look_at_ingest(findings).await?,
            DeliveryKind::Plugin | DeliveryKind::Auto => self.look_at_plugin(&me, findings).await?,
        }
        Ok(())
    }

    async fn look_at_plugin(&self, me: &Me, findings: &mut Vec<Finding>) -> Result<(), Finding> {
        let status = match self.ask_plugin().await.map_err(Finding::of)? {
            Answering::Yes(status) => status,
            Answering::Absent => return self.without_plugin(&PLUGIN_ABSENT, me, findings),
            Answering::Forbidden => return self.without_plugin(&PLUGIN_FORBIDDEN, me, findings),
        };
        let PluginStatus { plugin, api, post_types, statuses, seo } = status;
        let problem = |code, what, todo| Finding::new(Severity::Problem, code, what, todo);
        if api < API {
            let what = format!("Copydesk's plugin {plugin} is older than this Copydesk");
            return Err(problem("plugin_old", what, "update the plugin in WordPress"));
        }
        if post_types.is_empty() {
            let what = "no post type is chosen, so the plugin opens no post to us".to_owned();
            let todo = "choose post types in WordPress, in the plugin's settings";
            return Err(problem("plugin_no_post_types", what, todo));
        }
        let seo = seo.map(|seo| format!("; descriptions go to {seo}")).unwrap_or_default();
        let (types, statuses) = (post_types.join(", "), statuses.join(", "));
        let what = format!("Copydesk's plugin {plugin} answers, for {types} ({statuses}){seo}");
        findings.push(Finding::new(Severity::Good, "plugin", what, ""));
        Ok(())
    }

    /// `auto` goes on by WordPress's own routes, where the user may.
    fn without_plugin(
        &self,
        (code, what, todo): &(&str, &str, &str),
        me: &Me,
        findings: &mut Vec<Finding>,
    ) -> Result<(), Finding> {
        if self.site.kind != DeliveryKind::Auto {
            return Err(Finding::new(Severity::Problem, code, *what, todo));
        }
        let what = format!("{what}: written by WordPress's own REST API, without suggestions");
        findings.push(Finding::new(Severity::Warning, code, what, todo));
        core_capabilities(me, findings);
        Ok(())
    }

    async fn look_at_address(&self, findings: &mut Vec<Finding>) -> Result<(), Finding> {
        let index = match self.index(false).await {
            Ok(index) => index,
            // Some plugins close the whole API to strangers; the credentials tell more.
            Err(failure) if failure.code == fault::UNAUTHORIZED => return Ok(()),
            Err(failure)
                if ["wordpress_no_rest", "wordpress_not_json"].contains(&&*failure.code) =>
            {
                return Err(self.other_root(failure).await);
            }
            Err(failure) => return Err(Finding::of(failure)),
        };
        if !index.namespaces.iter().any(|n| n == "wp/v2") {
            return Err(Finding::new(
                Severity::Problem,
                "wordpress_no_rest",
                format!("{} answers, but not as WordPress's REST API", self.transport.base()),
                "check the site's url, and that no plugin closes the REST API",
            ));
        }
        let form =
            if self.transport.is_plain() { " (plain permalinks: by ?rest_route=)" } else { "" };
        let what =
            format!("WordPress \"{}\" answers at {}{form}", index.name, self.transport.base());
        findings.push(Finding::new(Severity::Good, "reachable", what, ""));
        if !index.takes_application_passwords() {
            let reason = self.switched_off();
            return Err(Finding::new(
                Severity::Problem,
                reason.code(),
                reason.what(),
                reason.todo(),
            ));
        }
        if self.site.url.scheme() == "http" && !is_loopback(&self.site.url) {
            findings.push(Finding::new(
                Severity::Warning,
                "plain_http",
                "the application password travels unencrypted",
                "set the site's url to https://",
            ));
        }
        Ok(())
    }

    /// No REST API where it should be: the home page's Link header may name another root.
    async fn other_root(&self, failure: Failure) -> Finding {
        let request = Request {
            method: Method::HEAD,
            place: Place::Path("/"),
            signed: false,
            ..Request::get("", "")
        };
        let root = match self.transport.send(request).await {
            Ok(reply) => reply.rest_root,
            Err(_) => None,
        };
        let Some(root) = root else { return Finding::of(failure) };
        if root.starts_with(&format!("{}/", self.transport.base())) {
            return Finding::of(failure);
        }
        Finding::new(
            Severity::Problem,
            "wordpress_other_root",
            format!("the site says that its REST API is at {root}"),
            "set the site's url to that address without /wp-json/",
        )
    }

    async fn look_at_user(&self, findings: &mut Vec<Finding>) -> Result<Me, Finding> {
        let request = Request::get("/wp/v2/users/me", "context=edit&_fields=id,roles,capabilities");
        let reply = self.transport.send(request).await.map_err(Finding::of)?;
        if reply.status == StatusCode::UNAUTHORIZED {
            let reason = self.reason(&reply).await;
            return Err(Finding::new(
                Severity::Problem,
                reason.code(),
                reason.what(),
                reason.todo(),
            ));
        }
        let me: Me = reply.parse().map_err(Finding::of)?;
        let roles = me.roles.join(", ");
        let what = format!("the application password works; role: {roles}");
        findings.push(Finding::new(Severity::Good, "credentials", what, ""));
        if me.can("manage_options") {
            findings.push(Finding::new(
                Severity::Warning,
                "administrator",
                "the user is an administrator: whoever has this password owns the site",
                "make a user of its own for Copydesk, with no more than it needs",
            ));
        } else if me.can("unfiltered_html") {
            findings.push(Finding::new(
                Severity::Warning,
                "unfiltered_html",
                "the user may store scripts: WordPress does not clean what it writes",
                "use a role without unfiltered_html that has edit_posts, edit_others_posts and \
                 edit_published_posts",
            ));
        }
        Ok(me)
    }

    async fn look_at_ingest(&self, findings: &mut Vec<Finding>) -> Result<(), Finding> {
        let path = &self.site.ingest_path;
        let there = match place_of(path) {
            Place::Route(route) => self.takes_post(route).await,
            // Not WordPress's own REST API: all there is to see is whether the page exists.
            place @ Place::Path(_) => {
                let request = Request { place, ..Request::get("", "") };
                self.transport.send(request).await.map(|r| r.status != StatusCode::NOT_FOUND)
            }
        };
        if !there.map_err(Finding::of)? {
            return Err(Finding::new(
                Severity::Problem,
                "ingest_route_missing",
                format!("{path} is no route that takes a POST"),
                "install and activate the plugin that has it, or correct ingest_path",
            ));
        }
        findings.push(Finding::new(Severity::Good, "ingest_route", format!("{path} is there"), ""));
        Ok(())
    }

    /// Asks the route's namespace. OPTIONS would be shorter, but web servers answer it themselves.
    async fn takes_post(&self, route: &str) -> Result<bool, Failure> {
        let index = self.index(true).await?;
        let of_route =
            |n: &&String| route[1..].strip_prefix(n.as_str()).is_some_and(|r| r.starts_with('/'));
        let Some(namespace) = index.namespaces.iter().filter(of_route).max_by_key(|n| n.len())
        else {
            return Ok(false);
        };
        let reply =
            self.transport.send(Request::get(&format!("/{namespace}"), "_fields=routes")).await?;
        let answer: Value = reply.parse()?;
        let methods = answer["routes"][route]["methods"].as_array();
        Ok(methods.is_some_and(|m| m.contains(&"POST".into())))
    }
}

fn core_capabilities(me: &Me, findings: &mut Vec<Finding>) {
    let missing: Vec<_> = CAPABILITIES.into_iter().filter(|c| !me.can(c)).collect();
    if !missing.is_empty() {
        findings.push(Finding::new(
            Severity::Problem,
            "missing_capability",
            format!("the user lacks {}", missing.join(", ")),
            "give the user the role editor, or a role of its own with these capabilities",
        ));
    }
}

fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}
