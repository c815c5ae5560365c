//! The `copydesk` command.

use std::process::ExitCode;

/// A third of the CPU of an event went into glibc's allocator (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // One TLS provider for all clients of the process; two in one graph would panic at the first
    // handshake. It fails only when one is installed already, which is as good.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    copydesk::cli::main()
}
