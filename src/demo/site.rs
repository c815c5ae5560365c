//! A pretend WordPress in this process: posts in memory behind the two `wp/v2` routes that
//! `delivery = "core"` uses, and a page to look at. It stands in for a site in the demo only.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use axum::extract::{Path, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The user that may edit.
pub(super) const USER: &str = "editor";

/// A site that listens until it is dropped.
pub(super) struct PretendSite {
    pub(super) address: SocketAddr,
    pages: Pages,
    _stop: DropGuard,
}

/// A published post.
#[derive(Debug, Clone, Default)]
pub(super) struct Post {
    pub(super) title: String,
    pub(super) content: String,
    pub(super) excerpt: String,
    /// As WordPress writes it: UTC, without a zone.
    modified_gmt: String,
}

#[derive(Clone)]
struct Pages {
    /// Only [`PretendSite::edit`] adds to them.
    posts: Arc<Mutex<BTreeMap<u64, Post>>>,
    authorization: Arc<str>,
}

/// What `wp/v2` may be asked to change here.
#[derive(Debug, Deserialize)]
pub(super) struct Change {
    pub(super) title: Option<String>,
    pub(super) content: Option<String>,
    pub(super) excerpt: Option<String>,
}

impl PretendSite {
    /// Listens on a free port of this machine. `password` is [`USER`]'s application password.
    ///
    /// # Errors
    /// When the system gives no port.
    pub(super) async fn start(password: &str) -> anyhow::Result<Self> {
        let authorization = format!("Basic {}", STANDARD.encode(format!("{USER}:{password}")));
        let pages = Pages { posts: Arc::default(), authorization: authorization.into() };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("no port for the pretend WordPress")?;
        let address = listener.local_addr().context("no port for the pretend WordPress")?;
        let router = Router::new()
            .route("/", get(front_page))
            .route("/wp-json/", get(index))
            .route("/wp-json/wp/v2/posts/{id}", get(read).post(write))
            .fallback(no_route)
            .with_state(pages.clone());
        let stop = CancellationToken::new();
        let served =
            axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        // It has no error: axum tries an accept that fails again by itself.
        tokio::spawn(async { drop(served.await) });
        Ok(Self { address, pages, _stop: stop.drop_guard() })
    }

    /// Publishes a post or changes it, as a person in the editor.
    pub(super) fn edit(&self, id: u64, title: &str, content: &str) {
        let mut posts = self.pages.posts.lock().unwrap_or_else(PoisonError::into_inner);
        posts.entry(id).or_default().change(Change {
            title: Some(title.to_owned()),
            content: Some(content.to_owned()),
            excerpt: None,
        });
    }

    /// A post as it stands.
    pub(super) fn post(&self, id: u64) -> Option<Post> {
        self.pages.post(id)
    }
}

impl Post {
    fn change(&mut self, change: Change) {
        let Change { title, content, excerpt } = change;
        let fields =
            [(&mut self.title, title), (&mut self.content, content), (&mut self.excerpt, excerpt)];
        for (field, value) in fields {
            if let Some(value) = value {
                *field = value;
            }
        }
        self.modified_gmt = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S").to_string();
    }

    /// The post as `context=edit` shows it.
    fn shown(&self, id: u64) -> Response {
        Json(json!({
            "id": id,
            "status": "publish",
            "modified_gmt": self.modified_gmt,
            "title": { "raw": self.title },
            "content": { "raw": self.content },
            "excerpt": { "raw": self.excerpt },
            "tags": [],
            "categories": [1],
            "meta": {},
        }))
        .into_response()
    }
}

impl Pages {
    fn post(&self, id: u64) -> Option<Post> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        let sent = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        sent == Some(self.authorization.as_bytes())
    }
}

/// An error in WordPress's own form.
fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let body = json!({ "code": code, "message": message, "data": { "status": status.as_u16() } });
    (status, Json(body)).into_response()
}

fn wrong_password() -> Response {
    let text = "The provided password is an invalid application password.";
    error(StatusCode::UNAUTHORIZED, "incorrect_password", text)
}

fn no_such_post() -> Response {
    error(StatusCode::NOT_FOUND, "rest_post_invalid_id", "Invalid post ID.")
}

async fn no_route() -> Response {
    let text = "No route was found matching the URL and request method.";
    error(StatusCode::NOT_FOUND, "rest_no_route", text)
}

async fn index() -> Response {
    Json(json!({
        "name": "Copydesk's pretend WordPress",
        "namespaces": ["wp/v2"],
        "authentication": { "application-passwords": {} },
    }))
    .into_response()
}

async fn read(State(pages): State<Pages>, headers: HeaderMap, Path(id): Path<u64>) -> Response {
    if !pages.knows(&headers) {
        return wrong_password();
    }
    pages.post(id).map_or_else(no_such_post, |post| post.shown(id))
}

async fn write(
    State(pages): State<Pages>,
    headers: HeaderMap,
    Path(id): Path<u64>,
    Json(change): Json<Change>,
) -> Response {
    if !pages.knows(&headers) {
        return wrong_password();
    }
    let mut posts = pages.posts.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(post) = posts.get_mut(&id) else { return no_such_post() };
    post.change(change);
    post.shown(id)
}

/// The posts as plain text, for a browser.
async fn front_page(State(pages): State<Pages>) -> String {
    let posts = pages.posts.lock().unwrap_or_else(PoisonError::into_inner);
    let text = |(id, post): (&u64, &Post)| {
        let Post { title, content, excerpt, .. } = post;
        format!("Post {id}: {title}\n\nExcerpt: {excerpt}\n\n{content}\n")
    };
    posts.iter().map(text).collect()
}
