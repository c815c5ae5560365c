<?php

/**
 * Plugin Name: Copydesk tests: sites of many kinds
 * Description: Options make this site one with the classic editor (copydesk_test_classic), with an SEO plugin
 *   (copydesk_test_seo), with a plugin that changes content at every save (copydesk_test_filter), with one that dies in
 *   a hook (copydesk_test_fatal), or with a careless theme that prints every field of a post (copydesk_test_render).
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
if (get_option('copydesk_test_render')) {
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
