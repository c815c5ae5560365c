<?php

/**
 * `wp copydesk …`: thin commands over the functions of the sender.
 */

namespace Copydesk\Sender;

use function Copydesk\table;

defined('ABSPATH') || exit;

/** Sees to the events that this site sends to Copydesk. */
final class Command
{
    /**
     * Says whether Copydesk can be reached, and how much waits.
     *
     * ## OPTIONS
     *
     * [--test]
     * : Send a test event.
     */
    public function status(array $arguments, array $options): void
    {
        $counts = counts();
        \WP_CLI::line(sprintf('endpoint: %s', endpoint() ?: '-'));
        \WP_CLI::line(sprintf('waiting: %d, failed: %d', $counts['waiting'], $counts['failed']));
        $missing = missing();
        if ($missing !== '') {
            \WP_CLI::error(explain_missing($missing));
        }
        if (isset($options['test'])) {
            require_once __DIR__ . '/settings.php';
            [$good, $words] = test();
            $good ? \WP_CLI::success($words) : \WP_CLI::error($words);
        }
    }

    /**
     * Lists the events that are not sent.
     *
     * ## OPTIONS
     *
     * [--format=<format>]
     * : table, json, csv, yaml, count or ids
     */
    public function outbox(array $arguments, array $options): void
    {
        $outbox = table('outbox');
        $rows = array_map(function (array $row): array {
            return ['why' => $row['attempts'] ? explain_row($row) : ''] + $row;
        }, rows("SELECT * FROM $outbox WHERE state IN ('due', 'dead') ORDER BY id LIMIT 1000"));
        $columns = ['id', 'post_id', 'sequence', 'event', 'state', 'attempts', 'why'];
        \WP_CLI\Utils\format_items($options['format'] ?? 'table', $rows, $columns);
    }

    /**
     * Sends what is due now; failed events too.
     *
     * ## OPTIONS
     *
     * [<id>...]
     * : Only these of the failed events.
     */
    public function resend(array $arguments): void
    {
        resend(array_map('intval', $arguments));
        $done = drain(PHP_INT_MAX, MISSES_MAX);
        $words = sprintf('sent: %d, waiting: %d, failed: %d', $done['sent'], $done['waiting'], $done['failed']);
        \WP_CLI::success($words);
    }

    /**
     * Looks for posts that have changed without an event.
     *
     * ## OPTIONS
     *
     * [--since=<date>]
     * : Look at posts modified since then, also those from before the plugin was there.
     */
    public function reconcile(array $arguments, array $options): void
    {
        $since = isset($options['since']) ? strtotime($options['since'] . ' UTC') : null;
        if ($since === false) {
            \WP_CLI::error('no date: ' . $options['since']);
        }
        \WP_CLI::success(sprintf('events written: %d', reconcile($since)));
    }
}

\WP_CLI::add_command('copydesk', Command::class);
