#!/bin/sh
# Runs once in the compose file's `setup` container, as root: secrets into /run/desk, then WordPress with its users.
set -eu
cd /var/www/html
wp() { command wp --allow-root "$@"; }
random() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }

# Readable inside these containers only: WordPress and Copydesk run as other users than this script.
umask 022
[ -s /run/desk/webhook-secret ] || random > /run/desk/webhook-secret
[ -s /run/desk/admin-password ] || random > /run/desk/admin-password

# WordPress's own container unpacks the files and writes this one last.
for _ in $(seq 60); do [ ! -s wp-config.php ] || break; sleep 1; done
wp core is-installed 2>/dev/null || wp core install --url="$WORDPRESS_URL" --title=News --admin_user=admin \
  --admin_password="$(cat /run/desk/admin-password)" --admin_email=admin@example.test --skip-email
wp rewrite structure '/%year%/%monthnum%/%postname%/'

# Copydesk's own user has the plugin's role, which opens the plugin's routes only; "desk" is a person who edits.
wp plugin activate copydesk
# user LOGIN ROLE FILE: the user, with an application password in FILE.
user() {
  wp user get "$1" >/dev/null 2>&1 || wp user create "$1" "$1@example.test" --role="$2"
  [ -s "/run/desk/$3" ] || wp user application-password create "$1" up --porcelain > "/run/desk/$3"
}
user copydesk copydesk application-password
user desk editor editor-application-password
