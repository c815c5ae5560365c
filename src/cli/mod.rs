//! The commands. Those that look at a node talk to its admin API, so that they work while it runs.

mod args;
mod backup;
mod check;
mod client;
pub(crate) mod init;
mod keys;
pub(crate) mod node;
pub(crate) mod output;
mod pages;
mod routes;
pub(crate) mod send;
#[cfg(test)]
mod tests;
mod trace;
mod verify;
mod watch;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

pub use args::{Cli, Command, DemoArgs};
pub use client::{AdminClient, ClientError, Journeys};
pub use output::Output;

use crate::config::{self, ConfigError, Environment, Loaded};
use crate::demo;

/// Exit code of a configuration that cannot be used (sysexits.h, `EX_CONFIG`).
const EXIT_CONFIG: u8 = 78;

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
        Command::Events(command) => {
            watched(&load, async |c| watch::events(command, c, output).await)
        }
        Command::Posts(command) => watched(&load, async |c| watch::posts(command, c, output).await),
        Command::Trace { of } => watched(&load, async |c| trace::trace(&of, c, output).await),
        Command::DeadLetters(command) => {
            watched(&load, async |c| watch::dead_letters(command, c, output).await)
        }
        Command::Routes(command) => routes::routes(command, &load()?, output),
        Command::Keys(command) => keys::keys(command, path.as_deref(), &load, env, output),
        Command::Status => watched(&load, async |c| watch::status(c, output).await),
        Command::Hold(args) => watched(&load, async |c| watch::hold(args, c, env, output).await),
        Command::Resume { scope } => {
            watched(&load, async |c| watch::resume(scope, c, output).await)
        }
        Command::Backup { file } => on_one_thread(backup::backup(&file, &load()?, output)),
        Command::Restore { file } => on_one_thread(backup::restore(&file, &load()?, output)),
        Command::Export { file } => backup::export(&file, output),
        Command::Verify => on_one_thread(verify::verify(&load()?, output)),
    }
}

/// Runs a command against the node of the configuration's data folder.
fn watched(
    load: &dyn Fn() -> Result<Loaded, ConfigError>,
    command: impl AsyncFnOnce(AdminClient) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let client = AdminClient::of(Path::new(&load()?.config.data_dir))?;
    on_one_thread(command(client))
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
    ExitCode::FAILURE
}
