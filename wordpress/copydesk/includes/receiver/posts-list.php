<?php

/**
 * The posts list: where each post stands with Copydesk, a filter by that, and "Enrich again".
 */

namespace Copydesk\Receiver;

use function Copydesk\Sender\enqueue;
use function Copydesk\Sender\explain_row;
use function Copydesk\Sender\is_sent_status;
use function Copydesk\Sender\post_payload;
use function Copydesk\Sender\send_after_response;
use function Copydesk\Sender\source_hash;
use function Copydesk\table;

defined('ABSPATH') || exit;

const COLUMN = 'copydesk';
const FILTER = 'copydesk_state';
const AGAIN = 'copydesk_again';

add_action('admin_init', static function (): void {
    foreach (chosen_types() as $type) {
        add_filter("manage_{$type}_posts_columns", __NAMESPACE__ . '\add_column');
        add_action("manage_{$type}_posts_custom_column", __NAMESPACE__ . '\show_state', 10, 2);
    }
});
add_action('restrict_manage_posts', __NAMESPACE__ . '\show_filter');
add_filter('posts_clauses', __NAMESPACE__ . '\filter_posts', 10, 2);
add_filter('post_row_actions', __NAMESPACE__ . '\add_row_action', 10, 2);
add_action('admin_post_' . AGAIN, __NAMESPACE__ . '\enrich_again', 10, 0);
add_action('admin_notices', __NAMESPACE__ . '\say_enriched_again', 10, 0);
add_filter('removable_query_args', static function (array $names): array {
    return array_merge($names, [AGAIN]);
});
add_action('admin_enqueue_scripts', static function (string $page): void {
    if ($page === 'edit.php') {
        wp_enqueue_style('copydesk');
    }
});

/** @return array<string, string> What people filter by. */
function state_labels(): array
{
    return [
        'waiting' => __('Waiting', 'copydesk'),
        'enriched' => __('Enriched', 'copydesk'),
        'suggested' => __('Suggestions', 'copydesk'),
        'failed' => __('Failed', 'copydesk'),
    ];
}

/**
 * A post's state as SQL, beside the posts table: its statuses row `cds`, and its newest event of the outbox, `cdo`,
 * which counts only until Copydesk has said how it ended.
 */
function state_joins(): string
{
    global $wpdb;
    $outbox = table('outbox');
    return ' LEFT JOIN ' . table('statuses') . " cds ON cds.post_id = $wpdb->posts.ID
        LEFT JOIN $outbox cdo ON cdo.post_id = $wpdb->posts.ID AND cdo.sequence > COALESCE(cds.sequence, 0)
            AND cdo.sequence = (SELECT MAX(newest.sequence) FROM $outbox newest
                WHERE newest.post_id = $wpdb->posts.ID AND newest.state <> 'dropped') ";
}

function state_case(): string
{
    global $wpdb;
    $suggestions = table('suggestions');
    return "(CASE
        WHEN cdo.state = 'dead' THEN 'failed'
        WHEN cdo.state IN ('open', 'due', 'sent') THEN 'waiting'
        WHEN cds.state = 'failed' THEN 'failed'
        WHEN cds.state = 'held' THEN 'waiting'
        WHEN EXISTS (SELECT 1 FROM $suggestions open
            WHERE open.post_id = $wpdb->posts.ID AND open.state = 'open') THEN 'suggested'
        WHEN cds.state IN ('enriched', 'suggested', 'unchanged', 'superseded', 'kept') THEN 'enriched'
        ELSE '' END)";
}

function add_column(array $columns): array
{
    return $columns + [COLUMN => __('Copydesk', 'copydesk')];
}

/** The states of all posts on the page, asked for once. */
function states(int $post_id): array
{
    static $known = [];
    if (!isset($known[$post_id])) {
        global $wpdb, $wp_query;
        $ids = array_unique(array_merge([$post_id], wp_list_pluck((array) $wp_query->posts, 'ID')));
        $open = 'SELECT COUNT(*) FROM ' . table('suggestions')
            . " o WHERE o.post_id = $wpdb->posts.ID AND o.state = 'open'";
        $sql = "SELECT $wpdb->posts.ID AS post, " . state_case() . " AS state, cds.state AS said, cds.cause,
            ($open) AS suggestions, cdo.state AS row_state, cdo.last_status, cdo.last_error
            FROM $wpdb->posts" . state_joins()
            . "WHERE $wpdb->posts.ID IN (" . implode(',', array_map('intval', $ids)) . ')';
        $known = array_column(rows($sql), null, 'post') + $known;
    }
    return $known[$post_id];
}

function show_state(string $column, int $post_id): void
{
    if ($column !== COLUMN) {
        return;
    }
    try {
        $state = states($post_id);
    } catch (StorageError $e) {
        return;
    }
    $icons = [
        'waiting' => 'clock', 'enriched' => 'yes-alt', 'suggested' => 'format-status', 'failed' => 'warning',
    ];
    if (!isset($icons[$state['state']])) {
        echo '<span aria-hidden="true">—</span><span class="screen-reader-text">'
            . esc_html__('Not sent to Copydesk', 'copydesk') . '</span>';
        return;
    }
    printf(
        '<span class="copydesk-state is-%s"><span class="dashicons dashicons-%s" aria-hidden="true"></span>%s</span>',
        esc_attr($state['state']),
        esc_attr($icons[$state['state']]),
        $state['state'] === 'suggested' ? link_to_suggestions($post_id, $state) : esc_html(state_words($state))
    );
    $cause = state_cause($state);
    if ($cause !== '') {
        echo '<span class="copydesk-cause">' . esc_html($cause) . '</span>';
    }
}

function link_to_suggestions(int $post_id, array $state): string
{
    $count = (int) $state['suggestions'];
    /* translators: %s: number of suggestions */
    $words = sprintf(_n('%s suggestion', '%s suggestions', $count, 'copydesk'), number_format_i18n($count));
    $link = get_edit_post_link($post_id);
    return $link ? sprintf('<a href="%s">%s</a>', esc_url($link), esc_html($words)) : esc_html($words);
}

function state_words(array $state): string
{
    $words = [
        'unchanged' => __('Up to date', 'copydesk'),
        'kept' => __('Left as it is', 'copydesk'),
        'held' => __('Held', 'copydesk'),
    ];
    $own = $state['row_state'] === null ? $words[$state['said']] ?? '' : '';
    return $own ?: state_labels()[$state['state']];
}

/** Why it does not go on, in words. */
function state_cause(array $state): string
{
    if ($state['row_state'] === 'dead') {
        return explain_row($state);
    }
    return $state['row_state'] === null && in_array($state['said'], ['failed', 'held'], true) ? $state['cause'] : '';
}

function show_filter(string $post_type): void
{
    if (!in_array($post_type, chosen_types(), true)) {
        return;
    }
    $chosen = chosen_state();
    echo '<label class="screen-reader-text" for="' . esc_attr(FILTER) . '">'
        . esc_html__('Filter by what Copydesk did', 'copydesk') . '</label>';
    echo '<select name="' . esc_attr(FILTER) . '" id="' . esc_attr(FILTER) . '">';
    foreach (['' => __('All of Copydesk', 'copydesk')] + state_labels() as $state => $label) {
        $is_chosen = selected($chosen, $state, false);
        printf('<option value="%s"%s>%s</option>', esc_attr($state), $is_chosen, esc_html($label));
    }
    echo '</select>';
}

function chosen_state(): string
{
    $state = sanitize_key(wp_unslash($_GET[FILTER] ?? ''));
    return isset(state_labels()[$state]) ? $state : '';
}

function filter_posts(array $clauses, \WP_Query $query): array
{
    global $pagenow;
    if (!is_admin() || $pagenow !== 'edit.php' || !$query->is_main_query() || chosen_state() === '') {
        return $clauses;
    }
    $clauses['join'] .= state_joins();
    $clauses['where'] .= $GLOBALS['wpdb']->prepare(' AND ' . state_case() . ' = %s', chosen_state());
    return $clauses;
}

function add_row_action(array $actions, \WP_Post $post): array
{
    if (!is_sent_status($post->post_status) || !has_panel($post)) {
        return $actions;
    }
    $url = wp_nonce_url(admin_url('admin-post.php?action=' . AGAIN . '&post=' . $post->ID), AGAIN . $post->ID);
    /* translators: %s: title of a post */
    $label = sprintf(__('Enrich “%s” again', 'copydesk'), _draft_or_post_title($post));
    return $actions + [AGAIN => sprintf(
        '<a href="%s" aria-label="%s">%s</a>',
        esc_url($url),
        esc_attr($label),
        esc_html__('Enrich again', 'copydesk')
    )];
}

/** Sends the post once more, though nothing in it has changed; `again` tells Copydesk that a person wants it. */
function enrich_again(): void
{
    $post = get_post((int) ($_GET['post'] ?? 0));
    check_admin_referer(AGAIN . ($post ? $post->ID : 0));
    if (!has_panel($post) || !is_sent_status($post->post_status)) {
        wp_die(esc_html__('You may not edit this post.', 'copydesk'), '', ['response' => 403]);
    }
    $sent = enqueue($post->ID, 0, static function (?\WP_Post $post): ?array {
        return $post ? [post_payload($post, 'post.updated') + ['again' => true], source_hash($post)] : null;
    }, null, true);
    if ($sent) {
        send_after_response();
    }
    wp_safe_redirect(add_query_arg(AGAIN, $sent ? 1 : 0, wp_get_referer() ?: admin_url('edit.php')));
    exit;
}

function say_enriched_again(): void
{
    if (!isset($_GET[AGAIN]) || get_current_screen()->base !== 'edit') {
        return;
    }
    $sent = $_GET[AGAIN] === '1';
    printf(
        '<div class="notice notice-%s is-dismissible"><p>%s</p></div>',
        $sent ? 'success' : 'error',
        $sent
            ? esc_html__('The post goes to Copydesk once more.', 'copydesk')
            : esc_html__('The post could not be put on its way to Copydesk.', 'copydesk')
    );
}
