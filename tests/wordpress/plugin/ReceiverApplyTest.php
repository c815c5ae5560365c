<?php

namespace Copydesk\Tests;

use function Copydesk\input_hash;
use function Copydesk\table;

/** Each answer of POST posts/{id}/apply, and what it leaves behind. */
final class ReceiverApplyTest extends ReceiverTestCase
{
    public function testContentHashIsAsTheSharedVectorsSay(): void
    {
        $file = dirname(__DIR__, 3) . '/proto/fixtures/hashes.json';
        $vectors = json_decode(file_get_contents($file), true)['vectors'];
        self::assertGreaterThan(9, count($vectors));
        foreach ($vectors as $vector) {
            self::assertSame($vector['hash'], \Copydesk\content_hash($vector['parts']), $vector['name']);
        }
    }

    public function testGetTellsWhatAnEditorSees(): void
    {
        $id = self::makePost(['post_excerpt' => 'By hand', 'tags_input' => ['R & D']]);
        $answer = self::copydesk()->rest('GET', "/copydesk/v1/posts/$id")['json'];
        $texts = [$answer['title'], $answer['content'], $answer['excerpt']];
        self::assertSame(['A title', 'Some text.', 'By hand'], $texts);
        self::assertSame([['R & D'], ['Uncategorized']], [$answer['tags'], $answer['categories']]);
        self::assertSame(\Copydesk\content_hash(['A title', 'Some text.']), $answer['input_hash']);
        self::assertSame(['hash' => self::hash('By hand'), 'owner' => 'human'], $answer['fields']['excerpt']);
        self::assertSame('none', $answer['fields']['categories']['owner']);
        self::assertMatchesRegularExpression('/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/', $answer['modified_gmt']);
        self::assertArrayNotHasKey('seo_description', $answer['fields'], 'no SEO plugin is active');
    }

    public function testAWriteIsAppliedWithAllItsCharacters(): void
    {
        $id = self::makePost();
        $text = 'Größe – 日本 😀 "quoted" \\ back\\slash & more \'s';
        $write = self::write(7, [self::field('excerpt', $text)], ['input_hash' => input_hash(get_post($id))]);
        $fields = self::applied($id, $write);
        self::assertSame(['outcome' => 'applied', 'hash' => self::hash($text)], $fields['excerpt']);
        self::assertSame($text, self::stored($id)->post_excerpt);
        self::assertSame('copydesk', self::owner($id, 'excerpt'));
        $row = self::history($id)[0];
        $kept = [$row['before'], $row['after'], $row['model'], $row['prompt_version']];
        self::assertSame(['', $text, 'test-model', 3], $kept);
        self::assertNull($row['approved_by']);
    }

    public function testASecondTimeIsTheSameAnswer(): void
    {
        $id = self::makePost();
        $first = self::apply($id, self::write(7));
        $again = self::apply($id, self::write(7));
        self::assertSame('1', $again['headers']['idempotent-replay'] ?? null);
        self::assertSame(['status' => 'already'] + $first['json'], $again['json']);
        self::assertSame(1, self::countRows('writes'));
        $batch = ['writes' => [['id' => $id] + self::write(7)]];
        $result = self::copydesk()->rest('POST', '/copydesk/v1/posts/apply', $batch)['json']['results'][0];
        self::assertSame([200, 'already'], [$result['status'], $result['body']['status']], 'the same write in a batch');
    }

    public function testOlderOtherAndForeignWritesAreRefused(): void
    {
        $id = self::makePost();
        self::applied($id, self::write(7, [], ['epoch' => 2]));
        $stale = self::apply($id, self::write(6, [], ['epoch' => 2]));
        self::assertRefused(409, 'copydesk_stale', $stale);
        self::assertSame(7, $stale['json']['data']['current']);
        $fenced = self::apply($id, self::write(8, [], ['epoch' => 1]));
        self::assertRefused(409, 'copydesk_fenced', $fenced);
        self::assertSame(2, $fenced['json']['data']['current_epoch']);
        $other = self::write(7, [self::field('excerpt', 'Other')], ['epoch' => 2]);
        self::assertRefused(409, 'copydesk_conflict', self::apply($id, $other));
        self::assertSame('Summary 7', self::stored($id)->post_excerpt);
        // A newer owner counts from where it likes.
        self::applied($id, self::write(1, [], ['epoch' => 3]));
        self::assertSame('Summary 1', self::stored($id)->post_excerpt);
    }

    /** As numbers of PHP, 18446744073709551615 and …614 are the same float. */
    public function testLogsAreComparedAsNumbersOfAnyLength(): void
    {
        $id = self::makePost();
        self::applied($id, self::write(1, [], ['log' => '9']));
        self::applied($id, self::write(1, [], ['log' => '10']));
        self::assertRefused(409, 'copydesk_fenced', self::apply($id, self::write(9, [], ['log' => '9'])));
        self::applied($id, self::write(1, [], ['log' => '18446744073709551614']));
        self::applied($id, self::write(1, [], ['log' => '18446744073709551615']));
        foreach (['18446744073709551614', '9999999999999999999'] as $older) {
            self::assertRefused(409, 'copydesk_fenced', self::apply($id, self::write(9, [], ['log' => $older])));
        }
    }

    public function testAChangedPostIs412AndStaysAsItIs(): void
    {
        $id = self::makePost();
        $read = input_hash(get_post($id));
        foreach ([['title' => 'Another title'], ['content' => 'Other text.']] as $edit) {
            self::personSaves($id, $edit);
            $answer = self::apply($id, self::write(1, [], ['input_hash' => $read]));
            self::assertRefused(412, 'copydesk_changed', $answer);
            self::assertSame(input_hash(self::stored($id)), $answer['json']['data']['input_hash']);
        }
        self::assertSame(['Another title', 'Other text.', ''], [
            get_post($id)->post_title, get_post($id)->post_content, get_post($id)->post_excerpt,
        ]);
        // Made anew from the text as it now is.
        self::applied($id, self::write(1, [], ['input_hash' => input_hash(get_post($id))]));
    }

    public function testGoneAndTrashedPosts(): void
    {
        self::assertRefused(404, 'copydesk_gone', self::apply(999999, self::write(1)));
        $id = self::makePost();
        \Copydesk\muted(function () use ($id): void {
            wp_trash_post($id);
        });
        self::assertRefused(410, 'copydesk_trashed', self::apply($id, self::write(1)));
        self::assertRefused(410, 'copydesk_trashed', self::copydesk()->rest('GET', "/copydesk/v1/posts/$id"));
        self::assertSame(0, self::countRows('fence'));
    }

    public function testAPersonInTheClassicEditorIsWaitedFor(): void
    {
        $id = self::makePost();
        update_post_meta($id, '_edit_lock', time() . ':' . self::state()['users']['desk']['id']);
        self::applied($id, self::write(1)); // The block editor sends only what was changed in it.
        self::siteIs('classic');
        $answer = self::apply($id, self::write(2));
        self::assertRefused(423, 'copydesk_locked', $answer);
        self::assertGreaterThan(0, (int) $answer['headers']['retry-after']);
        self::assertSame('Summary 1', self::stored($id)->post_excerpt);
        $fields = self::applied($id, self::write(2, [self::field('excerpt', 'Only suggested', 'suggest')]));
        self::assertSame('suggested', $fields['excerpt']['outcome'], 'a suggestion writes nothing into the form');
        update_post_meta($id, '_edit_lock', (time() - 3600) . ':' . self::state()['users']['desk']['id']);
        self::applied($id, self::write(3));
    }

    public function testWhatCannotBeIsRefusedAndNothingIsWritten(): void
    {
        $id = self::makePost();
        $good = self::field('excerpt', 'Good');
        $bad = [
            'unknown field' => self::write(1, [$good, self::field('post_content', 'x')]),
            'meta key' => self::write(1, [$good, self::field('meta:', 'x')]),
            'unknown mode' => self::write(1, [$good, self::field('title', 'x', 'force')]),
            'number for text' => self::write(1, [$good, self::field('title', 7)]),
            'text for list' => self::write(1, [$good, self::field('tags', 'News')]),
            'object for list' => self::write(1, [$good, self::field('tags', ['a' => 'News'])]),
            'empty list' => self::write(1, [$good, self::field('tags', [])]),
            'list in list' => self::write(1, [$good, self::field('tags', [['News']])]),
            'too many' => self::write(1, [$good, self::field('tags', array_map('strval', range(1, 21)))]),
            'long term' => self::write(1, [$good, self::field('tags', [str_repeat('x', 61)])]),
            'long title' => self::write(1, [$good, self::field('title', str_repeat('x', 201))]),
            'long excerpt' => self::write(1, [self::field('excerpt', str_repeat('x ', 1001))]),
            'very long excerpt' => self::write(1, [self::field('excerpt', str_repeat('x', 300000))]),
            'nothing left' => self::write(1, [$good, self::field('title', '<b></b>')]),
            'twice' => self::write(1, [$good, $good]),
            'no field' => ['fields' => []] + self::write(1),
            'fields is text' => ['fields' => 'excerpt'] + self::write(1),
            'base hash' => self::write(1, [self::field('excerpt', 'x', 'apply', 'nonsense')]),
            'input hash' => self::write(1, [], ['input_hash' => strtoupper(self::hash(''))]),
            'log as number' => self::write(1, [], ['log' => 12]),
            'log of 21 digits' => self::write(1, [], ['log' => str_repeat('9', 21)]),
            'log with a zero' => self::write(1, [], ['log' => '012']),
            'log with newline' => self::write(1, [], ['log' => "12\n"]),
            'negative epoch' => self::write(1, [], ['epoch' => -1]),
            'epoch as float' => self::write(1, [], ['epoch' => 1.5]),
            'epoch past 63 bits' => self::write(1, [], ['epoch' => 18446744073709551615]),
            'delivery id' => self::write(1, [], ['delivery_id' => "a b"]),
        ];
        foreach ($bad as $what => $write) {
            $answer = self::copydesk()->rest('POST', "/copydesk/v1/posts/$id/apply", $write);
            self::assertRefused(400, 'rest_invalid_param', $answer);
            self::assertSame('', self::stored($id)->post_excerpt, $what);
        }
        $route = "/copydesk/v1/posts/$id/apply";
        $header = self::copydesk()->rest('POST', $route, self::write(1), ['X-Copydesk-Write' => '2']);
        self::assertRefused(400, 'rest_invalid_param', $header);
        self::assertSame(400, self::copydesk()->send('POST', "/wp-json/copydesk/v1/posts/$id/apply", '{"a":', [
            'Content-Type' => 'application/json',
        ])['status']);
        self::assertSame(0, self::countRows('writes') + self::countRows('suggestions') + self::countRows('fields'));
    }

    public function testABatchIsCarriedOutOneByOne(): void
    {
        $ids = [self::makePost(), self::makePost(), self::makePost()];
        $writes = [
            ['id' => $ids[0]] + self::write(1),
            ['id' => 999999] + self::write(1),
            ['id' => $ids[1]] + self::write(1, [self::field('excerpt', '')]),
            ['id' => $ids[2]] + self::write(1),
        ];
        $answer = self::copydesk()->rest('POST', '/copydesk/v1/posts/apply', ['writes' => $writes]);
        self::assertSame([200, 404, 400, 200], array_column($answer['json']['results'], 'status'));
        self::assertSame([$ids[0], 999999, $ids[1], $ids[2]], array_column($answer['json']['results'], 'id'));
        self::assertSame('Summary 1', self::stored($ids[2])->post_excerpt);
        $many = ['writes' => array_fill(0, 51, $writes[0])];
        $answer = self::copydesk()->rest('POST', '/copydesk/v1/posts/apply', $many);
        self::assertRefused(400, 'rest_invalid_param', $answer);
    }

    public function testTermsAreAddedFromThoseThatExist(): void
    {
        $id = self::makePost(['tags_input' => ['By hand']]);
        wp_insert_term('R & D', 'post_tag');
        $fields = self::applied($id, self::write(1, [self::field('tags', ['r & d', 'Unheard of ' . $id])]));
        self::assertSame('applied', $fields['tags']['outcome']);
        self::assertSame(['By hand', 'R &amp; D'], self::terms($id, 'post_tag'));
        self::assertSame('human', self::owner($id, 'tags'));
        $fields = self::applied($id, self::write(2, [self::field('tags', ['Unheard of ' . $id])]));
        self::assertSame(['kept', 'no_such_term'], [$fields['tags']['outcome'], $fields['tags']['reason']]);
        update_option('copydesk_new_terms', ['tags']);
        $fields = self::applied($id, self::write(3, [self::field('tags', ['Unheard of ' . $id])]));
        self::assertSame('applied', $fields['tags']['outcome']);
        self::assertContains('Unheard of ' . $id, self::terms($id, 'post_tag'));
    }

    public function testTheDefaultCategoryMakesRoom(): void
    {
        $id = self::makePost();
        wp_insert_term('Politics', 'category');
        $fields = self::applied($id, self::write(1, [self::field('categories', ['Politics'], 'apply_if_empty')]));
        self::assertSame('applied', $fields['categories']['outcome']);
        self::assertSame(['Politics'], self::terms($id, 'category'));
        self::assertSame('copydesk', self::owner($id, 'categories'));
    }

    public function testMetaOnlyUnderTheKeysThatTheSiteAllows(): void
    {
        $id = self::makePost();
        $write = [
            self::field('meta:summary_de', 'Kurz'),
            self::field('meta:_edit_lock', 'x'),
            self::field('seo_description', 'Short'),
        ];
        $fields = self::applied($id, self::write(1, $write));
        self::assertSame(['no_such_field'], array_values(array_unique(array_column($fields, 'reason'))));
        update_option('copydesk_meta_keys', ['summary_de', '_edit_lock']);
        self::siteIs('seo');
        $fields = self::applied($id, self::write(2, $write));
        self::assertSame(['applied', 'kept', 'applied'], array_column($fields, 'outcome'));
        self::stored($id);
        self::assertSame('Kurz', get_post_meta($id, 'summary_de', true));
        self::assertSame('Short', get_post_meta($id, '_yoast_wpseo_metadesc', true));
        self::assertSame('copydesk', self::owner($id, 'seo_description'));
    }

    /** An update saves all columns, and Copydesk's user may write no HTML: the person's must come through untouched. */
    public function testContentOfThePersonIsNotTouched(): void
    {
        $content = "<!-- wp:html -->\n<script>1 && 2</script><iframe src=\"https://video.example/\"></iframe>\n"
            . '<!-- /wp:html --> \\d';
        wp_set_current_user(self::state()['users']['admin']['id']);
        $id = self::makePost(['post_content' => $content, 'post_title' => 'A <em>title</em> & "more"']);
        $before = get_post($id);
        self::siteIs('filter'); // Another plugin that changes content at every save.
        self::applied($id, self::write(1));
        $after = self::stored($id);
        self::assertSame('Summary 1', $after->post_excerpt);
        self::assertSame([$before->post_title, $content], [$after->post_title, $after->post_content]);
        $others = ['post_status', 'post_author', 'post_date', 'post_date_gmt', 'post_name', 'comment_status'];
        foreach ($others as $column) {
            self::assertSame($before->$column, $after->$column, $column);
        }
    }

    public function testAFatalErrorInAHookLeavesNothingBehind(): void
    {
        $id = self::makePost();
        self::siteIs('fatal');
        self::assertSame(500, self::apply($id, self::write(1))['status']);
        self::assertSame('', self::stored($id)->post_excerpt);
        self::assertSame(0, self::countRows('writes') + self::countRows('fields'));
        self::siteIs();
        self::applied($id, self::write(1));
        self::assertSame('Summary 1', self::stored($id)->post_excerpt);
    }

    public function testOurOwnWriteIsNoEvent(): void
    {
        update_option('copydesk_settings', ['endpoint' => 'http://127.0.0.1:9/']);
        $id = self::makePost();
        wp_insert_term('Sport', 'post_tag');
        self::applied($id, self::write(1, [self::field('excerpt', 'Short'), self::field('tags', ['Sport'])]));
        self::assertSame(0, self::countRows('outbox'));
        self::personSaves($id, ['content' => 'New words.']);
        self::assertGreaterThan(0, self::countRows('outbox'), 'a person\'s save is one, or this test sees nothing');
    }

    public function testStatusesTellHowAnEventEnded(): void
    {
        $id = self::makePost();
        $send = function (int $sequence, string $state, string $cause) use ($id): int {
            $answer = self::copydesk()->rest('POST', '/copydesk/v1/posts/statuses', ['statuses' => [
                ['id' => $id, 'sequence' => $sequence, 'state' => $state, 'cause' => $cause, 'at' => 1795420800000],
                ['id' => 999999, 'sequence' => 1, 'state' => 'kept', 'cause' => '', 'at' => 1795420800000],
            ]]);
            self::assertSame(200, $answer['status'], $answer['body']);
            return $answer['json']['taken'];
        };
        self::assertSame(1, $send(2, 'failed', 'The AI service <b>refuses</b> the key.'));
        self::assertSame(0, $send(1, 'unchanged', ''), 'an older event');
        global $wpdb;
        $row = $wpdb->get_row('SELECT * FROM ' . table('statuses'), ARRAY_A);
        self::assertSame(['failed', 'The AI service refuses the key.'], [$row['state'], $row['cause']]);
        self::applied($id, self::write(3));
        self::assertSame('enriched', $wpdb->get_var('SELECT state FROM ' . table('statuses')));
        $unknown = ['statuses' => [['id' => $id, 'sequence' => 4, 'state' => 'nonsense', 'cause' => '', 'at' => 1]]];
        $answer = self::copydesk()->rest('POST', '/copydesk/v1/posts/statuses', $unknown);
        self::assertRefused(400, 'rest_invalid_param', $answer);
    }
}
