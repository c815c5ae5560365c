//! The ids every layer speaks: parsed once at the edge, trusted afterwards.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Longest configured name, in bytes: it becomes part of a log subject.
pub const NAME_BYTES_MAX: usize = 32;

/// Longest foreign id that is hashed into a [`PostId`], in bytes.
pub const EXTERNAL_ID_BYTES_MAX: usize = 256;

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// A configured name has the wrong form.
    #[error(
        "a name is 1 to {NAME_BYTES_MAX} of a-z, 0-9, - and _, and starts with a letter or digit"
    )]
    Name,
    /// A post id is out of its range.
    #[error("a post id is a whole number from 1 to 9223372036854775807")]
    Post,
    /// A foreign id is empty or too long.
    #[error("an external id is 1 to {EXTERNAL_ID_BYTES_MAX} bytes of text")]
    External,
    /// A post key is not `site/post`.
    #[error("a post is written site/post, for example news/42")]
    Key,
    /// A hash is not SHA-256 in hex.
    #[error("a hash is 64 hex digits in lower case")]
    Hash,
}

fn check_name(name: &str) -> Result<(), IdError> {
    let mut bytes = name.bytes();
    let starts = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let rest =
        bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
    if starts && rest && name.len() <= NAME_BYTES_MAX { Ok(()) } else { Err(IdError::Name) }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident,)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as written in the configuration.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The same for whoever keeps it, without a copy.
            #[must_use]
            pub fn to_shared(&self) -> Arc<str> {
                Arc::clone(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(name: &str) -> Result<Self, IdError> {
                check_name(name).map(|()| Self(name.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(name: String) -> Result<Self, IdError> {
                name.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

names! {
    /// A sender allowed to post webhooks to us.
    SourceId,
    /// A WordPress site we write to.
    SiteId,
    /// An AI service with one key and one set of limits.
    ProviderId,
    /// One AI job that a route may ask for.
    EnrichmentId,
    /// A route: its name, or `r<number>` by its place in the file.
    RouteId,
    /// One of the processes that share a log.
    NodeName,
    /// Someone who is told how events end.
    SubscriberId,
}

/// One item of a site: a WordPress post by number, a foreign item by the hash of its id, or what a
/// subscriber is told about either.
///
/// Its text form is safe in a log subject: decimal digits; `x` and 26 base32 characters (the first
/// 16 bytes of SHA-256 over the foreign id); or `to-<subscriber>-` and one of these.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PostId {
    /// `wp_posts.ID`, 1 to 2^63 - 1.
    Number(u64),
    /// A foreign id, hashed.
    External([u8; 16]),
    /// The notices to one subscriber about one item, which is none of this kind.
    Notices {
        /// Who is told.
        to: SubscriberId,
        /// About what.
        of: Box<Self>,
    },
}

impl PostId {
    /// A WordPress post number.
    ///
    /// # Errors
    /// [`IdError::Post`] outside 1 to 2^63 - 1.
    pub fn number(id: u64) -> Result<Self, IdError> {
        if (1..=i64::MAX as u64).contains(&id) { Ok(Self::Number(id)) } else { Err(IdError::Post) }
    }

    /// A foreign id, such as an AI provider's `external_id`.
    ///
    /// # Errors
    /// [`IdError::External`] when empty or over [`EXTERNAL_ID_BYTES_MAX`].
    pub fn external(id: &str) -> Result<Self, IdError> {
        if id.is_empty() || id.len() > EXTERNAL_ID_BYTES_MAX {
            return Err(IdError::External);
        }
        let mut head = [0; 16];
        head.copy_from_slice(&Sha256::digest(id.as_bytes())[..16]);
        Ok(Self::External(head))
    }
}

impl fmt::Display for PostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(id) => id.fmt(f),
            Self::External(head) => write!(f, "x{}", BASE32_NOPAD.encode(head).to_lowercase()),
            Self::Notices { to, of } => write!(f, "to-{to}-{of}"),
        }
    }
}

impl FromStr for PostId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if let Some(notices) = text.strip_prefix("to-") {
            // An item's own form has no dash, so the last one parts the two.
            let (to, of) = notices.rsplit_once('-').ok_or(IdError::Post)?;
            let of = Box::new(of.parse()?);
            return Ok(Self::Notices { to: to.parse().map_err(|_| IdError::Post)?, of });
        }
        if let Some(encoded) = text.strip_prefix('x') {
            let bytes = BASE32_NOPAD
                .decode(encoded.to_uppercase().as_bytes())
                .map_err(|_| IdError::Post)?;
            return bytes.try_into().map(Self::External).map_err(|_| IdError::Post);
        }
        let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
        if !plain {
            return Err(IdError::Post);
        }
        Self::number(text.parse().map_err(|_| IdError::Post)?)
    }
}

/// The aggregate: one post of one site. Everything about it happens in one order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PostKey {
    /// The site that owns the post.
    pub site: SiteId,
    /// The post within the site.
    pub post: PostId,
}

impl PostKey {
    /// The key of the notices to a subscriber about this post.
    #[must_use]
    pub fn notices_to(&self, to: SubscriberId) -> Self {
        let of = Box::new(self.post.clone());
        Self { site: self.site.clone(), post: PostId::Notices { to, of } }
    }

    /// Who is told, when this is the key of notices.
    #[must_use]
    pub const fn subscriber(&self) -> Option<&SubscriberId> {
        match &self.post {
            PostId::Notices { to, of: _ } => Some(to),
            PostId::Number(_) | PostId::External(_) => None,
        }
    }
}

impl fmt::Display for PostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not `write!`: each record that is written comes by here.
        f.write_str(self.site.as_str())?;
        f.write_str("/")?;
        self.post.fmt(f)
    }
}

impl FromStr for PostKey {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (site, post) = text.split_once('/').ok_or(IdError::Key)?;
        Ok(Self { site: site.parse()?, post: post.parse()? })
    }
}

/// Wall-clock time: milliseconds since 1970-01-01 UTC. For windows and display, never for order.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This time, `ms` later.
    #[must_use]
    pub const fn after_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add_unsigned(ms))
    }

    /// Milliseconds from `earlier` to this time; 0 when `earlier` is later.
    #[must_use]
    pub const fn since_ms(self, earlier: Self) -> u64 {
        let ms = self.0.saturating_sub(earlier.0);
        if ms < 0 { 0 } else { ms.unsigned_abs() }
    }
}

/// SHA-256 of a text we saw or wrote; how "unchanged" is decided without keeping the text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentHash(pub [u8; 32]);

impl ContentHash {
    /// The hash of the parts, each preceded by its length, so that no two lists collide by joining.
    #[must_use]
    pub fn of(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        Self(hash.finalize().into())
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEXLOWER.encode_mut_str(&self.0, &mut [0; 64]))
    }
}

impl FromStr for ContentHash {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| IdError::Hash)?;
        bytes.try_into().map(Self).map_err(|_| IdError::Hash)
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", HEXLOWER.encode(&self.0[..6]))
    }
}
