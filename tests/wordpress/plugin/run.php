<?php

/**
 * run.php SITE_DIR [PHPUNIT OPTION…]: PHPUnit inside the WordPress that scripts/wordpress/up made in SITE_DIR.
 *
 * WordPress wants to be loaded at the top level of a script, which a PHPUnit bootstrap file is not.
 */

define('COPYDESK_SITE_DIR', $argv[1]);
// With all that the plugin loads for the administration.
define('WP_ADMIN', true);
define('WP_DISABLE_FATAL_ERROR_HANDLER', true);
define('WP_DEBUG_DISPLAY', null);
define('WP_DEBUG_LOG', false);
// An old WordPress on a new PHP brings many notes of deprecation, which nobody asked for here.
set_error_handler(function (): bool {
    return true;
}, E_DEPRECATED);
require COPYDESK_SITE_DIR . '/site/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/admin.php';
restore_error_handler();
error_reporting(E_ALL & ~E_DEPRECATED);

require '/usr/share/php/PHPUnit/Autoload.php';
foreach (['Receiver', 'Http', 'PluginTestCase', 'ReceiverTestCase', 'SenderTestCase'] as $class) {
    require __DIR__ . "/support/$class.php";
}
array_splice($argv, 1, 1);
$_SERVER['argv'] = $argv;
PHPUnit\TextUI\Command::main();
