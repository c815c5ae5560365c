<?php
/**
 * Plugin Name: Copydesk test relay
 * Description: Sends a signed webhook (scheme wp-relay) for every publish and every update of a published post.
 *
 * A relay as publishers really run them: one blocking call per hook, no retry, and on purpose no guard against
 * loops or unchanged posts. Stopping those is Copydesk's work, and what the tests look at.
 *
 * Settings, each a constant of wp-config.php or else an option of the same name:
 *   COPYDESK_TEST_RELAY_URL     where to send; empty: nothing is sent
 *   COPYDESK_TEST_RELAY_SECRET  the signing secret
 *   COPYDESK_TEST_RELAY_KEY_ID  optional, goes into X-WP-Key-Id
 *   COPYDESK_TEST_RELAY_SITE    "site" of the payload; the blog's name as a slug if empty
 *
 * Each send leaves a line in log/relay.jsonl of the site's folder: {post, event, key, traceparent, status, error}.
 * Status 0 means that no answer came.
 */

namespace Copydesk\TestRelay;

defined('ABSPATH') || exit;

function setting(string $name): string {
    return (string) (defined($name) ? constant($name) : get_option($name, ''));
}

add_action('publish_post', function ($post_id, $post, $old_status): void {
    $url = setting('COPYDESK_TEST_RELAY_URL');
    if ($url === '' || wp_is_post_revision($post_id) || wp_is_post_autosave($post_id) || (defined('DOING_AUTOSAVE') && DOING_AUTOSAVE)) {
        return;
    }
    $event = $old_status === 'publish' ? 'post.updated' : 'post.published';
    $key = wp_generate_uuid4();
    $traceparent = sprintf('00-%s-%s-01', bin2hex(random_bytes(16)), bin2hex(random_bytes(8)));
    $body = wp_json_encode([
        'event'           => $event,
        'post_id'         => (int) $post_id,
        'site'            => setting('COPYDESK_TEST_RELAY_SITE') ?: sanitize_title(get_bloginfo('name')),
        'idempotency_key' => $key,
        'saved_at'        => (int) floor(microtime(true) * 1000),
    ]);
    $timestamp = (string) time();
    $headers = [
        'Content-Type'    => 'application/json',
        'X-WP-Timestamp'  => $timestamp,
        'X-WP-Signature'  => hash_hmac('sha256', "$timestamp.$body", setting('COPYDESK_TEST_RELAY_SECRET')),
        'Idempotency-Key' => $key,
        'traceparent'     => $traceparent,
    ];
    if (setting('COPYDESK_TEST_RELAY_KEY_ID') !== '') {
        $headers['X-WP-Key-Id'] = setting('COPYDESK_TEST_RELAY_KEY_ID');
    }
    $answer = wp_remote_post($url, ['headers' => $headers, 'body' => $body, 'timeout' => 5, 'redirection' => 0]);
    $line = wp_json_encode([
        'post'        => (int) $post_id,
        'event'       => $event,
        'key'         => $key,
        'traceparent' => $traceparent,
        'status'      => (int) wp_remote_retrieve_response_code($answer),
        'error'       => is_wp_error($answer) ? $answer->get_error_message() : null,
    ]);
    file_put_contents(COPYDESK_TEST_DIR . '/log/relay.jsonl', "$line\n", FILE_APPEND | LOCK_EX);
}, 10, 3);
