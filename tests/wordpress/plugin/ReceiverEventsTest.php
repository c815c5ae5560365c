<?php

namespace Copydesk\Tests;

/** POST events: one post per event of a provider. */
final class ReceiverEventsTest extends ReceiverTestCase
{
    private function send(int $number, array $more = []): array
    {
        return self::copydesk()->rest('POST', '/copydesk/v1/events', $more + [
            'delivery_id' => "event-$number",
            'log' => self::LOG,
            'epoch' => 0,
            'write' => $number,
            'source' => 'provider-a',
            'external_id' => 'job "1" \\ ü',
            'status' => 'done',
            'summary' => "Summary $number with \"quotes\" and \\",
            'metadata' => ['q' => 'say "hi"', 'path' => 'a\\b', 'é' => ["\n"]],
        ]);
    }

    public function testAnEventIsOnePostHoweverOftenItComes(): void
    {
        $before = count(get_posts(['post_type' => 'ai_event', 'post_status' => 'any', 'numberposts' => -1]));
        $first = $this->send(1);
        self::assertSame([200, 'applied'], [$first['status'], $first['json']['status'] ?? $first['body']]);
        self::assertSame('already', $this->send(1)['json']['status']);
        self::assertSame($first['json']['id'], $this->send(2)['json']['id']);
        self::assertRefused(409, 'copydesk_stale', $this->send(1));
        self::assertRefused(409, 'copydesk_conflict', $this->send(2, ['status' => 'failed']));
        wp_cache_flush();
        $posts = get_posts(['post_type' => 'ai_event', 'post_status' => 'any', 'numberposts' => -1]);
        self::assertSame($before + 1, count($posts));
        $post = get_post($first['json']['id']);
        self::assertSame('Summary 2 with "quotes" and \\', $post->post_content);
        self::assertSame('job "1" \\ ü', get_post_meta($post->ID, '_copydesk_external_id', true));
        $metadata = json_decode(get_post_meta($post->ID, '_copydesk_metadata', true), true);
        self::assertSame(['q' => 'say "hi"', 'path' => 'a\\b', 'é' => ["\n"]], $metadata);
        self::assertFalse(is_post_type_viewable('ai_event'));
        wp_delete_post($post->ID, true);
        self::assertRefused(404, 'copydesk_gone', $this->send(3));
    }

    public function testAnEventThatCannotBeIsRefused(): void
    {
        $bad = [
            ['source' => ''], ['source' => '<b></b>'], ['external_id' => 7], ['metadata' => 'text'],
            ['metadata' => ['x' => str_repeat('y', 70000)]], ['summary' => str_repeat('x', 2001)], ['log' => ''],
            ['summary' => 'javascript:alert(1)'],
        ];
        foreach ($bad as $more) {
            self::assertRefused(400, 'rest_invalid_param', $this->send(1, $more));
        }
        self::assertSame(0, self::countRows('fence'));
    }
}
