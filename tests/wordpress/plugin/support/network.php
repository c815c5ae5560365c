<?php

/**
 * network.php SITE_DIR make|use|unmake: the site as the first of a network with the plugin active on all of it.
 * "use" prints what the plugin did on its second and third site as JSON.
 */

namespace Copydesk\Tests;

use function Copydesk\table;

define('WP_DISABLE_FATAL_ERROR_HANDLER', true);
define('COPYDESK_CALL', array_slice($argv, 1));
set_error_handler(function (): bool {
    return true;
}, E_DEPRECATED);
// A network knows its sites by host, without a port.
$_SERVER['HTTP_HOST'] = '127.0.0.1';
if (COPYDESK_CALL[1] === 'use') {
    define('MULTISITE', true);
    define('SUBDOMAIN_INSTALL', false);
    define('DOMAIN_CURRENT_SITE', '127.0.0.1');
    define('PATH_CURRENT_SITE', '/');
    define('SITE_ID_CURRENT_SITE', 1);
    define('BLOG_ID_CURRENT_SITE', 1);
}
require COPYDESK_CALL[0] . '/site/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/admin.php';
require_once ABSPATH . 'wp-admin/includes/upgrade.php';

function make_network(): void
{
    global $wpdb;
    foreach ($wpdb->tables('ms_global') as $name => $table) {
        $wpdb->$name = $table;
    }
    install_network();
    $made = populate_network(1, '127.0.0.1', 'admin@example.test', 'A network', '/', false);
    if (is_wp_error($made)) {
        fwrite(STDERR, $made->get_error_message());
        exit(1);
    }
    $active = serialize(['copydesk/copydesk.php' => 1]);
    $wpdb->insert($wpdb->sitemeta, [
        'site_id' => 1, 'meta_key' => 'active_sitewide_plugins', 'meta_value' => $active,
    ]);
}

/** How many tables of ours a site has, whether the role, and whether a secret. */
function traces(int $site): array
{
    global $wpdb;
    switch_to_blog($site);
    wp_cache_flush();
    $tables = count($wpdb->get_col("SHOW TABLES LIKE '{$wpdb->prefix}copydesk\\_%'"));
    $found = [$tables, get_role('copydesk') !== null, get_option('copydesk_secrets') !== false];
    restore_current_blog();
    return $found;
}

function new_site(string $path): int
{
    $site = wp_insert_site(['domain' => '127.0.0.1', 'path' => $path, 'network_id' => 1, 'user_id' => 1]);
    if (is_wp_error($site)) {
        fwrite(STDERR, $site->get_error_message());
        exit(1);
    }
    return $site;
}

function use_network(): array
{
    global $wpdb;
    $second = new_site('/second/');
    $third = new_site('/third/');
    $said = ['made' => traces($second)];
    $events = 'SELECT COUNT(*) FROM ';
    $before = $wpdb->get_var($events . table('outbox'));
    switch_to_blog($second);
    wp_insert_post(['post_title' => 'On the second site', 'post_status' => 'publish']);
    $said['events'] = (int) $wpdb->get_var($events . table('outbox'));
    update_option('copydesk_settings', ['clean_up' => true]);
    restore_current_blog();
    $said['events_elsewhere'] = (int) $wpdb->get_var($events . table('outbox')) - (int) $before;
    wp_delete_site($third);
    $said['deleted'] = $wpdb->get_col("SHOW TABLES LIKE '{$wpdb->base_prefix}{$third}\\_copydesk\\_%'");

    define('WP_UNINSTALL_PLUGIN', 'copydesk');
    require WP_PLUGIN_DIR . '/copydesk/uninstall.php';
    return $said + ['uninstalled' => traces($second), 'kept' => traces(1)];
}

function unmake_network(): void
{
    global $wpdb;
    $tables = array_values($wpdb->tables('ms_global'));
    foreach ([2, 3] as $site) {
        $tables = array_merge($tables, $wpdb->get_col("SHOW TABLES LIKE '{$wpdb->base_prefix}{$site}\\_%'"));
    }
    foreach ($tables as $table) {
        $wpdb->query("DROP TABLE IF EXISTS $table");
    }
    \Copydesk\install(true);
}

switch (COPYDESK_CALL[1]) {
    case 'make':
        make_network();
        break;
    case 'use':
        echo json_encode(use_network());
        break;
    case 'unmake':
        unmake_network();
        break;
}
