//! `admin.json` in the data folder: where the node's admin API is, and an admin's token for it.
//! Whoever may read the data folder may operate the node.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use copydesk_actors::World;
use copydesk_actors::desk::{TokenBook, TokenError};
use copydesk_core::access::{Reach, Role, Signed, Token};
use serde::{Deserialize, Serialize};
use tracing::warn;

/// Name of the file in the data folder.
pub const FILE_NAME: &str = "admin.json";

/// How the names of the data folders' own tokens begin.
pub const NAME_PREFIX: &str = "folder-";

/// How to reach a node.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// The bound address.
    pub address: SocketAddr,
    /// The bearer token: `cd_` and 64 hex digits.
    pub token: String,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// No node has been started with this folder.
    #[error("there is no {}", .0.display())]
    Missing(PathBuf),
    /// It is there and cannot be read or written.
    #[error("{} cannot be used", path.display())]
    Unusable {
        /// The file or its folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It was written by something else.
    #[error("{} does not hold an address and a token: delete it and start the node", .0.display())]
    Broken(PathBuf),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

/// Why a data folder's token opens nothing.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The file.
    #[error(transparent)]
    File(#[from] AccessError),
    /// The tokens in the log.
    #[error("the tokens of the admin API cannot be read")]
    Tokens(#[from] TokenError),
}

impl Access {
    /// Writes the file and sees to it that its token opens the door: the admin's, for the whole
    /// desk. A token that was revoked or is lost is replaced.
    ///
    /// # Errors
    /// [`DoorError`].
    pub async fn open(
        book: &TokenBook,
        data_dir: &Path,
        address: SocketAddr,
    ) -> Result<Self, DoorError> {
        let now = World::now();
        let ended = |secret: &str| {
            let hash = Token::hash_of(secret);
            book.look(|tokens| tokens.iter().any(|t| t.hash == hash && !t.is_live(now)))
        };
        let access = Self::publish(data_dir, address, ended)?;
        let hash = Token::hash_of(&access.token);
        if book.look(|tokens| tokens.iter().any(|token| token.hash == hash)) {
            return Ok(access);
        }
        let signed = Signed::new("copydesk serve", "the token of a data folder", now);
        let rights = (Role::Admin, Reach::Desk);
        let mut token = Token::new(&access.token, "", rights, None, signed);
        // The nodes of a cluster have a folder each.
        token.name = format!("{NAME_PREFIX}{}", &token.id[..6]);
        match book.add(&token).await {
            Ok(()) => {}
            // A log without room is no reason to lock the operator out.
            Err(TokenError::Append(error)) => {
                warn!(%error, "the token of the data folder is not in the log yet");
                book.trust(token);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(access)
    }

    /// Writes the file for a node that has just bound `address`, keeping the token of an earlier
    /// start unless it has ended. The folder is made with mode 0700, the file has mode 0600.
    ///
    /// # Errors
    /// [`AccessError`], but not `Missing`.
    fn publish(
        data_dir: &Path,
        address: SocketAddr,
        ended: impl Fn(&str) -> bool,
    ) -> Result<Self, AccessError> {
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |source| AccessError::Unusable { path, source }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data_dir)
            .map_err(unusable(data_dir))?;
        let token = match Self::read(data_dir) {
            Ok(earlier) if !ended(&earlier.token) => earlier.token,
            Ok(_) => new_token()?,
            Err(AccessError::Missing(_) | AccessError::Broken(_)) => new_token()?,
            Err(error @ (AccessError::Unusable { .. } | AccessError::Random(_))) => {
                return Err(error);
            }
        };
        let access = Self { address, token };
        let text = serde_json::to_string_pretty(&access).unwrap_or_default();
        // Renamed into place: a command never reads half a file, and never an open one.
        let (path, new) = (data_dir.join(FILE_NAME), data_dir.join("admin.json.new"));
        let write = || {
            match fs::remove_file(&new) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(text.as_bytes())?;
            file.write_all(b"\n")?;
            fs::rename(&new, &path)
        };
        write().map_err(unusable(&path))?;
        Ok(access)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn read(data_dir: &Path) -> Result<Self, AccessError> {
        let path = data_dir.join(FILE_NAME);
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map_err(|_| AccessError::Broken(path)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(AccessError::Missing(path))
            }
            Err(source) => Err(AccessError::Unusable { path, source }),
        }
    }
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A new token: `cd_` and 256 random bits.
///
/// # Errors
/// [`AccessError::Random`].
pub fn new_token() -> Result<String, AccessError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(AccessError::Random)?;
    Ok(format!("cd_{}", hex::encode(bytes)))
}
