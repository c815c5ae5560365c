<?php

namespace Copydesk\Tests;

/** With the plugin set up to send to the receiver. */
abstract class SenderTestCase extends PluginTestCase
{
    /** @var Receiver */
    protected $copydesk;

    protected function setUp(): void
    {
        parent::setUp();
        $this->copydesk = self::receiver();
        $this->copydesk->answer([]);
        $this->copydesk->forget();
        self::stored('copydesk_secrets', ['secret' => self::SECRET, 'key_id' => 'k1'], false);
        self::settings([]);
    }

    protected static function settings(array $settings): void
    {
        self::stored('copydesk_settings', $settings + ['endpoint' => self::receiver()->url], true);
    }

    /** SQLite has one writer: while a page of the test before still writes, it may refuse this one. */
    private static function stored(string $option, array $value, bool $autoload): void
    {
        self::waitFor("$option to be stored", function () use ($option, $value, $autoload): bool {
            return update_option($option, $value, $autoload) || get_option($option) == $value;
        });
    }

    /** The outbox's rows, all or of one post, in the order they were written. */
    protected function outbox(int $post_id = 0): array
    {
        $where = $post_id ? "WHERE post_id = $post_id" : '';
        return \Copydesk\Sender\rows('SELECT * FROM ' . \Copydesk\table('outbox') . " $where ORDER BY id");
    }

    /** Sends what this process has saved, as its end would. */
    protected function drained(): array
    {
        return \Copydesk\Sender\drain(20, 3);
    }

    /** Waits until $count events have come; forgets them. */
    protected function events(int $count): array
    {
        self::waitFor("$count events", function () use ($count): bool {
            return count($this->copydesk->requests()) >= $count;
        });
        $requests = $this->copydesk->requests();
        self::assertCount($count, $requests);
        $this->copydesk->forget();
        return array_column($requests, 'event');
    }

    protected function oneEvent(int $post_id, string $event): array
    {
        [$came] = $this->events(1);
        self::assertSame([$event, $post_id], [$came['event'], $came['post_id']]);
        return $came;
    }

    /** Nothing waits, and nothing has come. */
    protected function noEvent(): void
    {
        self::waitFor('the outbox to be sent', function (): bool {
            return array_intersect(['open', 'due'], array_column($this->outbox(), 'state')) === [];
        });
        self::assertSame([], array_column($this->copydesk->requests(), 'body'));
    }

    protected static function tag(string $name): int
    {
        $term = term_exists($name, 'post_tag') ?: wp_insert_term($name, 'post_tag');
        return (int) $term['term_id'];
    }

    /** Path and query of an address of the site. */
    protected static function path(string $url): string
    {
        return wp_parse_url($url, PHP_URL_PATH) . '?' . wp_parse_url($url, PHP_URL_QUERY);
    }

    /** Runs PHP in $count other processes of the site at once, and waits for all. */
    protected static function inParallel(int $count, string $code, array $arguments = []): void
    {
        $eval = __DIR__ . '/../../../../scripts/wordpress/eval';
        $command = array_merge([$eval, COPYDESK_SITE_DIR, '-e', $code], array_map('strval', $arguments));
        $running = [];
        for ($i = 0; $i < $count; $i++) {
            $process = proc_open($command, [['file', '/dev/null', 'r'], ['pipe', 'w'], ['pipe', 'w']], $pipes);
            $running[] = [$process, $pipes];
        }
        foreach ($running as [$process, $pipes]) {
            $output = stream_get_contents($pipes[1]) . stream_get_contents($pipes[2]);
            self::assertSame(0, proc_close($process), $output);
        }
    }
}
