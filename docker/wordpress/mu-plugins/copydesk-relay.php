<?php
/**
 * Plugin Name: Copydesk relay (example)
 * Description: Tells Copydesk of every post that is published or updated.
 *
 * The smallest sender that works: copy it into wp-content/mu-plugins and set two constants in wp-config.php.
 *
 *   COPYDESK_RELAY_URL     where Copydesk listens, for example http://127.0.0.1:8080/webhooks/news
 *   COPYDESK_RELAY_SECRET  a secret of that source, 32 bytes or more; no second copy of it lies in the database
 *
 * Sent is only which post changed; Copydesk reads the text itself. Under php-fpm the sending begins after the
 * editor has the answer. What it does not do: try again. When Copydesk cannot be reached, the event is lost and a
 * line in PHP's error log says so; the next save of the post brings the whole text again.
 */

namespace Copydesk\Relay;

defined('ABSPATH') || exit;

const TIMEOUT_S = 3;

add_action('publish_post', function ($post_id, $post, $old_status): void {
    if (!defined('COPYDESK_RELAY_URL') || !defined('COPYDESK_RELAY_SECRET') || wp_is_post_autosave($post_id)) {
        return;
    }
    $body = wp_json_encode([
        'event'           => $old_status === 'publish' ? 'post.updated' : 'post.published',
        'post_id'         => (int) $post_id,
        'idempotency_key' => wp_generate_uuid4(),
    ]);
    add_action('shutdown', function () use ($body): void {
        if (function_exists('fastcgi_finish_request')) {
            fastcgi_finish_request();
        }
        send($body);
    });
}, 10, 3);

/** Signed at the time of sending: Copydesk takes a signature for five minutes. */
function send(string $body): void {
    $timestamp = (string) time();
    $answer = wp_remote_post(COPYDESK_RELAY_URL, [
        'body'        => $body,
        'timeout'     => TIMEOUT_S,
        'redirection' => 0,
        'headers'     => [
            'Content-Type'    => 'application/json',
            'X-WP-Timestamp'  => $timestamp,
            'X-WP-Signature'  => hash_hmac('sha256', "$timestamp.$body", COPYDESK_RELAY_SECRET),
            'Idempotency-Key' => json_decode($body)->idempotency_key,
        ],
    ]);
    $status = wp_remote_retrieve_response_code($answer);
    if ($status !== 202) {
        error_log('copydesk relay: not accepted: ' . (is_wp_error($answer) ? $answer->get_error_message() : $status));
    }
}
