<?php

namespace Copydesk\Tests;

use function Copydesk\content_hash;

/** POST comments/{id}/apply: a comment's status with the reason, and a person's decision before ours. */
final class ReceiverCommentsTest extends ReceiverTestCase
{
    private static function comment(string $approved = '0'): int
    {
        return wp_insert_comment([
            'comment_post_ID' => self::makePost(),
            'comment_author' => 'Ann',
            'comment_content' => 'Buy "cheap" watches \\ here',
            'comment_approved' => $approved,
        ]);
    }

    private function judge(int $id, int $number, array $field = [], array $more = []): array
    {
        $field += ['value' => 'spam: Advertises "watches" \\ links'] + self::field('comment', '');
        $body = ['fields' => [$field], 'seen' => 'hold'] + self::write($number);
        return self::copydesk()->rest('POST', "/copydesk/v1/comments/$id/apply", $more + $body);
    }

    private static function outcome(array $answer): string
    {
        self::assertSame(200, $answer['status'], $answer['body']);
        return $answer['json']['fields']['comment']['outcome'];
    }

    private static function status(int $id): string
    {
        wp_cache_flush();
        return get_comment($id)->comment_approved;
    }

    public function testACommentIsJudgedOnceAndNeverSilently(): void
    {
        $id = self::comment();
        $hash = content_hash(['Ann', get_comment($id)->comment_content]);
        $first = $this->judge($id, 1, [], ['input_hash' => $hash]);
        self::assertSame('applied', self::outcome($first));
        self::assertSame(['spam', 'spam'], [$first['json']['comment_status'], self::status($id)]);
        $judgement = get_comment_meta($id, '_copydesk_moderation', true);
        self::assertSame('Advertises "watches" \\ links', $judgement['reason']);
        ob_start();
        \Copydesk\Receiver\show_judgement('copydesk', (string) $id);
        self::assertStringContainsString('Advertises &quot;watches&quot;', (string) ob_get_clean());
        self::assertSame('already', $this->judge($id, 1, [], ['input_hash' => $hash])['json']['status']);
        self::assertSame('already', self::outcome($this->judge($id, 2)));
        self::assertRefused(409, 'copydesk_stale', $this->judge($id, 1, [], ['input_hash' => $hash]));
        self::assertRefused(412, 'copydesk_changed', $this->judge($id, 3, [], ['input_hash' => str_repeat('a', 64)]));
        wp_trash_comment($id);
        self::assertRefused(410, 'copydesk_trashed', $this->judge($id, 4));
        wp_delete_comment($id, true);
        self::assertRefused(404, 'copydesk_gone', $this->judge($id, 5));
    }

    public function testAPersonsDecisionStandsAndASuggestionChangesNothing(): void
    {
        $id = self::comment();
        self::assertSame('suggested', self::outcome($this->judge($id, 1, ['mode' => 'suggest'])));
        self::assertSame('0', self::status($id));
        wp_set_comment_status($id, 'approve');
        self::assertSame('kept', self::outcome($this->judge($id, 2)));
        self::assertSame('1', self::status($id));
        self::assertSame('kept', get_comment_meta($id, '_copydesk_moderation', true)['outcome']);
        $held = $this->judge($id, 3, ['value' => 'hold: Unsure'], ['seen' => 'approved']);
        self::assertSame('applied', self::outcome($held));
        self::assertSame('0', self::status($id));
    }

    public function testAJudgementThatCannotBeIsRefused(): void
    {
        $id = self::comment();
        $bad = [
            ['value' => 'trash: x'], ['value' => 'spam'], ['value' => 'spam: <b></b>'], ['value' => ['spam: x']],
            ['value' => 'spam: ' . str_repeat('x', 321)], ['mode' => 'force'], ['field' => 'excerpt'],
        ];
        foreach ($bad as $field) {
            self::assertRefused(400, 'rest_invalid_param', $this->judge($id, 1, $field));
        }
        foreach ([['seen' => '1'], ['input_hash' => 'x'], ['fields' => []]] as $more) {
            self::assertRefused(400, 'rest_invalid_param', $this->judge($id, 1, [], $more));
        }
        self::assertSame('0', self::status($id));
        self::assertSame('', get_comment_meta($id, '_copydesk_moderation', true));
    }
}
