<?php

/**
 * What is sent of a post or a comment, and what counts as a change of it.
 */

namespace Copydesk\Sender;

use function Copydesk\content_hash;
use function Copydesk\post_language;
use function Copydesk\settings;

defined('ABSPATH') || exit;

// What Copydesk takes; it refuses an event that has more. See core/src/limits.rs there.
const BODY_BYTES_MAX = 262144;
const TITLE_CHARS_MAX = 1000;
const EXCERPT_BYTES_MAX = 65535;
const TERMS_MAX = 100;
const URL_BYTES_MAX = 2048;

/** What may be chosen to count as a change, beside status, title and content. Copydesk writes none of these. */
function input_choices(): array
{
    return [
        'author' => __('Author', 'copydesk'),
        'url' => __('Address (slug)', 'copydesk'),
        'password' => __('Password protection', 'copydesk'),
    ];
}

/** Two saves with the same hash are one event. Fields that Copydesk writes are never in it. */
function source_hash(\WP_Post $post): string
{
    $parts = [$post->post_status, $post->post_title, $post->post_content];
    foreach (settings()['inputs'] as $input) {
        switch ($input) {
            case 'author':
                $parts[] = "author $post->post_author";
                break;
            case 'url':
                $parts[] = "url $post->post_name";
                break;
            case 'password':
                $parts[] = 'password ' . ($post->post_password === '' ? 0 : 1);
                break;
        }
    }
    return content_hash($parts);
}

function comment_hash(\WP_Comment $comment): string
{
    return content_hash([comment_status($comment), $comment->comment_author, $comment->comment_content]);
}

/** As the REST API names it. */
function comment_status(\WP_Comment $comment): string
{
    $names = ['0' => 'hold', '1' => 'approved'];
    return $names[$comment->comment_approved] ?? $comment->comment_approved;
}

function post_payload(\WP_Post $post, string $event): array
{
    return base_payload($post, $event)
        + texts($post)
        + ['categories' => term_names($post, 'category'), 'tags' => term_names($post, 'post_tag')];
}

/** Nothing of the text: it is gone. */
function deleted_payload(\WP_Post $post): array
{
    return base_payload($post, 'post.deleted');
}

function comment_payload(\WP_Comment $comment, \WP_Post $post, string $event): array
{
    return base_payload($post, $event) + ['comment' => [
        'id' => (int) $comment->comment_ID,
        'status' => comment_status($comment),
        'author_name' => $comment->comment_author,
        'content' => $comment->comment_content,
        'parent' => (int) $comment->comment_parent,
    ]];
}

function base_payload(\WP_Post $post, string $event): array
{
    $payload = [
        'event' => $event,
        'post_id' => $post->ID,
        'type' => $post->post_type,
        'status' => $post->post_status,
        'site' => home_url(),
        'author' => (int) $post->post_author,
        'language' => post_language($post),
        'modified_gmt' => str_replace(' ', 'T', modified_gmt($post)) . 'Z',
    ];
    $url = (string) get_permalink($post);
    return strlen($url) <= URL_BYTES_MAX && $url !== '' ? $payload + ['url' => $url] : $payload;
}

/** A post that some import wrote may have only the local time. */
function modified_gmt(\WP_Post $post): string
{
    return $post->post_modified_gmt !== '0000-00-00 00:00:00'
        ? $post->post_modified_gmt
        : get_gmt_from_date($post->post_modified);
}

/** Title, content and excerpt; without a content Copydesk reads the post, so one text that cannot go takes it along. */
function texts(\WP_Post $post): array
{
    $texts = ['title' => $post->post_title, 'content' => $post->post_content, 'excerpt' => $post->post_excerpt];
    $sendable = array_filter($texts, function (string $text): bool {
        return strpos($text, "\0") === false && mb_check_encoding($text, 'UTF-8');
    });
    if (mb_strlen($texts['title'], 'UTF-8') > TITLE_CHARS_MAX) {
        unset($sendable['title']);
    }
    if (strlen($texts['excerpt']) > EXCERPT_BYTES_MAX) {
        unset($sendable['excerpt']);
    }
    if (count($sendable) < count($texts)) {
        unset($sendable['content']);
    }
    return $sendable;
}

/** @return string[] */
function term_names(\WP_Post $post, string $taxonomy): array
{
    $terms = is_object_in_taxonomy($post->post_type, $taxonomy) ? get_the_terms($post, $taxonomy) : [];
    return is_array($terms) ? array_slice(array_column($terms, 'name'), 0, TERMS_MAX) : [];
}

/** As ASCII, whatever the database's encoding is. */
function encode(array $payload): string
{
    $body = (string) wp_json_encode($payload, JSON_UNESCAPED_SLASHES);
    foreach (['content', 'excerpt', 'title'] as $text) {
        if (strlen($body) > BODY_BYTES_MAX) {
            unset($payload[$text]);
            $body = (string) wp_json_encode($payload, JSON_UNESCAPED_SLASHES);
        }
    }
    return $body;
}
