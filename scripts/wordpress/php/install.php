<?php
/** install.php DIR: installs WordPress into its empty database, once. Called by ../up. */
define('WP_INSTALLING', true);
require $argv[1] . '/site/wp-load.php';
if (is_blog_installed()) {
    exit(0);
}
function wp_new_blog_notification() {} // Defined first, so WordPress writes no mail to the new admin.
require ABSPATH . 'wp-admin/includes/upgrade.php';
wp_install('Test desk', 'admin', 'admin@example.test', false, '', wp_generate_password(24));
if (!is_blog_installed()) {
    fwrite(STDERR, "install: WordPress says that it is not installed\n");
    exit(1);
}
