<?php

namespace Copydesk\Tests;

use function Copydesk\content_hash;
use function Copydesk\table;

/** Tests that call the receiver's routes over HTTP, as the user that Copydesk has, and look at what WordPress holds. */
abstract class ReceiverTestCase extends PluginTestCase
{
    protected const LOG = '1764064812345';

    /** @var array<string, Http> One application password per user and run: each costs a slow hash. */
    private static $users = [];

    /** Makes the site one of these kinds: see mu-plugins/copydesk-receiver-sites.php. */
    protected static function siteIs(string ...$kinds): void
    {
        file_put_contents(COPYDESK_TEST_DIR . '/tmp/kinds.json', json_encode($kinds));
    }

    protected function tearDown(): void
    {
        self::siteIs();
        parent::tearDown();
    }

    /** Copydesk: a user with its role and no other. */
    protected static function copydesk(): Http
    {
        return self::user('robot', 'copydesk');
    }

    /** A user of that role, made when first asked for. */
    protected static function user(string $login, string $role): Http
    {
        if (!isset(self::$users[$login])) {
            $user = get_user_by('login', $login);
            $id = $user ? $user->ID : wp_insert_user([
                'user_login' => $login,
                'user_pass' => wp_generate_password(24),
                'user_email' => "$login@example.test",
                'display_name' => ucfirst($login),
                'role' => $role,
            ]);
            [$password] = \WP_Application_Passwords::create_new_application_password($id, [
                'name' => 'test ' . wp_generate_uuid4(),
            ]);
            self::$users[$login] = Http::withPassword($login, $password);
        }
        return self::$users[$login];
    }

    protected static function editor(): Http
    {
        return self::user('chief', 'editor');
    }

    /** A write with one excerpt, or with $fields. */
    protected static function write(int $number, array $fields = [], array $more = []): array
    {
        return $more + [
            'delivery_id' => "delivery-$number",
            'log' => self::LOG,
            'epoch' => 0,
            'write' => $number,
            'sequence' => $number,
            'input_hash' => null,
            'fields' => $fields ?: [self::field('excerpt', "Summary $number")],
        ];
    }

    protected static function field(string $name, $value, string $mode = 'apply', ?string $base_hash = null): array
    {
        return [
            'field' => $name,
            'value' => $value,
            'mode' => $mode,
            'base_hash' => $base_hash,
            'enrichment' => 'summary',
            'model' => 'test-model',
            'prompt_version' => 3,
        ];
    }

    protected static function apply(int $post, array $write): array
    {
        return self::copydesk()->rest('POST', "/copydesk/v1/posts/$post/apply", $write, [
            'Idempotency-Key' => $write['delivery_id'],
            'X-Copydesk-Write' => $write['write'],
        ]);
    }

    /** Applies and asserts that it was carried out; the answer's fields. */
    protected static function applied(int $post, array $write): array
    {
        $answer = self::apply($post, $write);
        self::assertSame(200, $answer['status'], $answer['body']);
        self::assertSame('applied', $answer['json']['status']);
        return $answer['json']['fields'];
    }

    protected static function assertRefused(int $status, string $code, array $answer): void
    {
        self::assertSame([$status, $code], [$answer['status'], $answer['json']['code'] ?? null], $answer['body']);
    }

    /** The post as the database has it, whatever this process has cached. */
    protected static function stored(int $post): \WP_Post
    {
        wp_cache_flush();
        return get_post($post);
    }

    /** @return string[] */
    protected static function terms(int $post, string $taxonomy): array
    {
        wp_cache_flush();
        return wp_get_object_terms($post, $taxonomy, ['fields' => 'names']);
    }

    protected static function countRows(string $table, string $where = '1 = 1'): int
    {
        global $wpdb;
        return (int) $wpdb->get_var('SELECT COUNT(*) FROM ' . table($table) . " WHERE $where");
    }

    protected static function hash(string $text): string
    {
        return content_hash([$text]);
    }

    protected static function owner(int $post, string $field): string
    {
        $answer = self::copydesk()->rest('GET', "/copydesk/v1/posts/$post");
        return $answer['json']['fields'][$field]['owner'];
    }

    /** A person's save through WordPress's own REST, as the block editor does it. */
    protected static function personSaves(int $post, array $fields): void
    {
        $answer = self::editor()->rest('POST', "/wp/v2/posts/$post", $fields);
        self::assertSame(200, $answer['status'], $answer['body']);
    }

    protected static function suggestions(int $post): array
    {
        $answer = self::editor()->rest('GET', "/copydesk/v1/posts/$post/suggestions");
        self::assertSame(200, $answer['status'], $answer['body']);
        return $answer['json']['suggestions'];
    }

    protected static function history(int $post): array
    {
        $answer = self::editor()->rest('GET', "/copydesk/v1/posts/$post/history");
        self::assertSame(200, $answer['status'], $answer['body']);
        return $answer['json']['history'];
    }
}
