<?php

namespace Copydesk\Tests;

use Copydesk\Sender;

use function Copydesk\table;

/** What happens between the outbox and Copydesk. */
final class SenderDrainTest extends SenderTestCase
{
    public function testSignaturesAreThoseOfTheSharedVectors(): void
    {
        $fixture = __DIR__ . '/../../../proto/fixtures/signatures.json';
        $checked = 0;
        foreach (json_decode(file_get_contents($fixture), true)['vectors'] as $vector) {
            if ($vector['scheme'] === 'wp-relay') {
                $signature = Sender\sign($vector['timestamp'], $vector['body'], $vector['secret']);
                self::assertSame($vector['signature'], $signature, $vector['name']);
                $checked++;
            }
        }
        self::assertGreaterThanOrEqual(5, $checked);
    }

    public function testRequestIsSignedAndCarriesTheTraceOfTheSave(): void
    {
        $before = Sender\now_ms();
        $id = wp_insert_post(['post_title' => 'T', 'post_content' => 'C', 'post_status' => 'publish']);
        $saved = Sender\now_ms();
        $this->drained();
        [$request] = $this->copydesk->requests();
        $headers = $request['headers'];
        $timestamp = $headers['x-wp-timestamp'];
        self::assertLessThan(10, abs(time() - (int) $timestamp));
        $signature = hash_hmac('sha256', $timestamp . '.' . $request['body'], self::SECRET);
        self::assertSame($signature, $headers['x-wp-signature']);
        self::assertSame('k1', $headers['x-wp-key-id']);
        self::assertSame('application/json', $headers['content-type']);
        self::assertSame($request['event']['idempotency_key'], $headers['idempotency-key']);
        self::assertMatchesRegularExpression('/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/', $headers['traceparent']);
        self::assertSame($this->outbox($id)[0]['traceparent'], $headers['traceparent']);
        self::assertGreaterThanOrEqual($before, $request['event']['saved_at']);
        self::assertLessThanOrEqual($saved, $request['event']['saved_at']);
    }

    /** @return array[] answer, state after one try, seconds until the next */
    public function answers(): array
    {
        $minute = [54, 66];
        return [
            'accepted' => [['status' => 202], 'sent', null],
            'duplicate' => [['status' => 200, 'body' => '{"status":"duplicate"}'], 'sent', null],
            'a web page' => [['status' => 200, 'headers' => ['Content-Type' => 'text/html']], 'due', $minute],
            'moved' => [['status' => 301, 'headers' => ['Location' => '/elsewhere']], 'dead', null],
            'bad request' => [['status' => 400], 'dead', null],
            'unauthorised' => [['status' => 401], 'dead', null],
            'forbidden' => [['status' => 403], 'dead', null],
            'not found' => [['status' => 404], 'dead', null],
            'time-out' => [['status' => 408], 'due', $minute],
            'too large' => [['status' => 413], 'dead', null],
            'not to be processed' => [['status' => 422], 'dead', null],
            'too many' => [['status' => 429, 'headers' => ['Retry-After' => '120']], 'due', [120, 120]],
            'fault' => [['status' => 500], 'due', $minute],
            'bad gateway' => [['status' => 502, 'headers' => ['Content-Type' => 'text/html']], 'due', $minute],
            'draining' => [['status' => 503, 'headers' => ['Retry-After' => '5']], 'due', [5, 5]],
            'for ten years' => [['status' => 503, 'headers' => ['Retry-After' => '315360000']], 'due', [3600, 3600]],
        ];
    }

    /** @dataProvider answers */
    public function testAnswerDecides(array $answer, string $state, ?array $wait): void
    {
        $this->copydesk->answer($answer);
        $first = wp_insert_post(['post_title' => 'First', 'post_status' => 'publish']);
        $this->drained();
        self::assertCount(1, $this->copydesk->requests());
        [$row] = $this->outbox($first);
        self::assertSame([$state, '1'], [$row['state'], $row['attempts']]);
        self::assertSame((string) $answer['status'], $row['last_status']);
        if ($wait !== null) {
            $until = (int) $row['due_at'] - (int) $row['tried_at'];
            self::assertGreaterThanOrEqual($wait[0], $until);
            self::assertLessThanOrEqual($wait[1], $until);
        }
        // By itself it is not tried again, unless its time has come.
        $this->drained();
        self::assertCount(1, $this->copydesk->requests());
        self::assertSame($state === 'dead', Sender\notice() !== '');

        // Another post's event is not held back by a dead one.
        if ($state === 'dead') {
            $this->copydesk->answer([]);
            wp_insert_post(['post_title' => 'Second', 'post_status' => 'publish']);
            self::assertSame(1, $this->drained()['sent']);
        }
    }

    public function testRetriesFollowTheirTimesAndKeepTheKey(): void
    {
        $this->copydesk->answer(['status' => 500]);
        $id = wp_insert_post(['post_title' => 'Patient', 'post_status' => 'publish']);
        foreach ([60, 300, 1800, 7200, 86400, 86400] as $i => $wait) {
            $this->drained();
            [$row] = $this->outbox($id);
            self::assertSame((string) ($i + 1), $row['attempts']);
            $until = (int) $row['due_at'] - (int) $row['tried_at'];
            self::assertGreaterThanOrEqual($wait * 0.9, $until);
            self::assertLessThanOrEqual($wait * 1.1, $until);
            $this->makeDue();
        }
        $requests = $this->copydesk->requests();
        self::assertCount(6, $requests);
        self::assertCount(1, array_unique(array_column($requests, 'body')));
        $keys = array_unique(array_column(array_column($requests, 'headers'), 'idempotency-key'));
        self::assertCount(1, $keys);
    }

    public function testRetryAfterIsReadInBothForms(): void
    {
        $now = 1795420800;
        $date = function (int $seconds) use ($now): string {
            return gmdate('D, d M Y H:i:s', $now + $seconds) . ' GMT';
        };
        self::assertSame(90, Sender\retry_after('90', $now));
        self::assertSame(90, Sender\retry_after($date(90), $now));
        self::assertSame(1, Sender\retry_after('0', $now));
        self::assertSame(1, Sender\retry_after($date(-90), $now));
        self::assertSame(3600, Sender\retry_after($date(400000), $now));
        foreach (['', 'soon', '-5', '1.5', '99999999999'] as $unreadable) {
            self::assertNull(Sender\retry_after($unreadable, $now), $unreadable);
        }
    }

    /** Copydesk is away while people work, and comes back. */
    public function testNothingIsLostAndOrderIsKeptWhenCopydeskIsAway(): void
    {
        $desk = Http::program('desk');
        $this->copydesk->stop();
        $ids = [];
        foreach (['One', 'Two', 'Three'] as $title) {
            $answer = $desk->rest('POST', '/wp/v2/posts', ['title' => "$title 1", 'status' => 'publish']);
            $ids[] = $answer['json']['id'];
        }
        foreach ([2, 3] as $version) {
            foreach ($ids as $id) {
                $route = "/wp/v2/posts/$id?copydesk_observe=1";
                $saved = $desk->rest('POST', $route, ['content' => "v$version"]);
                self::assertSame(200, $saved['status']);
                $seen = json_decode(Http::find('/<!-- observed (.*) -->/', $saved['body']), true);
                self::assertSame([], $seen['requests'], 'a save waits for the network');
            }
        }
        self::waitFor('a try that failed', function (): bool {
            return in_array('1', array_column($this->outbox(), 'attempts'), true);
        });
        self::assertSame(['due'], array_values(array_unique(array_column($this->outbox(), 'state'))));
        $this->copydesk->start();
        // WP-Cron's minute.
        $this->makeDue();
        self::cron('copydesk_tick');
        self::waitFor('the outbox to be sent', function (): bool {
            return array_unique(array_column($this->outbox(), 'state')) === ['sent'];
        });
        $sequences = [];
        foreach (array_column($this->copydesk->requests(), 'event') as $event) {
            $sequences[$event['post_id']][] = $event['sequence'];
        }
        self::assertSame(array_fill_keys($ids, [1, 2, 3]), $sequences);
    }

    /** Rows that met nobody do not wait for a day when Copydesk is there again. */
    public function testFirstSuccessWakesTheOthers(): void
    {
        global $wpdb;
        $old = wp_insert_post(['post_title' => 'Waits', 'post_status' => 'publish']);
        $this->copydesk->stop();
        $this->drained();
        $wpdb->query('UPDATE ' . table('outbox') . ' SET due_at = ' . (time() + 80000) . ', tried_at = tried_at - 100');
        $this->copydesk->start();
        self::assertSame(0, $this->drained()['sent']);
        wp_insert_post(['post_title' => 'New', 'post_status' => 'publish']);
        self::assertSame(['sent' => 2, 'waiting' => 0, 'failed' => 0], $this->drained());
        self::assertSame($old, $this->copydesk->requests()[1]['event']['post_id']);
    }

    public function testLaterRowOfAPostWaitsForItsEarlierOne(): void
    {
        $id = wp_insert_post(['post_title' => 'First', 'post_status' => 'publish']);
        $this->copydesk->answer(['status' => 500]);
        $this->drained();
        wp_update_post(['ID' => $id, 'post_title' => 'Second']);
        $this->copydesk->answer([]);
        self::assertSame(['sent' => 0, 'waiting' => 2, 'failed' => 0], $this->drained());
        $this->makeDue();
        $this->copydesk->forget();
        self::assertSame(2, $this->drained()['sent']);
        self::assertSame(['First', 'Second'], array_column($this->events(2), 'title'));
    }

    public function testFourDrainsAtOnceSendEachRowOnce(): void
    {
        self::settings(['endpoint' => '']);
        $ids = [];
        for ($i = 0; $i < 10; $i++) {
            $ids[] = $id = wp_insert_post(['post_title' => "Post $i", 'post_status' => 'publish']);
            wp_update_post(['ID' => $id, 'post_title' => "Post $i again"]);
            wp_update_post(['ID' => $id, 'post_title' => "Post $i at last"]);
        }
        self::settings([]);
        $this->copydesk->answer(['wait_ms' => 20]);
        self::inParallel(4, 'while (Copydesk\Sender\drain(30, 3)["waiting"] > 0) { usleep(10000); }');
        $sequences = [];
        foreach (array_column($this->copydesk->requests(), 'event') as $event) {
            $sequences[$event['post_id']][] = $event['sequence'];
        }
        ksort($sequences);
        self::assertSame(array_fill_keys($ids, [1, 2, 3]), $sequences);
    }

    public function testLeaseOfADeadProcessRunsOut(): void
    {
        global $wpdb;
        wp_insert_post(['post_title' => 'Claimed', 'post_status' => 'publish']);
        $row = Sender\claim('a process that died after');
        self::assertSame('Claimed', json_decode($row['body'], true)['title']);
        self::assertSame(0, $this->drained()['sent']);
        $wpdb->query('UPDATE ' . table('outbox') . ' SET lease_until = lease_until - 61');
        self::assertSame(1, $this->drained()['sent']);
        // The first owner wakes up: too late to change anything.
        Sender\settle($row, 'a process that died after', Sender\outcome(['status' => 500]));
        self::assertSame(['sent'], array_column($this->outbox(), 'state'));
    }

    public function testNextSecretTakesOverWithoutARefusedEvent(): void
    {
        $next = 'next-secret-next-secret-next-secret-42';
        $secrets = ['secret' => self::SECRET, 'key_id' => 'k1', 'next_secret' => $next, 'next_key_id' => 'k2'];
        update_option('copydesk_secrets', $secrets, false);

        // Copydesk does not know the next one yet: it is not switched to.
        $this->copydesk->answer(['key' => ['k2' => ['status' => 401, 'body' => '{"code":"bad_signature"}']]]);
        self::assertFalse(Sender\switch_key()[0]);
        wp_insert_post(['post_title' => 'Before', 'post_status' => 'publish']);
        self::assertSame(1, $this->drained()['sent']);
        self::assertSame('k1', Sender\current_key()['id']);

        // Copydesk has forgotten the former one: the event goes out by the next, which is the current one from now on.
        $this->copydesk->answer(['key' => ['k1' => ['status' => 401, 'body' => '{"code":"bad_signature"}']]]);
        wp_insert_post(['post_title' => 'After', 'post_status' => 'publish']);
        self::assertSame(['sent' => 1, 'waiting' => 0, 'failed' => 0], $this->drained());
        self::assertSame(['secret' => $next, 'id' => 'k2'], Sender\current_key());
        self::assertNull(Sender\next_key());
        $requests = $this->copydesk->requests();
        $last = end($requests);
        $signature = hash_hmac('sha256', $last['headers']['x-wp-timestamp'] . '.' . $last['body'], $next);
        self::assertSame($signature, $last['headers']['x-wp-signature']);
    }

    public function testSwitchOfTheKeyWhenCopydeskTakesIt(): void
    {
        $secrets = ['secret' => self::SECRET, 'next_secret' => strrev(self::SECRET), 'next_key_id' => 'k2'];
        update_option('copydesk_secrets', $secrets, false);
        self::assertTrue(Sender\switch_key()[0]);
        self::assertSame(['secret' => strrev(self::SECRET), 'id' => 'k2'], Sender\current_key());
        self::assertSame('copydesk.test', $this->copydesk->requests()[0]['event']['event']);
        self::assertFalse(Sender\switch_key()[0]);
    }

    public function testConstantsComeFirst(): void
    {
        $code = 'define("COPYDESK_SECRET", str_repeat("s", 40)); define("COPYDESK_KEY_ID", "wp-config");
            define("COPYDESK_ENDPOINT", "http://127.0.0.1:9/webhooks/x");
            if (Copydesk\Sender\current_key() !== ["secret" => str_repeat("s", 40), "id" => "wp-config"]
                || Copydesk\Sender\endpoint() !== "http://127.0.0.1:9/webhooks/x" || Copydesk\Sender\next_key()) {
                exit(1);
            }';
        $secrets = ['secret' => self::SECRET, 'next_secret' => strrev(self::SECRET)];
        update_option('copydesk_secrets', $secrets, false);
        self::inParallel(1, $code);
    }

    public function testWithoutSetupNothingIsSentAndNothingIsLost(): void
    {
        update_option('copydesk_secrets', ['secret' => ''], false);
        wp_insert_post(['post_title' => 'Early', 'post_status' => 'publish']);
        self::assertSame(['sent' => 0, 'waiting' => 1, 'failed' => 0], $this->drained());
        update_option('copydesk_secrets', ['secret' => self::SECRET], false);
        self::settings(['endpoint' => 'http://news.example/webhooks/x']);
        self::assertSame(['sent' => 0, 'waiting' => 1, 'failed' => 0], $this->drained());
        self::settings([]);
        self::assertSame(['sent' => 1, 'waiting' => 0, 'failed' => 0], $this->drained());
    }

    public function testAnswersBySettingGoOutAfterTheSettingIsRight(): void
    {
        $this->copydesk->answer(['only' => ['First' => ['status' => 401], 'Second' => ['status' => 422]]]);
        foreach (['First', 'Second'] as $title) {
            wp_insert_post(['post_title' => $title, 'post_status' => 'publish']);
        }
        self::assertSame(['sent' => 0, 'waiting' => 0, 'failed' => 2], $this->drained());
        $this->copydesk->answer([]);
        self::assertTrue(Sender\test()[0]);
        self::assertSame(['sent' => 1, 'waiting' => 0, 'failed' => 1], $this->drained());
        self::assertSame(1, Sender\resend());
        self::assertSame(['sent' => 1, 'waiting' => 0, 'failed' => 0], $this->drained());
    }

    public function testPurgeKeepsWhatNumbersGoOnFrom(): void
    {
        global $wpdb;
        $sent = wp_insert_post(['post_title' => 'Sent', 'post_status' => 'publish']);
        wp_update_post(['ID' => $sent, 'post_title' => 'Sent again']);
        $gone = wp_insert_post(['post_title' => 'Gone', 'post_status' => 'publish']);
        wp_delete_post($gone, true);
        $this->drained();
        $waiting = wp_insert_post(['post_title' => 'Waiting', 'post_status' => 'publish']);
        Sender\purge(time());
        self::assertCount(5, $this->outbox(), 'nothing is old yet');

        $wpdb->query('UPDATE ' . table('outbox') . ' SET saved_at = saved_at - ' . 30 * 86400 * 1000 . ' - 1000');
        $new = wp_insert_post(['post_title' => 'New', 'post_status' => 'publish']);
        Sender\purge(time());
        self::assertSame([], $this->outbox($gone));
        self::assertSame([['2', '']], array_map(function (array $row): array {
            return [$row['sequence'], $row['body']];
        }, $this->outbox($sent)));
        self::assertSame('dropped', $this->outbox($waiting)[0]['state']);
        self::assertSame('due', $this->outbox($new)[0]['state']);

        wp_update_post(['ID' => $sent]);
        self::assertCount(1, $this->outbox($sent), 'an unchanged post is still one');
        wp_update_post(['ID' => $sent, 'post_title' => 'Once more']);
        wp_update_post(['ID' => $waiting]);
        self::assertSame('3', $this->outbox($sent)[1]['sequence']);
        self::assertSame('2', $this->outbox($waiting)[1]['sequence']);
    }

    public function testReconcileFindsWhatHadNoEvent(): void
    {
        global $wpdb;
        self::forgetOldPosts();
        $known = wp_insert_post(['post_title' => 'Known', 'post_status' => 'publish']);
        $taken_down = wp_insert_post(['post_title' => 'Taken down', 'post_status' => 'publish']);
        $deleted = wp_insert_post(['post_title' => 'Deleted', 'post_status' => 'publish']);
        $this->drained();
        $this->copydesk->forget();
        self::assertSame(0, Sender\reconcile());

        // By SQL, or while the outbox could not be written: no hook of ours has run.
        $now = ['post_modified_gmt' => gmdate('Y-m-d H:i:s')];
        $wpdb->update($wpdb->posts, ['post_content' => 'by SQL'] + $now, ['ID' => $known]);
        $wpdb->update($wpdb->posts, ['post_status' => 'draft'] + $now, ['ID' => $taken_down]);
        $wpdb->delete($wpdb->posts, ['ID' => $deleted]);
        $new = self::makePost(['post_title' => 'Never seen']);
        $old = self::makePost(['post_title' => 'From before the plugin was there']);
        $wpdb->update($wpdb->posts, ['post_modified_gmt' => '2020-01-01 00:00:00'], ['ID' => $old]);
        self::makePost(['post_title' => 'A draft', 'post_status' => 'draft']);
        self::assertSame(4, Sender\reconcile());
        self::assertSame(0, Sender\reconcile());
        $this->drained();
        $events = array_column($this->copydesk->requests(), 'event');
        self::assertEqualsCanonicalizing(
            [[$known, 'post.updated', 2], [$taken_down, 'post.unpublished', 2], [$deleted, 'post.deleted', 2],
                [$new, 'post.published', 1]],
            array_map(function (array $event): array {
                return [$event['post_id'], $event['event'], $event['sequence']];
            }, $events)
        );
        Sender\reconcile(0);
        self::assertCount(1, $this->outbox($old), 'the whole site, on request');
    }

    public function testNightRunsByCron(): void
    {
        self::forgetOldPosts();
        $id = self::makePost(['post_title' => 'Missed']);
        self::cron('copydesk_nightly');
        $this->oneEvent($id, 'post.published');
    }

    /** Lets the time of all waits be over. */
    private function makeDue(): void
    {
        global $wpdb;
        $wpdb->query('UPDATE ' . table('outbox') . " SET due_at = 0 WHERE state = 'due'");
    }

    /** Runs a cron event as the site's server does. */
    private static function cron(string $hook): void
    {
        wp_cache_flush();
        $event = wp_get_scheduled_event($hook);
        self::assertNotFalse($event, "$hook is scheduled");
        wp_unschedule_event($event->timestamp, $hook);
        wp_schedule_event(time() - 1, $event->schedule, $hook);
        delete_transient('doing_cron');
        Http::anonymous()->get('/wp-cron.php?doing_wp_cron');
        // It answers before it begins.
        self::waitFor('the end of WP-Cron', function (): bool {
            wp_cache_flush();
            return get_transient('doing_cron') === false;
        });
    }

    /** No post of another test is one that changed lately. */
    private static function forgetOldPosts(): void
    {
        global $wpdb;
        $wpdb->query("UPDATE $wpdb->posts SET post_modified_gmt = '2020-01-01 00:00:00'");
        wp_cache_flush();
        update_option('copydesk_reconciled', ['since' => time() - 60, 'at' => 0], false);
    }
}
