<?php

/**
 * The panel in both editors. What it shows it asks for by REST, with the nonce that WordPress gives its own scripts.
 */

namespace Copydesk\Receiver;

use const Copydesk\FILE;
use const Copydesk\VERSION;

defined('ABSPATH') || exit;

add_action('admin_enqueue_scripts', __NAMESPACE__ . '\register_assets', 5, 0);
add_action('enqueue_block_editor_assets', __NAMESPACE__ . '\load_in_block_editor', 10, 0);
add_action('edit_form_after_title', __NAMESPACE__ . '\show_in_classic_editor');

function register_assets(): void
{
    $packages = ['wp-element', 'wp-components', 'wp-i18n', 'wp-api-fetch', 'wp-date', 'wp-a11y'];
    $scripts = [
        'panel' => $packages,
        'block-editor' => ['copydesk-panel', 'wp-plugins', 'wp-data', 'wp-core-data', 'wp-editor', 'wp-edit-post'],
        'classic-editor' => ['copydesk-panel', 'wp-dom-ready', 'jquery'],
    ];
    foreach ($scripts as $name => $needs) {
        wp_register_script("copydesk-$name", plugins_url("assets/$name.js", FILE), $needs, VERSION, true);
    }
    wp_set_script_translations('copydesk-panel', 'copydesk', dirname(FILE) . '/languages');
    wp_register_style('copydesk', plugins_url('assets/panel.css', FILE), ['wp-components'], VERSION);
}

/** A post of a chosen type that is stored and that this person may edit. */
function has_panel(?\WP_Post $post): bool
{
    return $post
        && in_array($post->post_type, chosen_types(), true)
        && current_user_can('edit_post', $post->ID);
}

function load_in_block_editor(): void
{
    $screen = get_current_screen();
    // The site editor and the widgets load the same hook.
    if (!$screen || $screen->base !== 'post' || !has_panel(get_post())) {
        return;
    }
    register_assets();
    wp_enqueue_script('copydesk-block-editor');
    wp_enqueue_style('copydesk');
}

function show_in_classic_editor(\WP_Post $post): void
{
    // The block editor fires this hook too, to collect hidden fields of old plugins.
    if (get_current_screen()->is_block_editor() || $post->post_status === 'auto-draft' || !has_panel($post)) {
        return;
    }
    wp_enqueue_script('copydesk-classic-editor');
    wp_enqueue_style('copydesk');
    printf('<div id="copydesk-classic" class="copydesk-classic" data-post="%d"></div>', $post->ID);
}
