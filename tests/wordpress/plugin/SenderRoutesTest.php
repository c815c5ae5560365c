<?php

namespace Copydesk\Tests;

use Copydesk\Sender;

/** The routes for sites whose cron or way out is dead. */
final class SenderRoutesTest extends SenderTestCase
{
    protected function setUp(): void
    {
        parent::setUp();
        // What the receiver's half does for the role `copydesk`.
        get_user_by('login', 'copydesk')->add_cap('copydesk_write');
    }

    public function testStatus(): void
    {
        $answer = Http::program('copydesk')->rest('GET', '/copydesk/v1/status');
        self::assertSame(200, $answer['status'], $answer['body']);
        self::assertLessThan(60000, abs($answer['json']['now'] - Sender\now_ms()));
        unset($answer['json']['now']);
        self::assertSame([
            'plugin' => \Copydesk\VERSION,
            'api' => 1,
            'wordpress' => self::state()['wordpress'],
            'post_types' => ['post'],
            'statuses' => ['publish'],
            'seo' => null,
        ], $answer['json']);
    }

    public function testDrainSendsWhatIsDue(): void
    {
        foreach (['One', 'Two'] as $title) {
            wp_insert_post(['post_title' => $title, 'post_status' => 'publish']);
        }
        $this->copydesk->answer(['only' => ['Two' => ['status' => 422]]]);
        $answer = Http::program('copydesk')->rest('POST', '/copydesk/v1/drain');
        self::assertSame(['sent' => 1, 'waiting' => 0, 'failed' => 1], $answer['json']);
    }

    public function testOutboxIsPulledPageByPageAndAcknowledged(): void
    {
        $copydesk = Http::program('copydesk');
        for ($i = 1; $i <= 3; $i++) {
            wp_insert_post(['post_title' => "Post $i", 'post_status' => 'publish']);
        }
        $first = $copydesk->rest('GET', '/copydesk/v1/outbox?limit=2');
        self::assertCount(2, $first['json']['rows']);
        $row = $first['json']['rows'][0];
        self::assertSame('Post 1', json_decode($row['body'], true)['title']);
        $signature = hash_hmac('sha256', $row['headers']['X-WP-Timestamp'] . '.' . $row['body'], self::SECRET);
        self::assertSame($signature, $row['headers']['X-WP-Signature']);
        self::assertSame(json_decode($row['body'], true)['idempotency_key'], $row['headers']['Idempotency-Key']);

        $second = $copydesk->rest('GET', '/copydesk/v1/outbox?after=' . $first['json']['next']);
        self::assertCount(1, $second['json']['rows']);
        self::assertNull($second['json']['next']);
        $ids = array_column($first['json']['rows'], 'id');
        $answer = $copydesk->rest('POST', '/copydesk/v1/outbox/ack', ['ids' => $ids]);
        self::assertSame(['acknowledged' => 2], $answer['json']);
        self::assertSame(['acknowledged' => 0], $copydesk->rest('POST', '/copydesk/v1/outbox/ack', [
            'ids' => $ids,
        ])['json']);
        self::assertCount(1, $copydesk->rest('GET', '/copydesk/v1/outbox')['json']['rows']);
        self::assertSame(1, $this->drained()['sent']);
    }

    public function testBadParametersAreRefused(): void
    {
        $copydesk = Http::program('copydesk');
        foreach (['limit=101', 'limit=0', 'after=-1', 'after=x'] as $query) {
            self::assertSame(400, $copydesk->rest('GET', "/copydesk/v1/outbox?$query")['status'], $query);
        }
        foreach ([[], ['ids' => 'x'], ['ids' => range(1, 101)], ['ids' => [0]], ['ids' => ['1 OR 1=1']]] as $body) {
            $answer = $copydesk->rest('POST', '/copydesk/v1/outbox/ack', $body);
            self::assertSame(400, $answer['status'], json_encode($body));
        }
    }

    /** @return array[] */
    public function routes(): array
    {
        return [
            'drain' => ['POST', '/copydesk/v1/drain', null],
            'outbox' => ['GET', '/copydesk/v1/outbox', null],
            'ack' => ['POST', '/copydesk/v1/outbox/ack', ['ids' => [1]]],
            'status' => ['GET', '/copydesk/v1/status', null],
        ];
    }

    /** @dataProvider routes */
    public function testOnlyCopydeskMayCall(string $method, string $route, ?array $body): void
    {
        self::assertSame(401, Http::anonymous()->rest($method, $route, $body)['status']);
        foreach (['reader', 'intern', 'writer', 'desk'] as $login) {
            self::assertSame(403, Http::program($login)->rest($method, $route, $body)['status'], $login);
        }
        self::assertSame(200, Http::program('copydesk')->rest($method, $route, $body)['status']);
    }

    /** @dataProvider routes */
    public function testSignatureOfEitherSecretOpens(string $method, string $route, ?array $body): void
    {
        $next = strrev(self::SECRET);
        update_option('copydesk_secrets', ['secret' => self::SECRET, 'next_secret' => $next], false);
        $call = function (string $secret, string $text, int $age = 0) use ($method, $route, $body): int {
            $timestamp = (string) (time() - $age);
            return Http::anonymous()->rest($method, $route, $body, [
                'X-WP-Timestamp' => $timestamp,
                'X-WP-Signature' => hash_hmac('sha256', "$timestamp.$text", $secret),
            ])['status'];
        };
        $json = $body === null ? '' : json_encode($body);
        $text = "$method $route\n$json";
        self::assertSame(200, $call(self::SECRET, $text));
        self::assertSame(200, $call($next, $text));
        self::assertSame(401, $call('another-secret-another-secret-another', $text));
        self::assertSame(401, $call(self::SECRET, $json), 'the form of a webhook');
        self::assertSame(401, $call(self::SECRET, "$method /copydesk/v1/other\n$json"), 'another route');
        self::assertSame(401, $call(self::SECRET, "$text "), 'another body');
        self::assertSame(401, $call(self::SECRET, $text, 400), 'too old');
        self::assertSame(401, $call(self::SECRET, $text, -400), 'from the future');

        update_option('copydesk_secrets', ['secret' => '', 'next_secret' => ''], false);
        self::assertSame(401, $call('', $text), 'the empty secret');
    }

    public function testSignatureCoversTheQuery(): void
    {
        $timestamp = (string) time();
        $sign = function (string $target) use ($timestamp): array {
            $signature = hash_hmac('sha256', "$timestamp.GET $target\n", self::SECRET);
            return ['X-WP-Timestamp' => $timestamp, 'X-WP-Signature' => $signature];
        };
        $headers = $sign('/copydesk/v1/outbox?after=5&limit=2');
        $anonymous = Http::anonymous();
        $answer = $anonymous->get('/wp-json/copydesk/v1/outbox?limit=2&after=5', $headers);
        self::assertSame(200, $answer['status']);
        // WordPress itself forbids to keep only the answers to its users.
        self::assertStringContainsString('no-store', $answer['headers']['cache-control']);
        self::assertSame(401, $anonymous->get('/wp-json/copydesk/v1/outbox?limit=2&after=0', $headers)['status']);
        // With plain permalinks the route is a parameter.
        $plain = '/?rest_route=/copydesk/v1/outbox&after=5&limit=2';
        self::assertSame(200, $anonymous->get($plain, $headers)['status']);
    }
}
