<?php

namespace Copydesk\Tests;

use PHPUnit\Framework\TestCase;

/** Runs in the site's own PHP, beside its web server: what one writes the other reads from the database. */
abstract class PluginTestCase extends TestCase
{
    protected const SECRET = 'copydesk-test-secret-0123456789abcdef';

    /** @var Receiver|null */
    private static $receiver = null;

    /** What scripts/wordpress/up has written about the site. */
    public static function state(): array
    {
        static $state = null;
        return $state ?? $state = json_decode(file_get_contents(COPYDESK_SITE_DIR . '/state.json'), true);
    }

    /** The receiver of this run, listening, with an empty book, answering 202. */
    protected static function receiver(): Receiver
    {
        self::$receiver = self::$receiver ?? new Receiver();
        self::$receiver->start();
        return self::$receiver;
    }

    /** Waits until $observation gives something else than false and null, and returns that. */
    public static function waitFor(string $what, callable $observation, float $seconds = 20)
    {
        $until = microtime(true) + $seconds;
        do {
            $seen = $observation();
            if ($seen !== false && $seen !== null) {
                return $seen;
            }
            usleep(20000);
        } while (microtime(true) < $until);
        throw new \RuntimeException("waited $seconds s for $what");
    }

    protected static function isSqlite(): bool
    {
        return self::state()['db'] === 'sqlite';
    }

    /** Empties the plugin's tables and settings; nobody is logged in. */
    protected function setUp(): void
    {
        global $wpdb;
        wp_cache_flush();
        foreach ($wpdb->get_col("SHOW TABLES LIKE '{$wpdb->prefix}copydesk\\_%'") as $table) {
            $wpdb->query("DELETE FROM $table");
        }
        $options = "SELECT option_name FROM $wpdb->options WHERE SUBSTR(option_name, 1, 9) = 'copydesk_'";
        foreach ($wpdb->get_col($options) as $name) {
            if ($name !== 'copydesk_schema') {
                delete_option($name);
            }
        }
        wp_set_current_user(0);
    }

    /** A post made in this process, without an event. */
    protected static function makePost(array $fields = []): int
    {
        return \Copydesk\muted(function () use ($fields): int {
            return wp_insert_post(wp_slash($fields + [
                'post_title' => 'A title',
                'post_content' => 'Some text.',
                'post_status' => 'publish',
                'post_author' => self::state()['users']['writer']['id'],
            ]), false);
        });
    }
}
