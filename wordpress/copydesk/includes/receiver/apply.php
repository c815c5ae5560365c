<?php

/**
 * A write from Copydesk: fenced, conditional, idempotent, whole or not at all.
 */

namespace Copydesk\Receiver;

use function Copydesk\input_hash;
use function Copydesk\table;

defined('ABSPATH') || exit;

/** Writes, and suggestions, that are kept of one post: years of a busy one. */
const KEPT_MAX = 200;

/**
 * The answer's body; `status` is "applied", or "already" for one that was carried out before.
 *
 * @throws Refusal|StorageError
 */
function apply(int $post_id, Write $write): array
{
    present_post($post_id); // No fence row for what is not there.
    $item = "post:$post_id";
    make_fence($item);
    $answer = transaction(static function () use ($post_id, $write, $item): array {
        $row = lock_fence($item);
        $stored = check_fence($row, $write->ticket);
        if ($stored) {
            return $stored;
        }
        $post = lock_post($post_id);
        $input_hash = input_hash($post);
        if ($write->input_hash !== null && $write->input_hash !== $input_hash) {
            $why = 'Title or content is not what the results were made from.';
            throw new Refusal('copydesk_changed', $why, 412, ['input_hash' => $input_hash]);
        }
        $steps = plan($write, $post);
        $answer = $write->ticket->answer() + take_steps($steps, $write, $post);
        advance_fence($row, $write->ticket, $post_id, $answer);
        return $answer;
    });
    clean_post_cache($post_id); // Others may have cached the old post until the commit.
    return $answer;
}

/** @param Step[] $steps */
function take_steps(array $steps, Write $write, \WP_Post $post): array
{
    $values = [];
    foreach ($steps as $name => $step) {
        if ($step->outcome === 'applied') {
            $values[$name] = $step->value;
        }
    }
    if ($values) {
        refuse_if_locked($post);
    }
    $changes = $values ? carry_out($values, $post) : [];
    $post = get_post($post->ID);
    $fields = [];
    foreach ($steps as $name => $step) {
        if (isset($changes[$name])) {
            record_write('apply', $step->proposal, $write->ticket, $changes[$name], $post, 0);
        } elseif ($step->outcome === 'suggested') {
            record_suggestion($step, $write->ticket, $post->ID);
        }
        $fields[$name] = array_filter([
            'outcome' => $step->outcome,
            'reason' => $step->reason,
            'hash' => $step->reason === 'no_such_field' ? '' : value_hash($step->proposal->field->read($post)),
        ]);
    }
    $outcomes = array_column($fields, 'outcome');
    $state = in_array('suggested', $outcomes, true) ? 'suggested'
        : (array_intersect(['applied', 'already'], $outcomes) ? 'enriched' : 'kept');
    record_status($post->ID, $write->sequence, $state, '', now_ms());
    return ['modified_gmt' => rfc3339($post->post_modified_gmt), 'fields' => $fields];
}

/**
 * The classic editor sends the whole form: what we write while it is open would be overwritten by what was there
 * before.
 *
 * @throws Refusal
 */
function refuse_if_locked(\WP_Post $post): void
{
    require_once ABSPATH . 'wp-admin/includes/post.php';
    if (!wp_check_post_lock($post->ID) || use_block_editor_for_post($post)) {
        return;
    }
    $why = __('A person has the post open in the classic editor.', 'copydesk');
    throw new Refusal('copydesk_locked', $why, 423, ['retry_after' => 60]);
}

/** Keeps before and after, and who owns the words now. Returns the history row's id. */
function record_write(
    string $kind,
    Proposal $proposal,
    Ticket $ticket,
    Change $change,
    \WP_Post $post,
    int $approved_by,
    string $owner = 'copydesk'
): int {
    $field = $proposal->field;
    drop_open_suggestions($post->ID, $field->name);
    $id = insert('writes', [
        'post_id' => $post->ID,
        'field' => $field->name,
        'kind' => $kind,
        'before_value' => stored_value($change->before),
        'after_value' => stored_value($change->after),
        'terms_added' => encoded($change->terms_added),
        'delivery_id' => $ticket->delivery_id,
        'log' => $ticket->log,
        'epoch' => $ticket->epoch,
        'write_number' => $ticket->write,
        'approved_by' => $approved_by,
        'created_at' => now_ms(),
    ] + $proposal->origin);
    $terms = array_merge(terms_ever_added(ownership_rows($post->ID)[$field->name] ?? null), $change->terms_added);
    record_ownership($post->ID, $field, $owner, value_hash($change->after), $id, array_unique($terms));
    trim_rows('writes', $post->ID);
    return $id;
}

/** Keeps a suggestion for an editor; an older one for the same field gives way. */
function record_suggestion(Step $step, Ticket $ticket, int $post_id): void
{
    $field = $step->proposal->field->name;
    drop_open_suggestions($post_id, $field);
    insert('suggestions', [
        'post_id' => $post_id,
        'field' => $field,
        'value' => stored_value($step->value),
        'value_hash' => value_hash($step->value),
        'reason' => $step->reason,
        'state' => 'open',
        'delivery_id' => $ticket->delivery_id,
        'log' => $ticket->log,
        'epoch' => $ticket->epoch,
        'write_number' => $ticket->write,
        'created_at' => now_ms(),
    ] + $step->proposal->origin);
    trim_rows('suggestions', $post_id);
}

/** What is newer has taken the place of what was open for this field. */
function drop_open_suggestions(int $post_id, string $field): void
{
    $sql = 'DELETE FROM ' . table('suggestions') . " WHERE post_id = %d AND field = %s AND state = 'open'";
    run($sql, [$post_id, $field]);
}

/** Keeps the newest rows of a post. */
function trim_rows(string $name, int $post_id): void
{
    $table = table($name);
    $oldest = row("SELECT id FROM $table WHERE post_id = %d ORDER BY id DESC LIMIT 1 OFFSET %d", [$post_id, KEPT_MAX]);
    if ($oldest) {
        run("DELETE FROM $table WHERE post_id = %d AND id <= %d", [$post_id, $oldest['id']]);
    }
}

/** How the post's newest event ended. One of an older event is ignored: false. */
function record_status(int $post_id, int $sequence, string $state, string $cause, int $at): bool
{
    $statuses = table('statuses');
    run("INSERT IGNORE INTO $statuses (post_id, sequence, state, cause, at) VALUES (%d, 0, '', '', 0)", [$post_id]);
    $sql = "UPDATE $statuses SET sequence = %d, state = %s, cause = %s, at = %d WHERE post_id = %d AND sequence <= %d";
    return run($sql, [$sequence, $state, mb_substr($cause, 0, 500), $at, $post_id, $sequence]) > 0;
}

/** Terms are kept as a JSON list of names. @param string|string[] $value */
function stored_value($value): string
{
    return is_array($value) ? encoded($value) : $value;
}

function rfc3339(string $gmt): ?string
{
    return $gmt === '0000-00-00 00:00:00' ? null : str_replace(' ', 'T', $gmt) . 'Z';
}
