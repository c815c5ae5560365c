<?php
/**
 * Plugin Name: Copydesk test requests
 * Description: Keeps which trace each REST request belongs to: a line in log/requests.jsonl of the site's folder,
 * {method, route, traceparent, status}, for each request with a traceparent.
 */

namespace Copydesk\TestRequests;

defined('ABSPATH') || exit;

add_filter('rest_post_dispatch', function ($response, $server, $request) {
    $traceparent = (string) $request->get_header('traceparent');
    if ($traceparent !== '') {
        $line = wp_json_encode([
            'method'      => $request->get_method(),
            'route'       => $request->get_route(),
            'traceparent' => $traceparent,
            'status'      => $response->get_status(),
        ]);
        file_put_contents(COPYDESK_TEST_DIR . '/log/requests.jsonl', "$line\n", FILE_APPEND | LOCK_EX);
    }
    return $response;
}, 10, 3);
