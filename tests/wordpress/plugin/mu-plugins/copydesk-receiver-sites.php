<?php

/**
 * Plugin Name: Copydesk tests: sites of many kinds
 * Description: The file tmp/kinds.json of the site's folder, a list, makes this site one with the classic editor
 *   ("classic"), with an SEO plugin ("seo"), with a plugin that changes content at every save ("filter"), with one that
 *   dies in a hook ("fatal"), or with a careless theme that prints every field of a post ("render").
 */

$copydesk_kinds = json_decode((string) @file_get_contents(COPYDESK_TEST_DIR . '/tmp/kinds.json'), true) ?: [];

if (in_array('classic', $copydesk_kinds, true)) {
    add_filter('use_block_editor_for_post', '__return_false');
}
if (in_array('seo', $copydesk_kinds, true) && !defined('WPSEO_VERSION')) {
    define('WPSEO_VERSION', 'test');
}
if (in_array('filter', $copydesk_kinds, true)) {
    add_filter('content_save_pre', function (string $content): string {
        return $content . ' and more';
    });
}
if (in_array('fatal', $copydesk_kinds, true)) {
    add_action('save_post', function (): void {
        copydesk_test_there_is_no_such_function();
    });
}
if (in_array('render', $copydesk_kinds, true)) {
    add_shortcode('copydesk_test', function (): string {
        return 'shortcode was run';
    });
    add_action('wp_footer', function (): void {
        foreach (wp_parse_id_list($_GET['copydesk_render'] ?? '') as $id) {
            $post = get_post($id);
            $description = get_post_meta($id, '_yoast_wpseo_metadesc', true);
            echo "<div id=\"copydesk-render-$id\"><h2>" . get_the_title($post) . '</h2>';
            echo do_shortcode(apply_filters('the_excerpt', get_the_excerpt($post)));
            echo make_clickable(do_shortcode($post->post_excerpt . ' ' . get_post_meta($id, 'note', true)));
            echo '<div title="' . esc_attr($description) . '">' . get_the_tag_list('', ', ', '', $id) . '</div>';
            echo '<div>' . get_the_category_list(', ', '', $id) . '</div></div>';
        }
    });
}
