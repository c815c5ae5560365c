//! Why WordPress does not know us. A wrong password, an unknown user and an Authorization header
//! that never arrived get the very same 401 from WordPress 6.1 to 7.1, so more has to be asked.

use bytes::Bytes;
use copydesk_core::failure::Failure;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::Value;

use super::client::SiteClient;
use super::fault;
use super::transport::{ANSWER_BYTES_MAX, Place, Reply, Request};

/// The index of the REST API, as far as we read it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Index {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) namespaces: Vec<String>,
    /// `[]` when application passwords are switched off, else an object.
    #[serde(default)]
    authentication: Value,
}

impl Index {
    /// Whether the site takes application passwords at all.
    pub(super) fn takes_application_passwords(&self) -> bool {
        self.authentication.get("application-passwords").is_some()
    }
}

/// Why our credentials were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The user or the password is wrong.
    Wrong,
    /// WordPress takes no application passwords over plain http outside a local environment.
    NeedsHttps,
    /// Application passwords are switched off, by a plugin or for this user.
    SwitchedOff,
    /// The credentials are right, but the header with them does not reach WordPress.
    Stripped,
    /// One of the above; the site does not let us tell.
    Unclear,
}

impl Reason {
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Wrong => "wordpress_wrong_password",
            Self::NeedsHttps => "wordpress_needs_https",
            Self::SwitchedOff => "application_passwords_off",
            Self::Stripped => "authorization_header_stripped",
            Self::Unclear => fault::UNAUTHORIZED,
        }
    }

    pub(super) const fn what(self) -> &'static str {
        match self {
            Self::Wrong => "WordPress does not accept this user with this application password",
            Self::NeedsHttps => "WordPress takes no application passwords over plain http",
            Self::SwitchedOff => {
                "application passwords are switched off on this site or for this user"
            }
            Self::Stripped => {
                "the application password is right, but the Authorization header does not reach WordPress"
            }
            Self::Unclear => {
                "WordPress does not know us: the user or application password is wrong, or the web \
                 server drops the Authorization header"
            }
        }
    }

    pub(super) const fn todo(self) -> &'static str {
        match self {
            Self::Wrong => {
                "make a new application password under Users, Profile (the login password does \
                 not work here) and set it together with that user's login name"
            }
            Self::NeedsHttps => {
                "set the site's url to https://, or WP_ENVIRONMENT_TYPE to local on a test site"
            }
            Self::SwitchedOff => {
                "allow application passwords: a security plugin or the filter \
                 wp_is_application_passwords_available switches them off"
            }
            Self::Stripped => {
                "pass the header on: Apache `CGIPassAuth On` or `SetEnvIf Authorization \"(.*)\" \
                 HTTP_AUTHORIZATION=$1`, nginx `fastcgi_param HTTP_AUTHORIZATION \
                 $http_authorization;`, and no proxy in front that removes it"
            }
            Self::Unclear => {
                "check user and application password first; if they are right, let the web server \
                 pass the Authorization header on (Apache: `CGIPassAuth On`)"
            }
        }
    }
}

impl SiteClient {
    /// The failure for a 401, with what one more question tells of its reason.
    pub(super) async fn unauthorized(&self, reply: &Reply) -> Failure {
        let reason = match said_by(&fault::code_of(reply)) {
            Some(reason) => reason,
            None => self.reason_by_index().await.unwrap_or(Reason::Unclear),
        };
        fault::unauthorized(&format!("{}: {}", reason.what(), reason.todo()))
    }

    /// The same for `check`, which also asks by XML-RPC.
    pub(super) async fn reason(&self, reply: &Reply) -> Reason {
        if let Some(reason) = said_by(&fault::code_of(reply)) {
            return reason;
        }
        match self.reason_by_index().await {
            Some(reason) => reason,
            None => self.reason_by_xmlrpc().await,
        }
    }

    /// The index. It is public, as a rule, so it is asked for without credentials first.
    pub(super) async fn index(&self, signed: bool) -> Result<Index, Failure> {
        let mut request = Request::get("/", "_fields=name,namespaces,authentication");
        request.signed = signed;
        self.transport.send(request).await?.parse()
    }

    async fn reason_by_index(&self) -> Option<Reason> {
        let index = self.index(false).await.ok()?;
        (!index.takes_application_passwords()).then(|| self.switched_off())
    }

    pub(super) fn switched_off(&self) -> Reason {
        if self.site.url.scheme() == "http" { Reason::NeedsHttps } else { Reason::SwitchedOff }
    }

    /// XML-RPC takes the credentials in its body, which nothing strips. They go with spaces
    /// added: WordPress drops those from an application password and from no login password,
    /// so only a right application password gets through.
    async fn reason_by_xmlrpc(&self) -> Reason {
        let password = self.site.application_password.expose_secret();
        let letters: Vec<char> = password.chars().filter(|c| !c.is_whitespace()).collect();
        let spaced: Vec<String> = letters.chunks(4).map(|c| c.iter().collect()).collect();
        let call = format!(
            "<?xml version=\"1.0\"?><methodCall><methodName>wp.getUsersBlogs</methodName><params>\
             <param><value><string>{}</string></value></param>\
             <param><value><string>{}</string></value></param></params></methodCall>",
            html_escape::encode_text(&self.site.user),
            html_escape::encode_text(&spaced.join(" ")),
        );
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
        let request = Request {
            method: Method::POST,
            place: Place::Path("/xmlrpc.php"),
            query: "",
            headers,
            body: Some(Bytes::from(call)),
            answer_bytes_max: ANSWER_BYTES_MAX,
            signed: false,
            trace: None,
        };
        let Ok(reply) = self.transport.send(request).await else { return Reason::Unclear };
        reason_of_xmlrpc(&String::from_utf8_lossy(&reply.body))
    }
}

/// Some security plugins make WordPress say what is wrong.
fn said_by(code: &str) -> Option<Reason> {
    match code {
        "incorrect_password" | "invalid_username" | "invalid_email" => Some(Reason::Wrong),
        "application_passwords_disabled" | "application_passwords_disabled_for_user" => {
            Some(Reason::SwitchedOff)
        }
        _ => None,
    }
}

fn reason_of_xmlrpc(answer: &str) -> Reason {
    if answer.contains("<methodResponse>") && answer.contains("<name>blogid</name>") {
        Reason::Stripped
    } else if answer.contains("<name>faultCode</name>") && answer.contains("<int>403</int>") {
        Reason::Wrong
    } else {
        // Switched off (fault 405), closed by the web server, or no WordPress.
        Reason::Unclear
    }
}
