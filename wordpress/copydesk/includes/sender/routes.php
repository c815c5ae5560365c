<?php

/**
 * The routes by which Copydesk helps a site whose cron or way out is dead, and asks what runs here.
 */

namespace Copydesk\Sender;

use function Copydesk\seo_plugin;
use function Copydesk\settings;
use function Copydesk\table;

use const Copydesk\VERSION;

defined('ABSPATH') || exit;

/** Rows of one page of the outbox, and ids of one acknowledgement. */
const PULL_MAX = 100;
/** The caller of `drain` waits for the answer. */
const DRAIN_ROUTE_S = 20;

function register_routes(): void
{
    $routes = [
        'drain' => ['POST', 'drain_route', []],
        'outbox' => ['GET', 'outbox_route', [
            'after' => ['type' => 'integer', 'minimum' => 0, 'default' => 0],
            'limit' => ['type' => 'integer', 'minimum' => 1, 'maximum' => PULL_MAX, 'default' => PULL_MAX],
        ]],
        'outbox/ack' => ['POST', 'ack_route', [
            'ids' => [
                'type' => 'array',
                'items' => ['type' => 'integer', 'minimum' => 1],
                'maxItems' => PULL_MAX,
                'required' => true,
            ],
        ]],
        'status' => ['GET', 'status_route', []],
    ];
    foreach ($routes as $path => [$method, $callback, $arguments]) {
        register_rest_route('copydesk/v1', "/$path", [
            'methods' => $method,
            'callback' => __NAMESPACE__ . "\\$callback",
            'permission_callback' => __NAMESPACE__ . '\may_call',
            'args' => $arguments,
        ]);
    }
}

/** Copydesk's user, or a request signed with the secret that both sides hold. */
function may_call(\WP_REST_Request $request): bool
{
    return current_user_can('copydesk_write') || is_signed($request);
}

function drain_route(): array
{
    return drain(DRAIN_ROUTE_S, 1);
}

/** A page of what is not acknowledged; `next` is where the page after it begins. */
function outbox_route(\WP_REST_Request $request): \WP_REST_Response
{
    sweep();
    $found = rows(
        'SELECT id, idempotency_key, traceparent, body FROM ' . table('outbox') . "
            WHERE id > %d AND state IN ('due', 'dead') AND body <> '' ORDER BY id LIMIT %d",
        $request['after'],
        $request['limit']
    );
    $key = current_key();
    if (strlen($key['secret']) < SECRET_BYTES_MIN) {
        return new \WP_REST_Response(['code' => 'copydesk_no_secret', 'message' => explain_missing('no_secret')], 503);
    }
    $page = array_map(function (array $row) use ($key): array {
        return ['id' => (int) $row['id'], 'body' => $row['body'], 'headers' => signed_headers($row, $key)];
    }, $found);
    $next = count($page) === $request['limit'] ? end($page)['id'] : null;
    $response = new \WP_REST_Response(['rows' => $page, 'next' => $next]);
    $response->header('Cache-Control', 'no-store');
    return $response;
}

function ack_route(\WP_REST_Request $request): array
{
    $ids = implode(',', array_map('intval', $request['ids']));
    $acknowledged = $ids === '' ? 0 : (int) change(
        'UPDATE ' . table('outbox') . " SET state = 'sent', last_status = 0, last_error = NULL
            WHERE state IN ('due', 'dead') AND id IN ($ids)"
    );
    return ['acknowledged' => $acknowledged];
}

function status_route(): array
{
    $settings = settings();
    return [
        'plugin' => VERSION,
        'api' => 1,
        'wordpress' => get_bloginfo('version'),
        'post_types' => array_values($settings['post_types']),
        'statuses' => array_values($settings['statuses']),
        'seo' => seo_plugin(),
        'now' => now_ms(),
    ];
}
