<?php

/**
 * One try: a webhook goes out, an outcome comes back.
 */

namespace Copydesk\Sender;

use function Copydesk\settings;

use const Copydesk\VERSION;

defined('ABSPATH') || exit;

/** Copydesk answers within a second, or is not there: a worker of this site must not hang on it. */
const SEND_TIMEOUT_S = 3;
/** More of an answer than this is not read: it is not Copydesk's. */
const ANSWER_BYTES_MAX = 65536;
/** A Retry-After may ask for so much. */
const RETRY_AFTER_S_MIN = 1;
const RETRY_AFTER_S_MAX = 3600;

/** Where webhooks go; '' if nowhere. */
function endpoint(): string
{
    return defined('COPYDESK_ENDPOINT') ? (string) COPYDESK_ENDPOINT : settings()['endpoint'];
}

/** Why a row cannot even be tried, as a code of words.php, or ''. */
function missing(): string
{
    if (endpoint() === '') {
        return 'no_endpoint';
    }
    if (!is_safe_endpoint(endpoint())) {
        return 'unsafe_endpoint';
    }
    return strlen(current_key()['secret']) < SECRET_BYTES_MIN ? 'no_secret' : '';
}

/** The text of posts goes over https, or stays on this machine or in its own network. */
function is_safe_endpoint(string $url): bool
{
    $parts = wp_parse_url($url);
    $host = trim($parts['host'] ?? '', '[]');
    if ($host === '' || isset($parts['user'])) {
        return false;
    }
    if (filter_var($host, FILTER_VALIDATE_IP)) {
        $public = filter_var($host, FILTER_VALIDATE_IP, FILTER_FLAG_NO_PRIV_RANGE | FILTER_FLAG_NO_RES_RANGE);
    } else {
        // A name of one word is looked up in the own network, as the names of containers are.
        $public = strpos($host, '.') !== false && !preg_match('/\.(localhost|local|internal|test)$/i', $host);
    }
    $scheme = strtolower($parts['scheme'] ?? '');
    return $scheme === 'https' || ($scheme === 'http' && !$public);
}

/**
 * Sends one row, signed now, and by the next key if the current one is no longer taken.
 *
 * @return array The outcome: `status` (0: no answer), `code` and `detail` of Copydesk's answer, `transport` (why no
 *   answer came), `retry_after` (seconds or null), `is_page` (an HTML page answered), `skew` (seconds or null).
 */
function deliver(array $row, int $timeout_s = SEND_TIMEOUT_S): array
{
    $missing = missing();
    if ($missing !== '') {
        return outcome(['code' => $missing]);
    }
    $outcome = deliver_signed($row, current_key(), $timeout_s);
    $next = $outcome['status'] === 401 ? next_key() : null;
    if ($next) {
        $again = deliver_signed($row, $next, $timeout_s);
        if (is_taken($again)) {
            promote_next_key();
            return $again;
        }
    }
    return $outcome;
}

function deliver_signed(array $row, array $key, int $timeout_s = SEND_TIMEOUT_S): array
{
    $answer = wp_remote_post(endpoint(), [
        'body' => $row['body'],
        'headers' => signed_headers($row, $key),
        'timeout' => $timeout_s,
        // A redirect would repeat the post's text to an address that nobody chose.
        'redirection' => 0,
        'limit_response_size' => ANSWER_BYTES_MAX,
        'user-agent' => 'Copydesk-WordPress/' . VERSION,
    ]);
    if (is_wp_error($answer)) {
        return outcome(['transport' => $answer->get_error_message()]);
    }
    $body = json_decode(wp_remote_retrieve_body($answer), true);
    $text = function (string $name) use ($body): string {
        return is_array($body) && is_string($body[$name] ?? null) ? sanitize_text_field($body[$name]) : '';
    };
    $date = strtotime(first_header($answer, 'date'));
    return outcome([
        'status' => (int) wp_remote_retrieve_response_code($answer),
        'code' => $text('code'),
        'detail' => $text('detail'),
        'retry_after' => retry_after(first_header($answer, 'retry-after'), time()),
        'is_page' => stripos(first_header($answer, 'content-type'), 'text/html') === 0,
        'skew' => $date ? time() - $date : null,
    ]);
}

function outcome(array $known): array
{
    return $known + [
        'status' => 0,
        'code' => '',
        'detail' => '',
        'transport' => '',
        'retry_after' => null,
        'is_page' => false,
        'skew' => null,
    ];
}

/** @param array $answer of wp_remote_post */
function first_header(array $answer, string $name): string
{
    $value = wp_remote_retrieve_header($answer, $name);
    return (string) (is_array($value) ? reset($value) : $value);
}

/** Seconds to wait by a Retry-After of either form, within bounds; null when there is none that can be read. */
function retry_after(string $header, int $now): ?int
{
    if (preg_match('/^\s*\d{1,9}\s*$/', $header)) {
        $seconds = (int) $header;
    } else {
        $at = preg_match('/[a-z]/i', $header) ? strtotime($header) : false;
        if ($at === false) {
            return null;
        }
        $seconds = $at - $now;
    }
    return max(RETRY_AFTER_S_MIN, min(RETRY_AFTER_S_MAX, $seconds));
}

/** A 2xx is "taken", but a web page is not Copydesk: a captive portal or a firewall also says 200. */
function is_taken(array $outcome): bool
{
    return $outcome['status'] >= 200 && $outcome['status'] < 300 && !$outcome['is_page'];
}

/** Whether the same row may be taken another time: it was not looked at, or not by Copydesk. */
function is_passing(array $outcome): bool
{
    $status = $outcome['status'];
    return $status === 408 || $status === 429 || $status >= 500
        || ($status === 0 && $outcome['code'] === '')
        || ($outcome['is_page'] && $status < 300);
}
