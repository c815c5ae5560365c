<?php

namespace Copydesk\Tests;

use function Copydesk\table;

/** Suggestions, history and undo, as an editor uses them. */
final class ReceiverPeopleTest extends ReceiverTestCase
{
    private function decide(int $suggestion, array $body): array
    {
        return self::editor()->rest('POST', "/copydesk/v1/suggestions/$suggestion", $body);
    }

    private function undo(array $body): array
    {
        $answer = self::editor()->rest('POST', '/copydesk/v1/undo', $body);
        self::assertSame(200, $answer['status'], $answer['body']);
        return $answer['json'];
    }

    public function testAnAcceptedSuggestionIsOursAgainAndSaysWhoApproved(): void
    {
        $id = self::makePost(['post_excerpt' => 'By hand']);
        self::applied($id, self::write(1));
        $suggestion = self::suggestions($id)[0];
        self::assertSame(['excerpt', 'Summary 1', 'By hand', 'human_owned', 'test-model', 3], [
            $suggestion['field'], $suggestion['value'], $suggestion['current'], $suggestion['reason'],
            $suggestion['model'], $suggestion['prompt_version'],
        ]);
        $answer = $this->decide($suggestion['id'], ['action' => 'accept']);
        self::assertSame('accepted', $answer['json']['status']);
        self::assertSame('Summary 1', $answer['json']['fields']['excerpt']['value']);
        self::assertSame('Summary 1', self::stored($id)->post_excerpt);
        self::assertSame('copydesk', self::owner($id, 'excerpt'));
        self::assertSame([], self::suggestions($id));
        $row = self::history($id)[0];
        $kept = [$row['before'], $row['after'], $row['approved_by'], $row['can_undo']];
        self::assertSame(['By hand', 'Summary 1', 'Chief', true], $kept);
        self::assertRefused(409, 'copydesk_decided', $this->decide($suggestion['id'], ['action' => 'accept']));
        self::assertSame(1, self::countRows('writes'));
        // The next write may change what an editor has approved.
        self::applied($id, self::write(2));
        self::assertSame('Summary 2', self::stored($id)->post_excerpt);
    }

    public function testAnEditedSuggestionIsThePersonsWords(): void
    {
        $id = self::makePost();
        self::applied($id, self::write(1, [self::field('excerpt', 'Nearly right', 'suggest')]));
        $suggestion = self::suggestions($id)[0]['id'];
        $bad = $this->decide($suggestion, ['action' => 'accept', 'value' => '&lt;script&gt;alert(1)&lt;/script&gt;']);
        self::assertRefused(400, 'rest_invalid_param', $bad);
        $this->decide($suggestion, ['action' => 'accept', 'value' => 'Exactly <b>right</b>']);
        self::assertSame('Exactly right', self::stored($id)->post_excerpt);
        self::assertSame('human', self::owner($id, 'excerpt'));
    }

    public function testADismissedSuggestionIsNotMadeAgain(): void
    {
        $id = self::makePost();
        self::applied($id, self::write(1, [self::field('excerpt', 'No thanks', 'suggest')]));
        $answer = $this->decide(self::suggestions($id)[0]['id'], ['action' => 'dismiss']);
        self::assertSame('dismissed', $answer['json']['status']);
        $fields = self::applied($id, self::write(2, [self::field('excerpt', 'No thanks', 'suggest')]));
        self::assertSame(['kept', 'dismissed'], [$fields['excerpt']['outcome'], $fields['excerpt']['reason']]);
        self::assertSame('', self::stored($id)->post_excerpt);
        $fields = self::applied($id, self::write(3, [self::field('excerpt', 'Another', 'suggest')]));
        self::assertSame('suggested', $fields['excerpt']['outcome']);
    }

    public function testANewerSuggestionTakesTheOlderOnesPlace(): void
    {
        $id = self::makePost();
        self::applied($id, self::write(1, [self::field('title', 'First', 'suggest')]));
        self::applied($id, self::write(2, [self::field('title', 'Second', 'suggest')]));
        self::assertSame(['Second'], array_column(self::suggestions($id), 'value'));
        $this->decide(self::suggestions($id)[0]['id'], ['action' => 'accept']);
        self::assertSame('Second', self::stored($id)->post_title);
        self::assertSame(1, self::countRows('outbox'), 'a title is what an enrichment reads: its change is an event');
        $this->undo(['writes' => [self::history($id)[0]['id']]]);
        self::assertSame('A title', self::stored($id)->post_title);
        self::assertSame(2, self::countRows('outbox'));
    }

    public function testTermsAreAcceptedAndUndone(): void
    {
        wp_insert_term('Harbour', 'post_tag');
        $id = self::makePost(['tags_input' => ['By hand']]);
        self::applied($id, self::write(1, [self::field('tags', ['Harbour'], 'suggest')]));
        $this->decide(self::suggestions($id)[0]['id'], ['action' => 'accept']);
        self::assertSame(['By hand', 'Harbour'], self::terms($id, 'post_tag'));
        $row = self::history($id)[0];
        self::assertSame([['By hand'], ['By hand', 'Harbour']], [$row['before'], $row['after']]);
        self::assertSame(1, $this->undo(['writes' => [$row['id']]])['undone']);
        self::assertSame(['By hand'], self::terms($id, 'post_tag'));
        $fields = self::applied($id, self::write(2, [self::field('tags', ['Harbour'])]));
        self::assertSame('kept', $fields['tags']['outcome'], 'the person has said no');
    }

    public function testAnUndoneWriteStaysUndone(): void
    {
        $id = self::makePost();
        self::applied($id, self::write(1));
        $row = self::history($id)[0]['id'];
        $answer = $this->undo(['writes' => [$row]]);
        self::assertSame([1, 0], [$answer['undone'], $answer['kept']]);
        self::assertSame('', $answer['fields']['excerpt']['value']);
        self::assertSame('', self::stored($id)->post_excerpt);
        self::assertSame('Chief', self::history($id)[0]['undone_by']);
        self::assertSame('already_undone', $this->undo(['writes' => [$row]])['results'][0]['reason']);
        $fields = self::applied($id, self::write(2));
        self::assertSame(['suggested', 'human_owned'], [$fields['excerpt']['outcome'], $fields['excerpt']['reason']]);
        self::assertSame('', self::stored($id)->post_excerpt);
    }

    public function testWhatAPersonHasEditedSinceIsNotUndone(): void
    {
        $id = self::makePost();
        self::applied($id, self::write(1));
        self::personSaves($id, ['excerpt' => 'Edited since']);
        $answer = $this->undo(['writes' => [self::history($id)[0]['id']]]);
        self::assertSame(['kept', 'changed'], [$answer['results'][0]['outcome'], $answer['results'][0]['reason']]);
        self::assertSame('Edited since', self::stored($id)->post_excerpt);
        self::assertFalse(self::history($id)[0]['can_undo']);
    }

    public function testAFilteredSetIsTriedFirstAndThenUndone(): void
    {
        $ids = [self::makePost(), self::makePost(), self::makePost()];
        foreach ($ids as $id) {
            self::applied($id, self::write(1));
            self::applied($id, self::write(2));
        }
        $other = ['model' => 'other-model'] + self::field('excerpt', 'By another model');
        self::applied($ids[2], self::write(3, [$other]));
        self::personSaves($ids[1], ['excerpt' => 'By hand']);
        $filter = ['filter' => ['model' => 'test-model', 'field' => 'excerpt', 'after' => 1]];
        $trial = $this->undo($filter + ['dry_run' => true]);
        self::assertSame('Summary 2', self::stored($ids[0])->post_excerpt, 'a dry run changes nothing');
        self::assertSame(0, self::countRows('writes', 'undone_at > 0'));
        $done = $this->undo($filter);
        self::assertSame([2, 4], [$done['undone'], $done['kept']]);
        self::assertSame($trial['results'], $done['results'], 'it did what it said');
        $excerpts = array_map(function (int $id): string {
            return self::stored($id)->post_excerpt;
        }, $ids);
        self::assertSame(['', 'By hand', 'By another model'], $excerpts);
        $none = $this->undo(['filter' => ['before' => 1]]);
        self::assertSame([0, 0], [$none['undone'], $none['kept']]);
    }

    public function testUndoMustSayWhat(): void
    {
        $colour = ['filter' => ['colour' => 'red']];
        $wrong = [[], ['filter' => []], $colour, ['writes' => []], ['writes' => range(1, 201)]];
        foreach ($wrong as $body) {
            $answer = self::editor()->rest('POST', '/copydesk/v1/undo', $body);
            self::assertSame(400, $answer['status'], json_encode($body));
        }
    }

    public function testAPersonMayNotUndoOnPostsOfOthers(): void
    {
        $own = self::makePost(['post_author' => $this->authorId()]);
        $others = self::makePost();
        foreach ([$own, $others] as $id) {
            self::applied($id, self::write(1));
        }
        $author = self::user('scribe', 'author');
        $write = function (int $id): int {
            global $wpdb;
            return (int) $wpdb->get_var('SELECT id FROM ' . table('writes') . " WHERE post_id = $id");
        };
        $undo = function (array $body) use ($author): array {
            return $author->rest('POST', '/copydesk/v1/undo', $body);
        };
        self::assertSame(403, $undo(['writes' => [$write($own), $write($others)]])['status']);
        self::assertSame(403, $undo(['filter' => ['field' => 'excerpt']])['status']);
        self::assertSame(1, $undo(['filter' => ['post_id' => $own]])['json']['undone']);
        self::assertSame('Summary 1', self::stored($others)->post_excerpt);
    }

    private function authorId(): int
    {
        self::user('scribe', 'author');
        return get_user_by('login', 'scribe')->ID;
    }

    public function testWhatIsKeptGoesWithThePost(): void
    {
        $id = self::makePost();
        self::applied($id, self::write(1, [self::field('excerpt', 'x'), self::field('title', 'y')]));
        \Copydesk\muted(function () use ($id): void {
            wp_delete_post($id, true);
        });
        foreach (['fields', 'writes', 'suggestions', 'statuses'] as $table) {
            self::assertSame(0, self::countRows($table), $table);
        }
        self::assertRefused(404, 'copydesk_gone', self::apply($id, self::write(2)));
    }
}
