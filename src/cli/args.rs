//! The command line, with help that teaches.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use super::dead_letters::DeadLetters;
use super::events::Events;
use super::holds::{HoldArgs, ResumeArgs};
use super::jobs::Jobs;
use super::money::{BudgetsArgs, CostsArgs};
use super::posts::Posts;
use super::routes::RoutesArgs;
use super::subscribers::Subscribers;
use super::tokens::Tokens;
use crate::config::{Scheme, SecretRef};

const EXAMPLES: &str = "\
See it work, without an account or a WordPress:
  copydesk demo

First steps:
  copydesk init --url https://news.example.org --user editor
  copydesk check                     says what is wrong, and how to mend it
  copydesk serve
  copydesk send --post 42            a signed test webhook
  copydesk events follow             watch what becomes of it

Commands that look at a node find it through the data folder of the configuration. To talk to
another one, set COPYDESK_URL (http://host:port) and COPYDESK_TOKEN.

Exit codes: 0 done, 1 not done, 2 wrong usage, 69 no node answers, 77 the token may not do this,
78 the configuration is wrong, or the log is refused; of serve also 70 and 74.";

/// The desk between WordPress sites and AI services.
///
/// Takes signed webhooks, puts each post's events in order, has AI enrich them, and writes the
/// results back to WordPress. An accepted event is kept until it is done; each write lands once,
/// checked in WordPress, in order per post, and never over a person's words.
#[derive(Debug, Parser)]
#[command(name = "copydesk", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    /// The configuration file [default: copydesk.toml].
    #[arg(long, short, global = true, env = "COPYDESK_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON, for programs.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node: take webhooks in, enrich, write back.
    ///
    /// Stops on SIGTERM or Ctrl-C: new webhooks are refused, those under way are finished.
    #[command(after_help = "\
Examples:
  copydesk serve
  copydesk serve --config /etc/copydesk/copydesk.toml
  COPYDESK_HTTP_LISTEN=0.0.0.0:8080 copydesk serve")]
    Serve,
    /// See it work: a node, a pretend WordPress and a post's journey, all in this process.
    ///
    /// Needs no account, no key and no other program; nothing leaves this machine. Stays up until
    /// Ctrl-C, so that you can send webhooks of your own.
    #[command(after_help = "\
Examples:
  copydesk demo
  copydesk demo --dir my-demo          keeps the folder, to look at it
  copydesk demo --once                 ends after the show")]
    Demo(DemoArgs),
    /// Write a commented copydesk.toml and a webhook secret to start from.
    #[command(after_help = "\
Examples:
  copydesk init
  copydesk init --site news --url https://news.example.org --user editor")]
    Init(InitArgs),
    /// Check configuration, log, WordPress and AI services, and say how to mend what is wrong.
    #[command(after_help = "\
Exit code 0 when all is well, 1 when something is wrong, 78 when the configuration is.")]
    Check,
    /// Sign a test webhook and send it.
    #[command(after_help = "\
Examples:
  copydesk send --post 42
  copydesk send --source news --event post.published --content 'Text of the post.'
  copydesk send --post 42 --key k-1 --repeat 2         the second is a duplicate
  copydesk send --url http://127.0.0.1:8080/webhooks/news --secret env:NEWS_SECRET")]
    Send(SendArgs),
    /// How the running node is.
    Status,
    /// The nodes that share the log, and what each works on.
    #[command(after_help = "\
Examples:
  copydesk nodes
  copydesk nodes --json | jq -r '.[] | select(.state != \"works\") | .node'")]
    Nodes,
    /// Look at events.
    #[command(subcommand)]
    Events(Events),
    /// Look at posts.
    #[command(subcommand)]
    Posts(Posts),
    /// The way of an event, or of a post's newest events, as a tree with times.
    ///
    /// Read from the log, so that it tells of events of last month, too. The trace id opens the
    /// same event in a tracing backend, with every request in it.
    #[command(after_help = "\
Examples:
  copydesk trace news/42
  copydesk trace 0199c5e2-1f6b-7cc2-9d5e-0d1e2f3a4b5c
  copydesk trace news/42 --json | jq -r '.[].trace_id'")]
    Trace {
        /// SITE/ID of a post, or the id that the sender of an event was told.
        of: String,
    },
    /// See and change the secrets that sources sign with.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Look at what needs a person, and decide.
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// Act on many posts at once.
    #[command(subcommand)]
    Jobs(Jobs),
    /// The WordPress sites, and how each is.
    Sites,
    /// The senders and schedules: when each was last heard of, and is to be next.
    Sources,
    /// The AI services, and how each is.
    Providers,
    /// The running node's routes, in the order they are tried.
    Routes(RoutesArgs),
    /// What AI may cost, what it has cost, and other caps.
    Budgets(BudgetsArgs),
    /// What AI calls cost, by site, model, field, …
    Costs(CostsArgs),
    /// Who is told how events end: add, test, replay, enable, disable.
    #[command(subcommand)]
    Subscribers(Subscribers),
    /// Give and revoke tokens for the admin API.
    #[command(subcommand)]
    Tokens(Tokens),
    /// Hold work; webhooks are still taken in. Without a scope: what is held.
    #[command(after_help = "\
Scopes: all, deliveries, site:NAME, source:NAME, provider:NAME, enrichment:NAME, route:NAME,
subscriber:NAME, post:SITE/ID

Examples:
  copydesk hold
  copydesk hold site:news --reason 'moving to a new server'
  copydesk resume site:news --reason 'moved'")]
    Hold(HoldArgs),
    /// Release a hold; work goes on in order.
    Resume(ResumeArgs),
    /// Read the whole log and check the promises: order, no write twice, nothing lost.
    ///
    /// Asks the running node; without one, opens the log itself.
    #[command(after_help = "\
Exit code 0 when every promise was kept, 1 when one was broken.")]
    Verify,
    /// Keep the whole log in one file, while the node runs or while it does not.
    #[command(after_help = "\
Examples:
  copydesk backup /backups/copydesk-$(date +%F).log

The file holds what posts say; only its owner can read it.")]
    Backup {
        /// A file that is not there yet.
        file: PathBuf,
    },
    /// Make the log anew from a backup, and check it. The node must not run.
    #[command(after_help = "\
The old log must be moved away first:
  mv /var/lib/copydesk/log /var/lib/copydesk/log.old
  copydesk restore /backups/copydesk-2026-11-25.log")]
    Restore {
        /// What `copydesk backup` wrote.
        file: PathBuf,
    },
    /// Print a backup, a line of JSON for each record.
    #[command(after_help = "\
Examples:
  copydesk export backup.log | jq 'select(.post == \"news/42\")'")]
    Export {
        /// What `copydesk backup` wrote.
        file: PathBuf,
    },
    /// Print the OpenAPI document of the admin API.
    #[command(after_help = "\
A running node answers the same at /api/v1/openapi.json.")]
    Openapi,
    /// Print completions for a shell.
    #[command(after_help = "\
Examples:
  copydesk completions bash > /etc/bash_completion.d/copydesk
  copydesk completions zsh > ~/.zfunc/_copydesk")]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual page, or write one for each command into a folder.
    #[command(after_help = "\
Examples:
  copydesk man | man -l -
  copydesk man --dir /usr/local/share/man/man1")]
    Man {
        /// A folder that exists.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

/// How the demo runs.
#[derive(Debug, Default, Args)]
pub struct DemoArgs {
    /// A folder for its configuration, secrets and log; made if need be, and kept. Without it, a
    /// temporary one.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// End after the show.
    #[arg(long)]
    pub once: bool,
}

/// What `init` writes.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// A short name for the site: a-z, 0-9, - and _.
    #[arg(long, default_value = "news")]
    pub site: String,
    /// Address of the site's front page.
    #[arg(long, default_value = "http://localhost")]
    pub url: String,
    /// A WordPress user who may edit the posts.
    #[arg(long, default_value = "copydesk")]
    pub user: String,
}

/// What `send` sends.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// The source to send as; needless when there is only one.
    #[arg(long, conflicts_with_all = ["url", "secret"])]
    pub source: Option<String>,
    /// Where to send, when not to the node of the configuration.
    #[arg(long, requires = "secret")]
    pub url: Option<String>,
    /// Where the secret is kept: env:NAME or file:PATH. Never the secret itself.
    #[arg(long, requires = "url")]
    pub secret: Option<SecretRef>,
    /// How to sign, with --url.
    #[arg(long, value_enum, default_value_t, requires = "url")]
    pub scheme: Scheme,
    /// The event type.
    #[arg(long, default_value = "post.published")]
    pub event: String,
    /// The post's number.
    #[arg(long, default_value_t = 1)]
    pub post: u64,
    /// The post's title.
    #[arg(long)]
    pub title: Option<String>,
    /// The post's text; without it, Copydesk reads the post from WordPress.
    #[arg(long)]
    pub content: Option<String>,
    /// The idempotency key; a new one for each webhook when left out.
    #[arg(long)]
    pub key: Option<String>,
    /// How many to send, one after the other.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub repeat: u32,
}

/// Which part of a list is shown.
#[derive(Debug, Args)]
pub struct PartArgs {
    /// Only of this site.
    #[arg(long)]
    pub site: Option<String>,
    /// Go on where an earlier list ended.
    #[arg(long)]
    pub cursor: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = crate::admin::ROWS_DEFAULT)]
    pub limit: usize,
}

/// See and change the secrets that sources sign with.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// The live keys: where each is kept, and whether it is there.
    List {
        /// Only of this source.
        source: Option<String>,
    },
    /// Give a source a further key, so that no webhook is refused while its sender changes over.
    ///
    /// Edits the configuration file and, unless --from names a place, makes the secret.
    #[command(after_help = "\
Examples:
  copydesk keys add news
  copydesk keys add payments --from file:/run/secrets/payments-2")]
    Add {
        /// The source.
        source: String,
        /// The key's id; the next free of k1, k2, … when left out.
        #[arg(long)]
        id: Option<String>,
        /// Where the secret is kept already: env:NAME or file:PATH. Never the secret itself.
        #[arg(long)]
        from: Option<SecretRef>,
    },
    /// Take a key from a source: what is signed with it is refused from the next start on.
    Retire {
        /// The source.
        source: String,
        /// The key's id.
        id: String,
    },
}

/// Who acts, and why.
#[derive(Debug, Default, Args)]
pub struct ActArgs {
    /// Who acts; recorded beside the name of the token. Left out: your login name, if the token is
    /// the data folder's, else nobody but the token.
    #[arg(long)]
    pub by: Option<String>,
    /// Why, for whoever finds it.
    #[arg(long)]
    pub reason: Option<String>,
}
