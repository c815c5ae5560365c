<?php

namespace Copydesk\Tests;

use Copydesk\Sender;

use function Copydesk\settings;
use function Copydesk\table;

/** What people see and set, and what the plugin costs those who only read. */
final class SenderAdminTest extends SenderTestCase
{
    private const PAGE = '/wp-admin/options-general.php?page=copydesk';

    /** Submits a form of the settings page, and gives the page that follows. */
    private function submit(Http $browser, string $do, array $fields = []): string
    {
        $page = $browser->get(self::PAGE)['body'];
        $answer = $browser->post('/wp-admin/admin-post.php', $fields + [
            'action' => 'copydesk',
            'do' => $do,
            '_wpnonce' => Http::find('/name="_wpnonce" value="([^"]+)"/', $page),
        ]);
        self::assertSame(302, $answer['status'], $answer['body']);
        wp_cache_flush();
        return $browser->get(self::PAGE)['body'];
    }

    private static function admin(): Http
    {
        static $browser = null;
        return $browser ?? $browser = Http::browser('admin');
    }

    public function testSettingsAreSavedAndSecretsNeverShown(): void
    {
        $secret = 'a-secret-typed-into-the-settings-page-1';
        $page = $this->submit(self::admin(), 'save', [
            'endpoint' => 'https://copydesk.example/webhooks/news',
            'post_types' => ['page', 'attachment', 'nonsense'],
            'statuses' => ['publish', 'private', 'trash'],
            'inputs' => ['author', 'excerpt'],
            'comments' => '1',
            'secret' => $secret,
            'key_id' => 'k 1"<',
            'next_secret' => strrev($secret),
            'new_terms' => ['tags', 'authors'],
            'meta_keys' => "teaser\r\n_teaser.2 teaser\n",
        ]);
        self::assertStringContainsString('Saved.', $page);
        self::assertSame([
            'endpoint' => 'https://copydesk.example/webhooks/news',
            'post_types' => ['page'],
            'statuses' => ['publish', 'private'],
            'inputs' => ['author'],
            'comments' => true,
            'clean_up' => false,
        ], settings());
        self::assertSame(['tags'], get_option('copydesk_new_terms'));
        self::assertSame(['teaser', '_teaser.2'], \Copydesk\Receiver\meta_keys());
        self::assertStringContainsString(">teaser\n_teaser.2</textarea>", $page);
        self::assertSame(['secret' => $secret, 'id' => 'k1'], Sender\current_key());
        self::assertStringNotContainsString($secret, $page);
        self::assertStringNotContainsString(strrev($secret), $page);
        self::assertStringContainsString('https://copydesk.example/webhooks/news', $page);
        self::assertStringNotContainsString($secret, Http::anonymous()->get('/wp-json/')['body']);

        // An empty field leaves the secret; what cannot be is left as it was, and said.
        $page = $this->submit(self::admin(), 'save', [
            'endpoint' => 'http://copydesk.example/x',
            'secret' => 'short',
            'meta_keys' => 'teaser _wp_page_template <b>',
        ]);
        self::assertStringContainsString('cannot write to the custom field “_wp_page_template”', $page);
        self::assertStringContainsString('“&lt;b&gt;”', $page);
        self::assertSame([['teaser'], []], [get_option('copydesk_meta_keys'), get_option('copydesk_new_terms')]);
        self::assertStringContainsString('must begin with https', $page);
        self::assertStringContainsString('A secret has 32 to 1024 characters.', $page);
        self::assertSame('https://copydesk.example/webhooks/news', settings()['endpoint']);
        self::assertSame($secret, Sender\current_key()['secret']);
        $this->submit(self::admin(), 'save', ['forget_next' => '1']);
        self::assertNull(Sender\next_key());
    }

    public function testSecretsAreNotLoadedWithEveryPage(): void
    {
        wp_cache_flush();
        self::assertArrayNotHasKey('copydesk_secrets', wp_load_alloptions());
        self::assertArrayHasKey('copydesk_settings', wp_load_alloptions());
    }

    public function testOnlyAdministratorsAndOnlyWithANonce(): void
    {
        $form = ['action' => 'copydesk', 'do' => 'save', 'endpoint' => 'https://evil.example/'];
        self::assertSame(403, self::admin()->post('/wp-admin/admin-post.php', $form)['status']);
        $desk = Http::browser('desk');
        self::assertSame(403, $desk->post('/wp-admin/admin-post.php', $form)['status']);
        self::assertSame(403, $desk->get(self::PAGE)['status']);
        wp_cache_flush();
        self::assertSame($this->copydesk->url, settings()['endpoint']);
    }

    public function testTestEventSaysHowItWent(): void
    {
        $page = $this->submit(self::admin(), 'test');
        self::assertStringContainsString('Copydesk has taken the event.', $page);
        [$request] = $this->copydesk->requests();
        self::assertSame('copydesk.test', $request['event']['event']);
        self::assertGreaterThan(0, $request['event']['post_id']);
        self::assertSame([], $this->outbox(), 'a test is no event of a post');

        $problem = ['status' => 401, 'body' => json_encode(['code' => 'bad_signature', 'detail' => '<b>no</b>'])];
        $this->copydesk->answer($problem);
        $page = $this->submit(self::admin(), 'test');
        self::assertStringContainsString('The signature does not match', $page);
        self::assertStringNotContainsString('<b>no</b>', $page);
        $this->copydesk->stop();
        self::assertStringContainsString('nobody listens there', $this->submit(self::admin(), 'test'));
    }

    /** @return array[] outcome, words */
    public function outcomes(): array
    {
        $refusal = function (int $status, string $code, array $more = []): array {
            return ['status' => $status, 'code' => $code, 'detail' => 'why'] + $more;
        };
        $late = $refusal(401, 'timestamp_out_of_window', ['skew' => -1200]);
        $early = $refusal(401, 'timestamp_out_of_window', ['skew' => 600]);
        return [
            'taken' => [['status' => 202], 'has taken the event'],
            'signature' => [$refusal(401, 'bad_signature'), 'The signature does not match'],
            'behind' => [$late, 'clock is 20 minutes behind'],
            'ahead' => [$early, 'clock is 10 minutes ahead'],
            'off' => [$refusal(403, 'site_disabled'), 'switched off'],
            'address' => [$refusal(403, 'address_not_allowed'), 'does not accept this server'],
            'source' => [$refusal(404, 'not_found'), 'no source at this address'],
            'large' => [$refusal(413, 'body_too_large'), 'larger than'],
            'site' => [$refusal(422, 'site_mismatch'), 'not the one that Copydesk has'],
            'field' => [$refusal(422, 'field_too_long'), '(field_too_long: why)'],
            'proxy 401' => [['status' => 401], 'or a proxy'],
            'proxy 404' => [['status' => 404], 'no Copydesk at this address'],
            'proxy 413' => [['status' => 413], 'a proxy before Copydesk'],
            'moved' => [['status' => 301], 'leads to another address'],
            'page' => [['status' => 200, 'is_page' => true], 'A web page answered'],
            'fault' => [['status' => 502], 'has a fault (502)'],
            'name' => [['transport' => 'cURL error 6: Could not resolve host: x'], 'host name cannot be found'],
            'refused' => [['transport' => 'cURL error 7: Failed to connect'], 'nobody listens there'],
            'slow' => [['transport' => 'cURL error 28: Operation timed out'], 'did not answer within'],
            'TLS' => [['transport' => 'cURL error 60: SSL certificate problem'], 'certificate is not trusted'],
            'no endpoint' => [['code' => 'no_endpoint'], 'No endpoint is set'],
            'no secret' => [['code' => 'no_secret'], 'No secret is set'],
            'no TLS' => [['code' => 'unsafe_endpoint'], 'must begin with https'],
        ];
    }

    /** @dataProvider outcomes */
    public function testOutcomesInWords(array $outcome, string $words): void
    {
        self::assertStringContainsString($words, Sender\explain($outcome));
    }

    public function testEndpointIsHttpsOrNear(): void
    {
        $safe = ['https://a.example/x', 'http://127.0.0.1:8080/x', 'http://[::1]/x', 'http://localhost/x',
            'http://copydesk:8080/webhooks/x', 'http://10.1.2.3/x', 'http://desk.internal/x'];
        foreach ($safe as $url) {
            self::assertTrue(Sender\is_safe_endpoint($url), $url);
        }
        $unsafe = ['http://a.example/x', 'http://8.8.8.8/x', 'ftp://localhost/', 'a.example', '', '/x',
            'https://user:pw@a.example/', 'javascript:alert(1)'];
        foreach ($unsafe as $url) {
            self::assertFalse(Sender\is_safe_endpoint($url), $url);
        }
    }

    public function testFailedEventsAreShownSentAgainAndDropped(): void
    {
        $this->copydesk->answer(['status' => 422, 'body' => '{"code":"field_too_long","detail":"title"}']);
        $ids = [];
        foreach (['One', 'Two <i>'] as $title) {
            $ids[] = wp_insert_post(['post_title' => $title, 'post_status' => 'publish']);
        }
        $this->drained();
        $dashboard = self::admin()->get('/wp-admin/index.php')['body'];
        self::assertStringContainsString('Copydesk did not take 2 events. The last: ', $dashboard);
        self::assertStringContainsString('field_too_long: title', $dashboard);
        $dashboard = Http::browser('desk')->get('/wp-admin/index.php')['body'];
        self::assertStringNotContainsString('Copydesk did not', $dashboard);
        $page = self::admin()->get(self::PAGE)['body'];
        self::assertStringContainsString('Waiting: 0. Failed: 2.', $page);
        self::assertStringNotContainsString('Two <i>', $page);

        $this->submit(self::admin(), 'drop', ['ids' => [$this->outbox($ids[0])[0]['id']]]);
        self::assertSame('dropped', $this->outbox($ids[0])[0]['state']);
        $this->copydesk->answer([]);
        $page = $this->submit(self::admin(), 'resend');
        self::assertStringContainsString('Sent: 1. Waiting: 0. Failed: 0.', $page);
        self::assertSame('sent', $this->outbox($ids[1])[0]['state']);
        self::assertSame('', Sender\notice());
    }

    public function testSiteHealth(): void
    {
        global $wpdb;
        $statuses = function (): array {
            $found = [];
            foreach (apply_filters('site_status_tests', ['direct' => [], 'async' => []])['direct'] as $test) {
                $finding = ($test['test'])();
                $found[$finding['test']] = $finding['status'];
            }
            return array_filter($found, function (string $name): bool {
                return strpos($name, 'copydesk_') === 0;
            }, ARRAY_FILTER_USE_KEY);
        };
        update_option('copydesk_ticked', time(), false);
        $good = array_fill_keys(['copydesk_cron', 'copydesk_late', 'copydesk_settings', 'copydesk_passwords',
            'copydesk_permalinks', 'copydesk_engine'], 'good');
        if (self::isSqlite()) {
            $good['copydesk_engine'] = 'recommended';
        }
        self::assertSame($good, $statuses());

        update_option('copydesk_ticked', time() - 1000, false);
        update_option('copydesk_secrets', ['secret' => 'short'], false);
        wp_insert_post(['post_title' => 'Late', 'post_status' => 'publish']);
        $wpdb->query('UPDATE ' . table('outbox') . ' SET saved_at = saved_at - 3700000');
        add_filter('wp_is_application_passwords_available', '__return_false');
        $permalinks = get_option('permalink_structure');
        add_filter('pre_option_permalink_structure', '__return_empty_string');
        $bad = $statuses();
        remove_filter('pre_option_permalink_structure', '__return_empty_string');
        remove_filter('wp_is_application_passwords_available', '__return_false');
        self::assertSame($permalinks, get_option('permalink_structure'));
        unset($bad['copydesk_engine'], $good['copydesk_engine']);
        self::assertNotContains('good', $bad);
        self::assertSame(array_keys($good), array_keys($bad));
    }

    public function testPageViewCostsNoQueryAndNoRequest(): void
    {
        $id = wp_insert_post(['post_title' => 'Read me', 'post_status' => 'publish']);
        self::assertSame(['due'], array_column($this->outbox(), 'state'));
        foreach (['/?', "/?p=$id&", '/?feed=rss2&'] as $path) {
            $page = Http::anonymous()->get($path . 'copydesk_observe=1');
            if ($page['status'] === 301) {
                $page = Http::anonymous()->get(self::path($page['headers']['location']));
            }
            $seen = Http::find('/<!-- observed (.*) -->/', $page['body']);
            self::assertSame(['queries' => [], 'requests' => []], json_decode($seen, true), $path);
        }
        self::assertSame(['due'], array_column($this->outbox(), 'state'));
    }

    public function testUninstallTakesSecretsAndOnRequestAll(): void
    {
        global $wpdb;
        // In a process of its own: it defines what only an uninstall has, and takes the tables away.
        $code = 'define("WP_UNINSTALL_PLUGIN", "copydesk"); require WP_PLUGIN_DIR . "/copydesk/uninstall.php";
            $found = count($wpdb->get_col("SHOW TABLES LIKE \"{$wpdb->prefix}copydesk\_%\""))
                . " " . $wpdb->get_var("SELECT COUNT(*) FROM $wpdb->options
                    WHERE SUBSTR(option_name, 1, 9) = \"copydesk_\"")
                . " " . count(get_role("copydesk") ? [1] : []);
            file_put_contents($args[0], $found . " " . json_encode(get_option("copydesk_secrets")));
            Copydesk\install(true);';
        $file = tempnam(sys_get_temp_dir(), 'copydesk-uninstall-');
        try {
            self::inParallel(1, $code, [$file]);
            self::assertMatchesRegularExpression('/^[1-9]\d* [1-9]\d* \d false$/', file_get_contents($file));
            self::settings(['clean_up' => true]);
            self::inParallel(1, $code, [$file]);
            self::assertSame('0 0 0 false', file_get_contents($file));
        } finally {
            unlink($file);
        }
        wp_cache_flush();
        self::assertSame([], $this->outbox(), 'installed again');
    }
}
