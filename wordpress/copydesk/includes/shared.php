<?php

/**
 * What both directions use: names of tables, hashes, installing, and the scope in which a write is our own.
 */

namespace Copydesk;

defined('ABSPATH') || exit;

/** The full name of a table of ours. */
function table(string $name): string
{
    global $wpdb;
    return $wpdb->prefix . 'copydesk_' . $name;
}

/**
 * SHA-256 over the parts, each preceded by its length, so that no two lists collide by joining; in hex.
 *
 * @param string[] $parts
 */
function content_hash(array $parts): string
{
    $hash = hash_init('sha256');
    foreach ($parts as $part) {
        hash_update($hash, pack('J', strlen($part)) . $part);
    }
    return hash_final($hash);
}

/** Hash of what an enrichment reads. The fields we write are left out: our own write is no change. */
function input_hash(\WP_Post $post): string
{
    return content_hash([$post->post_title, $post->post_content]);
}

/**
 * Runs $work; what it saves is our own and no event of the site. Scopes may be nested.
 *
 * @return mixed What $work returns.
 */
function muted(callable $work)
{
    $GLOBALS['copydesk_muted'] = muted_depth() + 1;
    try {
        return $work();
    } finally {
        $GLOBALS['copydesk_muted'] = muted_depth() - 1;
    }
}

/** Whether this moment is inside `muted()`. */
function is_muted(): bool
{
    return muted_depth() > 0;
}

function muted_depth(): int
{
    return $GLOBALS['copydesk_muted'] ?? 0;
}

/**
 * Registers what one half needs once: tables, roles, cron events. $install runs when the plugin is activated, and on
 * the first request after $version has changed, on every site of a network. Two requests may run it at once.
 */
function on_install(string $half, int $version, callable $install): void
{
    installers($half, ['version' => $version, 'install' => $install]);
}

/** Runs the installers whose version is not the stored one; all of them with $anew. */
function install(bool $anew = false): void
{
    $stored = get_option('copydesk_schema');
    $stored = is_array($stored) ? $stored : [];
    $versions = array_column(installers(), 'version', 'half');
    if ($stored === $versions && !$anew) {
        return;
    }
    foreach (installers() as $half => $installer) {
        if ($anew || ($stored[$half] ?? null) !== $installer['version']) {
            ($installer['install'])();
        }
    }
    update_option('copydesk_schema', $versions);
}

/** The registered installers by half; adds one if given. */
function installers(string $half = '', array $installer = []): array
{
    static $all = [];
    if ($installer) {
        $all[$half] = $installer + ['half' => $half];
    }
    return $all;
}

/** Makes or alters a table: $columns is what stands between the brackets, as `dbDelta` wants it (two spaces before a key). */
function make_table(string $name, string $columns): void
{
    global $wpdb;
    require_once ABSPATH . 'wp-admin/includes/upgrade.php';
    dbDelta('CREATE TABLE ' . table($name) . " (\n$columns\n) ENGINE=InnoDB {$wpdb->get_charset_collate()};");
}

/** The language of a post as BCP 47: of a translation plugin, else of the site. */
function post_language(\WP_Post $post): string
{
    $language = '';
    if (function_exists('pll_get_post_language')) {
        $language = (string) pll_get_post_language($post->ID, 'locale');
    } elseif (has_filter('wpml_post_language_details')) {
        $details = apply_filters('wpml_post_language_details', null, $post->ID);
        $language = is_array($details) ? (string) ($details['locale'] ?? '') : '';
    }
    /** Filters the language of a post, for translation plugins that are not known here. */
    $language = (string) apply_filters('copydesk_post_language', $language ?: get_locale(), $post);
    return str_replace('_', '-', $language);
}

/** Which SEO plugin is active: its name in `GET status`, or null. */
function seo_plugin(): ?string
{
    $constants = [
        'yoast' => 'WPSEO_VERSION',
        'rank_math' => 'RANK_MATH_VERSION',
        'aioseo' => 'AIOSEO_VERSION',
        'seopress' => 'SEOPRESS_VERSION',
    ];
    foreach ($constants as $name => $constant) {
        if (defined($constant)) {
            return $name;
        }
    }
    return null;
}

/** The site owner's choices, with what stands for those not made. Secrets are not among them. */
function settings(): array
{
    $stored = get_option('copydesk_settings');
    return (is_array($stored) ? $stored : []) + [
        'endpoint' => '',
        'post_types' => ['post'],
        'statuses' => ['publish'],
        'inputs' => [],
        'comments' => false,
        'clean_up' => false,
    ];
}

register_activation_hook(FILE, function (): void {
    install(true);
});
add_action('init', __NAMESPACE__ . '\install', 1, 0);
// A new site of a network may be written to from another before anyone visits it.
add_action('wp_initialize_site', function (\WP_Site $site): void {
    require_once ABSPATH . 'wp-admin/includes/plugin.php';
    if (is_plugin_active_for_network(plugin_basename(FILE))) {
        switch_to_blog((int) $site->blog_id);
        install(true);
        restore_current_blog();
    }
}, 200);
// Of a site that is deleted WordPress takes away only the tables that it knows.
add_filter('wpmu_drop_tables', function (array $tables, int $site): array {
    global $wpdb;
    $ours = $wpdb->esc_like($wpdb->get_blog_prefix($site) . 'copydesk_') . '%';
    return array_merge($tables, $wpdb->get_col($wpdb->prepare('SHOW TABLES LIKE %s', $ours)));
}, 10, 2);
