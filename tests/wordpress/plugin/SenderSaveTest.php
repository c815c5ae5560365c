<?php

namespace Copydesk\Tests;

use function Copydesk\muted;

/** Each way of saving gives exactly one event, on the last state. */
final class SenderSaveTest extends SenderTestCase
{
    public function testRestPublishUpdateAndUnchanged(): void
    {
        $desk = Http::program('desk');
        $answer = $desk->rest('POST', '/wp/v2/posts', [
            'title' => 'From a "program" \\ é 日本 😀',
            'content' => "<p>One</p>\n<p>Two</p>",
            'excerpt' => 'Short',
            'status' => 'publish',
            'tags' => [self::tag('Harbour')],
        ]);
        self::assertSame(201, $answer['status'], $answer['body']);
        $id = $answer['json']['id'];
        $event = $this->oneEvent($id, 'post.published');
        self::assertSame('From a "program" \\ é 日本 😀', $event['title']);
        self::assertSame("<p>One</p>\n<p>Two</p>", $event['content']);
        self::assertSame('Short', $event['excerpt']);
        self::assertSame(['Harbour'], $event['tags']);
        self::assertSame(['Uncategorized'], $event['categories']);
        self::assertSame('post', $event['type']);
        self::assertSame('publish', $event['status']);
        self::assertSame('en-US', $event['language']);
        self::assertSame(self::state()['url'], $event['site']);
        self::assertSame($answer['json']['link'], $event['url']);
        self::assertSame(self::state()['users']['desk']['id'], $event['author']);
        self::assertSame($answer['json']['modified_gmt'] . 'Z', $event['modified_gmt']);
        self::assertSame(1, $event['sequence']);

        $desk->rest('POST', "/wp/v2/posts/$id", ['title' => 'Changed']);
        self::assertSame(2, $this->oneEvent($id, 'post.updated')['sequence']);

        $desk->rest('POST', "/wp/v2/posts/$id", ['title' => 'Changed']);
        $desk->rest('POST', "/wp/v2/posts/$id", []);
        $desk->rest('POST', "/wp/v2/posts/$id", ['excerpt' => 'What Copydesk writes is no change']);
        $this->noEvent();
    }

    public function testDraftsAndAutosavesAreNoEvents(): void
    {
        $desk = Http::program('desk');
        $id = $desk->rest('POST', '/wp/v2/posts', ['title' => 'A draft', 'status' => 'draft'])['json']['id'];
        $desk->rest('POST', "/wp/v2/posts/$id", ['content' => 'more']);
        $desk->rest('POST', "/wp/v2/posts/$id/autosaves", ['content' => 'and more']);
        $this->noEvent();

        $desk->rest('POST', "/wp/v2/posts/$id", ['status' => 'publish']);
        self::assertSame('A draft', $this->oneEvent($id, 'post.published')['title']);
        $answer = $desk->rest('POST', "/wp/v2/posts/$id/autosaves", ['title' => 'typing', 'content' => 'and more']);
        self::assertSame(200, $answer['status'], $answer['body']);
        $this->noEvent();
    }

    public function testStatusChanges(): void
    {
        $desk = Http::program('desk');
        $id = $desk->rest('POST', '/wp/v2/posts', ['title' => 'A', 'status' => 'publish'])['json']['id'];
        $this->oneEvent($id, 'post.published');
        $desk->rest('POST', "/wp/v2/posts/$id", ['status' => 'draft']);
        self::assertSame('draft', $this->oneEvent($id, 'post.unpublished')['status']);
        $desk->rest('POST', "/wp/v2/posts/$id", ['status' => 'publish']);
        $this->oneEvent($id, 'post.published');

        $desk->rest('DELETE', "/wp/v2/posts/$id");
        self::assertSame('trash', $this->oneEvent($id, 'post.trashed')['status']);
        $browser = Http::browser('desk');
        $list = $browser->get('/wp-admin/edit.php?post_status=trash&post_type=post');
        $untrash = Http::find('/href="([^"]*post=' . $id . '&amp;action=untrash[^"]*)"/', $list['body']);
        self::assertSame(302, $browser->get(self::path($untrash))['status']);
        self::assertSame('draft', $this->oneEvent($id, 'post.untrashed')['status']);

        $desk->rest('DELETE', "/wp/v2/posts/$id?force=true");
        $event = $this->oneEvent($id, 'post.deleted');
        self::assertArrayNotHasKey('content', $event);
        self::assertSame(6, $event['sequence']);
    }

    public function testClassicEditor(): void
    {
        $browser = Http::browser('desk');
        $page = $browser->get('/wp-admin/post-new.php?classic-editor')['body'];
        $this->noEvent();
        $id = (int) Http::find('/name=["\']post_ID["\'] value=["\'](\d+)["\']/', $page);
        $form = [
            'action' => 'editpost',
            'post_ID' => $id,
            'post_type' => 'post',
            '_wpnonce' => Http::find('/name="_wpnonce" value="([^"]+)"/', $page),
            'post_title' => 'Classic',
            'content' => 'Typed',
            'original_post_status' => 'auto-draft',
            'tax_input' => ['post_tag' => 'Quay'],
            'publish' => 'Publish',
        ];
        self::assertSame(302, $browser->post('/wp-admin/post.php', $form)['status']);
        self::assertSame(['Quay'], $this->oneEvent($id, 'post.published')['tags']);

        $page = $browser->get("/wp-admin/post.php?post=$id&action=edit&classic-editor")['body'];
        $form['_wpnonce'] = Http::find('/name="_wpnonce" value="([^"]+)"/', $page);
        $form = ['content' => 'Typed again', 'original_post_status' => 'publish', 'post_status' => 'publish'] + $form;
        unset($form['publish']);
        $form['save'] = 'Update';
        self::assertSame(302, $browser->post('/wp-admin/post.php', $form)['status']);
        self::assertSame('Typed again', $this->oneEvent($id, 'post.updated')['content']);
        $browser->post('/wp-admin/post.php', $form);
        $this->noEvent();
    }

    /** A screen with one classic meta box: the block editor sends the post by REST, then the form. */
    public function testMetaBoxesOfTheBlockEditorDoubleNothing(): void
    {
        $browser = Http::browser('desk');
        $id = self::makePost();
        $page = $browser->get("/wp-admin/post.php?post=$id&action=edit")['body'];
        $nonce = Http::find('/createNonceMiddleware\(\s*"([^"]+)"/', $page);
        $answer = $browser->rest('POST', "/wp/v2/posts/$id", ['content' => 'By blocks'], ['X-WP-Nonce' => $nonce]);
        self::assertSame(200, $answer['status'], $answer['body']);
        $url = json_decode(Http::find('/_wpMetaBoxUrl = ("[^;]+");/', $page));
        self::assertStringContainsString('meta-box-loader=1', $url);
        $answer = $browser->post(self::path($url), [
            'action' => 'editpost',
            'post_ID' => $id,
            'post_type' => 'post',
            '_wpnonce' => Http::find('/metabox-base-form.*?name="_wpnonce" value="([^"]+)"/s', $page),
            'original_post_status' => 'publish',
        ]);
        self::assertSame(302, $answer['status']);
        self::assertSame('By blocks', $this->oneEvent($id, 'post.updated')['content']);
        $this->noEvent();
    }

    public function testQuickEditAndBulkEdit(): void
    {
        $browser = Http::browser('desk');
        $ids = [self::makePost(), self::makePost(['post_title' => 'Another'])];
        $list = $browser->get('/wp-admin/edit.php')['body'];
        $answer = $browser->post('/wp-admin/admin-ajax.php', [
            'action' => 'inline-save',
            '_inline_edit' => Http::find('/id="_inline_edit" name="_inline_edit" value="([^"]+)"/', $list),
            'post_ID' => $ids[0],
            'post_type' => 'post',
            'post_title' => 'Quick',
            'post_name' => 'quick',
            'post_author' => self::state()['users']['writer']['id'],
            'post_view' => 'list',
            '_status' => 'publish',
            'comment_status' => 'open',
        ]);
        self::assertStringContainsString('Quick', $answer['body']);
        self::assertSame('Quick', $this->oneEvent($ids[0], 'post.updated')['title']);

        $query = http_build_query([
            'post_type' => 'post',
            'bulk_edit' => 'Update',
            'action' => 'edit',
            'post' => $ids,
            '_status' => 'private',
            '_wpnonce' => Http::find('/id="_wpnonce" name="_wpnonce" value="([^"]+)"/', $list),
        ]);
        self::assertSame(302, $browser->get("/wp-admin/edit.php?$query")['status']);
        $events = $this->events(2);
        self::assertSame(['post.unpublished', 'post.unpublished'], array_column($events, 'event'));
        self::assertEqualsCanonicalizing($ids, array_column($events, 'post_id'));
        $this->noEvent();
    }

    public function testScheduledPostIsAnEventWhenItsTimeComes(): void
    {
        $desk = Http::program('desk');
        $id = $desk->rest('POST', '/wp/v2/posts', [
            'title' => 'Tomorrow',
            'status' => 'publish',
            'date_gmt' => gmdate('Y-m-d\TH:i:s', time() + 86400),
        ])['json']['id'];
        $this->noEvent();
        // The clock is not ours to turn: the post's date and its cron event are.
        global $wpdb;
        $past = ['post_date' => '2020-01-01 00:00:00', 'post_date_gmt' => '2020-01-01 00:00:00'];
        $wpdb->update($wpdb->posts, $past, ['ID' => $id]);
        wp_cache_flush();
        wp_clear_scheduled_hook('publish_future_post', [$id]);
        wp_schedule_single_event(time() - 1, 'publish_future_post', [$id]);
        delete_transient('doing_cron');
        Http::anonymous()->get('/wp-cron.php?doing_wp_cron');
        self::assertSame('publish', $this->oneEvent($id, 'post.published')['status']);
        $this->noEvent();
    }

    public function testPhpXmlRpcAndOtherPlugins(): void
    {
        $id = wp_insert_post(['post_title' => 'By PHP', 'post_status' => 'publish', 'post_content' => 'x']);
        $this->drained();
        $this->oneEvent($id, 'post.published');

        // A plugin that saves the post again while it is being saved.
        $again = function (int $saved) use ($id, &$again): void {
            // Old versions save the revision first.
            if ($saved === $id) {
                remove_action('save_post', $again);
                wp_update_post(['ID' => $id, 'post_content' => 'by the other plugin']);
            }
        };
        add_action('save_post', $again);
        wp_update_post(['ID' => $id, 'post_content' => 'by the editor']);
        $this->drained();
        self::assertSame('by the other plugin', $this->oneEvent($id, 'post.updated')['content']);

        $password = self::state()['users']['desk']['password'];
        $parameters = '';
        foreach (['1', 'desk', $password, (string) $id] as $value) {
            $parameters .= "<param><value><string>$value</string></value></param>";
        }
        $parameters .= '<param><value><struct><member><name>post_title</name><value><string>By XML-RPC</string></value>'
            . '</member></struct></value></param>';
        $call = "<methodCall><methodName>wp.editPost</methodName><params>$parameters</params></methodCall>";
        $answer = Http::anonymous()->send('POST', '/xmlrpc.php', $call, ['Content-Type' => 'text/xml']);
        self::assertStringContainsString('<boolean>1</boolean>', $answer['body']);
        self::assertSame('By XML-RPC', $this->oneEvent($id, 'post.updated')['title']);
    }

    public function testOwnWritesAreNoEvents(): void
    {
        $id = self::makePost();
        muted(function () use ($id): void {
            wp_update_post(['ID' => $id, 'post_excerpt' => 'ours', 'post_title' => 'An accepted title']);
            wp_trash_post($id);
        });
        self::assertSame([], $this->outbox());
    }

    public function testOtherTypesAndStatusesAreChosen(): void
    {
        self::settings(['post_types' => ['page'], 'statuses' => ['publish', 'private']]);
        wp_insert_post(['post_title' => 'A post', 'post_status' => 'publish']);
        self::assertSame([], $this->outbox());
        $id = wp_insert_post(['post_title' => 'A page', 'post_status' => 'private', 'post_type' => 'page']);
        $this->drained();
        self::assertSame('page', $this->oneEvent($id, 'post.published')['type']);
        wp_update_post(['ID' => $id, 'post_status' => 'publish']);
        $this->drained();
        $this->oneEvent($id, 'post.updated');
    }

    public function testChosenInputsCountAsChange(): void
    {
        $id = self::makePost();
        wp_update_post(['ID' => $id, 'post_title' => 'First']);
        wp_update_post(['ID' => $id, 'post_name' => 'another-slug']);
        self::assertCount(1, $this->outbox());
        self::settings(['inputs' => ['url']]);
        wp_update_post(['ID' => $id, 'post_name' => 'a-third-slug']);
        self::assertCount(2, $this->outbox());
    }

    public function testCommentsAreEventsOnRequest(): void
    {
        $id = self::makePost();
        $comment = ['comment_post_ID' => $id, 'comment_author' => 'Ann', 'comment_content' => 'Well said'];
        wp_insert_comment($comment + ['comment_approved' => 0]);
        self::assertSame([], $this->outbox());

        self::settings(['comments' => true]);
        $spam = wp_insert_comment($comment + ['comment_approved' => 'spam']);
        self::assertSame([], $this->outbox());
        $new = wp_insert_comment($comment + ['comment_approved' => 0]);
        $this->drained();
        $event = $this->oneEvent($id, 'comment.created');
        $seen = ['id' => $new, 'status' => 'hold', 'author_name' => 'Ann', 'content' => 'Well said', 'parent' => 0];
        self::assertSame($seen, $event['comment']);
        self::assertArrayNotHasKey('content', $event);

        $answer = Http::program('desk')->rest('POST', "/wp/v2/comments/$new", ['status' => 'approved']);
        self::assertSame(200, $answer['status']);
        self::assertSame('approved', $this->oneEvent($id, 'comment.updated')['comment']['status']);
        wp_cache_flush();
        wp_set_comment_status($spam, 'approve');
        $this->drained();
        $this->oneEvent($id, 'comment.created');
        wp_delete_comment($new, true);
        $this->drained();
        self::assertSame('delete', $this->oneEvent($id, 'comment.updated')['comment']['status']);
        // The comments of a post go with it.
        wp_delete_post($id, true);
        $this->drained();
        self::assertSame(5, $this->oneEvent($id, 'post.deleted')['sequence']);
    }

    /** A fatal error of another plugin, in the middle of a save. */
    public function testSaveThatDiesIsFoundByTheSweeper(): void
    {
        global $wpdb;
        $id = self::makePost(['post_title' => 'Before']);
        $dies = function (): void {
            throw new \Error('a fault of another plugin');
        };
        add_action('save_post', $dies);
        try {
            wp_update_post(['ID' => $id, 'post_title' => 'Stored all the same']);
            self::fail('the other plugin did not die');
        } catch (\Error $e) {
            remove_action('save_post', $dies);
        }
        \Copydesk\Sender\Saves::$begun = [];
        self::assertSame(['open'], array_column($this->outbox(), 'state'));
        \Copydesk\Sender\sweep();
        self::assertSame(['open'], array_column($this->outbox(), 'state'), 'it may still be going on');
        $wpdb->query('UPDATE ' . \Copydesk\table('outbox') . ' SET saved_at = saved_at - 31000');
        $this->drained();
        self::assertSame('Stored all the same', $this->oneEvent($id, 'post.updated')['title']);
        self::assertSame(['sent'], array_column($this->outbox(), 'state'));
    }

    /** The sweeper was faster than a save that took very long: the save's own row is a second one. */
    public function testSlowSaveAfterTheSweeper(): void
    {
        global $wpdb;
        $id = self::makePost();
        $slow = function () use ($wpdb, $id): void {
            $wpdb->query('UPDATE ' . \Copydesk\table('outbox') . ' SET saved_at = saved_at - 31000');
            \Copydesk\Sender\sweep();
            $wpdb->update($wpdb->posts, ['post_content' => 'changed last'], ['ID' => $id]);
            clean_post_cache($id);
        };
        add_action('save_post', $slow);
        wp_update_post(['ID' => $id, 'post_title' => 'Slow']);
        remove_action('save_post', $slow);
        $this->drained();
        self::assertSame([1, 2], array_column($this->events(2), 'sequence'));
    }

    public function testSequencesHaveNoGapsAndNoDoublesWhenSavesRace(): void
    {
        $ids = [self::makePost(), self::makePost()];
        self::settings(['endpoint' => '']);
        $code = 'foreach (range(1, 10) as $i) { foreach ($args as $id) {
            wp_update_post(["ID" => $id, "post_content" => getmypid() . " $i"]); } }';
        self::inParallel(4, $code, $ids);
        wp_cache_flush();
        foreach ($ids as $id) {
            $rows = array_column($this->outbox($id), 'body', 'sequence');
            ksort($rows);
            // Saves at the same moment may be one event: each is about the state that it finds.
            self::assertGreaterThanOrEqual(10, count($rows));
            self::assertSame(range(1, count($rows)), array_keys($rows));
            self::assertSame(get_post($id)->post_content, json_decode(end($rows), true)['content']);
        }
    }

    public function testTooLongTextsAreLeftOut(): void
    {
        $id = wp_insert_post(wp_slash([
            'post_title' => 'Long',
            'post_content' => str_repeat('word ', 60000),
            'post_status' => 'publish',
        ]));
        $this->drained();
        $event = $this->oneEvent($id, 'post.published');
        self::assertArrayNotHasKey('content', $event);
        self::assertSame('Long', $event['title']);
        $body = \Copydesk\Sender\encode(['content' => str_repeat('日', 43600), 'title' => 'x']);
        self::assertLessThanOrEqual(262144, strlen($body));
        self::assertArrayHasKey('content', json_decode($body, true));

        // A title that Copydesk does not take keeps the content back too, or both would be hashed without it.
        wp_update_post(['ID' => $id, 'post_title' => str_repeat('é', 1001), 'post_content' => 'short']);
        $this->drained();
        $event = $this->oneEvent($id, 'post.updated');
        self::assertArrayNotHasKey('title', $event);
        self::assertArrayNotHasKey('content', $event);
    }

    /** scripts/wordpress/bench has the times; what they are made of is counted here. */
    public function testASaveCostsFewQueries(): void
    {
        global $wpdb;
        $id = wp_insert_post(['post_title' => 'Counted', 'post_status' => 'publish']);
        $ours = [];
        $watch = function (string $sql) use (&$ours): string {
            if (strpos($sql, $GLOBALS['wpdb']->prefix . 'copydesk_') !== false) {
                $ours[] = $sql;
            }
            return $sql;
        };
        add_filter('query', $watch);
        wp_update_post(['ID' => $id, 'post_title' => 'Counted again']);
        remove_filter('query', $watch);
        self::assertSame(['INSERT', 'SELECT', 'SELECT', 'UPDATE'], array_map(function (string $sql): string {
            return strtok($sql, ' ');
        }, $ours), implode("\n", $ours));
    }
}
