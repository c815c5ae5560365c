//! `copydesk init`: a commented configuration that works, and a secret of its own.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::args::InitArgs;
use super::output::Output;
use crate::config::{DEFAULT_TOML, Environment, FILE_NAME, Loaded};

/// Where secrets go, in the working directory like all paths of a configuration.
pub(super) const SECRETS_DIR: &str = "copydesk-secrets";

pub(super) fn init(
    args: &InitArgs,
    path: Option<&Path>,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let file = path.unwrap_or(Path::new(FILE_NAME));
    let (secret, password) = (secret_file(args), password_file(args));
    let text = template(args, &secret, &password);
    // Checked before anything is written: a bad --url must not leave half a set-up.
    Loaded::parse(&file.display().to_string(), text.clone(), &Environment::default())?;
    for made in [file, &secret] {
        if made.exists() {
            bail!("{} exists already and is not overwritten: move it away first", made.display());
        }
    }
    make_secrets_dir()?;
    write_new(&secret, &new_secret()?)?;
    write_new(file, &text)?;
    if output.json {
        let made = serde_json::json!({ "config": file, "secret": secret, "password": password });
        output.value(&made)?;
    } else {
        output.line(&next_steps(args, file, &secret, &password))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn make_secrets_dir() -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(SECRETS_DIR);
    made.with_context(|| format!("cannot make {SECRETS_DIR}"))
}

fn secret_file(args: &InitArgs) -> PathBuf {
    Path::new(SECRETS_DIR).join(format!("{}-webhook", args.site))
}

fn password_file(args: &InitArgs) -> PathBuf {
    Path::new(SECRETS_DIR).join(format!("{}-app-password", args.site))
}

fn next_steps(args: &InitArgs, file: &Path, secret: &Path, password: &Path) -> String {
    let InitArgs { site, url, user } = args;
    let (file, secret, password) = (file.display(), secret.display(), password.display());
    format!(
        "{file} and {secret} are written. What is left:

1. In {url}, make an application password for {user}
   (Users > Profile > Application Passwords) and put it into {password}:
     (umask 077; cat > {password})
2. Let the site post its webhooks to http://THIS-HOST:8080/webhooks/{site},
   signed as wp-relay with the secret in {secret}.
3. copydesk check
   copydesk serve
   copydesk send --post 1"
    )
}

/// The default file with one site, source, enrichment and route taken out of their comments.
pub(super) fn template(args: &InitArgs, secret: &Path, password: &Path) -> String {
    let InitArgs { site, url, user } = args;
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let at = |path: &Path| quoted(&format!("file:{}", path.display()));
    let filled = [
        ("[sites.news]", format!("[sites.{site}]")),
        ("url = ", format!("url = {}", quoted(url))),
        ("user = ", format!("user = {}", quoted(user))),
        ("application_password = ", format!("application_password = {}", at(password))),
        ("[sources.news]", format!("[sources.{site}]")),
        ("secrets = ", format!("secrets = [{{ id = \"k1\", value = {} }}]", at(secret))),
        ("site = ", format!("site = {}", quoted(site))),
        ("[enrichments.summary]", "[enrichments.summary]".to_owned()),
        ("mode = ", "mode = \"apply\"".to_owned()),
        ("[[routes]]", "[[routes]]".to_owned()),
        ("source = ", format!("source = {}", quoted(site))),
        ("events = ", "events = [\"post.published\", \"post.updated\"]".to_owned()),
        ("enrich = ", "enrich = [\"summary\"]".to_owned()),
    ];
    let mut table = "";
    let line = |line: &'static str| {
        if line.starts_with("#[") {
            table = line;
        }
        // Keys of the same names, which nobody needs to begin with.
        if table.starts_with("#[subscribers.") {
            return line.to_owned() + "\n";
        }
        let example = line.strip_prefix('#').and_then(|rest| {
            filled.iter().find(|(start, _)| rest.starts_with(start)).map(|(_, text)| text.as_str())
        });
        example.unwrap_or(line).to_owned() + "\n"
    };
    DEFAULT_TOML.lines().map(line).collect()
}

/// 32 random bytes in hex, and a line's end.
///
/// # Errors
/// When the system gives no random bytes.
pub(crate) fn new_secret() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("the system gives no random bytes")?;
    Ok(hex::encode(bytes) + "\n")
}

/// Writes a file that only its owner may read.
///
/// # Errors
/// When it is there already, or cannot be written.
pub(crate) fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}
