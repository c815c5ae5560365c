<?php

/**
 * What people decide: a suggestion is accepted, edited or dismissed; a write is undone. Under the same lock as
 * Copydesk's writes, so that none comes in between.
 */

namespace Copydesk\Receiver;

use function Copydesk\table;

defined('ABSPATH') || exit;

// What one call undoes; the answer says how many are left.
const UNDO_MAX = 200;

function suggestion_row(int $id): ?array
{
    return row('SELECT * FROM ' . table('suggestions') . ' WHERE id = %d', [$id]);
}

/**
 * Writes an accepted suggestion, or the person's own version of it: $value, null for the suggestion as it is.
 *
 * @param mixed $value
 * @throws Refusal|StorageError
 */
function accept(int $id, $value): void
{
    with_open_suggestion($id, static function (array $row, \WP_Post $post) use ($value): void {
        $field = Field::of($row['field']);
        if (!$field || !$field->existsFor($post)) {
            throw new Refusal('copydesk_no_such_field', __('This site has no such field any more.', 'copydesk'), 409);
        }
        $suggested = $field->isTerms() ? (array) json_decode($row['value'], true) : $row['value'];
        $wanted = $value === null ? $suggested : $field->cleaned($value, $post);
        if ($field->isTerms() && !may_add_terms($field)) {
            $wanted = array_keys(known_terms($field, $wanted));
        }
        if (!$wanted) {
            throw invalid('value', 'names no term of this site');
        }
        refuse_if_locked($post);
        $change = carry_out([$field->name => $wanted], $post)[$field->name];
        $proposal = new Proposal([
            'field' => $row['field'],
            'mode' => 'apply',
            'enrichment' => $row['enrichment'],
            'model' => $row['model'],
            'prompt_version' => (int) $row['prompt_version'],
        ]);
        $ticket = Ticket::ofRow($row);
        // An edited suggestion holds the person's words.
        $owner = $field->isTerms() || $wanted === $suggested ? 'copydesk' : 'human';
        decide_suggestion((int) $row['id'], 'accepted');
        record_write('accept', $proposal, $ticket, $change, get_post($post->ID), get_current_user_id(), $owner);
    });
}

/** @throws Refusal|StorageError */
function dismiss(int $id): void
{
    with_open_suggestion($id, static function (array $row): void {
        decide_suggestion((int) $row['id'], 'dismissed');
    });
}

function with_open_suggestion(int $id, callable $work): void
{
    $post_id = (int) (suggestion_row($id)['post_id'] ?? 0);
    make_fence("post:$post_id");
    transaction(static function () use ($id, $post_id, $work): void {
        lock_fence("post:$post_id");
        $row = suggestion_row($id); // Another person may have decided in the meantime.
        if (!$row || $row['state'] !== 'open') {
            throw new Refusal('copydesk_decided', __('This suggestion is not open any more.', 'copydesk'), 409);
        }
        $work($row, lock_post($post_id));
        settle_status($post_id);
    });
    clean_post_cache($post_id);
}

function decide_suggestion(int $id, string $state): void
{
    $sql = 'UPDATE ' . table('suggestions') . ' SET state = %s, decided_by = %d, decided_at = %d WHERE id = %d';
    run($sql, [$state, get_current_user_id(), now_ms(), $id]);
}

/** The post waits for nobody any more once its last suggestion is decided. */
function settle_status(int $post_id): void
{
    $open = 'SELECT id FROM ' . table('suggestions') . " WHERE post_id = %d AND state = 'open' LIMIT 1";
    if (!row($open, [$post_id])) {
        $sql = 'UPDATE ' . table('statuses') . " SET state = 'enriched' WHERE post_id = %d AND state = 'suggested'";
        run($sql, [$post_id]);
    }
}

/**
 * The writes that $filter names and that are not undone, newest first.
 *
 * @param array $filter {writes: int[]} or any of {field, model, after, before, post_id}; times in milliseconds.
 */
function writes_to_undo(array $filter): array
{
    $where = ['undone_at = 0'];
    $values = [];
    if (isset($filter['writes'])) {
        $where = ['id IN (' . implode(',', array_fill(0, count($filter['writes']), '%d')) . ')'];
        $values = $filter['writes'];
    }
    $conditions = [
        'field' => 'field = %s',
        'model' => 'model = %s',
        'after' => 'created_at >= %d',
        'before' => 'created_at < %d',
        'post_id' => 'post_id = %d',
    ];
    foreach ($conditions as $name => $condition) {
        if (isset($filter[$name])) {
            $where[] = $condition;
            $values[] = $filter[$name];
        }
    }
    $values[] = UNDO_MAX + 1;
    $sql = 'SELECT * FROM ' . table('writes') . ' WHERE ' . implode(' AND ', $where) . ' ORDER BY id DESC LIMIT %d';
    return rows($sql, $values);
}

/**
 * Undoes one write, or says why not: {write, post_id, field, outcome, reason}.
 *
 * $undone collects, in a dry run, what earlier steps would have left behind: of two writes to one field the newer is
 * undone first, and what it uncovers is what the older is compared with.
 */
function undo(int $id, bool $dry_run, array &$undone): array
{
    $post_id = (int) (row('SELECT post_id FROM ' . table('writes') . ' WHERE id = %d', [$id])['post_id'] ?? 0);
    $result = ['write' => $id, 'post_id' => $post_id, 'field' => ''];
    try {
        make_fence("post:$post_id");
        $result = transaction(static function () use ($id, $post_id, $dry_run, &$undone): array {
            lock_fence("post:$post_id");
            $row = row('SELECT * FROM ' . table('writes') . ' WHERE id = %d', [$id]);
            $result = ['write' => $id, 'post_id' => $post_id, 'field' => $row['field']];
            $post = lock_post($post_id);
            $reason = why_not_undone($row, $post, $undone);
            if ($reason !== '') {
                return $result + ['outcome' => 'kept', 'reason' => $reason];
            }
            $undone["$post_id $row[field]"] = $row['before_value'];
            if (!$dry_run) {
                undo_row($row, $post);
            }
            return $result + ['outcome' => 'undone'];
        });
    } catch (Refusal $e) {
        $result += ['outcome' => 'kept', 'reason' => str_replace('copydesk_', '', $e->error->get_error_code())];
    }
    clean_post_cache($post_id);
    return $result;
}

/** Empty if the write can be undone. */
function why_not_undone(array $row, \WP_Post $post, array $undone): string
{
    if ($row['undone_at']) {
        return 'already_undone';
    }
    if (!current_user_can('edit_post', $post->ID)) {
        return 'not_allowed';
    }
    $field = Field::of($row['field']);
    if (!$field || !$field->existsFor($post)) {
        return 'no_such_field';
    }
    if ($field->isTerms()) {
        $added = (array) json_decode($row['terms_added'], true);
        return array_intersect($added, wp_list_pluck($field->terms($post), 'term_id')) ? '' : 'changed';
    }
    $current = $undone["$post->ID $row[field]"] ?? $field->read($post);
    return $current === $row['after_value'] ? '' : 'changed';
}

function undo_row(array $row, \WP_Post $post): void
{
    refuse_if_locked($post);
    $field = Field::of($row['field']);
    $added = array_map('intval', (array) json_decode($row['terms_added'], true));
    put_back($field, $row['before_value'], $added, $post);
    $post = get_post($post->ID);
    $ever = terms_ever_added(ownership_rows($post->ID)[$field->name] ?? null);
    // A person has said no: the field is theirs, also where it is empty again.
    record_ownership($post->ID, $field, 'human', value_hash($field->read($post)), (int) $row['id'], $ever);
    run(
        'UPDATE ' . table('writes') . ' SET undone_by = %d, undone_at = %d WHERE id = %d',
        [get_current_user_id(), now_ms(), $row['id']]
    );
}
