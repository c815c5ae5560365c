<?php

/**
 * The routes that Copydesk calls. docs/wordpress-plugin.md is their contract.
 */

namespace Copydesk\Receiver;

use function Copydesk\input_hash;
use function Copydesk\post_language;

defined('ABSPATH') || exit;

const NAMESPACE_V1 = 'copydesk/v1';
const BODY_BYTES_MAX = 1048576; // 50 writes of the longest texts.
const WRITES_MAX = 50;
const STATUSES_MAX = 100;
const STATES = ['unchanged', 'superseded', 'kept', 'filtered', 'failed', 'held'];

add_action('rest_api_init', static function (): void {
    $may = __NAMESPACE__ . '\copydesk_may';
    $may_write = static function (\WP_REST_Request $request): bool {
        return copydesk_may_write((int) $request['id']);
    };
    $route = static function (string $method, string $path, callable $may, string $work): void {
        register_rest_route(NAMESPACE_V1, $path, [
            'methods' => $method,
            'permission_callback' => $may,
            'callback' => static function (\WP_REST_Request $request) use ($work) {
                return answer(static function () use ($request, $work) {
                    return (__NAMESPACE__ . '\\' . $work)($request);
                });
            },
        ]);
    };
    $route('GET', '/posts/(?P<id>\d{1,18})', $may_write, 'get_post_for_copydesk');
    $route('POST', '/posts/(?P<id>\d{1,18})/apply', $may_write, 'post_apply');
    $route('POST', '/posts/apply', $may, 'post_apply_many');
    $route('POST', '/posts/statuses', $may, 'post_statuses');
    $route('POST', '/events', $may, 'post_event');
    $may_moderate = static function (\WP_REST_Request $request): bool {
        return copydesk_may_moderate((int) $request['id']);
    };
    $route('POST', '/comments/(?P<id>\d{1,18})/apply', $may_moderate, 'post_judgement');
});

/** What $work returns, or the error that its refusal asks for. @return mixed */
function answer(callable $work)
{
    try {
        return $work();
    } catch (Refusal $e) {
        return with_retry_after($e->error);
    } catch (StorageError $e) {
        $why = 'The database did not take it. Nothing was written.';
        return with_retry_after(new \WP_Error('copydesk_storage', $why, ['status' => 503, 'retry_after' => 5]));
    }
}

/** @return \WP_Error|\WP_REST_Response */
function with_retry_after(\WP_Error $error)
{
    $seconds = $error->get_error_data()['retry_after'] ?? null;
    if ($seconds === null) {
        return $error;
    }
    $response = rest_convert_error_to_response($error);
    $response->header('Retry-After', (string) $seconds);
    return $response;
}

/** The body as sent: WordPress's own parameters mix in those of the address. @throws Refusal */
function body_of(\WP_REST_Request $request): array
{
    if (strlen($request->get_body()) > BODY_BYTES_MAX) {
        throw new Refusal('copydesk_too_large', 'The body is over ' . BODY_BYTES_MAX . ' bytes.', 413);
    }
    $body = $request->get_json_params();
    if (!is_array($body)) {
        throw invalid('body', 'must be a JSON object');
    }
    return $body;
}

/** @throws Refusal If a header says another thing than the body. */
function check_headers(\WP_REST_Request $request, Ticket $ticket): void
{
    $expected = ['Idempotency-Key' => $ticket->delivery_id, 'X-Copydesk-Write' => (string) $ticket->write];
    foreach ($expected as $name => $value) {
        $header = $request->get_header($name);
        if ($header !== null && $header !== $value) {
            throw invalid($name, 'is not what the body says');
        }
    }
}

function get_post_for_copydesk(\WP_REST_Request $request): array
{
    $post = present_post((int) $request['id']);
    $rows = ownership_rows($post->ID);
    $fields = [];
    foreach (Field::all($post) as $field) {
        $fields[$field->name] = [
            'hash' => value_hash($field->read($post)),
            'owner' => owner($field, $post, $rows[$field->name] ?? null),
        ];
    }
    $names = static function (string $field) use ($post): array {
        return Field::of($field)->existsFor($post) ? Field::of($field)->read($post) : [];
    };
    return [
        'id' => $post->ID,
        'type' => $post->post_type,
        'status' => $post->post_status,
        'modified_gmt' => rfc3339($post->post_modified_gmt),
        'language' => post_language($post),
        'title' => $post->post_title,
        'content' => $post->post_content,
        'excerpt' => $post->post_excerpt,
        'url' => get_permalink($post),
        'author' => (int) $post->post_author,
        'tags' => $names('tags'),
        'categories' => $names('categories'),
        'input_hash' => input_hash($post),
        'fields' => $fields,
    ];
}

function post_apply(\WP_REST_Request $request): \WP_REST_Response
{
    $write = new Write(body_of($request));
    check_headers($request, $write->ticket);
    return applied(apply((int) $request['id'], $write));
}

function applied(array $answer): \WP_REST_Response
{
    $response = new \WP_REST_Response($answer);
    if ($answer['status'] === 'already') {
        $response->header('Idempotent-Replay', '1');
    }
    return $response;
}

function post_apply_many(\WP_REST_Request $request): array
{
    $writes = items_of($request, 'writes', WRITES_MAX);
    return ['results' => array_map(static function (array $body): array {
        $id = $body['id'];
        $response = rest_ensure_response(answer(static function () use ($id, $body) {
            if (!copydesk_may_write($id)) {
                throw new Refusal('rest_forbidden', 'Sorry, you are not allowed to do that.', 403);
            }
            return apply($id, new Write($body));
        }));
        if (is_wp_error($response)) {
            $response = rest_convert_error_to_response($response);
        }
        return ['id' => $id, 'status' => $response->get_status(), 'body' => $response->get_data()];
    }, $writes)];
}

/** What was taken; an item about a post that is not there or not ours is left out, as is one that is older. */
function post_statuses(\WP_REST_Request $request): array
{
    $taken = 0;
    foreach (items_of($request, 'statuses', STATUSES_MAX) as $item) {
        $state = text_of($item, 'state', 16, '/^(?:' . implode('|', STATES) . ')$/D');
        $cause = sanitize_text_field(text_of($item, 'cause', 4000, '/^/', ''));
        $sequence = number_of($item, 'sequence');
        $at = number_of($item, 'at', now_ms());
        if (get_post($item['id']) && copydesk_may_write($item['id'])) {
            $taken += (int) record_status($item['id'], $sequence, $state, $cause, $at);
        }
    }
    return ['taken' => $taken];
}

/** A list of objects that each have an `id`. @throws Refusal */
function items_of(\WP_REST_Request $request, string $name, int $most): array
{
    $items = body_of($request)[$name] ?? null;
    if (!is_array($items) || $items === [] || count($items) > $most) {
        throw invalid($name, "must be a list of 1 to $most");
    }
    foreach ($items as $item) {
        number_of(is_array($item) ? $item : [], 'id');
    }
    return array_values($items);
}

function post_judgement(\WP_REST_Request $request): \WP_REST_Response
{
    $judgement = new Judgement(body_of($request));
    check_headers($request, $judgement->ticket);
    return applied(judge_comment((int) $request['id'], $judgement));
}

function post_event(\WP_REST_Request $request): \WP_REST_Response
{
    $event = new ProviderEvent(body_of($request));
    check_headers($request, $event->ticket);
    return applied(apply_event($event));
}
