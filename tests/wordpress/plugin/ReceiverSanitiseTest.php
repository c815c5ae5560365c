<?php

namespace Copydesk\Tests;

use function Copydesk\Receiver\clean_text;
use function Copydesk\table;

/** What a model that obeys an attacker sends comes out as plain text, in the database and on the page. */
final class ReceiverSanitiseTest extends ReceiverTestCase
{
    // Each holds no more than 60 characters of visible text, so that length alone refuses none as the name of a term.
    private const HOSTILE = [
        '<script>alert(1)</script>News',
        '<SCRIPT SRC=//evil.example/x.js></SCRIPT>News',
        '<img src=x onerror=alert(1)>News',
        '<svg/onload=alert(1)>News',
        '<a href="https://evil.example/?d=1">here</a>',
        '<a href="javascript:alert(1)">here</a>',
        '<iframe srcdoc="<script>alert(1)</script>"></iframe>News',
        '<math><mi//xlink:href="data:x,<script>alert(1)</script>">News',
        "<scr\u{200b}ipt>alert(1)</script>News",
        "<scr\u{0}ipt>alert(1)</script>News",
        "<b onmouseover\n=alert(1)>News</b>",
        '<style>@import "//evil.example/x.css"</style>News',
        '<meta http-equiv=refresh content="0;url=//evil.example">News',
        '<form action=//evil.example><input name=q></form>News',
        '<base href=//evil.example/>News',
        '<object data=//evil.example/x.swf></object>News',
        '<!-- wp:html --><div>News</div><!-- /wp:html -->',
        '<!-- wp:latest-posts /-->News',
        '<!--><script>alert(1)</script>-->News',
        '<?php system("id"); ?>News',
        '<![CDATA[<script>alert(1)</script>]]>News',
        'News<script',
        'News<b title="',
        '&lt;script&gt;alert(1)&lt;/script&gt;',
        '&#60;img src=x onerror=alert(1)&#62;',
        '&#x3c;svg onload=alert(1)&#x3e;',
        '&LT;script>alert(1)',
        '&ltscript&gtalert(1)',
        '&#60script&#62alert(1)',
        '&lt;&#x200b;script&gt;alert(1)',
        '&amp;lt;script&amp;gt;alert(1)',
        '&amp;amp;lt;script',
        '&lt;!-- wp:html --&gt;',
        '<<script>script>alert(1)</script>News',
        '<textarea><script>alert(1)</script></textarea>',
        'javascript:alert(1)',
        'see JaVaScRiPt:alert(1)',
        "java\u{1}script:alert(1)",
        'vbscript:msgbox(1)',
        'data:text/html;base64,PHNjcmlwdD4=',
        '[embed]https://evil.example/x[/embed]',
        '[gallery ids="1,2"] [copydesk_test]',
        '&#91;copydesk_test&#93; news',
        '[[copydesk_test]]',
        'Read https://evil.example/?q=1 now',
        'See www.evil.example and //evil.example/x',
        'Mail mailto:a@evil.example today',
        'ftp://evil.example/x and evil.example/x?d=1 too',
        '![x](https://evil.example/p.png)',
        "ht\u{200b}tps://evil.example/x news",
        'h&#116;tps://evil.example/x news',
        "safe\u{202e}txt.exe\u{202c} \u{2066}isolated\u{2069}",
        "a\u{7}b\u{1b}[31mred\u{9b}c",
        "tag\u{e0041}\u{e0042}ged \u{feff}\u{2060}news",
        'News %%cf_secret%% and %customfield(secret)%',
        "' OR 1=1; DROP TABLE wp_posts; -- \\",
    ];
    private const FIELDS = ['excerpt', 'title', 'tags', 'categories', 'meta:note', 'seo_description'];

    protected function setUp(): void
    {
        parent::setUp();
        update_option('copydesk_meta_keys', ['note']);
        update_option('copydesk_new_terms', ['tags', 'categories']);
        self::siteIs('seo', 'render');
        $this->reloadSeo();
    }

    /** This process asks for the description's key too. */
    private function reloadSeo(): void
    {
        defined('WPSEO_VERSION') || define('WPSEO_VERSION', 'test');
    }

    /** @group any-database */
    public function testHostileValuesInEveryFieldAreHarmlessOrRefused(): void
    {
        self::assertGreaterThanOrEqual(40, count(self::HOSTILE));
        $posts = array_map(function (): int {
            return self::makePost(['post_content' => 'Nothing special.']);
        }, self::HOSTILE);
        $written = 0;
        foreach (self::FIELDS as $number => $field) {
            foreach (array_chunk($posts, 50, true) as $some) {
                $written += $this->sendAll($field, $number + 1, $some);
            }
        }
        // Most are cleaned and written; those that try to hide are refused.
        self::assertGreaterThan(count(self::FIELDS) * count(self::HOSTILE) / 2, $written);
        $this->acceptAll();
        wp_cache_flush();
        foreach ($posts as $i => $id) {
            $what = json_encode(self::HOSTILE[$i]);
            $texts = wp_get_object_terms($id, ['post_tag', 'category'], ['fields' => 'names']);
            $post = get_post($id);
            array_push($texts, $post->post_title, $post->post_excerpt);
            foreach (['note', '_yoast_wpseo_metadesc'] as $key) {
                $texts[] = get_post_meta($id, $key, true);
                self::assertDoesNotMatchRegularExpression('/%%|%\w+\(/', end($texts), $what);
            }
            foreach ($texts as $text) {
                $this->assertHarmless($text, $what);
            }
        }
        $this->assertHarmlessPage($posts);
        global $wpdb;
        self::assertSame($wpdb->posts, $wpdb->get_var("SHOW TABLES LIKE '$wpdb->posts'"));
    }

    /** Sends each post its own hostile value. @return int how many were not refused */
    private function sendAll(string $field, int $number, array $posts): int
    {
        $writes = [];
        foreach ($posts as $i => $id) {
            $value = in_array($field, ['tags', 'categories'], true) ? [self::HOSTILE[$i]] : self::HOSTILE[$i];
            $writes[] = ['id' => $id] + self::write($number, [self::field($field, $value)]);
        }
        $answer = self::copydesk()->rest('POST', '/copydesk/v1/posts/apply', ['writes' => $writes]);
        $statuses = array_count_values(array_column($answer['json']['results'], 'status'));
        self::assertSame([], array_diff(array_keys($statuses), [200, 400]), $answer['body']);
        return $statuses[200];
    }

    /** Titles come as suggestions. */
    private function acceptAll(): void
    {
        global $wpdb;
        $ids = $wpdb->get_col('SELECT id FROM ' . table('suggestions') . " WHERE state = 'open'");
        self::assertNotEmpty($ids);
        wp_set_current_user(self::state()['users']['desk']['id']);
        foreach ($ids as $id) {
            \Copydesk\Receiver\accept((int) $id, null);
        }
        wp_set_current_user(0);
    }

    private function assertHarmless(string $text, string $what): void
    {
        // WordPress itself stores a term's & escaped.
        $decoded = html_entity_decode($text, ENT_QUOTES | ENT_HTML5, 'UTF-8');
        self::assertDoesNotMatchRegularExpression('/[<>\[\]]/', $decoded, $what);
        self::assertDoesNotMatchRegularExpression('/(?:javascript|vbscript|data):\S|evil\.example/i', $decoded, $what);
        $unseen = '/[\x{00}-\x{1F}\x{7F}-\x{9F}\x{200B}-\x{200F}\x{202A}-\x{202E}\x{2060}-\x{206F}\x{FEFF}'
            . '\x{E0000}-\x{E0FFF}]/u';
        self::assertDoesNotMatchRegularExpression($unseen, $decoded, $what);
    }

    /**
     * The corner of the page where the test site prints all fields of posts, as careless themes do.
     *
     * @param int[] $ids
     */
    private function assertHarmlessPage(array $ids): void
    {
        $page = Http::anonymous()->get('/?copydesk_render=' . implode(',', $ids));
        self::assertSame(200, $page['status']);
        $document = new \DOMDocument();
        $before = libxml_use_internal_errors(true);
        $document->loadHTML('<?xml encoding="UTF-8">' . $page['body']);
        libxml_use_internal_errors($before);
        foreach ($ids as $id) {
            $corner = $document->getElementById("copydesk-render-$id");
            self::assertNotNull($corner, "post $id");
            $what = $document->saveHTML($corner);
            self::assertStringNotContainsString('shortcode was run', $corner->textContent, $what);
            foreach ($corner->getElementsByTagName('*') as $element) {
                self::assertContains($element->nodeName, ['p', 'div', 'a', 'h2'], $what);
                foreach ($element->attributes as $attribute) {
                    self::assertContains($attribute->name, ['id', 'title', 'href', 'rel'], $what);
                    if ($attribute->name === 'href') {
                        self::assertStringStartsWith(self::state()['url'], $attribute->value, $what);
                    }
                }
            }
        }
    }

    /** What Copydesk has cleaned by its own rules comes out as it went in, or the hashes of both sides differ. */
    public function testCleanTextStaysAsItIs(): void
    {
        $clean = [
            'AT&T and R&D', '5 ‹ 6 & 7 › 3', 'Größe – 日本 😀', "می\u{200c}خواهم", "👩\u{200d}🚀 in space",
            '100 % or 50%', 'No. #1 of 3', 'javascript: the good parts', 'He said "no" (twice)',
            "L'été à l'œuvre…", 'a.b.c e.g. 3.14', 'C:\\temp\\new', '1 < 2',
        ];
        foreach ($clean as $text) {
            self::assertSame(strtr($text, ['<' => '‹']), clean_text($text, ''), $text);
        }
        $own = 'Read https://press.example/r?a=1 now.';
        self::assertSame($own, clean_text($own, 'See <a href="https://press.example/r?a=1">this</a>.'));
        self::assertSame('Read .', clean_text('Read https://evil.example/.', 'See https://press.example/r'));
        self::assertSame("\u{e9}", clean_text("e\u{301}", ''));
    }

    public function testCleaningTwiceChangesNothing(): void
    {
        foreach (self::HOSTILE as $text) {
            try {
                $once = clean_text($text, '');
            } catch (\Copydesk\Receiver\ActiveContent $e) {
                continue;
            }
            self::assertSame($once, clean_text($once, ''), $text);
        }
    }
}
