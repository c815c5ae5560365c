//! `copydesk serve`: a node in this process, with its telemetry around it.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use crate::config::{self, Environment, Loaded};
use crate::serve::{self, EXIT_ACTOR_FAILED, EXIT_LOG_FAILED, Ended, RefusedStart};
use crate::telemetry::{Output as LogOutput, Telemetry};

/// How long work on blocking threads may keep the process.
pub(crate) const THREADS_MAX: Duration = Duration::from_secs(2);

pub(super) fn serve(
    loaded: &Loaded,
    path: Option<&Path>,
    env: &Environment,
) -> anyhow::Result<ExitCode> {
    if loaded.config.sources.is_empty() {
        let file = path.unwrap_or(Path::new(config::FILE_NAME)).display();
        anyhow::bail!(
            "{file} names no source, so no webhook could come in. `copydesk init` writes a file \
             to start from"
        );
    }
    let secrets = loaded.secrets(env)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the system gives no runtime")?;
    let ended = runtime.block_on(async {
        let telemetry = Telemetry::start(&loaded.config.telemetry, env, LogOutput::Stdout)?;
        for note in &loaded.notes {
            tracing::warn!("{note}");
        }
        let ended =
            async { serve::start(&loaded.config, &secrets, &telemetry).await?.until_ended().await };
        let ended = ended.await;
        telemetry.shutdown().await;
        ended
    });
    runtime.shutdown_timeout(THREADS_MAX);
    Ok(exit_code(ended.map_err(RefusedStart::find)?))
}

/// What a supervisor of processes is told.
pub(crate) fn exit_code(ended: Ended) -> ExitCode {
    match ended {
        Ended::Asked => ExitCode::SUCCESS,
        Ended::LogFailed => ExitCode::from(EXIT_LOG_FAILED),
        Ended::ActorFailed => ExitCode::from(EXIT_ACTOR_FAILED),
    }
}
