<?php

/**
 * Once a night: what is old goes, and posts that have changed without an event get one.
 */

namespace Copydesk\Sender;

use function Copydesk\settings;
use function Copydesk\table;

defined('ABSPATH') || exit;

/** How long rows are kept, whatever became of them. */
const KEEP_S = 30 * DAY_IN_SECONDS;
/** Rows or posts that are looked at together. */
const PAGE = 200;
/** How long one look may take; the next night goes on where it ended. */
const RECONCILE_S = 120;
/** The look begins a day before the last one: what was then in the middle of a save is seen now. */
const RECONCILE_OVERLAP_S = DAY_IN_SECONDS;

function nightly(): void
{
    purge(time());
    reconcile();
    drain(TICK_S, MISSES_MAX);
}

/**
 * Empties rows older than 30 days and deletes all but the newest of each post and comment, so that numbers go on. One
 * that was never sent also forgets what it was about: the next save or look sends the post.
 */
function purge(int $now): void
{
    $outbox = table('outbox');
    $before = ($now - KEEP_S) * 1000;
    change("UPDATE $outbox SET state = 'dropped', source_hash = '' WHERE saved_at < %d AND state = 'due'", $before);
    change("UPDATE $outbox SET body = '', last_error = NULL WHERE saved_at < %d AND body <> ''", $before);
    $superseded = "SELECT id FROM $outbox o WHERE saved_at < %d AND EXISTS (SELECT 1 FROM $outbox l
        WHERE l.post_id = o.post_id AND l.comment_id = o.comment_id AND l.sequence > o.sequence) LIMIT %d";
    while ($old = array_map('intval', array_column(rows($superseded, $before, PAGE), 'id'))) {
        if (!change("DELETE FROM $outbox WHERE id IN (" . implode(',', $old) . ')')) {
            return;
        }
    }
    // Of a post that is deleted nothing comes any more; its id is not given again.
    $deleted = "SELECT post_id FROM $outbox WHERE saved_at < %d AND source_hash = 'deleted' AND state = 'sent'
        LIMIT %d";
    while ($gone = array_map('intval', array_column(rows($deleted, $before, PAGE), 'post_id'))) {
        if (!change("DELETE FROM $outbox WHERE post_id IN (" . implode(',', $gone) . ')')) {
            return;
        }
    }
}

/**
 * Writes an event for each post whose state is not the one of its last event: saved by SQL, or in a moment when the
 * outbox could not be written. What waits, or was refused, has its row already.
 *
 * @param int|null $from Posts modified since then; null: since the last look, and not before the plugin was there.
 * @return int How many events were written.
 */
function reconcile(?int $from = null): int
{
    $done = (array) get_option('copydesk_reconciled') + ['since' => time(), 'at' => 0, 'after' => 0];
    $started = time();
    $from = $from ?? max((int) $done['since'], (int) $done['at'] - RECONCILE_OVERLAP_S);
    $after = (int) $done['after'];
    $written = reconcile_deleted();
    while ($ids = modified_posts($from, $after)) {
        foreach ($ids as $id) {
            $written += reconcile_post((int) $id) ? 1 : 0;
            $after = (int) $id;
        }
        if (time() - $started > RECONCILE_S) {
            update_option('copydesk_reconciled', ['after' => $after] + $done, false);
            return $written;
        }
    }
    update_option('copydesk_reconciled', ['at' => $started, 'after' => 0] + $done, false);
    return $written;
}

/** Ids of chosen posts in the order of ids. */
function modified_posts(int $from, int $after): array
{
    global $wpdb;
    $types = settings()['post_types'];
    if (!$types) {
        return [];
    }
    $places = implode(', ', array_fill(0, count($types), '%s'));
    return array_column(rows(
        "SELECT ID FROM $wpdb->posts WHERE post_type IN ($places) AND post_modified_gmt >= %s AND ID > %d
            ORDER BY ID LIMIT %d",
        ...array_merge($types, [gmdate('Y-m-d H:i:s', $from), $after, PAGE])
    ), 'ID');
}

function reconcile_post(int $id): bool
{
    $last = rows(
        'SELECT event FROM ' . table('outbox') . ' WHERE post_id = %d AND comment_id = 0 AND sequence IS NOT NULL
            ORDER BY sequence DESC LIMIT 1',
        $id
    );
    $was_sent = in_array($last[0]['event'] ?? '', ['post.published', 'post.updated'], true);
    return enqueue($id, 0, function (?\WP_Post $post) use ($was_sent): ?array {
        if (!$post || !is_event($post) || !($was_sent || is_sent_status($post->post_status))) {
            return null;
        }
        if (is_sent_status($post->post_status)) {
            $event = $was_sent ? 'post.updated' : 'post.published';
        } else {
            $event = $post->post_status === 'trash' ? 'post.trashed' : 'post.unpublished';
        }
        return [post_payload($post, $event), source_hash($post)];
    });
}

/** Posts that Copydesk knows and that are no more. */
function reconcile_deleted(): int
{
    global $wpdb;
    $outbox = table('outbox');
    $gone = rows(
        "SELECT DISTINCT o.post_id FROM $outbox o LEFT JOIN $wpdb->posts p ON p.ID = o.post_id
            WHERE p.ID IS NULL AND o.sequence IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM $outbox d WHERE d.post_id = o.post_id AND d.source_hash = 'deleted')
            LIMIT %d",
        PAGE
    );
    $written = 0;
    foreach ($gone as $row) {
        $id = (int) $row['post_id'];
        $written += enqueue($id, 0, function () use ($id): array {
            return [['event' => 'post.deleted', 'post_id' => $id, 'site' => home_url()], 'deleted'];
        }) ? 1 : 0;
    }
    return $written;
}
