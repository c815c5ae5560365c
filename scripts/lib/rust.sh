# need_rust: a C compiler, make (for jemalloc) and the Rust of rust-toolchain.toml; sourced after common.sh.
# shellcheck shell=bash
need_rust() {
  { command -v cc && command -v make; } >/dev/null || apt_need gcc libc6-dev make
  PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
  if ! command -v cargo >/dev/null; then
    apt_need curl ca-certificates
    say "installing Rust with rustup into ${CARGO_HOME:-$HOME/.cargo}"
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs \
      | sh -s -- -y -q --no-modify-path --profile minimal --default-toolchain none >&2 \
      || die "rustup could not be fetched: install Rust as https://rustup.rs says, then run this again"
  fi
  # In this folder rustup picks the toolchain that rust-toolchain.toml names.
  cargo --version >/dev/null 2>&1 || rustup toolchain install >&2 \
    || die "the Rust toolchain of rust-toolchain.toml is missing: rustup toolchain install"
}
