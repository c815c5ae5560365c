#!/usr/bin/env bash
# standardwebhooks-install.sh: puts the Python library of Standard Webhooks into the cache and prints the folder for
# PYTHONPATH. It needs nothing but Python; the wheel is checked by its hash.
. "$(dirname "$(readlink -f "$0")")/common.sh"
version=1.1.0
hash=9a88d48a1f198be61517fc7ad328cf58ba02b73f0fbd8941d4213e9c0b6c2a61
folder=$CACHE/standardwebhooks-$version
is_right() { PYTHONPATH=$1 python3 -c "import standardwebhooks as s; assert s.__version__ == '$version'" 2>/dev/null; }

command -v python3 >/dev/null || apt_need python3
mkdir -p "$CACHE"; exec 9>"$folder.lock"; flock 9
if ! is_right "$folder"; then
  python3 -m pip --version >/dev/null 2>&1 || apt_need python3-pip
  tmp=$(mktemp -d "$CACHE/standardwebhooks.XXXXXX"); trap 'rm -rf "$tmp"' EXIT
  echo "standardwebhooks==$version --hash=sha256:$hash" > "$tmp/requirements"
  say "fetching standardwebhooks $version"
  python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
    -r "$tmp/requirements" -d "$tmp" </dev/null >&2
  python3 -m zipfile -e "$tmp"/*.whl "$tmp/new"
  is_right "$tmp/new" || die "standardwebhooks $version does not run here"
  rm -rf "$folder"; mv "$tmp/new" "$folder"
fi
echo "$folder"
