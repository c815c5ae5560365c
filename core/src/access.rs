//! Who may operate the desk: tokens, the role each carries, and the sites it reaches.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use copydesk_proto::{PostKey, SiteId, Timestamp};
use sha2::{Digest, Sha256};

use crate::limits::{OPERATOR_TEXT_CHARS_MAX, TOKENS_ENDED_MAX, TOKENS_MAX};

/// What a token may do. Each role may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Look.
    Viewer,
    /// Decide about what waits for a person: retry, drop.
    Editor,
    /// Hold, release, act on many posts at once, check the log.
    Operator,
    /// Give and revoke tokens.
    Admin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Editor, Self::Operator, Self::Admin];

    /// The role in one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The word is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a role is viewer, editor, operator or admin")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(word: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == word).ok_or(UnknownRole)
    }
}

/// Which sites a token, or a look, reaches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Reach {
    /// The whole desk, with all that belongs to no site.
    #[default]
    Desk,
    /// These sites and nothing else.
    Sites(BTreeSet<SiteId>),
}

impl Reach {
    /// Whether a site is within reach.
    #[must_use]
    pub fn has(&self, site: &SiteId) -> bool {
        match self {
            Self::Desk => true,
            Self::Sites(sites) => sites.contains(site),
        }
    }

    /// Whether a post is within reach.
    #[must_use]
    pub fn has_post(&self, post: &PostKey) -> bool {
        self.has(&post.site)
    }

    /// What is within reach of both.
    #[must_use]
    pub fn narrowed(&self, site: Option<SiteId>) -> Self {
        match site {
            None => self.clone(),
            Some(site) if self.has(&site) => Self::Sites(BTreeSet::from([site])),
            Some(_) => Self::Sites(BTreeSet::new()),
        }
    }
}

/// Characters of a token that are shown again: 16 of its 256 bits.
const HINT_CHARS: usize = 4;

/// A token as the desk keeps it: never the token itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its name for people and for the log: the first 12 hex digits of the hash.
    pub id: String,
    /// Who holds it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// What it may see.
    pub reach: Reach,
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// Its last four characters, so that its holder finds it in a list.
    pub hint: String,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was made, by whom and why.
    pub added: Signed,
    /// When it was revoked, by whom and why.
    pub revoked: Option<Signed>,
    /// When it was last used, to the day; a running node knows better.
    pub used_at: Option<Timestamp>,
}

impl Token {
    /// What the desk keeps of a new token.
    #[must_use]
    pub fn new(
        secret: &str,
        name: &str,
        (role, reach): (Role, Reach),
        expires_at: Option<Timestamp>,
        added: Signed,
    ) -> Self {
        let hash = Self::hash_of(secret);
        let hint = secret.chars().rev().take(HINT_CHARS).collect::<Vec<_>>();
        Self {
            id: data_encoding::HEXLOWER.encode(&hash[..6]),
            name: name.to_owned(),
            role,
            reach,
            hash,
            hint: hint.into_iter().rev().collect(),
            expires_at,
            added,
            revoked: None,
            used_at: None,
        }
    }

    /// The hash of a token. It has 256 random bits, so a plain hash cannot be turned back.
    #[must_use]
    pub fn hash_of(secret: &str) -> [u8; 32] {
        Sha256::digest(secret.as_bytes()).into()
    }

    /// Whether it opens the door at this time.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// Who did something, why and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Who.
    pub by: String,
    /// Why, in their words; may be empty.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

impl Signed {
    /// Texts are clipped to [`OPERATOR_TEXT_CHARS_MAX`] characters.
    #[must_use]
    pub fn new(by: &str, reason: &str, at: Timestamp) -> Self {
        let clip = |text: &str| text.chars().take(OPERATOR_TEXT_CHARS_MAX).collect();
        Self { by: clip(by), reason: clip(reason), at }
    }
}

/// Why a token is not added or revoked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// There are too many.
    #[error("{TOKENS_MAX} tokens are live; revoke some")]
    TooMany,
    /// A live token has this name.
    #[error("a live token has this name; revoke it, or take another name")]
    Taken,
}

/// All tokens: the live ones, and the last that ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tokens {
    by_id: BTreeMap<String, Token>,
}

impl Tokens {
    /// Whether this token may be added.
    ///
    /// # Errors
    /// [`TokenRefused`].
    pub fn admit(&self, token: &Token) -> Result<(), TokenRefused> {
        let live = || self.by_id.values().filter(|t| t.is_live(token.added.at));
        if live().any(|other| other.name == token.name) {
            return Err(TokenRefused::Taken);
        }
        if live().count() >= TOKENS_MAX {
            return Err(TokenRefused::TooMany);
        }
        Ok(())
    }

    /// Adds a token. Of those that have ended, the oldest go.
    pub fn add(&mut self, token: Token) {
        let now = token.added.at;
        self.by_id.insert(token.id.clone(), token);
        let ended = |t: &&Token| !t.is_live(now);
        while self.by_id.values().filter(ended).count() > TOKENS_ENDED_MAX {
            let oldest = self.by_id.values().filter(ended).min_by_key(|t| t.added.at);
            let Some(id) = oldest.map(|t| t.id.clone()) else { return };
            self.by_id.remove(&id);
        }
    }

    /// Revokes a token; the first revocation stands.
    pub fn revoke(&mut self, id: &str, signed: Signed) {
        if let Some(token) = self.by_id.get_mut(id) {
            token.revoked.get_or_insert(signed);
        }
    }

    /// Notes a use.
    pub fn note_use(&mut self, id: &str, at: Timestamp) {
        if let Some(token) = self.by_id.get_mut(id) {
            token.used_at = token.used_at.max(Some(at));
        }
    }

    /// A token by its id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Token> {
        self.by_id.get(id)
    }

    /// The tokens, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Token> {
        self.by_id.values()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

    use super::*;

    fn token(id: usize, at: i64) -> Token {
        let added = Signed::new("ann", "", Timestamp(at));
        Token::new(
            &format!("cd_{id:04}"),
            &format!("n{id}"),
            (Role::Viewer, Reach::Desk),
            None,
            added,
        )
    }

    #[test]
    fn nothing_that_is_kept_opens_the_door() {
        let token = token(7, 0);
        assert_eq!((token.hint.as_str(), token.id.len()), ("0007", 12));
        assert_eq!(token.hash, Token::hash_of("cd_0007"));
        assert!(!format!("{token:?}").contains("cd_0007"));
    }

    #[test]
    fn a_role_reads_as_it_prints_and_grows() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert!(Role::ALL.is_sorted());
        for word in ["", "Admin", "root", "viewer "] {
            assert_eq!(word.parse::<Role>(), Err(UnknownRole), "{word:?}");
        }
    }

    #[test]
    fn a_narrowed_reach_is_never_wider() {
        let site = |name: &str| -> SiteId { name.parse().unwrap() };
        let own = Reach::Sites(BTreeSet::from([site("news"), site("blog")]));
        assert_eq!(own.narrowed(None), own);
        assert!(own.narrowed(Some(site("news"))).has(&site("news")));
        assert!(!own.narrowed(Some(site("news"))).has(&site("blog")));
        assert!(!own.narrowed(Some(site("shop"))).has(&site("shop")));
        assert!(Reach::Desk.has_post(&"shop/1".parse().unwrap()));
        assert!(!own.has_post(&"shop/1".parse().unwrap()));
    }

    #[test]
    fn a_token_ends_when_revoked_or_expired() {
        let mut tokens = Tokens::default();
        tokens.add(Token { expires_at: Some(Timestamp(10)), ..token(1, 0) });
        let live =
            |tokens: &Tokens, at| tokens.get(&token(1, 0).id).unwrap().is_live(Timestamp(at));
        assert_eq!((live(&tokens, 9), live(&tokens, 10)), (true, false));
        tokens.revoke(&token(1, 0).id, Signed::new("bob", "left", Timestamp(5)));
        tokens.revoke(&token(1, 0).id, Signed::new("eve", "", Timestamp(6)));
        assert!(!live(&tokens, 5));
        assert_eq!(tokens.iter().next().unwrap().revoked.as_ref().unwrap().by, "bob");
        tokens.note_use(&token(1, 0).id, Timestamp(4));
        tokens.note_use(&token(1, 0).id, Timestamp(3));
        assert_eq!(tokens.iter().next().unwrap().used_at, Some(Timestamp(4)));
    }

    #[test]
    fn tokens_are_bounded() {
        let mut tokens = Tokens::default();
        for id in 0..TOKENS_MAX {
            tokens.admit(&token(id, 0)).unwrap();
            tokens.add(token(id, 0));
        }
        assert_eq!(tokens.admit(&token(TOKENS_MAX, 0)), Err(TokenRefused::TooMany));
        assert_eq!(tokens.admit(&token(0, 0)), Err(TokenRefused::Taken));
        for id in 0..TOKENS_MAX {
            tokens.revoke(&token(id, 0).id, Signed::new("ann", "", Timestamp(1)));
        }
        tokens.admit(&token(0, 2)).unwrap();
        for id in TOKENS_MAX..2 * TOKENS_MAX {
            tokens.add(token(id, 2));
        }
        assert_eq!(tokens.iter().count(), TOKENS_MAX + TOKENS_ENDED_MAX);
        let long = Signed::new(&"é".repeat(500), "", Timestamp(0));
        assert_eq!(long.by.chars().count(), OPERATOR_TEXT_CHARS_MAX);
    }
}
