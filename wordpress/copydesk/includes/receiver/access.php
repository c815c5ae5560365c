<?php

/**
 * Who may call what. Copydesk's user may do nothing in WordPress but what these routes do.
 */

namespace Copydesk\Receiver;

use function Copydesk\settings;

defined('ABSPATH') || exit;

const ROLE = 'copydesk';
const WRITE = 'copydesk_write';

function create_role(): void
{
    remove_role(ROLE);
    add_role(ROLE, 'Copydesk', ['read' => true, WRITE => true]);
}

/** For routes that Copydesk calls and that are about no single post. */
function copydesk_may(): bool
{
    return current_user_can(WRITE);
}

/** For routes that Copydesk calls about one post. One that is not there is answered by the route itself. */
function copydesk_may_write(int $post_id): bool
{
    if (!current_user_can(WRITE)) {
        return false;
    }
    $post = get_post($post_id);
    if (!$post) {
        return true;
    }
    if (!in_array($post->post_type, chosen_types(), true)) {
        return false;
    }
    // Granted for this question only: outside these routes the role can edit nothing. Others may still say no.
    $grant = static function (array $caps, string $cap, int $user_id, array $args) use ($post_id): array {
        return $cap === 'edit_post' && (int) ($args[0] ?? 0) === $post_id ? [WRITE] : $caps;
    };
    add_filter('map_meta_cap', $grant, 9, 4);
    try {
        return current_user_can('edit_post', $post_id);
    } finally {
        remove_filter('map_meta_cap', $grant, 9);
    }
}

/** For routes that people call about one post. */
function person_may(int $post_id): bool
{
    return get_post($post_id) ? current_user_can('edit_post', $post_id) : current_user_can('edit_posts');
}

/** @return string[] The post types whose posts Copydesk gets and may write to. */
function chosen_types(): array
{
    return (array) settings()['post_types'];
}
