<?php

namespace Copydesk\Tests;

use function Copydesk\is_muted;
use function Copydesk\muted;

final class SharedTest extends PluginTestCase
{
    public function testMutedScopesNestAndEndWithAnException(): void
    {
        self::assertFalse(is_muted());
        $inner = muted(function (): array {
            return [muted('Copydesk\is_muted'), is_muted()];
        });
        self::assertSame([true, true], $inner);
        try {
            muted(function (): void {
                throw new \RuntimeException('a save that fails');
            });
            self::fail('the exception is lost');
        } catch (\RuntimeException $e) {
            self::assertFalse(is_muted());
        }
    }

    public function testBothHalvesAreInstalled(): void
    {
        $versions = get_option('copydesk_schema') ?: [];
        self::assertSame(array_column(\Copydesk\installers(), 'version', 'half'), $versions);
    }
}
