//! The `copydesk` command.

use std::process::ExitCode;

/// Against glibc's allocator a third less CPU per event in as much memory; against mimalloc as
/// much CPU in half the memory (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // One TLS provider for all clients of the process; two in one graph would panic at the first
    // handshake. It fails only when one is installed already, which is as good.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    copydesk::cli::main()
}
