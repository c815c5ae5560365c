# Shared by the scripts; sourced, not run.
# shellcheck shell=bash
set -euo pipefail
CACHE=${COPYDESK_CACHE:-${HOME:-/root}/.cache/copydesk}

say() { echo "${0##*/}: $*" >&2; }
die() { say "error: $*"; exit 1; }

# apt_need PACKAGE…: installs what is missing. No service of theirs starts, now or at the next boot.
apt_need() (
  have=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null) || true
  missing=()
  for p; do grep -qx "installed $p" <<<"$have" || missing+=("$p"); done
  [ ${#missing[@]} -gt 0 ] || exit 0
  [ "$(id -u)" = 0 ] || die "as root: apt-get install --no-install-recommends ${missing[*]}"
  say "installing Debian packages: ${missing[*]}"
  mkdir -p /run/lock; exec 7>/run/lock/copydesk-apt; flock 7
  policy=/usr/sbin/policy-rc.d
  if [ ! -e $policy ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' > $policy; chmod +x $policy
  fi
  boot_units() { find /etc/systemd/system \( -name nginx.service -o -name 'php*-fpm.service' -o -name prometheus.service \) 2>/dev/null | sort; }
  before=$(boot_units)
  export DEBIAN_FRONTEND=noninteractive
  # A foreign source that does not answer is no reason to stop: the install below tells.
  apt-get update -qq </dev/null >&2 || say "not every package list could be read"
  apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}" </dev/null >&2 \
    || die "apt-get could not install ${missing[*]}"
  comm -13 <(echo "$before") <(boot_units) | xargs -r rm -f
)
