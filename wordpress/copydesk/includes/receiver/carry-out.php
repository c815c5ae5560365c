<?php

/**
 * Writing to the post, inside the transaction. Hooks of other plugins run here: what they change of a person's words
 * is put back.
 */

namespace Copydesk\Receiver;

use function Copydesk\muted;

defined('ABSPATH') || exit;

/** What writing one field did. */
final class Change
{
    /** @var string|string[] */
    public $before;
    /** @var string|string[] As stored, which a filter of another plugin may have altered. */
    public $after;
    /** @var int[] */
    public $terms_added = [];
}

/**
 * Writes texts, and adds terms by name.
 *
 * @param array<string, string|string[]> $values By field name.
 * @return array<string, Change>
 */
function carry_out(array $values, \WP_Post $post): array
{
    $changes = [];
    $columns = ['ID' => $post->ID];
    foreach ($values as $name => $value) {
        $field = Field::of($name);
        $change = $changes[$name] = new Change();
        $change->before = $field->read($post);
        if ($field->isTerms()) {
            $change->terms_added = term_ids($field, $value);
        } elseif ($field->store === 'post') {
            $columns[$field->key] = $value;
        }
    }
    quietly($columns, static function () use ($values, $changes, $columns, $post): void {
        foreach ($values as $name => $value) {
            $field = Field::of($name);
            if ($field->isTerms()) {
                add_terms($field, $changes[$name]->terms_added, $post);
            } elseif ($field->store === 'meta') {
                update_post_meta($post->ID, $field->key, wp_slash($value));
            }
        }
        // Also without a column to change: caches and SEO plugins look at the save, which therefore comes last.
        save_columns($columns, $post);
    });
    $post = get_post($post->ID);
    foreach ($changes as $name => $change) {
        $change->after = Field::of($name)->read($post);
    }
    return $changes;
}

/**
 * Puts texts back to $value, and takes the terms in $terms_added away again.
 *
 * @param string|string[] $value
 */
function put_back(Field $field, $value, array $terms_added, \WP_Post $post): void
{
    $columns = ['ID' => $post->ID];
    if ($field->store === 'post') {
        $columns[$field->key] = $value;
    }
    quietly($columns, static function () use ($field, $value, $terms_added, $columns, $post): void {
        if ($field->isTerms()) {
            $left = array_diff(wp_list_pluck($field->terms($post), 'term_id'), $terms_added);
            set_terms($field, $left ?: $field->defaultTerms(), $post);
        } elseif ($field->store === 'meta' && $value === '') {
            delete_post_meta($post->ID, $field->key);
        } elseif ($field->store === 'meta') {
            update_post_meta($post->ID, $field->key, wp_slash($value));
        }
        save_columns($columns, $post);
    });
}

/** Without an event: what we write is no news. But a title that a person accepts or takes back is what we read. */
function quietly(array $columns, callable $work): void
{
    isset($columns['post_title']) ? $work() : muted($work);
}

function save_columns(array $columns, \WP_Post $post): void
{
    // An update saves all columns. Under Copydesk's user, who may write no HTML, kses would cut a person's content;
    // what we bring ourselves is plain text.
    $kses = has_filter('content_save_pre', 'wp_filter_post_kses') !== false;
    if ($kses) {
        kses_remove_filters();
    }
    try {
        $result = wp_update_post(wp_slash($columns), true);
    } finally {
        if ($kses) {
            kses_init_filters();
        }
    }
    if (is_wp_error($result)) {
        throw new StorageError('WordPress did not save the post');
    }
    keep_words($columns, $post);
}

/** Filters of other plugins may have touched title and content, which are not ours to change. */
function keep_words(array $columns, \WP_Post $post): void
{
    global $wpdb;
    $wanted = array_intersect_key($columns, ['post_title' => 1, 'post_content' => 1])
        + ['post_title' => $post->post_title, 'post_content' => $post->post_content];
    $stored = row("SELECT post_title, post_content FROM $wpdb->posts WHERE ID = %d", [$post->ID]);
    if ($stored && array_diff_assoc($wanted, $stored)) {
        $sql = "UPDATE $wpdb->posts SET post_title = %s, post_content = %s WHERE ID = %d";
        run($sql, [$wanted['post_title'], $wanted['post_content'], $post->ID]);
    }
    clean_post_cache($post->ID);
}

/**
 * Makes the terms that are missing; the plan has asked whether that is allowed.
 *
 * @param string[] $names
 * @return int[]
 */
function term_ids(Field $field, array $names): array
{
    $known = known_terms($field, $names);
    $ids = [];
    foreach ($names as $name) {
        if (!isset($known[$name])) {
            $made = muted(static function () use ($field, $name) {
                return wp_insert_term(wp_slash($name), $field->key);
            });
            if (is_wp_error($made)) {
                throw new StorageError('WordPress did not make the term');
            }
            $known[$name] = (int) $made['term_id'];
        }
        $ids[] = $known[$name];
    }
    return array_values(array_unique($ids));
}

/** Adds to what is there. Only the category that WordPress gives to a post without one makes room. */
function add_terms(Field $field, array $ids, \WP_Post $post): void
{
    $present = $field->isEmpty($post) ? [] : wp_list_pluck($field->terms($post), 'term_id');
    set_terms($field, array_merge($present, $ids), $post);
}

function set_terms(Field $field, array $ids, \WP_Post $post): void
{
    $result = wp_set_object_terms($post->ID, array_map('intval', $ids), $field->key);
    if (is_wp_error($result)) {
        throw new StorageError('WordPress did not set the terms');
    }
}
