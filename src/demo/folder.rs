//! The demo's folder: a configuration as anyone would write it, its secrets, and the log.

use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tempfile::TempDir;

use super::site::USER;
use crate::cli::init::{new_secret, write_new};
use crate::config::{self, Environment, Loaded};

/// A folder; a temporary one goes when this is dropped.
pub(super) struct Folder {
    /// Absolute: the paths in the configuration then hold from every working directory.
    pub(super) path: PathBuf,
    _temporary: Option<TempDir>,
}

impl Folder {
    /// Makes the folder, or a temporary one when none is named.
    ///
    /// # Errors
    /// When it cannot be made or holds a configuration already.
    pub(super) fn make(dir: Option<&Path>) -> anyhow::Result<Self> {
        let Some(dir) = dir else {
            let made = tempfile::Builder::new().prefix("copydesk-demo-").tempdir();
            let temporary = made.context("no temporary folder")?;
            return Ok(Self { path: temporary.path().to_owned(), _temporary: Some(temporary) });
        };
        let make = || {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            dir.canonicalize()
        };
        let path = make().with_context(|| format!("cannot make {}", dir.display()))?;
        let folder = Self { path, _temporary: None };
        if folder.config().exists() {
            bail!("{} exists already: name a new folder", folder.config().display());
        }
        Ok(folder)
    }

    /// The configuration.
    pub(super) fn config(&self) -> PathBuf {
        self.path.join(config::FILE_NAME)
    }

    /// The secret that webhooks are signed with.
    pub(super) fn webhook_secret(&self) -> PathBuf {
        self.path.join("webhook-secret")
    }

    /// The application password of the pretend WordPress.
    pub(super) fn password(&self) -> PathBuf {
        self.path.join("application-password")
    }

    /// Writes secrets; the webhook secret and the password are returned, in this order.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(super) fn write_secrets(&self) -> anyhow::Result<[String; 2]> {
        let write = |path: PathBuf| {
            let secret = new_secret()?;
            write_new(&path, &secret)?;
            Ok(secret.trim_end().to_owned())
        };
        let secrets = [self.webhook_secret(), self.password()].map(write);
        let [webhook, password]: [anyhow::Result<String>; 2] = secrets;
        Ok([webhook?, password?])
    }

    /// Writes the configuration for the site at this address, and reads it as a node does.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write_config(&self, site: SocketAddr) -> anyhow::Result<Loaded> {
        let quoted = |text: String| toml::Value::from(text).to_string();
        let at = |path: PathBuf| quoted(format!("file:{}", path.display()));
        let data = quoted(self.path.join("data").display().to_string());
        let (password, secret) = (at(self.password()), at(self.webhook_secret()));
        let text = format!(
            "# Written by `copydesk demo`. The ports are taken afresh at each start.
data_dir = {data}
http.listen = \"127.0.0.1:0\"

[sites.demo]
url = \"http://{site}\"
user = \"{USER}\"
application_password = {password}

[sources.demo]
scheme = \"wp-relay\"
secrets = [{{ id = \"k1\", value = {secret} }}]

[enrichments.summary]
mode = \"apply\"

[enrichments.meta_description]
mode = \"suggest\"

[[routes]]
source = \"demo\"
events = [\"post.published\", \"post.updated\"]
enrich = [\"summary\", \"meta_description\"]
"
        );
        write_new(&self.config(), &text)?;
        // The demo is the same everywhere: variables that set up another node do not reach it.
        Ok(config::load(Some(&self.config()), &Environment::default())?)
    }
}
