<?php

/**
 * The routes that people call from the editor: suggestions, history, undo. By cookie and nonce; what a person may not
 * edit they may not see here either.
 */

namespace Copydesk\Receiver;

use function Copydesk\table;

defined('ABSPATH') || exit;

const HISTORY_MAX = 50;

add_action('rest_api_init', static function (): void {
    $of_post = static function (\WP_REST_Request $request): bool {
        return person_may((int) $request['id']);
    };
    $of_suggestion = static function (\WP_REST_Request $request): bool {
        return person_may((int) (suggestion_row((int) $request['id'])['post_id'] ?? 0));
    };
    $id = ['id' => ['type' => 'integer', 'minimum' => 1]];
    $text = ['type' => 'string', 'maxLength' => 191];
    $number = ['type' => 'integer', 'minimum' => 0];
    register_rest_route(NAMESPACE_V1, '/posts/(?P<id>\d{1,18})/suggestions', [
        'methods' => 'GET',
        'permission_callback' => $of_post,
        'callback' => wrapped('list_suggestions'),
        'args' => $id,
    ]);
    register_rest_route(NAMESPACE_V1, '/posts/(?P<id>\d{1,18})/history', [
        'methods' => 'GET',
        'permission_callback' => $of_post,
        'callback' => wrapped('list_history'),
        'args' => $id,
    ]);
    register_rest_route(NAMESPACE_V1, '/suggestions/(?P<id>\d{1,18})', [
        'methods' => 'POST',
        'permission_callback' => $of_suggestion,
        'callback' => wrapped('decide'),
        'args' => $id + ['action' => ['type' => 'string', 'enum' => ['accept', 'dismiss'], 'required' => true]],
    ]);
    register_rest_route(NAMESPACE_V1, '/undo', [
        'methods' => 'POST',
        'permission_callback' => __NAMESPACE__ . '\may_undo',
        'callback' => wrapped('undo_many'),
        'args' => [
            'writes' => ['type' => 'array', 'items' => ['type' => 'integer'], 'minItems' => 1, 'maxItems' => UNDO_MAX],
            'filter' => [
                'type' => 'object',
                'minProperties' => 1,
                'additionalProperties' => false,
                'properties' => [
                    'field' => $text, 'model' => $text, 'after' => $number, 'before' => $number, 'post_id' => $number,
                ],
            ],
            'dry_run' => ['type' => 'boolean', 'default' => false],
        ],
    ]);
});

function wrapped(string $work): callable
{
    return static function (\WP_REST_Request $request) use ($work) {
        return answer(static function () use ($request, $work) {
            return (__NAMESPACE__ . '\\' . $work)($request);
        });
    };
}

/** Named writes: only of posts the person may edit. A filter over many posts: only for those who may edit others'. */
function may_undo(\WP_REST_Request $request): bool
{
    $writes = $request['writes'];
    if (!is_array($writes) || $writes === []) {
        $post_id = (int) ($request['filter']['post_id'] ?? 0);
        return $post_id ? person_may($post_id) : current_user_can('edit_others_posts');
    }
    foreach (array_slice($writes, 0, UNDO_MAX) as $id) {
        $row = row('SELECT post_id FROM ' . table('writes') . ' WHERE id = %d', [(int) $id]);
        if (!person_may((int) ($row['post_id'] ?? 0))) {
            return false;
        }
    }
    return true;
}

function list_suggestions(\WP_REST_Request $request): array
{
    $post = present_post((int) $request['id']);
    $sql = 'SELECT * FROM ' . table('suggestions') . " WHERE post_id = %d AND state = 'open' ORDER BY id";
    return ['suggestions' => array_map(static function (array $row) use ($post): array {
        $field = Field::of($row['field']);
        return shown($row, $field) + [
            'id' => (int) $row['id'],
            'value' => shown_value($field, $row['value']),
            'current' => $field && $field->existsFor($post) ? $field->read($post) : '',
            'reason' => $row['reason'],
        ];
    }, rows($sql, [$post->ID]))];
}

function list_history(\WP_REST_Request $request): array
{
    $post = present_post((int) $request['id']);
    $sql = 'SELECT * FROM ' . table('writes') . ' WHERE post_id = %d ORDER BY id DESC LIMIT %d';
    return ['history' => array_map(static function (array $row) use ($post): array {
        $field = Field::of($row['field']);
        return shown($row, $field) + [
            'id' => (int) $row['id'],
            'before' => shown_value($field, $row['before_value']),
            'after' => shown_value($field, $row['after_value']),
            'approved_by' => person_name((int) $row['approved_by']),
            'undone_by' => person_name((int) $row['undone_by']),
            'undone_at' => (int) $row['undone_at'],
            'can_undo' => why_not_undone($row, $post, []) === '',
        ];
    }, rows($sql, [$post->ID, HISTORY_MAX]))];
}

/** What a suggestion and a write have in common. */
function shown(array $row, ?Field $field): array
{
    return [
        'field' => $row['field'],
        'label' => $field ? $field->label() : $row['field'],
        'is_list' => $field && $field->isTerms(),
        'model' => $row['model'],
        'prompt_version' => (int) $row['prompt_version'],
        'enrichment' => $row['enrichment'],
        'at' => (int) $row['created_at'],
    ];
}

/** @return string|string[] */
function shown_value(?Field $field, string $stored)
{
    return $field && $field->isTerms() ? (array) json_decode($stored, true) : $stored;
}

function person_name(int $user_id): ?string
{
    if ($user_id === 0) {
        return null;
    }
    $user = get_userdata($user_id);
    return $user ? $user->display_name : __('a former user', 'copydesk');
}

/** Answers with the field as it now stands, for the editor that is open. */
function decide(\WP_REST_Request $request): array
{
    $id = (int) $request['id'];
    $row = suggestion_row($id);
    if (!$row) {
        throw new Refusal('copydesk_gone', __('There is no such suggestion.', 'copydesk'), 404);
    }
    $accepts = $request['action'] === 'accept';
    $accepts ? accept($id, $request['value']) : dismiss($id);
    return ['status' => $accepts ? 'accepted' : 'dismissed'] + standing((int) $row['post_id'], [$row['field']]);
}

function undo_many(\WP_REST_Request $request): array
{
    $filter = $request['writes'] ? ['writes' => array_map('intval', $request['writes'])] : $request['filter'];
    if (!$filter) {
        throw invalid('writes', 'or filter must say what to undo');
    }
    $dry_run = (bool) $request['dry_run'];
    $found = writes_to_undo($filter);
    $results = [];
    $undone = [];
    foreach (array_slice($found, 0, UNDO_MAX) as $row) {
        $results[] = undo((int) $row['id'], $dry_run, $undone);
    }
    $posts = array_unique(array_column($found, 'post_id'));
    return [
        'dry_run' => $dry_run,
        'undone' => count(array_keys(array_column($results, 'outcome'), 'undone', true)),
        'kept' => count(array_keys(array_column($results, 'outcome'), 'kept', true)),
        'more' => count($found) > UNDO_MAX,
        'results' => $results,
    ] + (count($posts) === 1 ? standing((int) $posts[0], array_column($found, 'field')) : []);
}

/** @param string[] $names */
function standing(int $post_id, array $names): array
{
    $post = get_post($post_id);
    $fields = [];
    foreach (array_unique($names) as $name) {
        $field = Field::of($name);
        if ($post && $field && $field->existsFor($post)) {
            $terms = $field->isTerms() ? wp_list_pluck($field->terms($post), 'term_id') : null;
            $fields[$name] = ['value' => $field->read($post), 'terms' => $terms];
        }
    }
    return ['fields' => $fields];
}
