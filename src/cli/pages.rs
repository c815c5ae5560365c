//! Completions, manual pages and the OpenAPI document: what the code says of itself.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use super::args::Cli;
use super::output::Output;

pub(super) fn openapi(output: &Output) -> anyhow::Result<ExitCode> {
    output.bytes(crate::admin::document().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn completions(shell: Shell, output: &Output) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "copydesk", &mut script);
    output.bytes(&script)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn man(dir: Option<&Path>, output: &Output) -> anyhow::Result<ExitCode> {
    if let Some(dir) = dir {
        clap_mangen::generate_to(Cli::command(), dir)
            .with_context(|| format!("cannot write into {}", dir.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    output.bytes(&page)?;
    Ok(ExitCode::SUCCESS)
}
