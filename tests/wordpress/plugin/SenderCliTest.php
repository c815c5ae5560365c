<?php

namespace Copydesk\Tests;

use function Copydesk\table;

/** Each verb of `wp copydesk`, in a process of its own as wp-cli runs it. */
final class SenderCliTest extends SenderTestCase
{
    /** Runs a verb, which must succeed or fail; what it says. */
    private function wp(bool $succeeds, string ...$words): string
    {
        $command = array_merge([PHP_BINARY, __DIR__ . '/support/wp-cli.php', COPYDESK_SITE_DIR], $words);
        $process = proc_open($command, [['file', '/dev/null', 'r'], ['pipe', 'w'], ['file', '/dev/null', 'w']], $pipes);
        $said = stream_get_contents($pipes[1]);
        self::assertSame($succeeds ? 0 : 1, proc_close($process), $said);
        wp_cache_flush();
        return $said;
    }

    public function testStatusSaysWhatWaitsAndWhatIsWrong(): void
    {
        wp_insert_post(['post_title' => 'Waits', 'post_status' => 'publish']);
        $url = $this->copydesk->url;
        self::assertSame("endpoint: $url\nwaiting: 1, failed: 0\n", $this->wp(true, 'status'));
        self::assertStringContainsString('Success: Copydesk has taken the event.', $this->wp(true, 'status', '--test'));
        $this->copydesk->answer(['status' => 401, 'body' => json_encode(['code' => 'bad_signature'])]);
        self::assertStringContainsString('Error: The signature does not match', $this->wp(false, 'status', '--test'));
        update_option('copydesk_secrets', ['secret' => 'short'], false);
        self::assertStringContainsString('Error: No secret is set', $this->wp(false, 'status'));
    }

    public function testOutboxListsWhatIsNotSentAndWhy(): void
    {
        self::assertSame('[]', $this->wp(true, 'outbox'));
        $id = wp_insert_post(['post_title' => 'Refused', 'post_status' => 'publish']);
        $this->copydesk->answer(['status' => 404]);
        $this->drained();
        $row = $this->outbox($id)[0];
        self::assertEquals([[
            'id' => $row['id'],
            'post_id' => $id,
            'sequence' => 1,
            'event' => 'post.published',
            'state' => 'dead',
            'attempts' => 1,
            'why' => 'The answer is 404: there is no Copydesk at this address.',
        ]], json_decode($this->wp(true, 'outbox', '--format=json'), true));
    }

    public function testResendSendsFailedEventsAllOrSome(): void
    {
        $this->copydesk->answer(['status' => 422]);
        foreach (['First', 'Second', 'Third'] as $title) {
            wp_insert_post(['post_title' => $title, 'post_status' => 'publish']);
        }
        $this->drained();
        $ids = array_column($this->outbox(), 'id');
        $this->copydesk->answer([]);
        self::assertSame("Success: sent: 1, waiting: 0, failed: 2\n", $this->wp(true, 'resend', $ids[1]));
        self::assertSame(['dead', 'sent', 'dead'], array_column($this->outbox(), 'state'));
        self::assertSame("Success: sent: 2, waiting: 0, failed: 0\n", $this->wp(true, 'resend'));
        self::assertSame("Error: unknown --all parameter\n", $this->wp(false, 'resend', '--all'));
    }

    public function testReconcileFindsWhatHadNoEventAlsoOfLongAgo(): void
    {
        global $wpdb;
        // What other tests have left is not this one's.
        $wpdb->query("UPDATE $wpdb->posts SET post_modified_gmt = '2020-01-01 00:00:00'");
        update_option('copydesk_reconciled', ['since' => time() - 60, 'at' => 0], false);
        $id = self::makePost(['post_title' => 'Missed']);
        self::assertSame("Success: events written: 1\n", $this->wp(true, 'reconcile'));
        self::assertSame("Success: events written: 0\n", $this->wp(true, 'reconcile'));
        self::assertSame(['post.published'], array_column($this->outbox($id), 'event'));
        $old = self::makePost(['post_title' => 'From before the plugin was there']);
        $wpdb->update($wpdb->posts, ['post_modified_gmt' => '2021-06-01 00:00:00'], ['ID' => $old]);
        self::assertSame("Success: events written: 1\n", $this->wp(true, 'reconcile', '--since=2021-05-31'));
        self::assertSame("Error: no date: when?\n", $this->wp(false, 'reconcile', '--since=when?'));
    }
}
