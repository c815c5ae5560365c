<?php

/**
 * What went wrong, in words for the person who can mend it.
 */

namespace Copydesk\Sender;

defined('ABSPATH') || exit;

/** One or two sentences about an outcome of `deliver()`. */
function explain(array $outcome): string
{
    $outcome = outcome($outcome);
    if (is_taken($outcome)) {
        return __('Copydesk has taken the event.', 'copydesk');
    }
    if ($outcome['status'] === 0) {
        return $outcome['code'] !== '' ? explain_missing($outcome['code']) : explain_transport($outcome['transport']);
    }
    return $outcome['code'] !== '' ? explain_refusal($outcome) : explain_status($outcome);
}

/** What the settings lack. */
function explain_missing(string $code): string
{
    switch ($code) {
        case 'no_endpoint':
            return __('No endpoint is set. Enter the address of Copydesk that receives webhooks.', 'copydesk');
        case 'unsafe_endpoint':
            return __(
                'The endpoint must begin with https, unless it is on this machine or in its own network.',
                'copydesk'
            );
        default:
            return sprintf(
                /* translators: %d: a number of characters */
                __('No secret is set, or it is shorter than %d characters.', 'copydesk'),
                SECRET_BYTES_MIN
            );
    }
}

/** Why no answer came at all, from what WordPress says of it. */
function explain_transport(string $message): string
{
    $number = preg_match('/cURL error (\d+)/', $message, $match) ? (int) $match[1] : 0;
    switch ($number) {
        case 6:
            $words = __('Copydesk’s host name cannot be found. Is the endpoint spelled right?', 'copydesk');
            break;
        case 7:
            $words = __('Copydesk cannot be reached: nobody listens there, or a firewall is between.', 'copydesk');
            break;
        case 28:
            $words = sprintf(
                /* translators: %d: seconds */
                __('Copydesk did not answer within %d seconds.', 'copydesk'),
                SEND_TIMEOUT_S
            );
            break;
        case 35:
        case 51:
        case 58:
        case 60:
        case 77:
            $words = __('No safe connection (TLS): Copydesk’s certificate is not trusted here.', 'copydesk');
            break;
        default:
            $words = __('Copydesk cannot be reached.', 'copydesk');
    }
    return $message === '' ? $words : "$words ($message)";
}

/** What Copydesk says, where it says why. */
function explain_refusal(array $outcome): string
{
    switch ($outcome['code']) {
        case 'bad_signature':
            $words = __(
                'The signature does not match: another secret is in Copydesk, or the endpoint names no source of it.',
                'copydesk'
            );
            break;
        case 'timestamp_out_of_window':
            $words = explain_skew($outcome['skew']);
            break;
        case 'site_disabled':
            $words = __('This site is switched off in Copydesk.', 'copydesk');
            break;
        case 'address_not_allowed':
            $words = __('Copydesk does not accept this server’s address.', 'copydesk');
            break;
        case 'not_found':
            $words = __('There is no source at this address. It ends in /webhooks/ and its name.', 'copydesk');
            break;
        case 'body_too_large':
            $words = __('The event is larger than Copydesk or a proxy before it takes.', 'copydesk');
            break;
        case 'site_mismatch':
        case 'invalid_url':
            $words = __('The site’s address is not the one that Copydesk has for this source.', 'copydesk');
            break;
        case 'unknown_event':
            $words = __('Copydesk does not take this kind of event. Is it older than this plugin?', 'copydesk');
            break;
        default:
            $words = sprintf(
                /* translators: %d: an HTTP status */
                __('Copydesk refused the event (%d).', 'copydesk'),
                $outcome['status']
            );
    }
    $reason = $outcome['detail'] === '' ? $outcome['code'] : "{$outcome['code']}: {$outcome['detail']}";
    return "$words ($reason)";
}

function explain_skew(?int $skew): string
{
    if ($skew === null || abs($skew) < SIGNATURE_WINDOW_S) {
        return __('The clocks of this server and of Copydesk differ too much.', 'copydesk');
    }
    return sprintf(
        /* translators: %d: minutes */
        $skew > 0
            ? __('This server’s clock is %d minutes ahead of Copydesk’s. Set both by NTP.', 'copydesk')
            : __('This server’s clock is %d minutes behind Copydesk’s. Set both by NTP.', 'copydesk'),
        (int) round(abs($skew) / 60)
    );
}

/** An answer that is not in Copydesk's form: of a proxy, a firewall, or another program. */
function explain_status(array $outcome): string
{
    $status = $outcome['status'];
    if ($status < 300) {
        return __('A web page answered, not Copydesk. Is the endpoint right?', 'copydesk');
    }
    if ($status < 400) {
        return sprintf(
            /* translators: %d: an HTTP status */
            __('The endpoint leads to another address (%d). Enter that one.', 'copydesk'),
            $status
        );
    }
    $words = [
        401 => __('The answer is 401: Copydesk or a proxy before it does not accept this site.', 'copydesk'),
        403 => __('The answer is 403: a firewall or proxy does not let this site through.', 'copydesk'),
        404 => __('The answer is 404: there is no Copydesk at this address.', 'copydesk'),
        413 => __('The answer is 413: a proxy before Copydesk does not take a text of this size.', 'copydesk'),
        429 => __('Too many events at once: Copydesk takes more later.', 'copydesk'),
    ];
    if (isset($words[$status])) {
        return $words[$status];
    }
    return sprintf(
        $status >= 500
            /* translators: %d: an HTTP status */
            ? __('Copydesk or a proxy before it has a fault (%d).', 'copydesk')
            /* translators: %d: an HTTP status */
            : __('The event was refused (%d).', 'copydesk'),
        $status
    );
}

/** About a row of the outbox: why it was not taken at its last try. */
function explain_row(array $row): string
{
    $known = json_decode((string) $row['last_error'], true);
    return explain((is_array($known) ? $known : []) + ['status' => (int) $row['last_status']]);
}
