<?php
/**
 * Plugin Name: Copydesk test ingest
 * Description: A publisher's own ingest route, as `delivery = "ingest"` writes to, that also keeps the books for tests.
 *
 *   POST /wp-json/ai-guy/v1/ingest           {source, external_id, status, summary, metadata}
 *        headers Idempotency-Key and X-Copydesk-Write (needed), X-Copydesk-Position, traceparent
 *   GET  /wp-json/ai-guy/v1/ingest/log?after=ID&limit=N
 *
 * Table cd_ingest holds one row per external_id, cd_ingest_log one row per POST whose headers and body were good:
 * `result` says what it did (applied, already, stale, refused), `answer` which status the caller was told, `summary`
 * what it brought.
 * One key with two body_sha256, or one write number of a post under two keys, is an error of Copydesk's.
 *
 * Option cd_ingest_fail makes it a bad day, as JSON {"before": 0.1, "after": 0.1, "status": 503}: so many of the
 * requests get that status before anything is done; so many are done, committed, and then answered with a 502 page.
 */

namespace Copydesk\TestIngest;

use WP_Error;
use WP_REST_Request;
use WP_REST_Response;

defined('ABSPATH') || exit;

const SCHEMA = '1';

/** Must-use plugins are never activated, so the tables are made by the first request that misses them. */
function create_tables(): void {
    global $wpdb;
    if (wp_installing() || get_option('cd_ingest_schema') === SCHEMA) {
        return;
    }
    $wpdb->query("CREATE TABLE IF NOT EXISTS {$wpdb->prefix}cd_ingest (
        external_id varchar(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
        source varchar(191) NOT NULL DEFAULT '',
        status varchar(191) NOT NULL DEFAULT '',
        summary longtext,
        metadata longtext,
        write_number bigint unsigned NOT NULL DEFAULT 0,
        updated_at datetime(6)
    ) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4");
    $wpdb->query("CREATE TABLE IF NOT EXISTS {$wpdb->prefix}cd_ingest_log (
        id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
        external_id varchar(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        idempotency_key varchar(191) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        write_number bigint unsigned NOT NULL,
        position varchar(191) NOT NULL,
        body_sha256 char(64) NOT NULL,
        summary text NOT NULL,
        result varchar(16) NOT NULL,
        answer smallint NOT NULL,
        traceparent varchar(191) NOT NULL,
        created_at datetime(6) NOT NULL,
        KEY by_key (external_id, idempotency_key)
    ) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4");
    update_option('cd_ingest_schema', SCHEMA);
}
add_action('init', __NAMESPACE__ . '\create_tables');

add_action('rest_api_init', function (): void {
    $may = function (): bool {
        return current_user_can('edit_posts');
    };
    $text = ['type' => 'string', 'maxLength' => 191];
    register_rest_route('ai-guy/v1', '/ingest', [
        'methods'             => 'POST',
        'permission_callback' => $may,
        'callback'            => __NAMESPACE__ . '\ingest',
        'args'                => [
            'source'      => $text + ['required' => true],
            'external_id' => $text + ['required' => true, 'minLength' => 1],
            'status'      => $text + ['required' => true],
            'summary'     => ['type' => ['string', 'null']],
            'metadata'    => ['type' => ['object', 'null']],
        ],
    ]);
    register_rest_route('ai-guy/v1', '/ingest/log', [
        'methods'             => 'GET',
        'permission_callback' => $may,
        'callback'            => __NAMESPACE__ . '\log_page',
        'args'                => [
            'after' => ['type' => 'integer', 'minimum' => 0, 'default' => 0],
            'limit' => ['type' => 'integer', 'minimum' => 1, 'maximum' => 10000, 'default' => 1000],
        ],
    ]);
});

/** A query that must work: an error ends the transaction. */
function run(string $sql): int {
    global $wpdb;
    $rows = $wpdb->query($sql);
    if ($rows === false) {
        throw new \RuntimeException($wpdb->last_error);
    }
    return (int) $rows;
}

/** The one value that a query asks for, or null. */
function value(string $sql): ?string {
    global $wpdb;
    $value = $wpdb->get_var($sql);
    if ($wpdb->last_error !== '') {
        throw new \RuntimeException($wpdb->last_error);
    }
    return $value;
}

function record(WP_REST_Request $request, string $result, int $answer): void {
    global $wpdb;
    run($wpdb->prepare(
        "INSERT INTO {$wpdb->prefix}cd_ingest_log
            (external_id, idempotency_key, write_number, position, body_sha256, summary, result, answer,
             traceparent, created_at)
         VALUES (%s, %s, %d, %s, %s, %s, %s, %d, %s, UTC_TIMESTAMP(6))",
        $request['external_id'],
        $request->get_header('Idempotency-Key'),
        $request->get_header('X-Copydesk-Write'),
        (string) $request->get_header('X-Copydesk-Position'),
        hash('sha256', $request->get_body()),
        mb_substr((string) $request['summary'], 0, 1000),
        $result,
        $answer,
        (string) $request->get_header('traceparent')
    ));
}

/**
 * One request inside a transaction; the answer's lines say "applied", "already" or "stale".
 *
 * The upsert takes the row's exclusive lock whether the row was there or not. Requests for the same external_id
 * therefore follow one another, and what they read after it is what the one before has committed.
 */
function apply(WP_REST_Request $request, int $write, bool $answer_is_lost): array {
    global $wpdb;
    $id = $request['external_id'];
    $key = $request->get_header('Idempotency-Key');
    run($wpdb->prepare(
        "INSERT INTO {$wpdb->prefix}cd_ingest (external_id) VALUES (%s) ON DUPLICATE KEY UPDATE external_id = external_id",
        $id
    ));
    $current = (int) value($wpdb->prepare(
        "SELECT write_number FROM {$wpdb->prefix}cd_ingest WHERE external_id = %s",
        $id
    ));
    $done = value($wpdb->prepare(
        "SELECT 1 FROM {$wpdb->prefix}cd_ingest_log WHERE external_id = %s AND idempotency_key = %s AND result = 'applied'",
        $id,
        $key
    ));
    if ($done) {
        $result = 'already';
    } elseif ($write < $current) {
        $result = 'stale';
    } else {
        $result = 'applied';
        run($wpdb->prepare(
            "UPDATE {$wpdb->prefix}cd_ingest SET source = %s, status = %s, summary = %s, metadata = %s,
                write_number = %d, updated_at = UTC_TIMESTAMP(6) WHERE external_id = %s",
            $request['source'],
            $request['status'],
            (string) $request['summary'],
            wp_json_encode((object) $request['metadata'], JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE),
            $write,
            $id
        ));
    }
    record($request, $result, $result === 'stale' ? 409 : ($answer_is_lost ? 502 : 200));
    return [$result, $current];
}

function ingest(WP_REST_Request $request) {
    $key = (string) $request->get_header('Idempotency-Key');
    $write = (string) $request->get_header('X-Copydesk-Write');
    if (!preg_match('/^[\x21-\x7e]{1,191}$/', $key)) {
        return new WP_Error('bad_idempotency_key', 'Idempotency-Key must be 1 to 191 visible characters.', ['status' => 400]);
    }
    if (!preg_match('/^\d{1,18}$/', $write)) {
        return new WP_Error('bad_write_number', 'X-Copydesk-Write must be a number of up to 18 digits.', ['status' => 400]);
    }
    $fail = json_decode((string) get_option('cd_ingest_fail', ''), true) ?: [];
    $strikes = function (string $when) use ($fail): bool {
        return mt_rand() / (mt_getrandmax() + 1) < ($fail[$when] ?? 0);
    };
    if ($strikes('before')) {
        $status = (int) ($fail['status'] ?? 503);
        record($request, 'refused', $status);
        return new WP_Error('injected_failure', 'This failure was asked for by the option cd_ingest_fail.', ['status' => $status]);
    }
    $answer_is_lost = $strikes('after');
    try {
        run('START TRANSACTION');
        [$result, $current] = apply($request, (int) $write, $answer_is_lost);
        run('COMMIT');
    } catch (\RuntimeException $e) {
        $GLOBALS['wpdb']->query('ROLLBACK');
        return new WP_Error('not_stored', $e->getMessage(), ['status' => 503]);
    }
    if ($result === 'stale') {
        return new WP_REST_Response(['code' => 'stale_write', 'message' => 'A newer write is there.', 'current' => $current], 409);
    }
    if ($answer_is_lost) {
        status_header(502);
        header('Content-Type: text/html; charset=UTF-8');
        echo '<html><body><h1>502 Bad Gateway</h1></body></html>';
        exit;
    }
    return ['result' => $result, 'external_id' => $request['external_id'], 'write' => (int) $write];
}

/**
 * Rows in the order of their ids. Concurrent requests commit in any order: a test reads from 0 once it is quiet.
 */
function log_page(WP_REST_Request $request): array {
    global $wpdb;
    $rows = $wpdb->get_results($wpdb->prepare(
        "SELECT * FROM {$wpdb->prefix}cd_ingest_log WHERE id > %d ORDER BY id LIMIT %d",
        $request['after'],
        $request['limit']
    ), ARRAY_A);
    return array_map(function (array $row): array {
        foreach (['id', 'write_number', 'answer'] as $number) {
            $row[$number] = (int) $row[$number];
        }
        return $row;
    }, $rows);
}
