<?php

namespace Copydesk\Tests;

use function Copydesk\input_hash;

/** A person's words stay. */
final class ReceiverOwnershipTest extends ReceiverTestCase
{
    public function testAnEditBetweenReadAndWriteStays(): void
    {
        $id = self::makePost(['post_excerpt' => '']);
        $read = self::copydesk()->rest('GET', "/copydesk/v1/posts/$id")['json'];
        self::personSaves($id, ['excerpt' => 'Written by hand']);
        $write = self::write(1, [
            self::field('excerpt', 'Made', 'apply', $read['fields']['excerpt']['hash']),
        ], ['input_hash' => $read['input_hash']]);
        $fields = self::applied($id, $write);
        $expected = ['outcome' => 'suggested', 'reason' => 'human_owned', 'hash' => self::hash('Written by hand')];
        self::assertSame($expected, $fields['excerpt']);
        self::assertSame('Written by hand', self::stored($id)->post_excerpt);
        self::assertSame(['Made'], array_column(self::suggestions($id), 'value'));
        self::assertSame(['Written by hand'], array_column(self::suggestions($id), 'current'));
    }

    /** What an excerpt was, who is said to own it, and what each mode makes of a write to it. */
    public function testEachModeMeetsEachOwner(): void
    {
        $cases = [
            // how the field came to be => [owner, suggest, apply_if_empty, apply]
            'empty' => ['none', 'suggested', 'applied', 'applied'],
            'by a person' => ['human', 'suggested', 'kept not_empty', 'suggested human_owned'],
            'ours' => ['copydesk', 'suggested', 'kept not_empty', 'applied'],
            'ours, edited' => ['human', 'suggested', 'kept not_empty', 'suggested human_owned'],
            'ours, edited and back' => ['human', 'suggested', 'kept not_empty', 'suggested human_owned'],
            'ours, emptied' => ['human', 'suggested', 'kept human_owned', 'suggested human_owned'],
            'ours, edited past every hook' => ['human', 'suggested', 'kept not_empty', 'suggested human_owned'],
        ];
        foreach ($cases as $how => $expected) {
            $seen = [];
            foreach (['suggest', 'apply_if_empty', 'apply'] as $mode) {
                $id = $this->postWithExcerpt($how);
                $before = self::stored($id)->post_excerpt;
                $owner = self::owner($id, 'excerpt');
                $field = self::applied($id, self::write(2, [self::field('excerpt', 'New words', $mode)]))['excerpt'];
                $seen[] = trim($field['outcome'] . ' ' . ($field['reason'] ?? ''));
                $expected_text = $field['outcome'] === 'applied' ? 'New words' : $before;
                self::assertSame($expected_text, self::stored($id)->post_excerpt, "$how, $mode");
            }
            self::assertSame($expected, array_merge([$owner], $seen), $how);
        }
    }

    private function postWithExcerpt(string $how): int
    {
        $id = self::makePost(['post_excerpt' => $how === 'by a person' ? 'By hand' : '']);
        if (strpos($how, 'ours') === 0) {
            self::applied($id, self::write(1));
        }
        if ($how === 'ours, edited' || $how === 'ours, edited and back') {
            self::personSaves($id, ['excerpt' => 'Edited']);
        }
        if ($how === 'ours, edited and back') {
            self::personSaves($id, ['excerpt' => 'Summary 1']);
        }
        if ($how === 'ours, emptied') {
            self::personSaves($id, ['excerpt' => '']);
        }
        if ($how === 'ours, edited past every hook') {
            global $wpdb;
            $wpdb->update($wpdb->posts, ['post_excerpt' => 'Edited'], ['ID' => $id]);
        }
        return $id;
    }

    public function testTheEditorIsToldAtOnceWhenASaveMakesAFieldThePersons(): void
    {
        $id = self::makePost();
        self::applied($id, self::write(1));
        self::personSaves($id, ['content' => 'Only the content changed.']);
        self::assertSame(1, self::countRows('fields', "owner = 'copydesk'"));
        self::personSaves($id, ['excerpt' => 'Edited']);
        self::assertSame(1, self::countRows('fields', "owner = 'human'"));
    }

    public function testATitleIsOnlyEverSuggested(): void
    {
        $id = self::makePost();
        $fields = self::applied($id, self::write(1, [self::field('title', 'A better title', 'apply')]));
        self::assertSame('suggested', $fields['title']['outcome']);
        self::assertSame('A title', self::stored($id)->post_title);
    }

    public function testATermThatAPersonTookAwayDoesNotComeBack(): void
    {
        foreach (['Alpha', 'Beta', 'Gamma'] as $name) {
            wp_insert_term($name, 'post_tag');
        }
        $id = self::makePost();
        self::applied($id, self::write(1, [self::field('tags', ['Alpha', 'Beta'])]));
        self::assertSame('copydesk', self::owner($id, 'tags'));
        $alpha = get_term_by('name', 'Alpha', 'post_tag')->term_id;
        self::personSaves($id, ['tags' => [$alpha]]);
        self::assertSame('human', self::owner($id, 'tags'));
        $fields = self::applied($id, self::write(2, [self::field('tags', ['Alpha', 'Beta', 'Gamma'])]));
        self::assertSame('applied', $fields['tags']['outcome']);
        self::assertSame(['Alpha', 'Gamma'], self::terms($id, 'post_tag'));
        $fields = self::applied($id, self::write(3, [self::field('tags', ['Beta'])]));
        self::assertSame(['kept', 'human_owned'], [$fields['tags']['outcome'], $fields['tags']['reason']]);
        // An approval brings it back.
        self::applied($id, self::write(4, [self::field('tags', ['Beta'], 'suggest')]));
        $suggestion = self::suggestions($id)[0];
        self::editor()->rest('POST', "/copydesk/v1/suggestions/{$suggestion['id']}", ['action' => 'accept']);
        self::assertSame(['Alpha', 'Beta', 'Gamma'], self::terms($id, 'post_tag'));
    }

    public function testTheSameValueIsAlreadyThere(): void
    {
        $id = self::makePost(['post_excerpt' => 'By hand']);
        $fields = self::applied($id, self::write(1, [self::field('excerpt', 'By hand')]));
        self::assertSame('already', $fields['excerpt']['outcome']);
        self::assertSame('human', self::owner($id, 'excerpt'));
        self::assertSame(0, self::countRows('writes'));
    }
}
