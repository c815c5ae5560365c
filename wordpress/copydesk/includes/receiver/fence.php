<?php

/**
 * The fence: one row per item holds the newest write's place in the order, and is locked while a write is carried out.
 *
 * A worker may stall for minutes between accepting a request and writing. So not who asks first and not a time-out
 * decides, but the number: once a newer write is in, an older one is refused, whenever it comes.
 */

namespace Copydesk\Receiver;

use function Copydesk\table;

defined('ABSPATH') || exit;

/** Before the transaction: an insert inside would hold a gap lock, and two of those wait for one another. */
function make_fence(string $item): void
{
    run('INSERT IGNORE INTO ' . table('fence') . ' (item) VALUES (%s)', [$item]);
}

/** The row, locked until the transaction ends. The transaction's first statement, so that later ones read what is newest. */
function lock_fence(string $item): array
{
    $fence = table('fence');
    if (is_sqlite()) {
        // It has no row locks. Its one writer lock is taken by writing; the counter makes that a change.
        run("UPDATE $fence SET touched = touched + 1 WHERE item = %s", [$item]);
        $row = row("SELECT * FROM $fence WHERE item = %s", [$item]);
    } else {
        $row = row("SELECT *, CONNECTION_ID() AS connection FROM $fence WHERE item = %s FOR UPDATE", [$item]);
    }
    if (!$row) {
        throw new StorageError('the fence row is not there');
    }
    return $row;
}

/**
 * The stored answer if this very write was carried out; null if it is new.
 *
 * @throws Refusal
 */
function check_fence(array $row, Ticket $ticket): ?array
{
    if ($ticket->compare($row, true) < 0) {
        $data = ['current_log' => $row['log'], 'current_epoch' => (int) $row['epoch']];
        throw new Refusal('copydesk_fenced', 'A newer owner writes to this item.', 409, $data);
    }
    $order = $ticket->compare($row);
    if ($order < 0) {
        throw new Refusal('copydesk_stale', 'A newer write is there.', 409, ['current' => (int) $row['write_number']]);
    }
    if ($order > 0) {
        return null;
    }
    if (!hash_equals($row['body_hash'], $ticket->body_hash)) {
        throw new Refusal('copydesk_conflict', 'Another write has this number.', 409);
    }
    return ['status' => 'already'] + (array) json_decode((string) $row['result'], true);
}

/** The last statement before the commit. */
function advance_fence(array $row, Ticket $ticket, int $post_id, array $answer): void
{
    $values = [
        $post_id,
        $ticket->log,
        $ticket->epoch,
        $ticket->write,
        $ticket->delivery_id,
        $ticket->body_hash,
        encoded($answer),
        now_ms(),
        $row['item'],
    ];
    $sql = 'UPDATE ' . table('fence') . ' SET post_id = %d, log = %s, epoch = %d, write_number = %d, delivery_id = %s,
        body_hash = %s, result = %s, updated_at = %d WHERE item = %s';
    if (isset($row['connection'])) {
        // WordPress reconnects by itself; the rest of a lost transaction would then stand on its own.
        $sql .= ' AND CONNECTION_ID() = %d';
        $values[] = (int) $row['connection'];
    }
    if (run($sql, $values) !== 1) {
        throw new StorageError('the connection was lost within the transaction');
    }
}

/** The post as it is now, locked: a person's save waits until the write is done, and then has the last word. */
function lock_post(int $post_id): \WP_Post
{
    global $wpdb;
    if (!is_sqlite()) {
        row("SELECT ID FROM $wpdb->posts WHERE ID = %d FOR UPDATE", [$post_id]);
    }
    clean_post_cache($post_id);
    return present_post($post_id);
}

/** @throws Refusal */
function present_post(int $post_id): \WP_Post
{
    $post = get_post($post_id);
    if (!$post) {
        throw new Refusal('copydesk_gone', 'There is no such post.', 404);
    }
    if ($post->post_status === 'trash') {
        throw new Refusal('copydesk_trashed', 'The post is in the bin.', 410);
    }
    return $post;
}
