<?php

namespace Copydesk\Tests;

use function Copydesk\Receiver\record_status;
use function Copydesk\table;

/** The posts list: each state, the filter, and no query per post. */
final class ReceiverListTest extends ReceiverTestCase
{
    /** @var Http|null */
    private static $browser = null;

    private function page(string $query = ''): array
    {
        self::$browser = self::$browser ?? Http::browser('desk');
        $page = self::$browser->get("/wp-admin/edit.php?copydesk_observe=1&posts_per_page=50$query");
        self::assertSame(200, $page['status']);
        return $page;
    }

    private function event(int $post, int $sequence, string $state, string $error = ''): void
    {
        global $wpdb;
        $wpdb->insert(table('outbox'), [
            'post_id' => $post, 'sequence' => $sequence, 'event' => 'post.updated', 'body' => '{}', 'state' => $state,
            'idempotency_key' => wp_generate_uuid4(), 'traceparent' => '', 'saved_at' => 1,
            'last_status' => $state === 'dead' ? 401 : 0, 'last_error' => $error,
        ]);
    }

    public function testEachStateIsShownAndFound(): void
    {
        $posts = [];
        $make = function (string $name) use (&$posts): int {
            return $posts[$name] = self::makePost(['post_title' => $name]);
        };
        $make('never sent');
        $this->event($make('to be sent'), 1, 'due');
        $this->event($make('sent, no word yet'), 1, 'sent');
        $this->event($make('refused'), 1, 'dead');
        $this->event($make('dropped'), 1, 'dropped');
        self::applied($make('enriched'), self::write(1));
        $this->event($posts['enriched'], 1, 'sent');
        self::applied($make('enriched, saved again'), self::write(1));
        $this->event($posts['enriched, saved again'], 2, 'due');
        self::applied($make('suggested'), self::write(1, [self::field('title', 'Better')]));
        record_status($make('failed'), 1, 'failed', 'The model is gone.', 1);
        record_status($make('held'), 1, 'held', 'The budget is spent.', 1);
        record_status($make('unchanged'), 1, 'unchanged', '', 1);
        record_status($make('filtered'), 1, 'filtered', '', 1);
        $expected = [
            'never sent' => '', 'to be sent' => 'waiting', 'sent, no word yet' => 'waiting', 'refused' => 'failed',
            'dropped' => '', 'enriched' => 'enriched', 'enriched, saved again' => 'waiting', 'suggested' => 'suggested',
            'failed' => 'failed', 'held' => 'waiting', 'unchanged' => 'enriched', 'filtered' => '',
        ];
        $page = $this->page()['body'];
        foreach ($posts as $name => $id) {
            $cell = Http::find("/<tr id=\"post-$id\".*?<td class='copydesk[^>]*>(.*?)<\/td>/s", $page);
            preg_match('/copydesk-state is-(\w+)/', $cell, $found);
            self::assertSame($expected[$name], $found[1] ?? '', $name);
            $causes = ['failed' => 'The model is gone.', 'held' => 'The budget is spent.'];
            $causes['refused'] = 'copydesk-cause';
            self::assertStringContainsString($causes[$name] ?? '', $cell);
        }
        foreach (['waiting', 'enriched', 'suggested', 'failed'] as $state) {
            preg_match_all('/<tr id="post-(\d+)"/', $this->page("&copydesk_state=$state")['body'], $found);
            $wanted = array_intersect_key($posts, array_flip(array_keys($expected, $state, true)));
            self::assertEqualsCanonicalizing(array_values($wanted), array_map('intval', $found[1]), $state);
        }
    }

    public function testTheListAsksOnceHoweverManyPostsItShows(): void
    {
        $queries = [];
        foreach ([2, 12] as $posts) {
            for ($i = 0; $i < $posts; $i++) {
                self::makePost();
            }
            $seen = json_decode(Http::find('/<!-- observed (.*) -->/', $this->page()['body']), true);
            $queries[] = count(preg_grep('/copydesk_statuses/', $seen['queries']));
        }
        self::assertSame([1, 1], $queries);
    }

    public function testEnrichAgainNeedsTheNonceOfThePage(): void
    {
        $id = self::makePost();
        $page = $this->page()['body'];
        $link = Http::find("/href=\"([^\"]*action=copydesk_again[^\"]*[;&]post=$id&[^\"]*)\"/", $page);
        $path = substr($link, strlen(self::state()['url']));
        $forged = preg_replace('/_wpnonce=\w+/', '_wpnonce=0123456789', $path);
        self::assertSame(403, self::$browser->get($forged)['status']);
        self::assertSame(0, self::countRows('outbox'));
        for ($sent = 1; $sent <= 2; $sent++) {
            self::assertSame(302, self::$browser->get($path)['status']);
            self::assertSame($sent, self::countRows('outbox'), 'each time, though nothing has changed');
        }
        global $wpdb;
        $body = json_decode($wpdb->get_var('SELECT body FROM ' . table('outbox')), true);
        self::assertSame(['post.updated', true], [$body['event'], $body['again']]);
        wp_update_post(['ID' => $id]);
        self::assertSame(2, self::countRows('outbox'), 'a save that changes nothing is still no event');
    }
}
