<?php

/**
 * Sends what is due. Any number of requests may do so at once: each row is claimed by one of them, with a lease, and
 * a row of a post waits for the earlier ones of the post. A row that is dead does not hold others back.
 */

namespace Copydesk\Sender;

use function Copydesk\table;

defined('ABSPATH') || exit;

/** Longer than any one try: two keys, each with its timeout, and the lookup of a name. */
const LEASE_S = 60;
/** Waits after the first, second … try; then daily. */
const RETRY_S = [60, 300, 1800, 7200];
const RETRY_DAILY_S = 86400;
/** A part of each wait is drawn by lot, so that sites do not come back all at once. */
const JITTER_PERCENT = 10;
/** How long a worker of php-fpm may go on after the editor has the answer. */
const AFTER_RESPONSE_S = 10;
/** A tick of WP-Cron ends before the next begins. */
const TICK_S = 40;
/** A save that is still open after this has died. */
const OPEN_S = 30;
/** A tick stops after so many tries in a row without an answer of Copydesk's: the others would fare no better. */
const MISSES_MAX = 3;
/** Rows that are looked at for one that can be claimed: more than requests that drain at once. */
const CANDIDATES = 20;
/** So much of each text of an answer is kept. */
const ERROR_CHARS_MAX = 300;

/** Once per request, at its end. */
function send_after_response(): void
{
    static $planned = false;
    // Without php-fpm the answer is not out before the process ends: WP-Cron sends.
    if (!$planned && function_exists('fastcgi_finish_request')) {
        $planned = true;
        add_action('shutdown', function (): void {
            ignore_user_abort(true);
            // Else the editor's next request waits for this one's session.
            if (session_status() === PHP_SESSION_ACTIVE) {
                session_write_close();
            }
            fastcgi_finish_request();
            drain(AFTER_RESPONSE_S, 1);
        }, 1000);
    }
}

/** WP-Cron, each minute. */
function tick(): void
{
    update_option('copydesk_ticked', time(), false);
    drain(TICK_S, MISSES_MAX);
}

/**
 * Sends rows until none is due, $seconds are over, or $misses_max tries in a row got no answer.
 *
 * @return array `sent` now, and how many are `waiting` and `failed`
 */
function drain(int $seconds, int $misses_max): array
{
    $until = microtime(true) + $seconds;
    $owner = bin2hex(random_bytes(16));
    $sent = 0;
    $misses = 0;
    sweep();
    while (microtime(true) < $until && $misses < $misses_max && missing() === '' && paused_until() <= time()) {
        $row = claim($owner);
        if (!$row) {
            break;
        }
        $outcome = deliver($row);
        settle($row, $owner, $outcome);
        $misses = is_passing($outcome) ? $misses + 1 : 0;
        $sent += is_taken($outcome) ? 1 : 0;
        if ($sent === 1 && is_taken($outcome)) {
            wake();
        }
    }
    return ['sent' => $sent] + counts();
}

/** How many rows wait, and how many need a person. */
function counts(): array
{
    $outbox = table('outbox');
    $found = rows("SELECT state, COUNT(*) AS n FROM $outbox WHERE state IN ('open', 'due', 'dead') GROUP BY state");
    $counts = array_column($found, 'n', 'state');
    return [
        'waiting' => (int) ($counts['due'] ?? 0) + (int) ($counts['open'] ?? 0),
        'failed' => (int) ($counts['dead'] ?? 0),
    ];
}

/** The next row that may go, ours until its lease ends; null when there is none. */
function claim(string $owner): ?array
{
    $outbox = table('outbox');
    $now = time();
    $candidates = rows(
        "SELECT id FROM $outbox o WHERE state = 'due' AND due_at <= %d AND lease_until <= %d AND NOT EXISTS (
            SELECT 1 FROM $outbox e WHERE e.post_id = o.post_id AND e.state = 'due' AND e.sequence < o.sequence
        ) ORDER BY id LIMIT %d",
        $now,
        $now,
        CANDIDATES
    );
    foreach (array_column($candidates, 'id') as $id) {
        change(
            "UPDATE $outbox SET owner = %s, lease_until = %d WHERE id = %d AND state = 'due' AND lease_until <= %d",
            $owner,
            $now + LEASE_S,
            $id,
            $now
        );
        $claimed = rows("SELECT * FROM $outbox WHERE id = %d AND owner = %s AND state = 'due'", $id, $owner);
        if ($claimed) {
            return $claimed[0];
        }
    }
    return null;
}

/** Writes down how a try ended. Whose lease has run out meanwhile changes nothing. */
function settle(array $row, string $owner, array $outcome): void
{
    $now = time();
    $attempts = (int) $row['attempts'] + 1;
    $state = is_taken($outcome) ? 'sent' : (is_passing($outcome) ? 'due' : 'dead');
    $wait = $state === 'due' ? $outcome['retry_after'] ?? retry_s($attempts) : 0;
    if ($state === 'due' && $outcome['retry_after'] !== null) {
        update_option('copydesk_paused_until', $now + $wait, false);
    }
    change(
        'UPDATE ' . table('outbox') . " SET state = %s, attempts = %d, due_at = %d, tried_at = %d, last_status = %d,
            last_error = %s, owner = '', lease_until = 0 WHERE id = %d AND owner = %s AND state = 'due'",
        $state,
        $attempts,
        $now + $wait,
        $now,
        $outcome['status'],
        $state === 'sent' ? '' : wp_json_encode(shorten($outcome)),
        $row['id'],
        $owner
    );
}

/** What explains an outcome later. */
function shorten(array $outcome): array
{
    $kept = array_intersect_key($outcome, ['code' => 1, 'detail' => 1, 'transport' => 1, 'is_page' => 1, 'skew' => 1]);
    foreach (['code', 'detail', 'transport'] as $text) {
        $kept[$text] = mb_substr($kept[$text], 0, ERROR_CHARS_MAX, 'UTF-8');
    }
    return array_filter($kept);
}

/** Seconds until the next try, after so many. */
function retry_s(int $attempts): int
{
    $wait = RETRY_S[$attempts - 1] ?? RETRY_DAILY_S;
    return (int) ($wait * (100 + random_int(-JITTER_PERCENT, JITTER_PERCENT)) / 100);
}

function paused_until(): int
{
    return (int) get_option('copydesk_paused_until', 0);
}

/** Copydesk is there again: rows that met nobody need not wait out their time. Not those tried a minute ago. */
function wake(): void
{
    $now = time();
    change(
        'UPDATE ' . table('outbox') . " SET due_at = %d WHERE state = 'due' AND due_at > %d AND tried_at < %d
            AND last_status IN (0, 502, 503, 504)",
        $now,
        $now,
        $now - RETRY_S[0]
    );
}

/** Completes the rows of saves that died before their end, from the posts themselves. */
function sweep(): void
{
    $open = rows(
        'SELECT id, post_id, event, idempotency_key, traceparent, saved_at FROM ' . table('outbox')
            . " WHERE state = 'open' AND saved_at < %d ORDER BY id LIMIT %d",
        now_ms() - OPEN_S * 1000,
        CANDIDATES
    );
    foreach ($open as $row) {
        $describe = function (?\WP_Post $post) use ($row): ?array {
            return $post ? [post_payload($post, $row['event']), source_hash($post)] : null;
        };
        enqueue((int) $row['post_id'], 0, $describe, ['id' => (int) $row['id']] + $row);
    }
}

/** Failed rows become due again: those given, or all. */
function resend(array $ids = []): int
{
    $outbox = table('outbox');
    $which = $ids ? ' AND id IN (' . implode(',', array_map('intval', $ids)) . ')' : '';
    delete_option('copydesk_paused_until');
    return (int) change(
        "UPDATE $outbox SET state = 'due', due_at = 0, attempts = 0 WHERE state = 'dead'$which"
    );
}

/** Rows that were refused because of a setting and not of what is in them become due again. */
function resend_refused(): int
{
    delete_option('copydesk_paused_until');
    return (int) change(
        'UPDATE ' . table('outbox') . " SET state = 'due', due_at = 0, attempts = 0 WHERE state = 'dead'
            AND last_status IN (401, 403, 404)"
    );
}

/** A person says that failed rows need not be sent. */
function drop(array $ids): int
{
    $outbox = table('outbox');
    $list = implode(',', array_map('intval', $ids));
    if ($list === '') {
        return 0;
    }
    return (int) change("UPDATE $outbox SET state = 'dropped' WHERE state = 'dead' AND id IN ($list)");
}
