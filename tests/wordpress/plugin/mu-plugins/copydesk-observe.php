<?php

/**
 * Plugin Name: Copydesk tests: what a request did
 * Description: With ?copydesk_observe=1 a page ends in a comment that holds, as JSON, its queries that name Copydesk
 *   and its HTTP requests.
 */

if (isset($_GET['copydesk_observe'])) {
    $copydesk_seen = new ArrayObject(['queries' => [], 'requests' => []]);
    add_filter('query', function ($sql) use ($copydesk_seen) {
        if (stripos($sql, 'copydesk') !== false) {
            $copydesk_seen['queries'] = array_merge($copydesk_seen['queries'], [$sql]);
        }
        return $sql;
    });
    add_filter('pre_http_request', function ($answer, $args, $url) use ($copydesk_seen) {
        $copydesk_seen['requests'] = array_merge($copydesk_seen['requests'], [$url]);
        return $answer;
    }, 10, 3);
    add_action('shutdown', function () use ($copydesk_seen): void {
        echo '<!-- observed ' . wp_json_encode($copydesk_seen) . ' -->';
    }, 0);
}
