<?php

/**
 * Queries that must work, and one transaction. An error is thrown, so that no write goes on after it.
 */

namespace Copydesk\Receiver;

defined('ABSPATH') || exit;

/** The database did not do it: nothing was written, and the same request may be tried again. */
final class StorageError extends \RuntimeException
{
}

function is_sqlite(): bool
{
    return $GLOBALS['wpdb'] instanceof \WP_SQLite_DB;
}

function now_ms(): int
{
    return (int) floor(microtime(true) * 1000);
}

/** @param mixed $value */
function encoded($value): string
{
    return (string) wp_json_encode($value, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES);
}

/**
 * Runs $query with WordPress's own log of errors off: a statement holds what people wrote.
 *
 * @return mixed What $query returns.
 * @throws StorageError
 */
function checked(callable $query)
{
    global $wpdb;
    $before = $wpdb->suppress_errors();
    $wpdb->last_error = '';
    try {
        $result = $query($wpdb);
        $error = $wpdb->last_error;
    } finally {
        $wpdb->suppress_errors($before);
    }
    if ($result === false || $error !== '') {
        throw new StorageError('a statement failed');
    }
    return $result;
}

/** Rows changed. */
function run(string $sql, array $values = []): int
{
    return (int) checked(static function (\wpdb $db) use ($sql, $values) {
        return $db->query($values ? $db->prepare($sql, $values) : $sql);
    });
}

function rows(string $sql, array $values = []): array
{
    return (array) checked(static function (\wpdb $db) use ($sql, $values) {
        return $db->get_results($values ? $db->prepare($sql, $values) : $sql, ARRAY_A);
    });
}

function row(string $sql, array $values = []): ?array
{
    return rows($sql, $values)[0] ?? null;
}

/** The new row's id. */
function insert(string $table, array $values): int
{
    return checked(static function (\wpdb $db) use ($table, $values) {
        return $db->insert(\Copydesk\table($table), $values) === false ? false : (int) $db->insert_id;
    });
}

/**
 * @return mixed What $work returns, once it is durable.
 * @throws StorageError
 */
function transaction(callable $work)
{
    if (!is_sqlite()) {
        // A PHP worker is too dear to wait the server's 50 s for a row; the sender tries again.
        run('SET SESSION innodb_lock_wait_timeout = 10');
    }
    run('START TRANSACTION');
    try {
        $result = $work();
        run('COMMIT');
        return $result;
    } catch (\Throwable $e) {
        $GLOBALS['wpdb']->query('ROLLBACK');
        throw $e;
    }
}
