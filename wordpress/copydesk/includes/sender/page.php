<?php

/**
 * Settings → Copydesk. No secret is ever in the page.
 */

namespace Copydesk\Sender;

use function Copydesk\Receiver\show_permissions;
use function Copydesk\settings;
use function Copydesk\table;

defined('ABSPATH') || exit;

/** Rows of the table of what is not sent. */
const SHOWN_ROWS = 20;

add_action('admin_menu', function (): void {
    $title = __('Copydesk', 'copydesk');
    add_options_page($title, $title, CAPABILITY, 'copydesk', __NAMESPACE__ . '\show_page');
}, 10, 0);

function show_page(): void
{
    if (!current_user_can(CAPABILITY)) {
        return;
    }
    echo '<div class="wrap"><h1>' . esc_html__('Copydesk', 'copydesk') . '</h1>';
    $said = get_transient('copydesk_said_' . get_current_user_id());
    if (is_array($said)) {
        delete_transient('copydesk_said_' . get_current_user_id());
        $class = $said[0] ? 'notice-success' : 'notice-error';
        echo '<div class="notice ' . esc_attr($class) . '"><p>' . esc_html($said[1]) . '</p></div>';
    }
    begin_form('save');
    echo '<table class="form-table" role="presentation">';
    show_connection();
    show_gates();
    show_permissions();
    show_uninstalling();
    echo '</table>';
    submit_button(__('Save', 'copydesk'));
    echo '</form>';
    show_test();
    show_outbox();
    echo '</div>';
}

/** A form that does $do; its end is the caller's. */
function begin_form(string $do): void
{
    echo '<form method="post" action="' . esc_url(admin_url('admin-post.php')) . '">';
    wp_nonce_field(ACTION);
    echo '<input type="hidden" name="action" value="' . esc_attr(ACTION) . '">';
    echo '<input type="hidden" name="do" value="' . esc_attr($do) . '">';
}

/** A row of the form: $field is HTML that is escaped already. */
function show_field(string $label, string $field, string $help = ''): void
{
    echo '<tr><th scope="row">' . esc_html($label) . '</th><td>' . $field;
    echo $help === '' ? '' : '<p class="description">' . esc_html($help) . '</p>';
    echo '</td></tr>';
}

function input(string $name, string $type, string $value, bool $disabled = false, string $placeholder = ''): string
{
    return sprintf(
        '<input name="%s" type="%s" value="%s" class="regular-text" autocomplete="off" placeholder="%s"%s>',
        esc_attr($name),
        esc_attr($type),
        esc_attr($value),
        esc_attr($placeholder),
        $disabled ? ' disabled' : ''
    );
}

function checkbox(string $name, string $value, string $label, bool $checked): string
{
    return sprintf(
        '<label><input type="checkbox" name="%s" value="%s"%s> %s</label><br>',
        esc_attr($name),
        esc_attr($value),
        $checked ? ' checked' : '',
        esc_html($label)
    );
}

/** @param string[] $choices labels by value */
function checkboxes(string $name, array $choices, array $chosen): string
{
    $html = '';
    foreach ($choices as $value => $label) {
        $html .= checkbox("{$name}[]", (string) $value, $label, in_array($value, $chosen, true));
    }
    return $html;
}

function show_connection(): void
{
    $fixed = defined('COPYDESK_ENDPOINT');
    show_field(
        __('Endpoint', 'copydesk'),
        input('endpoint', 'url', endpoint(), $fixed, 'https://copydesk.example/webhooks/news'),
        $fixed
            ? __('Set in wp-config.php (COPYDESK_ENDPOINT).', 'copydesk')
            : __('Where Copydesk receives the events of this site.', 'copydesk')
    );
    if (has_secret_constant()) {
        $words = __('Set in wp-config.php (COPYDESK_SECRET, COPYDESK_KEY_ID).', 'copydesk');
        show_field(__('Secret', 'copydesk'), esc_html($words));
        return;
    }
    $stored = stored_secrets();
    $is_set = __('Set. Enter another to replace it.', 'copydesk');
    show_field(
        __('Secret', 'copydesk'),
        input('secret', 'password', '', false, $stored['secret'] === '' ? '' : $is_set),
        __('The secret of this source in Copydesk. It is never shown again.', 'copydesk')
    );
    show_field(__('Key id', 'copydesk'), input('key_id', 'text', $stored['key_id']));
    $forget = __('Forget the next secret', 'copydesk');
    show_field(
        __('Next secret', 'copydesk'),
        input('next_secret', 'password', '', false, $stored['next_secret'] === '' ? '' : $is_set)
            . ($stored['next_secret'] === '' ? '' : '<br>' . checkbox('forget_next', '1', $forget, false)),
        __('To change the secret without losing an event: add it to Copydesk, then here, then switch.', 'copydesk')
    );
    show_field(__('Next key id', 'copydesk'), input('next_key_id', 'text', $stored['next_key_id']));
}

function show_gates(): void
{
    $settings = settings();
    show_field(
        __('Post types', 'copydesk'),
        checkboxes('post_types', post_type_choices(), $settings['post_types'])
    );
    show_field(
        __('Statuses', 'copydesk'),
        checkboxes('statuses', status_choices(), $settings['statuses']),
        __('A post is sent while it has one of these, and once more when it leaves them.', 'copydesk')
    );
    show_field(
        __('Counts as a change', 'copydesk'),
        esc_html__('Status, title and content always; also:', 'copydesk') . '<br>'
            . checkboxes('inputs', input_choices(), $settings['inputs'])
    );
    show_field(
        __('Comments', 'copydesk'),
        checkbox('comments', '1', __('Send comments, with their authors’ names', 'copydesk'), $settings['comments'])
    );
}

function show_uninstalling(): void
{
    $clean_up = __('Delete everything of Copydesk’s when the plugin is deleted: settings, outbox, history', 'copydesk');
    show_field(__('Uninstalling', 'copydesk'), checkbox('clean_up', '1', $clean_up, settings()['clean_up']));
}

function show_test(): void
{
    echo '<h2>' . esc_html__('Connection', 'copydesk') . '</h2>';
    begin_form('test');
    submit_button(__('Send a test event', 'copydesk'), 'secondary', 'submit', false);
    echo '</form>';
    if (next_key()) {
        begin_form('switch');
        submit_button(__('Switch to the next secret', 'copydesk'), 'secondary', 'submit', false);
        echo '</form>';
    }
}

function show_outbox(): void
{
    $counts = counts();
    echo '<h2>' . esc_html__('Not sent yet', 'copydesk') . '</h2><p>';
    /* translators: 1, 2: numbers of events */
    echo esc_html(sprintf(__('Waiting: %1$d. Failed: %2$d.', 'copydesk'), $counts['waiting'], $counts['failed']));
    echo '</p>';
    $rows = rows(
        'SELECT * FROM ' . table('outbox') . " WHERE state IN ('due', 'dead') ORDER BY state, id LIMIT %d",
        SHOWN_ROWS
    );
    if (!$rows) {
        return;
    }
    begin_form('resend');
    echo '<table class="widefat striped"><thead><tr><td></td>';
    $heads = [
        __('Post', 'copydesk'),
        __('Event', 'copydesk'),
        __('Saved', 'copydesk'),
        __('Tries', 'copydesk'),
        __('State', 'copydesk'),
    ];
    foreach ($heads as $head) {
        echo '<th>' . esc_html($head) . '</th>';
    }
    echo '</tr></thead><tbody>';
    array_map(__NAMESPACE__ . '\show_row', $rows);
    echo '</tbody></table><p>';
    submit_button(__('Send failed events again', 'copydesk'), 'secondary', 'submit', false);
    // The button's own name comes after the hidden field of the same name, and counts.
    echo ' <button class="button" name="do" value="drop">' . esc_html__('Do not send the chosen', 'copydesk');
    echo '</button></p></form>';
}

function show_row(array $row): void
{
    $post_id = (int) $row['post_id'];
    $link = get_edit_post_link($post_id);
    $title = get_the_title($post_id);
    $title = $title === '' ? "#$post_id" : $title;
    $box = $row['state'] === 'dead' ? '<input type="checkbox" name="ids[]" value="' . (int) $row['id'] . '">' : '';
    $state = __('Waiting', 'copydesk');
    if ($row['state'] === 'dead') {
        /* translators: %s: why */
        $state = sprintf(__('Failed. %s', 'copydesk'), explain_row($row));
    } elseif ((int) $row['attempts'] > 0) {
        $again = human_time_diff((int) $row['due_at']);
        /* translators: 1: a span of time, 2: why it was not taken */
        $state = sprintf(__('Tried again in %1$s. %2$s', 'copydesk'), $again, explain_row($row));
    }
    echo '<tr><th scope="row" class="check-column">' . $box . '</th><td>';
    echo $link ? '<a href="' . esc_url($link) . '">' . esc_html($title) . '</a>' : esc_html($title);
    echo '</td><td>' . esc_html($row['event']) . '</td><td>';
    echo esc_html(wp_date('Y-m-d H:i:s', (int) ($row['saved_at'] / 1000))) . '</td><td>';
    echo (int) $row['attempts'] . '</td><td>' . esc_html($state) . '</td></tr>';
}
