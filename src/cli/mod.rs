//! The commands. Those that look at a node talk to its admin API, so that they work while it runs.

mod args;
mod backup;
mod check;
mod client;
mod dead_letters;
mod events;
mod holds;
pub(crate) mod init;
mod jobs;
mod keys;
mod look;
mod money;
pub(crate) mod node;
pub(crate) mod output;
mod pages;
mod posts;
mod routes;
pub(crate) mod send;
mod subscribers;
#[cfg(test)]
mod tests;
mod tokens;
mod trace;
mod verify;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;

pub use args::{ActArgs, Cli, Command, DemoArgs};
pub use client::{AdminClient, ClientError, Journeys};
pub use output::Output;

use self::routes::RoutesArgs;
use crate::admin::{Rows, SourceRow};
use crate::config::{self, ConfigError, Environment, Loaded};
use crate::demo;
use crate::serve::{EXIT_REFUSED, RefusedStart};

/// Exit code of a configuration that cannot be used (sysexits.h, `EX_CONFIG`).
const EXIT_CONFIG: u8 = 78;
/// Exit code when no node answers (`EX_UNAVAILABLE`).
const EXIT_UNAVAILABLE: u8 = 69;
/// Exit code when the token may not do this (`EX_NOPERM`).
const EXIT_NOT_ALLOWED: u8 = 77;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.json);
    match run(cli, &Environment::process(), &output) {
        Ok(code) => code,
        Err(error) => fail(&error, &output),
    }
}

/// Runs one command.
///
/// # Errors
/// Whatever stops it; a [`ConfigError`] when it is the configuration.
pub fn run(cli: Cli, env: &Environment, output: &Output) -> anyhow::Result<ExitCode> {
    let Cli { config: path, command, .. } = cli;
    let load = || config::load(path.as_deref(), env);
    match command {
        Command::Serve => node::serve(&load()?, path.as_deref(), env),
        Command::Check => on_one_thread(check::check(&load()?, env, output)),
        Command::Demo(args) => demo::demo(&args, env, output),
        Command::Init(args) => init::init(&args, path.as_deref(), output),
        Command::Completions { shell } => pages::completions(shell, output),
        Command::Man { dir } => pages::man(dir.as_deref(), output),
        Command::Send(args) => on_one_thread(send::send(&args, &load, env, output)),
        Command::Trace { of } => asked(&load, env, async |c| trace::trace(&of, &c, output).await),
        Command::Keys(command) => {
            let uses = || uses(&load, env);
            keys::keys(command, path.as_deref(), &load, &uses, env, output)
        }
        Command::Openapi => pages::openapi(output),
        Command::Status => asked(&load, env, async |c| look::status(&c, output).await),
        Command::Nodes => asked(&load, env, async |c| look::nodes(&c, output).await),
        Command::Sites => asked(&load, env, async |c| look::sites(&c, output).await),
        Command::Sources => asked(&load, env, async |c| look::sources(&c, output).await),
        Command::Providers => asked(&load, env, async |c| look::providers(&c, output).await),
        Command::Routes(RoutesArgs { command: None }) => {
            asked(&load, env, async |c| look::routes(&c, output).await)
        }
        Command::Routes(RoutesArgs { command: Some(command) }) => command.run(&load()?, output),
        Command::Events(command) => asked(&load, env, async |c| command.run(&c, output).await),
        Command::Posts(command) => asked(&load, env, async |c| command.run(&c, output).await),
        Command::DeadLetters(command) => asked(&load, env, async |c| command.run(&c, output).await),
        Command::Subscribers(command) => asked(&load, env, async |c| command.run(&c, output).await),
        Command::Tokens(command) => asked(&load, env, async |c| command.run(&c, output).await),
        Command::Jobs(command) => asked(&load, env, async |c| command.run(&c, output).await),
        Command::Budgets(args) => asked(&load, env, async |c| args.run(&c, output).await),
        Command::Costs(args) => asked(&load, env, async |c| args.run(&c, output).await),
        Command::Hold(args) => asked(&load, env, async |c| args.run(&c, output).await),
        Command::Resume(args) => asked(&load, env, async |c| args.run(&c, output).await),
        Command::Backup { file } => on_one_thread(backup::backup(&file, &load()?, output)),
        Command::Restore { file } => on_one_thread(backup::restore(&file, &load()?, output)),
        Command::Export { file } => backup::export(&file, output),
        Command::Verify => on_one_thread(verify::verify(&load()?, output)),
    }
}

/// Runs a command against a node: the one of the environment, else of the configuration's folder.
fn asked(
    load: &dyn Fn() -> Result<Loaded, ConfigError>,
    env: &Environment,
    command: impl AsyncFnOnce(AdminClient) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let client = match (env.get("COPYDESK_URL"), env.get("COPYDESK_TOKEN")) {
        (Some(url), Some(token)) => AdminClient::at(url, token)?,
        (None, None) => AdminClient::of(Path::new(&load()?.config.data_dir))?
            .for_person(env.get("USER").unwrap_or_default()),
        (_, _) => bail!("set COPYDESK_URL and COPYDESK_TOKEN, or neither"),
    };
    on_one_thread(command(client))?;
    Ok(ExitCode::SUCCESS)
}

/// What the node says of its sources, if one answers.
fn uses(
    load: &dyn Fn() -> Result<Loaded, ConfigError>,
    env: &Environment,
) -> Option<Vec<SourceRow>> {
    let mut found = None;
    let ask = async |client: AdminClient| {
        let rows: Rows<SourceRow> = client.get(&["sources"], &()).await?;
        found = Some(rows.rows);
        Ok(())
    };
    asked(load, env, ask).ok()?;
    found
}

fn on_one_thread<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the system gives no runtime")?
        .block_on(work)
}

fn fail(error: &anyhow::Error, output: &Output) -> ExitCode {
    let broken_pipe = error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
    if broken_pipe {
        // `copydesk events list | head`: the reader has had enough.
        return ExitCode::SUCCESS;
    }
    if let Some(error) = error.downcast_ref::<ConfigError>() {
        output.error(&error.to_string());
        return ExitCode::from(EXIT_CONFIG);
    }
    output.error(&format!("error: {error:#}"));
    if error.is::<RefusedStart>() {
        return ExitCode::from(EXIT_REFUSED);
    }
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Unknown(_) | ClientError::NotRunning { .. }) => {
            ExitCode::from(EXIT_UNAVAILABLE)
        }
        Some(ClientError::Refused(problem)) if matches!(problem.status, 401 | 403) => {
            ExitCode::from(EXIT_NOT_ALLOWED)
        }
        Some(ClientError::Refused(_) | ClientError::Strange(_)) | None => ExitCode::FAILURE,
    }
}
