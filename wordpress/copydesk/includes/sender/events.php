<?php

/**
 * Which saves are events. One save fires its hooks once or twice, for revisions too, and before terms are stored; so
 * the row is opened when the status is set, completed when all is stored (`wp_after_insert_post`), and not written
 * at all when the post is as it was when last sent.
 */

namespace Copydesk\Sender;

use function Copydesk\is_muted;
use function Copydesk\settings;
use function Copydesk\table;

defined('ABSPATH') || exit;

/** Saves that this request has begun, by post: `row` and the `status` before. Deletions: `deleting`, by post. */
final class Saves
{
    /** @var array[] */
    public static $begun = [];
    /** @var true[] */
    public static $deleting = [];
}

function on_transition(string $new, string $old, \WP_Post $post): void
{
    // The first status before counts when a plugin saves the post again while it is being saved.
    if (isset(Saves::$begun[$post->ID]) || !is_event($post)) {
        return;
    }
    $event = event_of($post->ID, $old, $new);
    if ($event !== null) {
        Saves::$begun[$post->ID] = ['row' => open_row($post->ID, $event), 'status' => $old];
    }
}

function on_saved(int $post_id, \WP_Post $post, bool $update, ?\WP_Post $before): void
{
    $begun = Saves::$begun[$post_id] ?? null;
    unset(Saves::$begun[$post_id]);
    if (!is_event($post)) {
        return;
    }
    $old = $begun['status'] ?? $before->post_status ?? 'new';
    $describe = function (?\WP_Post $post) use ($old): ?array {
        $event = $post ? event_of($post->ID, $old, $post->post_status) : null;
        return $event === null ? null : [post_payload($post, $event), source_hash($post)];
    };
    if (enqueue($post_id, 0, $describe, $begun['row'] ?? null)) {
        send_after_response();
    }
}

/** The comments go with their post: no event for each. */
function on_deleting(int $post_id): void
{
    Saves::$deleting[$post_id] = true;
}

function on_deleted(int $post_id, \WP_Post $post): void
{
    unset(Saves::$deleting[$post_id]);
    if (!is_event($post) || !(is_sent_status($post->post_status) || is_known($post_id))) {
        return;
    }
    $describe = function () use ($post): array {
        return [deleted_payload($post), 'deleted'];
    };
    if (enqueue($post_id, 0, $describe)) {
        send_after_response();
    }
}

/** @param int|string $comment_id */
function on_comment($comment_id): void
{
    $comment = get_comment($comment_id);
    if ($comment && settings()['comments']) {
        record_comment($comment);
    }
}

function on_comment_transition(string $new, string $old, \WP_Comment $comment): void
{
    if (!settings()['comments']) {
        return;
    }
    // One that is deleted for good cannot be read any more, and the object holds its last status.
    $comment = clone $comment;
    $comment->comment_approved = $new === 'delete' ? 'delete' : $comment->comment_approved;
    record_comment($comment);
}

function record_comment(\WP_Comment $comment): void
{
    $post = get_post((int) $comment->comment_post_ID);
    // Pingbacks and the notes of other plugins are comments too.
    if (!$post || isset(Saves::$deleting[$post->ID]) || !in_array($comment->comment_type, ['comment', ''], true)) {
        return;
    }
    if (!is_event($post) || !is_sent_status($post->post_status)) {
        return;
    }
    $describe = function (?\WP_Post $post, bool $is_known) use ($comment): ?array {
        $never_seen = ['spam', 'trash', 'delete', 'post-trashed'];
        if (!$post || (!$is_known && in_array(comment_status($comment), $never_seen, true))) {
            return null;
        }
        $event = $is_known ? 'comment.updated' : 'comment.created';
        return [comment_payload($comment, $post, $event), comment_hash($comment)];
    };
    if (enqueue($post->ID, (int) $comment->comment_ID, $describe)) {
        send_after_response();
    }
}

/** Whether a save of this post can be an event at all. */
function is_event(\WP_Post $post): bool
{
    return in_array($post->post_type, settings()['post_types'], true)
        && $post->post_status !== 'auto-draft'
        && !is_muted()
        && !(defined('DOING_AUTOSAVE') && DOING_AUTOSAVE);
}

function is_sent_status(string $status): bool
{
    return in_array($status, settings()['statuses'], true);
}

/** Whether Copydesk has heard of the post. */
function is_known(int $post_id): bool
{
    return rows('SELECT 1 FROM ' . table('outbox') . ' WHERE post_id = %d AND sequence IS NOT NULL LIMIT 1', $post_id)
        !== [];
}

/** The event of a change of status, or null when it is none of Copydesk's business. */
function event_of(int $post_id, string $old, string $new): ?string
{
    if ($new === 'trash' || $old === 'trash') {
        if (!is_sent_status($old) && !is_sent_status($new) && !is_known($post_id)) {
            return null;
        }
        return $new === 'trash' ? 'post.trashed' : 'post.untrashed';
    }
    if (is_sent_status($new)) {
        return is_sent_status($old) ? 'post.updated' : 'post.published';
    }
    return is_sent_status($old) ? 'post.unpublished' : null;
}
