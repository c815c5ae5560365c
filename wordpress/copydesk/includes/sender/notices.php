<?php

/**
 * What an administrator is told on every screen: events that need a person.
 */

namespace Copydesk\Sender;

use function Copydesk\table;

defined('ABSPATH') || exit;

add_action('admin_notices', __NAMESPACE__ . '\show_notice', 10, 0);
// Cron events that some other plugin swept away come back.
add_action('admin_init', __NAMESPACE__ . '\schedule', 10, 0);

function show_notice(): void
{
    $screen = get_current_screen();
    if (!current_user_can(CAPABILITY) || ($screen && $screen->id === 'settings_page_copydesk')) {
        return;
    }
    $words = notice();
    if ($words !== '') {
        echo '<div class="notice notice-error"><p>' . esc_html($words) . ' <a href="' . esc_url(page_url()) . '">';
        echo esc_html__('Look at the events that failed', 'copydesk') . '</a></p></div>';
    }
}

/** How many events failed and why the last one did; '' when none. */
function notice(): string
{
    $outbox = table('outbox');
    $last = rows("SELECT * FROM $outbox WHERE state = 'dead' ORDER BY id DESC LIMIT 1");
    if (!$last) {
        return '';
    }
    $failed = counts()['failed'];
    return sprintf(
        /* translators: 1: number of events, 2: why the last of them failed */
        _n(
            'Copydesk did not take %1$d event: %2$s',
            'Copydesk did not take %1$d events. The last: %2$s',
            $failed,
            'copydesk'
        ),
        $failed,
        explain_row($last[0])
    );
}
