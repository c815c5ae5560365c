<?php

/**
 * What the site's owner lets Copydesk write: rows of the settings page.
 */

namespace Copydesk\Receiver;

use function Copydesk\Sender\checkboxes;
use function Copydesk\Sender\show_field;

defined('ABSPATH') || exit;

/** More fields than a post has that an editor could look after. */
const META_KEYS_MAX = 50;

function show_permissions(): void
{
    show_field(
        __('New terms', 'copydesk'),
        checkboxes('new_terms', new_terms_choices(), (array) get_option('copydesk_new_terms', [])),
        __('Copydesk may make these where they do not exist. Else it chooses from those that do.', 'copydesk')
    );
    $keys = implode("\n", meta_keys());
    show_field(
        __('Custom fields', 'copydesk'),
        '<textarea name="meta_keys" rows="3" class="regular-text code">' . esc_textarea($keys) . '</textarea>',
        __('Meta keys that Copydesk may write to, one a line. The SEO description needs none.', 'copydesk')
    );
}

/** Stores what the form says; $problems gets what cannot be. */
function save_permissions(array $form, array &$problems): void
{
    $terms = array_filter(is_array($form['new_terms'] ?? null) ? $form['new_terms'] : [], 'is_string');
    $terms = array_values(array_intersect($terms, array_keys(new_terms_choices())));
    update_option('copydesk_new_terms', $terms);
    $lines = is_string($form['meta_keys'] ?? null) ? $form['meta_keys'] : '';
    $lines = preg_split('/\s+/', $lines, -1, PREG_SPLIT_NO_EMPTY);
    $keys = array_values(array_unique(array_filter($lines, __NAMESPACE__ . '\may_be_written')));
    foreach (array_slice(array_diff($lines, $keys), 0, 3) as $key) {
        /* translators: %s: a meta key */
        $problems[] = sprintf(__('Copydesk cannot write to the custom field “%s”.', 'copydesk'), $key);
    }
    update_option('copydesk_meta_keys', array_slice($keys, 0, META_KEYS_MAX));
}

/** @return string[] Labels by field. */
function new_terms_choices(): array
{
    return ['tags' => __('Tags', 'copydesk'), 'categories' => __('Categories', 'copydesk')];
}
