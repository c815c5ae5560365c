//! Tokens: who may operate the desk.

use axum::Json;
use axum::extract::State;
use copydesk_actors::World;
use copydesk_actors::desk::TokenError;
use copydesk_core::access::{Reach, Signed, Token};
use copydesk_proto::SiteId;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tracing::warn;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ActRequest, Answer, DONE, Done, Rows, bad};
use crate::admin::access::new_token;
use crate::admin::api::Office;
use crate::admin::caller::{At, Caller, Told};
use crate::admin::{DeskError, Refusal};

/// Longest name of a token, in characters: it stands before every act of its holder.
const NAME_CHARS_MAX: usize = 64;
/// Most sites a token names. Who needs more gives the whole desk.
const SITES_MAX: usize = 100;
/// Days until the latest expiry: ten years.
const DAYS_MAX: u32 = 3_650;
const DAY_MS: u64 = 24 * 3_600 * 1_000;

pub(super) fn routes() -> OpenApiRouter<Office> {
    OpenApiRouter::new().routes(routes!(tokens, add)).routes(routes!(revoke))
}

/// A token, without what opens the door.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TokenRow {
    /// Its id.
    pub id: String,
    /// Who holds it.
    pub name: String,
    /// `viewer`, `editor`, `operator` or `admin`.
    pub role: String,
    /// The sites it reaches; absent for the whole desk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sites: Option<Vec<String>>,
    /// Its last four characters.
    pub hint: String,
    /// `live`, `expired` or `revoked`.
    pub state: String,
    /// Milliseconds since 1970 of its making.
    pub added_at: i64,
    /// Who made it.
    pub added_by: String,
    /// Why it was made, or, once revoked, why it was revoked.
    pub reason: String,
    /// Milliseconds since 1970 of its end, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
    /// Milliseconds since 1970 of its last use; after a restart to the day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_at: Option<i64>,
    /// Milliseconds since 1970 of its revocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<i64>,
    /// Who revoked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_by: Option<String>,
}

/// What a new token is to be.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// Who holds it.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$")]
    pub name: String,
    /// `viewer`, `editor`, `operator` or `admin`.
    #[schema(pattern = "^(viewer|editor|operator|admin)$")]
    pub role: String,
    /// The sites it reaches; the whole desk when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 100)]
    pub sites: Option<Vec<String>>,
    /// Days until it ends; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 3650)]
    pub expires_in_days: Option<u32>,
    /// The person behind the token that asks; recorded beside its name.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::at_most::<100, _>"
    )]
    #[schema(max_length = 100)]
    pub by: Option<String>,
    /// Why, for whoever finds it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::at_most::<200, _>"
    )]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// A new token, shown this once.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct NewToken {
    /// The token itself. It is not kept and cannot be shown again.
    pub token: String,
    /// What is kept of it.
    pub row: TokenRow,
}

impl std::fmt::Debug for NewToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewToken").field("row", &self.row).finish_non_exhaustive()
    }
}

impl From<&Token> for TokenRow {
    fn from(token: &Token) -> Self {
        let state = match &token.revoked {
            Some(_) => "revoked",
            None if token.is_live(World::now()) => "live",
            None => "expired",
        };
        let last = token.revoked.as_ref().unwrap_or(&token.added);
        Self {
            id: token.id.clone(),
            name: token.name.clone(),
            role: token.role.to_string(),
            sites: match &token.reach {
                Reach::Desk => None,
                Reach::Sites(sites) => Some(sites.iter().map(ToString::to_string).collect()),
            },
            hint: token.hint.clone(),
            state: state.to_owned(),
            added_at: token.added.at.0,
            added_by: token.added.by.clone(),
            reason: last.reason.clone(),
            expires_at: token.expires_at.map(|at| at.0),
            used_at: token.used_at.map(|at| at.0),
            revoked_at: token.revoked.as_ref().map(|signed| signed.at.0),
            revoked_by: token.revoked.as_ref().map(|signed| signed.by.clone()),
        }
    }
}

/// The tokens, with the last hundred that ended.
#[utoipa::path(get, path = "/tokens", operation_id = "list_tokens", tag = "tokens",
    responses((status = 200, description = "By id", body = Rows<TokenRow>)))]
async fn tokens(State(office): State<Office>) -> Json<Rows<TokenRow>> {
    let rows: Vec<_> = office.book.look(|tokens| tokens.iter().map(TokenRow::from).collect());
    Json(rows.into())
}

/// Makes a token. It is shown this once.
#[utoipa::path(post, path = "/tokens", operation_id = "add_token", tag = "tokens",
    request_body = TokenRequest,
    responses((status = 201, description = "The token", body = NewToken)))]
async fn add(
    State(office): State<Office>,
    caller: Caller,
    Told(request): Told<TokenRequest>,
) -> Result<(StatusCode, Json<NewToken>), Refusal> {
    let TokenRequest { name, role, sites, expires_in_days, by, reason } = request;
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.@-".contains(c);
    if name.len() > NAME_CHARS_MAX
        || !name.starts_with(|c: char| c.is_ascii_alphanumeric())
        || !name.chars().all(plain)
    {
        return Err(bad("a name is 1 to 64 of A-Z, a-z, 0-9 and _ . @ -, a letter or digit first"));
    }
    let reach = reach(sites, &office).await?;
    if expires_in_days.is_some_and(|days| !(1..=DAYS_MAX).contains(&days)) {
        return Err(bad(format!("expires_in_days is 1 to {DAYS_MAX}")));
    }
    let now = World::now();
    let expires_at = expires_in_days.map(|days| now.after_ms(u64::from(days) * DAY_MS));
    let act = caller.sign(ActRequest { by, reason })?;
    let secret = new_token().map_err(|error| {
        warn!(%error, "no token was made");
        DeskError::Unavailable("the system gives no random bytes".to_owned())
    })?;
    let rights = (role.parse().map_err(bad)?, reach);
    let signed = Signed::new(&act.by, &act.reason, now);
    let token = Token::new(&secret, &name, rights, expires_at, signed);
    office.book.add(&token).await.map_err(not_done)?;
    let row = TokenRow::from(&token);
    Ok((StatusCode::CREATED, Json(NewToken { token: secret, row })))
}

/// The sites of a new token. One that is not there is a slip of the pen.
async fn reach(sites: Option<Vec<String>>, office: &Office) -> Result<Reach, Refusal> {
    let Some(sites) = sites else { return Ok(Reach::Desk) };
    if !(1..=SITES_MAX).contains(&sites.len()) {
        return Err(bad(format!("sites are 1 to {SITES_MAX}; leave them out for the whole desk")));
    }
    let known = office.desk.sites().await?;
    let mut reached = std::collections::BTreeSet::new();
    for site in sites {
        if !known.iter().any(|row| row.site == site) {
            let why = "sites: there is no site of one of these names".to_owned();
            return Err(DeskError::Refused(why).into());
        }
        let site: SiteId = site.parse().map_err(bad)?;
        reached.insert(site);
    }
    Ok(Reach::Sites(reached))
}

/// Revokes a token at once, on every node within a second. Its streams end.
#[utoipa::path(post, path = "/tokens/{token}/revoke", operation_id = "revoke_token",
    tag = "tokens",
    params(("token" = String, Path, description = "Its id", pattern = "^[0-9a-f]{12}$")),
    request_body = ActRequest,
    responses((status = 200, description = "It opens nothing any more", body = Done)))]
async fn revoke(
    State(office): State<Office>,
    caller: Caller,
    At(id): At<String>,
    Told(act): Told<ActRequest>,
) -> Answer<Done> {
    let act = caller.sign(act)?;
    let signed = Signed::new(&act.by, &act.reason, World::now());
    let was_live = office.book.revoke(&id, &signed).await.map_err(not_done)?;
    if was_live { Ok(DONE) } else { Err(Refusal::not_found()) }
}

fn not_done(error: TokenError) -> Refusal {
    let error = match error {
        TokenError::Refused(why) => DeskError::Refused(why.to_string()),
        TokenError::Append(_) | TokenError::Read(_) | TokenError::Unreadable => {
            warn!(%error, "the tokens were not changed");
            DeskError::Unavailable("the log did not take it".to_owned())
        }
    };
    error.into()
}
