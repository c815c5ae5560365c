<?php

/**
 * Plugin Name: Copydesk tests: sites of many kinds
 * Description: Options make this site one with the classic editor (copydesk_test_classic), with an SEO plugin
 *   (copydesk_test_seo), with a plugin that changes content at every save (copydesk_test_filter), or with one that
 *   dies in a hook (copydesk_test_fatal).
 */

if (get_option('copydesk_test_classic')) {
    add_filter('use_block_editor_for_post', '__return_false');
}
if (get_option('copydesk_test_seo') === 'yoast' && !defined('WPSEO_VERSION')) {
    define('WPSEO_VERSION', 'test');
}
if (get_option('copydesk_test_filter')) {
    add_filter('content_save_pre', function (string $content): string {
        return $content . ' and more';
    });
}
if (get_option('copydesk_test_fatal')) {
    add_action('save_post', function (): void {
        copydesk_test_there_is_no_such_function();
    });
}
