<?php

/**
 * What the settings page does: save, test, take a new secret into use, send again. Each needs `manage_options` and
 * a nonce.
 */

namespace Copydesk\Sender;

use function Copydesk\Receiver\save_permissions;
use function Copydesk\settings;

defined('ABSPATH') || exit;

const CAPABILITY = 'manage_options';
const ACTION = 'copydesk';
/** A person waits and watches. */
const TEST_TIMEOUT_S = 8;

add_action('admin_post_' . ACTION, __NAMESPACE__ . '\on_form', 10, 0);

/** One form of the page: `do` says which. Ends the request. */
function on_form(): void
{
    if (!current_user_can(CAPABILITY)) {
        wp_die(esc_html__('You may not change this.', 'copydesk'), '', ['response' => 403]);
    }
    check_admin_referer(ACTION);
    $form = wp_unslash($_POST);
    [$good, $words] = carry_out(is_string($form['do'] ?? null) ? $form['do'] : '', $form);
    set_transient('copydesk_said_' . get_current_user_id(), [$good, $words], MINUTE_IN_SECONDS);
    wp_safe_redirect(page_url());
    exit;
}

function page_url(): string
{
    return admin_url('options-general.php?page=copydesk');
}

/** @return array Whether it went well, and what to say about it. */
function carry_out(string $do, array $form): array
{
    $ids = array_map('intval', is_array($form['ids'] ?? null) ? $form['ids'] : []);
    switch ($do) {
        case 'save':
            return save($form);
        case 'test':
            return test();
        case 'switch':
            return switch_key();
        case 'resend':
            $sent = drain_after_resend($ids);
            return [true, sprintf(
                /* translators: 1, 2, 3: numbers of events */
                __('Sent: %1$d. Waiting: %2$d. Failed: %3$d.', 'copydesk'),
                $sent['sent'],
                $sent['waiting'],
                $sent['failed']
            )];
        case 'drop':
            /* translators: %d: number of events */
            return [true, sprintf(__('Not to be sent any more: %d.', 'copydesk'), drop($ids))];
        default:
            return [false, __('Nothing was done.', 'copydesk')];
    }
}

function drain_after_resend(array $ids): array
{
    resend($ids);
    return drain(AFTER_RESPONSE_S, 1);
}

/** @return array As of carry_out. */
function save(array $form): array
{
    $problems = [];
    update_option('copydesk_settings', clean_settings($form, $problems));
    if (!has_secret_constant()) {
        update_option('copydesk_secrets', clean_secrets($form, stored_secrets(), $problems), false);
    }
    save_permissions($form, $problems);
    resend_refused();
    return $problems ? [false, implode(' ', $problems)] : [true, __('Saved.', 'copydesk')];
}

/** The settings as the form has them; what cannot be is left as it was, and $problems gets the reason. */
function clean_settings(array $form, array &$problems): array
{
    $words = function (string $name) use ($form): array {
        return array_filter(is_array($form[$name] ?? null) ? $form[$name] : [], 'is_string');
    };
    $endpoint = trim(is_string($form['endpoint'] ?? null) ? $form['endpoint'] : settings()['endpoint']);
    if ($endpoint !== '' && (esc_url_raw($endpoint, ['http', 'https']) !== $endpoint || !is_safe_endpoint($endpoint))) {
        $problems[] = explain_missing('unsafe_endpoint');
        $endpoint = settings()['endpoint'];
    }
    return [
        'endpoint' => $endpoint,
        'post_types' => array_values(array_intersect($words('post_types'), array_keys(post_type_choices()))),
        'statuses' => array_values(array_intersect($words('statuses'), array_keys(status_choices()))),
        'inputs' => array_values(array_intersect($words('inputs'), array_keys(input_choices()))),
        'comments' => !empty($form['comments']),
        'clean_up' => !empty($form['clean_up']),
    ] + settings();
}

/** The secrets as the form has them: an empty field leaves the stored secret, which the page never shows. */
function clean_secrets(array $form, array $stored, array &$problems): array
{
    foreach (['secret' => 'key_id', 'next_secret' => 'next_key_id'] as $name => $id) {
        $secret = trim(is_string($form[$name] ?? null) ? $form[$name] : '');
        if ($secret !== '' && (strlen($secret) < SECRET_BYTES_MIN || strlen($secret) > SECRET_BYTES_MAX)) {
            $problems[] = sprintf(
                /* translators: 1, 2: numbers of characters */
                __('A secret has %1$d to %2$d characters.', 'copydesk'),
                SECRET_BYTES_MIN,
                SECRET_BYTES_MAX
            );
        } elseif ($secret !== '') {
            $stored[$name] = $secret;
        }
        if (is_string($form[$id] ?? null)) {
            $stored[$id] = substr(preg_replace('/[^A-Za-z0-9._-]/', '', $form[$id]), 0, 64);
        }
    }
    if (!empty($form['forget_next'])) {
        $stored['next_secret'] = $stored['next_key_id'] = '';
    }
    return $stored;
}

/** @return string[] Labels by name. */
function post_type_choices(): array
{
    $types = get_post_types(['public' => true], 'objects');
    unset($types['attachment']);
    return wp_list_pluck(wp_list_pluck($types, 'labels'), 'name');
}

/** @return string[] Labels by name. */
function status_choices(): array
{
    return get_post_statuses() + ['future' => __('Scheduled', 'copydesk')];
}

/** Sends `copydesk.test` and says how that went. What a wrong setting had stopped goes out after a right one. */
function test(): array
{
    $outcome = deliver(test_row(), TEST_TIMEOUT_S);
    if (is_taken($outcome)) {
        resend_refused();
    }
    return [is_taken($outcome), explain($outcome)];
}

/** An event about no change of a post, not kept in the outbox. */
function test_row(): array
{
    $newest = get_posts(['numberposts' => 1, 'post_type' => settings()['post_types'] ?: 'post', 'fields' => 'ids']);
    $key = wp_generate_uuid4();
    $payload = [
        'event' => 'copydesk.test',
        // Every event names a post; on an empty site the first one to come.
        'post_id' => $newest[0] ?? 1,
        'site' => home_url(),
        'idempotency_key' => $key,
        'saved_at' => now_ms(),
    ];
    return ['body' => encode($payload), 'idempotency_key' => $key, 'traceparent' => new_traceparent()];
}

/** The next secret becomes the current one, if Copydesk takes what it signs. */
function switch_key(): array
{
    $next = next_key();
    if (!$next) {
        return [false, __('There is no next secret.', 'copydesk')];
    }
    $missing = missing();
    $outcome = $missing === '' ? deliver_signed(test_row(), $next, TEST_TIMEOUT_S) : outcome(['code' => $missing]);
    if (!is_taken($outcome)) {
        /* translators: %s: why it was refused */
        $words = __('The next secret is not taken yet, so the current one stays. %s', 'copydesk');
        return [false, sprintf($words, explain($outcome))];
    }
    promote_next_key();
    resend_refused();
    return [true, __('The next secret is in use. The former one can be taken out of Copydesk.', 'copydesk')];
}
