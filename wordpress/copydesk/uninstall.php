<?php

/**
 * Runs when the plugin is deleted. Secrets always go; all else only if the settings ask for it.
 */

defined('WP_UNINSTALL_PLUGIN') || exit;

(function (): void {
    $clean_up = function (): void {
        global $wpdb;
        wp_unschedule_hook('copydesk_tick');
        wp_unschedule_hook('copydesk_nightly');
        delete_option('copydesk_secrets');
        if (empty(get_option('copydesk_settings')['clean_up'])) {
            return;
        }
        foreach ($wpdb->get_col("SHOW TABLES LIKE '" . $wpdb->esc_like("{$wpdb->prefix}copydesk_") . "%'") as $table) {
            $wpdb->query("DROP TABLE `$table`");
        }
        // Not by LIKE: the underscore is a wildcard there, and SQLite knows no backslash before it.
        $names = "SELECT option_name FROM $wpdb->options WHERE SUBSTR(option_name, 1, 9) = 'copydesk_'";
        array_map('delete_option', $wpdb->get_col($names));
        $wpdb->query("DELETE FROM $wpdb->postmeta WHERE SUBSTR(meta_key, 1, 10) = '_copydesk_'");
        remove_role('copydesk');
    };
    if (!is_multisite()) {
        $clean_up();
        return;
    }
    foreach (get_sites(['fields' => 'ids', 'number' => 0]) as $site) {
        switch_to_blog($site);
        $clean_up();
        restore_current_blog();
    }
})();
