<?php

namespace Copydesk\Tests;

/** The plugin on a network of sites: each has its own outbox, and nothing of one is another's. */
final class NetworkTest extends SenderTestCase
{
    public function testEachSiteOfANetworkIsOneOfItsOwn(): void
    {
        try {
            $this->network('make');
            $said = json_decode($this->network('use'), true);
        } finally {
            $this->network('unmake');
            wp_cache_flush();
        }
        self::assertSame([
            'made' => [6, true, true],
            'events' => 1,
            'events_elsewhere' => 0,
            'deleted' => [],
            // The second site's settings say that all goes; the first one's do not.
            'uninstalled' => [0, false, false],
            'kept' => [6, true, false],
        ], $said);
    }

    private function network(string $step): string
    {
        $command = [PHP_BINARY, __DIR__ . '/support/network.php', COPYDESK_SITE_DIR, $step];
        $process = proc_open($command, [['file', '/dev/null', 'r'], ['pipe', 'w'], ['pipe', 'w']], $pipes);
        $said = stream_get_contents($pipes[1]);
        $errors = stream_get_contents($pipes[2]);
        self::assertSame(0, proc_close($process), "$step: $said $errors");
        return $said;
    }
}
