<?php

/**
 * Secrets: which one signs, how one takes over from another, and how a request of Copydesk's own is checked.
 */

namespace Copydesk\Sender;

defined('ABSPATH') || exit;

/** The output size of SHA-256: Copydesk takes no shorter secret. */
const SECRET_BYTES_MIN = 32;
const SECRET_BYTES_MAX = 1024;
/** How old a signature may be, in seconds, on both sides. */
const SIGNATURE_WINDOW_S = 300;

/** What the settings page has stored; never shown anywhere. */
function stored_secrets(): array
{
    $stored = get_option('copydesk_secrets');
    return (is_array($stored) ? $stored : [])
        + ['secret' => '', 'key_id' => '', 'next_secret' => '', 'next_key_id' => ''];
}

/** Whether wp-config.php holds the secret; the stored ones are not looked at then. */
function has_secret_constant(): bool
{
    return defined('COPYDESK_SECRET');
}

/** The key that signs: `secret` and `id`; no secret: nothing can be sent. */
function current_key(): array
{
    if (has_secret_constant()) {
        $id = defined('COPYDESK_KEY_ID') ? (string) COPYDESK_KEY_ID : '';
        return ['secret' => (string) COPYDESK_SECRET, 'id' => $id];
    }
    $stored = stored_secrets();
    return ['secret' => $stored['secret'], 'id' => $stored['key_id']];
}

/** The key that waits to take over, or null. */
function next_key(): ?array
{
    $stored = stored_secrets();
    if (has_secret_constant() || $stored['next_secret'] === '') {
        return null;
    }
    return ['secret' => $stored['next_secret'], 'id' => $stored['next_key_id']];
}

/** The next key, which Copydesk has taken, becomes the current one. */
function promote_next_key(): void
{
    $stored = stored_secrets();
    if ($stored['next_secret'] !== '') {
        $secrets = ['secret' => $stored['next_secret'], 'key_id' => $stored['next_key_id']];
        update_option('copydesk_secrets', $secrets, false);
    }
}

function sign(string $timestamp, string $text, string $secret): string
{
    return hash_hmac('sha256', "$timestamp.$text", $secret);
}

/** The headers of a webhook, signed now. */
function signed_headers(array $row, array $key): array
{
    $timestamp = (string) time();
    $headers = [
        'Content-Type' => 'application/json',
        'X-WP-Timestamp' => $timestamp,
        'X-WP-Signature' => sign($timestamp, $row['body'], $key['secret']),
        'Idempotency-Key' => $row['idempotency_key'],
        'traceparent' => $row['traceparent'],
    ];
    return $key['id'] === '' ? $headers : $headers + ['X-WP-Key-Id' => $key['id']];
}

/**
 * What Copydesk signs to call one of our routes: method, route and query too, so that neither a webhook of ours nor
 * a call of another route can be played back here.
 */
function text_to_sign(\WP_REST_Request $request): string
{
    $query = $request->get_query_params();
    unset($query['rest_route']);
    ksort($query);
    $target = $request->get_route() . ($query ? '?' . http_build_query($query, '', '&', PHP_QUERY_RFC3986) : '');
    return $request->get_method() . " $target\n" . $request->get_body();
}

/** Whether a request carries a fresh signature by one of our secrets. */
function is_signed(\WP_REST_Request $request): bool
{
    $timestamp = (string) $request->get_header('X-WP-Timestamp');
    $signature = (string) $request->get_header('X-WP-Signature');
    if (!preg_match('/^[1-9]\d{9}$/', $timestamp) || abs(time() - (int) $timestamp) > SIGNATURE_WINDOW_S) {
        return false;
    }
    foreach (array_filter([current_key(), next_key()]) as $key) {
        // An empty secret would let anyone in who signs with the empty one.
        if (strlen($key['secret']) >= SECRET_BYTES_MIN) {
            if (hash_equals(sign($timestamp, text_to_sign($request), $key['secret']), $signature)) {
                return true;
            }
        }
    }
    return false;
}
