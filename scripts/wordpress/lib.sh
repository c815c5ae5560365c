# Shared by up, down, eval and fetch; sourced, not run.
# shellcheck shell=bash
HERE=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
. "$HERE/../lib/common.sh"

# shellcheck disable=SC2034 # The scripts that source this use it.
PHP=(php -d memory_limit=512M -d opcache.enable_cli=0 -d display_errors=stderr -d log_errors=0 -d 'error_reporting=E_ALL & ~E_DEPRECATED')

site_packages() {
  apt_need php-cli php-fpm php-mysql php-sqlite3 php-curl php-mbstring php-xml php-gd php-intl php-zip \
    mariadb-server-core mariadb-client-core nginx curl ca-certificates procps
}

# open_folder DIR: sets DIR to a folder of ours and keeps other runs off it until this one ends.
open_folder() {
  DIR=$(readlink -f "$1")
  [ -f "$DIR/.copydesk-wordpress" ] || die "$DIR was not made by scripts/wordpress/up"
  exec 8>"$DIR/run/lock"; flock 8
}

# A pid may have been given to another process since; pid and start time together name one.
# A dead process that nobody has collected yet counts as gone.
started_at() { awk '{sub(/^.*\) /, ""); if ($1 !~ /[ZX]/) print $20}' "/proc/$1/stat" 2>/dev/null || true; }

# launch NAME COMMAND…: runs COMMAND in the background as the leader of a process group of its own.
launch() {
  local name=$1; shift
  setsid "$@" </dev/null >"$DIR/log/$name.out" 2>&1 8>&- &
  echo "$! $(started_at $!)" > "$DIR/run/$name.proc"
}

# pid_of NAME: its pid if that very process still runs, else nothing.
pid_of() {
  local pid start
  read -r pid start 2>/dev/null < "$DIR/run/$1.proc" || return 0
  if [ -n "$start" ] && [ "$(started_at "$pid")" = "$start" ]; then echo "$pid"; fi
}

# The group outlives a killed leader, and its number is not given away before its last member has gone.
group_alive() { ps -A -o stat=,pgid= | awk -v g="$1" '$2 == g && $1 !~ /^[ZX]/ {f = 1} END {exit !f}'; }

# end NAME [SIGNAL]: ends what `launch NAME` started, workers included.
end() {
  local pid start now
  read -r pid start 2>/dev/null < "$DIR/run/$1.proc" || return 0
  now=$(started_at "$pid")
  if [ -z "$now" ] || [ "$now" = "$start" ]; then
    kill -s "${2:-TERM}" -- "-$pid" 2>/dev/null || true
    wait_for 10 eval "! group_alive $pid" || kill -s KILL -- "-$pid" 2>/dev/null || true
  fi
  rm -f "$DIR/run/$1.proc"
}

# wait_for SECONDS COMMAND…: true as soon as COMMAND is.
wait_for() {
  local until=$(( SECONDS + $1 )); shift
  until "$@" >/dev/null 2>&1; do [ "$SECONDS" -le "$until" ] || return 1; sleep 0.05; done
}
