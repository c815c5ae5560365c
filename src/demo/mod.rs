//! `copydesk demo`: a real node, its log and a pretend WordPress in one process, and a post's
//! journey through them. Only the WordPress is pretended: webhooks are signed and sent over HTTP,
//! events are stored, results are written as they are to a real site.

mod folder;
mod show;
mod site;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use copydesk_core::signature::{Secret, WP_RELAY};
use tokio::signal::unix::{SignalKind, signal};

use self::folder::Folder;
use self::show::{Show, next_steps};
use self::site::PretendSite;
use crate::cli::node::{THREADS_MAX, exit_code};
use crate::cli::send::Target;
use crate::cli::{DemoArgs, Output};
use crate::config::{Environment, Telemetry as Settings};
use crate::serve::{self, Ended};
use crate::telemetry::{Output as LogOutput, Telemetry};

/// Runs the demo.
///
/// # Errors
/// What stops it; also when the show does not go as it should.
pub fn demo(args: &DemoArgs, env: &Environment, output: &Output) -> anyhow::Result<ExitCode> {
    let folder = Folder::make(args.dir.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the system gives no runtime")?;
    // The show is on standard output; of log lines only what someone should look at is wanted.
    let logged = env.get("RUST_LOG").filter(|text| !text.is_empty()).unwrap_or("warn");
    let quiet = Environment::from([("RUST_LOG", logged)]);
    let ended = runtime.block_on(async {
        let telemetry = Telemetry::start(&Settings::default(), &quiet, LogOutput::Stderr)?;
        let ended = run(&folder, args, &telemetry, output).await;
        telemetry.shutdown().await;
        ended
    });
    // Before the folder goes: threads of the log may still write into it.
    runtime.shutdown_timeout(THREADS_MAX);
    Ok(exit_code(ended?))
}

/// Everything but the process's own: runtime and telemetry.
async fn run(
    folder: &Folder,
    args: &DemoArgs,
    telemetry: &Telemetry,
    output: &Output,
) -> anyhow::Result<Ended> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let [secret, password] = folder.write_secrets()?;
    let site = PretendSite::start(&password).await?;
    let loaded = folder.write_config(site.address)?;
    let secrets = loaded.secrets(&Environment::default())?;
    let running = serve::start(&loaded.config, &secrets, telemetry).await?;
    let target = Target {
        url: format!("http://{}/webhooks/demo", running.http),
        scheme: WP_RELAY.clone(),
        secret: Secret::new("k1", secret.as_bytes())?,
    };
    let show = async {
        let data_dir: &Path = &loaded.config.data_dir;
        Show::begin(&site, &target, data_dir, output).await?.run().await
    };
    tokio::select! {
        shown = show => shown?,
        _ = terminate.recv() => return Ok(Ended::Asked),
        _ = interrupt.recv() => return Ok(Ended::Asked),
    }
    if args.once {
        // What was accepted is on the disk, so the node may end without ceremony.
        return Ok(Ended::Asked);
    }
    next_steps(folder, &site, &target.url, output)?;
    running.until_ended().await
}
