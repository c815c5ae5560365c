//! `copydesk keys`: the live secrets of a source, and their rotation without a refused webhook.
//!
//! The configuration file is edited in place, comments and order kept, and checked before it is
//! written. Secrets themselves go into files of their own; no command line ever holds one.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use copydesk_core::signature::SecretForm;
use copydesk_proto::SourceId;
use serde::Serialize;
use toml_edit::{DocumentMut, InlineTable, Item, Table, Value};

use super::args::KeysCommand;
use super::init::{SECRETS_DIR, make_secrets_dir, new_secret, write_new};
use super::output::{Output, time};
use crate::admin::SourceRow;
use crate::config::{
    ConfigError, Environment, FILE_NAME, Loaded, Scheme, SecretRef, Source, read_secret,
};

/// Whoever lists keys sees one of these.
#[derive(Debug, Serialize)]
struct KeyRow {
    source: SourceId,
    id: String,
    place: String,
    /// `signs` for the first of a source, which our own commands sign with; `live` for the others;
    /// `missing` when there is no secret at its place.
    state: &'static str,
    /// When it last proved a webhook, in milliseconds since 1970; `None` when the node that runs
    /// does not know of a use, or none runs.
    used_at: Option<i64>,
    /// The same in words.
    used: String,
}

/// What a node says of the sources; `None` without one.
pub(super) type Uses<'a> = &'a dyn Fn() -> Option<Vec<SourceRow>>;

pub(super) fn keys(
    command: KeysCommand,
    path: Option<&Path>,
    load: &dyn Fn() -> Result<Loaded, ConfigError>,
    uses: Uses<'_>,
    env: &Environment,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let loaded = load()?;
    let file = path.unwrap_or(Path::new(FILE_NAME));
    match command {
        KeysCommand::List { source } => list(&loaded, source.as_deref(), uses(), env, output)?,
        KeysCommand::Add { source, id, from } => {
            add(&loaded, file, &named(&source)?, id, from, env, output)?;
        }
        KeysCommand::Retire { source, id } => {
            retire(&loaded, file, &named(&source)?, &id, env, output)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn named(source: &str) -> anyhow::Result<SourceId> {
    source.parse().with_context(|| format!("{source} is no name of a source"))
}

fn of<'a>(loaded: &'a Loaded, id: &SourceId) -> anyhow::Result<&'a Source> {
    let names: Vec<_> = loaded.config.sources.keys().map(ToString::to_string).collect();
    loaded
        .config
        .sources
        .get(id)
        .with_context(|| format!("there is no source {id}; there are: {}", names.join(", ")))
}

fn list(
    loaded: &Loaded,
    only: Option<&str>,
    uses: Option<Vec<SourceRow>>,
    env: &Environment,
    output: &Output,
) -> anyhow::Result<()> {
    if let Some(only) = only {
        of(loaded, &named(only)?)?;
    }
    let wanted =
        loaded.config.sources.iter().filter(|(id, _)| only.is_none_or(|o| o == id.as_str()));
    let rows: Vec<KeyRow> = wanted
        .flat_map(|(id, source)| {
            let uses = uses.as_deref();
            source.secrets.iter().enumerate().map(move |(place, secret)| {
                let (used_at, used) = last_use(uses, id, &secret.id);
                KeyRow {
                    source: id.clone(),
                    id: secret.id.clone(),
                    place: secret.value.to_string(),
                    state: match (read_secret(&secret.value, env), place) {
                        (Err(_), _) => "missing",
                        (Ok(_), 0) => "signs",
                        (Ok(_), _) => "live",
                    },
                    used_at,
                    used,
                }
            })
        })
        .collect();
    output.rows(&rows, ["source", "key", "kept at", "state", "last use"], |row| {
        let (source, id, place) = (row.source.to_string(), row.id.clone(), row.place.clone());
        [source, id, place, row.state.to_owned(), row.used.clone()]
    })?;
    Ok(())
}

/// When a key was last used, and in words.
fn last_use(uses: Option<&[SourceRow]>, id: &SourceId, key: &str) -> (Option<i64>, String) {
    let Some(rows) = uses else { return (None, "unknown: no node runs".to_owned()) };
    let row = rows.iter().find(|row| row.source == id.as_str());
    let Some((row, known)) =
        row.and_then(|row| Some((row, row.keys.iter().find(|k| k.id == key)?)))
    else {
        return (None, "unknown: the node runs without it".to_owned());
    };
    match (known.used_at, row.looked_back_to) {
        (Some(at), _) => (Some(at), time(at)),
        (None, Some(since)) => (None, format!("none since {}", time(since))),
        (None, None) => (None, "none".to_owned()),
    }
}

fn add(
    loaded: &Loaded,
    file: &Path,
    id: &SourceId,
    key: Option<String>,
    from: Option<SecretRef>,
    env: &Environment,
    output: &Output,
) -> anyhow::Result<()> {
    let source = of(loaded, id)?;
    let key = key.unwrap_or_else(|| next_id(source));
    if source.secrets.iter().any(|secret| secret.id == key) {
        bail!("the source {id} has a key {key} already; --id gives another name");
    }
    let (place, text) = match from {
        Some(place) => (place, None),
        None => {
            let path = PathBuf::from(SECRETS_DIR).join(format!("{id}-{key}"));
            (SecretRef::File(path), Some(made_for(source)?))
        }
    };
    let edited = edit(file, |document| {
        let mut entry = InlineTable::new();
        entry.insert("id", key.as_str().into());
        entry.insert("value", place.to_string().into());
        match secrets_of(document, id)? {
            Item::Value(Value::Array(array)) => {
                if let Some(first) = array.get_mut(0) {
                    first.decor_mut().set_prefix(" ");
                }
                array.insert(0, Value::InlineTable(entry));
            }
            Item::ArrayOfTables(tables) => {
                let mut all: Vec<Table> = tables.iter().cloned().collect();
                all.insert(0, entry.into_table());
                tables.clear();
                all.into_iter().for_each(|table| tables.push(table));
            }
            Item::None | Item::Value(_) | Item::Table(_) => bail!("{UNEDITABLE}"),
        }
        Ok(())
    })?;
    Loaded::parse(&file.display().to_string(), edited.clone(), env)?;
    if let (SecretRef::File(path), Some(text)) = (&place, text) {
        make_secrets_dir()?;
        write_new(path, &text)?;
    }
    replace(file, &edited)?;
    tell(output, id, &key, &place, "added", &after_adding(id, &key, &place))
}

fn retire(
    loaded: &Loaded,
    file: &Path,
    id: &SourceId,
    key: &str,
    env: &Environment,
    output: &Output,
) -> anyhow::Result<()> {
    let source = of(loaded, id)?;
    let Some(at) = source.secrets.iter().position(|secret| secret.id == key) else {
        let ids: Vec<_> = source.secrets.iter().map(|secret| secret.id.as_str()).collect();
        bail!("the source {id} has no key {key}; it has: {}", ids.join(", "));
    };
    if source.secrets.len() == 1 {
        bail!("{key} is the only key of {id}: add another first (`copydesk keys add {id}`)");
    }
    let place = source.secrets.get(at).map(|secret| secret.value.clone());
    let edited = edit(file, |document| {
        match secrets_of(document, id)? {
            Item::Value(Value::Array(array)) if at < array.len() => {
                array.remove(at);
            }
            Item::ArrayOfTables(tables) if at < tables.len() => {
                tables.remove(at);
            }
            Item::None | Item::Value(_) | Item::Table(_) | Item::ArrayOfTables(_) => {
                bail!("{UNEDITABLE}")
            }
        }
        Ok(())
    })?;
    Loaded::parse(&file.display().to_string(), edited.clone(), env)?;
    replace(file, &edited)?;
    let place = place.context("the key has no place")?;
    tell(output, id, key, &place, "retired", &after_retiring(id, key, &place))
}

/// What the file does not hold cannot be edited in it: a variable may have set it.
const UNEDITABLE: &str = "the secrets of this source are not written in the configuration file as \
     secrets = [{ id = …, value = … }]: change them where they are set";

fn edit(
    file: &Path,
    change: impl FnOnce(&mut DocumentMut) -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut document: DocumentMut = text.parse()?;
    change(&mut document)?;
    Ok(document.to_string())
}

fn secrets_of<'a>(document: &'a mut DocumentMut, id: &SourceId) -> anyhow::Result<&'a mut Item> {
    let source = document.get_mut("sources").and_then(|sources| sources.get_mut(id.as_str()));
    source.and_then(|source| source.get_mut("secrets")).context(UNEDITABLE)
}

/// Writes beside the file and renames, so that a crash leaves the old one or the new one.
fn replace(file: &Path, text: &str) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", file.display());
    // The file itself where the name is a link to it.
    let file = fs::canonicalize(file).with_context(cannot)?;
    let folder = file.parent().unwrap_or(Path::new("/"));
    let mut new = tempfile::NamedTempFile::new_in(folder).with_context(cannot)?;
    new.write_all(text.as_bytes()).with_context(cannot)?;
    new.as_file().set_permissions(fs::metadata(&file)?.permissions()).with_context(cannot)?;
    new.as_file().sync_all().with_context(cannot)?;
    new.persist(&file).with_context(cannot)?;
    Ok(())
}

/// `k1`, `k2`, …: the first that is free behind all that are there.
fn next_id(source: &Source) -> String {
    let numbers = source.secrets.iter().filter_map(|s| s.id.strip_prefix('k')?.parse::<u32>().ok());
    format!("k{}", numbers.max().unwrap_or(0).saturating_add(1))
}

/// A new secret in the form that the scheme takes.
fn made_for(source: &Source) -> anyhow::Result<String> {
    if !source.scheme.is_sender() {
        bail!("nothing is signed by this source: it needs no key");
    }
    if matches!(source.scheme, Scheme::Stripe | Scheme::Slack | Scheme::Shopify) {
        bail!(
            "this sender makes its secrets itself: put the new one into a file and name it with \
             --from file:PATH"
        );
    }
    let hex = new_secret()?;
    Ok(match source.signature()?.secret {
        SecretForm::Bytes => hex,
        SecretForm::UserPassword => format!("copydesk:{hex}"),
        SecretForm::Whsec => {
            let bytes = hex::decode(hex.trim_end()).context("hex")?;
            format!("whsec_{}\n", BASE64.encode(bytes))
        }
    })
}

fn after_adding(id: &SourceId, key: &str, place: &SecretRef) -> String {
    format!(
        "Both keys count now. What is left:
1. Restart the node.
2. Give the secret at {place} to the sender, as key {key}.
3. When the sender signs with it: copydesk keys retire {id} OLD-KEY"
    )
}

fn after_retiring(id: &SourceId, key: &str, place: &SecretRef) -> String {
    format!(
        "Restart the node; from then on, what {id} signs with {key} is refused. The secret at \
         {place} is no longer needed."
    )
}

fn tell(
    output: &Output,
    id: &SourceId,
    key: &str,
    place: &SecretRef,
    done: &str,
    next: &str,
) -> anyhow::Result<()> {
    if output.json {
        let place = place.to_string();
        output.value(
            &serde_json::json!({ "source": id, "key": key, "place": place, "done": done }),
        )?;
    } else {
        output.line(&format!("Key {key} of {id} is {done}. {next}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

    use super::*;

    const FILE: &str = "\
# Ours.
[sites.news]
url = \"http://localhost\"
user = \"copydesk\"
application_password = \"env:PW\"

[sources.news]   # the blog
secrets = [{ id = \"k1\", value = \"env:NEWS\" }] # since May
";

    struct Desk {
        folder: tempfile::TempDir,
        env: Environment,
    }

    impl Desk {
        fn new(text: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("copydesk.toml"), text).unwrap();
            Self { folder, env: Environment::default() }
        }

        fn file(&self) -> PathBuf {
            self.folder.path().join("copydesk.toml")
        }

        fn text(&self) -> String {
            fs::read_to_string(self.file()).unwrap()
        }

        fn run(&self, command: KeysCommand) -> anyhow::Result<ExitCode> {
            let file = self.file();
            let load = || crate::config::load(Some(&file), &self.env);
            let output = Output::to(true, Box::new(std::io::sink()));
            keys(command, Some(&file), &load, &|| None, &self.env, &output)
        }

        fn add(&self, from: &str) -> anyhow::Result<ExitCode> {
            let from = Some(from.parse().unwrap());
            self.run(KeysCommand::Add { source: "news".to_owned(), id: None, from })
        }

        fn retire(&self, id: &str) -> anyhow::Result<ExitCode> {
            self.run(KeysCommand::Retire { source: "news".to_owned(), id: id.to_owned() })
        }
    }

    #[test]
    fn a_rotation_keeps_everything_else_in_the_file() {
        let desk = Desk::new(FILE);
        desk.add("env:NEWS_2").unwrap();
        let both = "secrets = [{ id = \"k2\", value = \"env:NEWS_2\" }";
        assert!(desk.text().contains(both), "{}", desk.text());
        desk.retire("k1").unwrap();
        let left = FILE.replace("k1", "k2").replace("env:NEWS", "env:NEWS_2");
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&desk.text().replace("[ {", "[{")), words(&left));
    }

    #[test]
    fn tables_of_their_own_are_edited_too() {
        let own = "[[sources.news.secrets]]\nid = \"k7\"\nvalue = \"env:NEWS\"\n";
        let desk = Desk::new(
            &FILE.replace("secrets = [{ id = \"k1\", value = \"env:NEWS\" }] # since May\n", own),
        );
        desk.add("env:NEWS_8").unwrap();
        let ids = |desk: &Desk| {
            let loaded = crate::config::load(Some(&desk.file()), &desk.env).unwrap();
            let source = loaded.config.sources.values().next().unwrap().clone();
            source.secrets.into_iter().map(|secret| secret.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(&desk), ["k8", "k7"]);
        desk.retire("k7").unwrap();
        assert_eq!(ids(&desk), ["k8"]);
    }

    #[test]
    fn the_last_key_stays_and_unknown_ones_are_named() {
        let desk = Desk::new(FILE);
        assert!(desk.retire("k1").unwrap_err().to_string().contains("only key"));
        assert!(desk.retire("k9").unwrap_err().to_string().contains("it has: k1"));
        let command = KeysCommand::List { source: Some("nobody".to_owned()) };
        assert!(desk.run(command).unwrap_err().to_string().contains("there are: news"));
        assert_eq!(desk.text(), FILE);
    }

    #[test]
    fn each_scheme_gets_a_secret_it_takes() {
        for scheme in ["wp-relay", "standard-webhooks", "basic", "token", "github"] {
            let text = FILE.replace("secrets =", &format!("scheme = \"{scheme}\"\nsecrets ="));
            let desk = Desk::new(&text);
            let loaded = crate::config::load(Some(&desk.file()), &desk.env).unwrap();
            let source = loaded.config.sources.values().next().unwrap();
            let secret = made_for(source).unwrap();
            let row = source.signature().unwrap();
            copydesk_core::signature::Secret::of(&row, "k", secret.trim_end().as_bytes()).unwrap();
        }
    }
}
