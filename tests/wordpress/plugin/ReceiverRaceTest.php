<?php

namespace Copydesk\Tests;

use function Copydesk\table;

/** Many writers at once. SQLite has one writer at a time and refuses a second: there they come one after the other. */
final class ReceiverRaceTest extends ReceiverTestCase
{
    private const WRITES = 200;
    private const IN_FLIGHT = 8;
    private const WRITES_ON_SQLITE = 40;

    /**
     * Two owners of one log, epochs 1 and 2, send their writes in a random order, many at once, some of them twice.
     * Whatever is answered "applied" must have been the newest at that moment, each exactly once.
     */
    public function testOfTwoOwnersTheNewestNumberWins(): void
    {
        $id = self::makePost();
        $writes = [];
        $each = (self::isSqlite() ? self::WRITES_ON_SQLITE : self::WRITES) / 2;
        for ($number = 1; $number <= $each; $number++) {
            foreach ([1, 2] as $epoch) {
                $more = ['epoch' => $epoch, 'delivery_id' => "owner-$epoch-$number"];
                $writes[] = self::write($number, [self::field('excerpt', "Owner $epoch, write $number")], $more);
            }
        }
        mt_srand(20261125);
        shuffle($writes);
        $again = array_slice($writes, 0, 20);
        $answers = $this->sendAtOnce($id, array_merge($writes, $again));
        $statuses = array_count_values(array_column($answers, 0));
        self::assertSame([], array_diff(array_keys($statuses), [200, 409]), json_encode($statuses));
        $applied = array_filter($answers, function (array $answer): bool {
            return ($answer[1]['status'] ?? '') === 'applied';
        });

        self::assertSame("Owner 2, write $each", self::stored($id)->post_excerpt);
        global $wpdb;
        $sql = 'SELECT epoch, write_number, delivery_id FROM ' . table('writes') . ' ORDER BY id';
        $history = $wpdb->get_results($sql);
        self::assertCount(count($applied), $history, 'each applied answer is one write, and no write is without one');
        self::assertSame(count($history), count(array_unique(array_column($history, 'delivery_id'))), 'doubled');
        $newest = [0, 0];
        foreach ($history as $row) {
            $place = [(int) $row->epoch, (int) $row->write_number];
            self::assertGreaterThan($newest, $place, 'a stale write was applied');
            $newest = $place;
        }
        self::assertGreaterThan(1, count($history));
    }

    public function testTheSameWriteManyTimesAtOnceIsOneWrite(): void
    {
        $id = self::makePost();
        $answers = $this->sendAtOnce($id, array_fill(0, 24, self::write(1)));
        $said = array_count_values(array_map(function (array $answer): string {
            return $answer[1]['status'] ?? 'none';
        }, $answers));
        self::assertEquals(['applied' => 1, 'already' => 23], $said);
        self::assertSame(1, self::countRows('writes'));
    }

    /** @return array[] [status, decoded body] of each, in any order. */
    private function sendAtOnce(int $post, array $writes): array
    {
        $robot = self::copydesk();
        $multi = curl_multi_init();
        $answers = [];
        $running = 0;
        while ($writes || $running) {
            while ($writes && $running < (self::isSqlite() ? 1 : self::IN_FLIGHT)) {
                $write = array_pop($writes);
                $path = "/wp-json/copydesk/v1/posts/$post/apply";
                curl_multi_add_handle($multi, $robot->handle('POST', $path, json_encode($write), [
                    'Content-Type' => 'application/json',
                    'Idempotency-Key' => $write['delivery_id'],
                ]));
                $running++;
            }
            curl_multi_exec($multi, $active);
            curl_multi_select($multi, 1);
            while ($done = curl_multi_info_read($multi)) {
                $curl = $done['handle'];
                $status = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
                $answers[] = [$status, json_decode((string) curl_multi_getcontent($curl), true)];
                curl_multi_remove_handle($multi, $curl);
                $running--;
            }
        }
        return $answers;
    }
}
