<?php

/**
 * Who owns a field's words: nobody while it is empty, Copydesk while it holds exactly what we wrote, else a person.
 *
 * What a person has emptied or undone is the person's too: "no" is also a word. Approval alone makes it ours again.
 */

namespace Copydesk\Receiver;

use function Copydesk\is_muted;
use function Copydesk\table;

defined('ABSPATH') || exit;

/** @return array[] The rows of a post by field. */
function ownership_rows(int $post_id): array
{
    $sql = 'SELECT field, owner, hash, write_id, terms FROM ' . table('fields') . ' WHERE post_id = %d';
    return array_column(rows($sql, [$post_id]), null, 'field');
}

/** "none", "human" or "copydesk". $row is the field's row of ours, if there is one. */
function owner(Field $field, \WP_Post $post, ?array $row): string
{
    if ($field->isTerms()) {
        return terms_owner($field, $post, $row);
    }
    if (!$row) {
        return $field->isEmpty($post) ? 'none' : 'human';
    }
    $ours = $row['owner'] === 'copydesk' && $row['hash'] === value_hash($field->read($post));
    return $ours ? 'copydesk' : 'human';
}

/** Terms are never taken over, so this only tells people whose they are: a person's as soon as one of them is. */
function terms_owner(Field $field, \WP_Post $post, ?array $row): string
{
    $present = wp_list_pluck($field->terms($post), 'term_id');
    $persons = array_diff($present, $field->defaultTerms(), terms_ever_added($row));
    if ($persons || array_diff(terms_ever_added($row), $present)) {
        return 'human';
    }
    return $row ? 'copydesk' : 'none';
}

/** @return int[] One of these that is not on the post any more was taken away by a person. */
function terms_ever_added(?array $row): array
{
    return $row ? array_map('intval', (array) json_decode((string) $row['terms'], true)) : [];
}

function record_ownership(int $post_id, Field $field, string $owner, string $hash, int $write_id, array $terms): void
{
    $sql = 'REPLACE INTO ' . table('fields')
        . ' (post_id, field, owner, hash, write_id, terms) VALUES (%d, %s, %s, %s, %d, %s)';
    run($sql, [$post_id, $field->name, $owner, $hash, $write_id, encoded(array_values($terms))]);
}

/**
 * After a person's save: a field of ours that does not hold our words any more is the person's from now on, even if
 * the same words come back.
 */
function notice_edits(int $post_id, \WP_Post $post): void
{
    if (is_muted() || wp_is_post_revision($post_id) || !in_array($post->post_type, chosen_types(), true)) {
        return;
    }
    try {
        foreach (ownership_rows($post_id) as $name => $row) {
            $field = Field::of($name);
            if (!$field || $field->isTerms() || $row['owner'] !== 'copydesk' || !$field->existsFor($post)) {
                continue;
            }
            if (owner($field, $post, $row) === 'human') {
                // Only that very row: a write that came in between has its own.
                $sql = 'UPDATE ' . table('fields')
                    . " SET owner = 'human' WHERE post_id = %d AND field = %s AND hash = %s";
                run($sql, [$post_id, $name, $row['hash']]);
            }
        }
    } catch (StorageError $e) {
        return; // The person's save goes on; the hash still tells at the next write.
    }
}

/** Removes what is kept about a post that is deleted for ever. The fence stays: a late write must find it. */
function forget_post(int $post_id): void
{
    global $wpdb;
    foreach (['fields', 'writes', 'suggestions', 'statuses'] as $name) {
        $wpdb->delete(table($name), ['post_id' => $post_id]);
    }
}

add_action('wp_after_insert_post', __NAMESPACE__ . '\notice_edits', 90, 2);
add_action('deleted_post', __NAMESPACE__ . '\forget_post');
