<?php

/**
 * The outbox: one table, one row per event, written in the request of the save.
 *
 *   open     a save has begun; nothing is known of its end yet
 *   due      to be sent; body, key and sequence are fixed
 *   sent     Copydesk has it
 *   dead     refused in a way that needs a person
 *   dropped  a person has decided that it need not be sent
 *
 * Sequences are 1, 2, 3 … for each post because the next number is taken by writing it: the unique key refuses the
 * second of two writers, who then takes the number after. No transaction is used: this runs inside other people's.
 * Every text in a row that a save writes is ASCII, which spares WordPress a query for the table's encoding.
 */

namespace Copydesk\Sender;

use function Copydesk\make_table;
use function Copydesk\table;

defined('ABSPATH') || exit;

/** After this many writers of one post at once a save gives up and leaves the event to the nightly look. */
const SEQUENCE_TRIES_MAX = 50;

function make_outbox(): void
{
    make_table('outbox', "id bigint(20) unsigned NOT NULL AUTO_INCREMENT,
        post_id bigint(20) unsigned NOT NULL,
        comment_id bigint(20) unsigned NOT NULL DEFAULT 0,
        sequence bigint(20) unsigned DEFAULT NULL,
        event varchar(32) NOT NULL,
        idempotency_key char(36) NOT NULL,
        traceparent char(55) NOT NULL,
        source_hash char(64) NOT NULL DEFAULT '',
        body longtext NOT NULL,
        state varchar(8) NOT NULL,
        attempts int(10) unsigned NOT NULL DEFAULT 0,
        due_at bigint(20) unsigned NOT NULL DEFAULT 0,
        tried_at bigint(20) unsigned NOT NULL DEFAULT 0,
        owner char(32) NOT NULL DEFAULT '',
        lease_until bigint(20) unsigned NOT NULL DEFAULT 0,
        last_status smallint(5) unsigned NOT NULL DEFAULT 0,
        last_error text,
        saved_at bigint(20) unsigned NOT NULL,
        PRIMARY KEY  (id),
        UNIQUE KEY post_sequence (post_id,sequence),
        KEY subject (post_id,comment_id,sequence),
        KEY state_due (state,due_at)");
}

/**
 * Runs one statement; gives the number of rows it changed, or false where the database refused it.
 *
 * @param mixed ...$values
 * @return int|false
 */
function change(string $sql, ...$values)
{
    global $wpdb;
    $shown = $wpdb->suppress_errors(true);
    $rows = $wpdb->query($values ? $wpdb->prepare($sql, ...$values) : $sql);
    $wpdb->suppress_errors($shown);
    return $rows === false ? false : (int) $rows;
}

/** The rows of a query, each an array. */
function rows(string $sql, ...$values): array
{
    global $wpdb;
    return $wpdb->get_results($values ? $wpdb->prepare($sql, ...$values) : $sql, ARRAY_A) ?: [];
}

function now_ms(): int
{
    return (int) (microtime(true) * 1000);
}

/** A new trace whose first span is the save. */
function new_traceparent(): string
{
    return '00-' . bin2hex(random_bytes(16)) . '-' . bin2hex(random_bytes(8)) . '-01';
}

/** What is fixed when a save begins. */
function new_row(): array
{
    return [
        'id' => 0,
        'idempotency_key' => wp_generate_uuid4(),
        'traceparent' => new_traceparent(),
        'saved_at' => now_ms(),
    ];
}

/**
 * Marks that a save has begun, so that a fatal error in some other plugin does not lose it.
 *
 * @return array The row; its id is 0 if it could not be written.
 */
function open_row(int $post_id, string $event): array
{
    global $wpdb;
    $row = new_row();
    $written = change(
        'INSERT INTO ' . table('outbox') . " (post_id, event, idempotency_key, traceparent, body, state, saved_at)
            VALUES (%d, %s, %s, %s, '', 'open', %d)",
        $post_id,
        $event,
        $row['idempotency_key'],
        $row['traceparent'],
        $row['saved_at']
    );
    return ['id' => $written ? (int) $wpdb->insert_id : 0] + $row;
}

function forget_open_row(array $row): void
{
    if ($row['id'] !== 0) {
        change('DELETE FROM ' . table('outbox') . " WHERE id = %d AND state = 'open'", $row['id']);
    }
}

/**
 * The post as it is in the database, the `sequence` of its last event, and the `source_hash` of the last event about
 * the post itself or one of its comments. One statement sees all three at the same moment, so whoever then writes
 * the next number writes what came after the number before, however many save at once.
 */
function look(int $post_id, int $comment_id = 0): array
{
    global $wpdb;
    $outbox = table('outbox');
    $last = "(SELECT MAX(sequence) FROM $outbox WHERE post_id = %d) AS outbox_sequence,
        (SELECT source_hash FROM $outbox WHERE post_id = %d AND comment_id = %d AND sequence IS NOT NULL
            ORDER BY sequence DESC LIMIT 1) AS outbox_hash";
    $found = rows("SELECT p.*, $last FROM $wpdb->posts p WHERE ID = %d", $post_id, $post_id, $comment_id, $post_id)
        ?: rows("SELECT $last", $post_id, $post_id, $comment_id);
    return [
        'post' => isset($found[0]['ID']) ? new \WP_Post(sanitize_post((object) $found[0], 'raw')) : null,
        'sequence' => (int) ($found[0]['outbox_sequence'] ?? 0),
        'source_hash' => $found[0]['outbox_hash'] ?? null,
    ];
}

/**
 * Writes an event, unless the last one of its subject was about the same state.
 *
 * @param callable $describe Is given the post as it is, or null, and whether this subject has an event already; gives
 *   the payload without what belongs to the row (sequence, key, time of the save) and the hash of the state; or null
 *   when that state is no event.
 * @param array|null $row The open row that the save began with.
 * @param bool $repeat Whether it is also written when the last one was about the same state.
 * @return bool Whether there is a row to send.
 */
function enqueue(int $post_id, int $comment_id, callable $describe, ?array $row = null, bool $repeat = false): bool
{
    $row = $row ?? new_row();
    $refused = 0;
    for ($try = 1; $try <= SEQUENCE_TRIES_MAX; $try++) {
        $seen = look($post_id, $comment_id);
        [$payload, $source_hash] = $describe($seen['post'], $seen['source_hash'] !== null) ?? [null, null];
        if ($payload === null || (!$repeat && $seen['source_hash'] === $source_hash)) {
            forget_open_row($row);
            return false;
        }
        // Inside someone's transaction the number that is taken may not be seen yet: go past it all the same.
        $sequence = max($seen['sequence'], $refused) + 1;
        $written = write_due($row, $payload, $sequence, $source_hash);
        if ($written) {
            return true;
        }
        if ($written === 0 && $row['id'] !== 0) {
            // The sweeper completed the open row: this save took longer than it waits.
            $row = new_row();
        } else {
            $refused = $sequence;
        }
    }
    forget_open_row($row);
    error_log("copydesk: an event of post $post_id could not be written to the outbox");
    return false;
}

/**
 * Completes an open row, or inserts a new one.
 *
 * @return int|false Rows written. None: the number is taken, or the open row is gone.
 */
function write_due(array $row, array $payload, int $sequence, string $source_hash)
{
    $comment_id = $payload['comment']['id'] ?? 0;
    $body = encode($payload + [
        'sequence' => $sequence,
        'idempotency_key' => $row['idempotency_key'],
        'saved_at' => (int) $row['saved_at'],
    ]);
    if ($row['id'] !== 0) {
        return change(
            'UPDATE ' . table('outbox') . " SET state = 'due', sequence = %d, event = %s, source_hash = %s, body = %s
                WHERE id = %d AND state = 'open'",
            $sequence,
            $payload['event'],
            $source_hash,
            $body,
            $row['id']
        );
    }
    return change(
        'INSERT IGNORE INTO ' . table('outbox') . " (post_id, comment_id, sequence, event, idempotency_key, traceparent,
            source_hash, body, state, saved_at) VALUES (%d, %d, %d, %s, %s, %s, %s, %s, 'due', %d)",
        $payload['post_id'],
        $comment_id,
        $sequence,
        $payload['event'],
        $row['idempotency_key'],
        $row['traceparent'],
        $source_hash,
        $body,
        $row['saved_at']
    );
}
