<?php

namespace Copydesk\Tests;

use function Copydesk\table;

/** Who may call what: every route of the receiver, every role. */
final class ReceiverRolesTest extends ReceiverTestCase
{
    private const ROLES = [
        'nobody', 'subscriber', 'contributor', 'author', 'owner', 'editor', 'administrator', 'copydesk',
    ];

    // "owner" is the post's own author, "author" another one. 401 is for those who are not logged in.
    private const MATRIX = [
        //                                    nobody sub. contr. author owner editor admin copydesk
        'GET /posts/(?P<id>\d{1,18})' =>              [401, 403, 403, 403, 403, 403, 403, 200],
        'POST /posts/(?P<id>\d{1,18})/apply' =>       [401, 403, 403, 403, 403, 403, 403, 200],
        'POST /posts/apply' =>                        [401, 403, 403, 403, 403, 403, 403, 200],
        'POST /posts/statuses' =>                     [401, 403, 403, 403, 403, 403, 403, 200],
        'POST /events' =>                             [401, 403, 403, 403, 403, 403, 403, 200],
        'POST /comments/(?P<id>\d{1,18})/apply' =>    [401, 403, 403, 403, 403, 403, 403, 200],
        'GET /posts/(?P<id>\d{1,18})/suggestions' =>  [401, 403, 403, 403, 200, 200, 200, 403],
        'GET /posts/(?P<id>\d{1,18})/history' =>      [401, 403, 403, 403, 200, 200, 200, 403],
        'POST /suggestions/(?P<id>\d{1,18})' =>       [401, 403, 403, 403, 200, 200, 200, 403],
        'POST /undo' =>                               [401, 403, 403, 403, 200, 200, 200, 403],
    ];

    /** @var int */
    private $number = 0;

    private static function http(string $role): Http
    {
        $logins = [
            'subscriber' => 'reader',
            'contributor' => 'intern',
            'owner' => 'writer',
            'editor' => 'desk',
            'administrator' => 'admin',
        ];
        if ($role === 'nobody') {
            return Http::anonymous();
        }
        if ($role === 'copydesk') {
            return self::copydesk();
        }
        return $role === 'author' ? self::user('scribe', 'author') : Http::program($logins[$role]);
    }

    public function testEveryRouteOfTheReceiverIsInTheMatrix(): void
    {
        $ours = [];
        foreach (rest_get_server()->get_routes('copydesk/v1') as $path => $handlers) {
            foreach ($handlers as $handler) {
                $function = is_array($handler['callback']) ? null : new \ReflectionFunction($handler['callback']);
                if ($function && strpos($function->getFileName(), '/includes/receiver/') !== false) {
                    self::assertIsCallable($handler['permission_callback'], $path);
                    $ours[] = key($handler['methods']) . ' ' . substr($path, strlen('/copydesk/v1'));
                }
            }
        }
        sort($ours);
        $known = array_keys(self::MATRIX);
        sort($known);
        self::assertSame($known, $ours);
    }

    public function testEachRoleAtEachRoute(): void
    {
        $id = self::makePost();
        $seen = [];
        foreach (self::MATRIX as $route => $expected) {
            foreach (self::ROLES as $role) {
                [$method, $path] = explode(' ', $route, 2);
                [$path, $body] = $this->request($path, $id);
                $seen[$route][] = self::http($role)->rest($method, "/copydesk/v1$path", $body)['status'];
            }
        }
        self::assertSame(self::MATRIX, $seen);
    }

    /** An address and a body with which one who may call the route gets a 200. */
    private function request(string $path, int $id): array
    {
        $this->number++;
        $write = self::write($this->number, [self::field('excerpt', "Words $this->number")]);
        switch ($path) {
            case '/posts/(?P<id>\d{1,18})/apply':
                return ["/posts/$id/apply", $write];
            case '/posts/apply':
                return [$path, ['writes' => [['id' => $id] + $write]]];
            case '/posts/statuses':
                $status = ['id' => $id, 'sequence' => 1, 'state' => 'kept', 'cause' => '', 'at' => 1];
                return [$path, ['statuses' => [$status]]];
            case '/events':
                $event = ['source' => 'a', 'external_id' => 'b', 'status' => '', 'summary' => ''];
                return [$path, $event + $write];
            case '/comments/(?P<id>\d{1,18})/apply':
                $comment = wp_insert_comment(['comment_post_ID' => $id, 'comment_content' => 'x']);
                $fields = [self::field('comment', 'hold: a test', 'suggest')];
                return ["/comments/$comment/apply", ['fields' => $fields] + $write];
            case '/suggestions/(?P<id>\d{1,18})':
                self::applied($id, ['fields' => [self::field('title', "Title $this->number")]] + $write);
                return ['/suggestions/' . $this->newest('suggestions'), ['action' => 'dismiss']];
            case '/undo':
                self::applied($id, ['fields' => [self::field('meta:note', "Note $this->number")]] + $write);
                return [$path, ['writes' => [$this->newest('writes')]]];
        }
        return [str_replace('(?P<id>\d{1,18})', (string) $id, $path), null];
    }

    private function newest(string $table): int
    {
        global $wpdb;
        return (int) $wpdb->get_var('SELECT MAX(id) FROM ' . table($table));
    }

    protected function setUp(): void
    {
        parent::setUp();
        update_option('copydesk_meta_keys', ['note']);
    }

    /** The role's rights end where our routes end. */
    public function testCopydesksUserCanDoNothingElse(): void
    {
        $id = self::makePost();
        $robot = self::copydesk();
        self::assertSame(403, $robot->rest('POST', "/wp/v2/posts/$id", ['excerpt' => 'x'])['status']);
        self::assertSame(403, $robot->rest('POST', '/wp/v2/posts', ['title' => 'x'])['status']);
        self::assertSame(403, $robot->rest('DELETE', "/wp/v2/posts/$id")['status']);
        self::assertSame(403, $robot->rest('POST', '/wp/v2/tags', ['name' => 'x'])['status']);
        self::assertSame(403, $robot->rest('GET', "/wp/v2/posts/$id?context=edit")['status']);
        self::assertSame(['copydesk_write', 'read'], $this->capabilities('copydesk'));
        foreach (['administrator', 'editor', 'author'] as $role) {
            self::assertNotContains('copydesk_write', $this->capabilities($role));
        }
    }

    /** @return string[] */
    private function capabilities(string $role): array
    {
        $capabilities = array_keys(array_filter(get_role($role)->capabilities));
        sort($capabilities);
        return $capabilities;
    }

    public function testOnlyPostsOfTheChosenTypes(): void
    {
        $page = self::makePost(['post_type' => 'page']);
        self::assertSame(403, self::apply($page, self::write(1))['status']);
        self::assertSame(403, self::copydesk()->rest('GET', "/copydesk/v1/posts/$page")['status']);
        $writes = ['writes' => [['id' => $page] + self::write(1)]];
        $batch = self::copydesk()->rest('POST', '/copydesk/v1/posts/apply', $writes);
        self::assertSame(403, $batch['json']['results'][0]['status']);
        self::assertSame('', self::stored($page)->post_excerpt);
        $draft = self::makePost(['post_status' => 'draft']);
        self::applied($draft, self::write(1));
    }

    /** A browser with a cookie alone, without the nonce of its page, is nobody. */
    public function testACookieWithoutANonceIsNotEnough(): void
    {
        $id = self::makePost();
        $browser = Http::browser('desk');
        self::assertSame(401, $browser->rest('GET', "/copydesk/v1/posts/$id/history")['status']);
        $page = $browser->get("/wp-admin/post.php?post=$id&action=edit")['body'];
        $nonce = Http::find('/createNonceMiddleware\(\s*"([0-9a-f]+)"/', $page);
        $answer = $browser->rest('GET', "/copydesk/v1/posts/$id/history", null, ['X-WP-Nonce' => $nonce]);
        self::assertSame(200, $answer['status'], $answer['body']);
    }
}
