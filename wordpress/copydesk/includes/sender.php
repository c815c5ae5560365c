<?php

/**
 * The sender: each save of a chosen post becomes one row of the outbox, and each row one webhook.
 *
 * A save writes its row in the same request and never waits for the network (`sender/events.php`). Rows are sent
 * after the answer has gone to the editor, else by WP-Cron, in the order of each post (`sender/drain.php`).
 */

namespace Copydesk\Sender;

use function Copydesk\on_install;

use const Copydesk\FILE;

defined('ABSPATH') || exit;

require __DIR__ . '/sender/outbox.php';
require __DIR__ . '/sender/payload.php';
require __DIR__ . '/sender/events.php';
require __DIR__ . '/sender/keys.php';
require __DIR__ . '/sender/http.php';
require __DIR__ . '/sender/words.php';
require __DIR__ . '/sender/drain.php';
require __DIR__ . '/sender/nightly.php';
require __DIR__ . '/sender/routes.php';

const TICK = 'copydesk_tick';
const NIGHTLY = 'copydesk_nightly';

on_install('sender', 1, function (): void {
    make_outbox();
    // Read when something is sent, not with every page.
    add_option('copydesk_secrets', [], '', false);
    // What was saved before the plugin was there is not for the nightly look to send.
    add_option('copydesk_reconciled', ['since' => time(), 'at' => 0], '', false);
    schedule();
});

/** The two cron events, unless they are there. */
function schedule(): void
{
    if (!wp_next_scheduled(TICK)) {
        wp_schedule_event(time() + 60, 'copydesk_minute', TICK);
    }
    if (!wp_next_scheduled(NIGHTLY)) {
        // Some minute between three and four in the night, so that not every site asks at once.
        $three = new \DateTimeImmutable('tomorrow 03:00', wp_timezone());
        wp_schedule_event($three->getTimestamp() + wp_rand(0, 3599), 'daily', NIGHTLY);
    }
}

add_filter('cron_schedules', function (array $schedules): array {
    return $schedules + ['copydesk_minute' => ['interval' => 60, 'display' => 'Copydesk']];
});
add_action(TICK, __NAMESPACE__ . '\tick', 10, 0);
add_action(NIGHTLY, __NAMESPACE__ . '\nightly', 10, 0);
register_deactivation_hook(FILE, function (): void {
    wp_unschedule_hook(TICK);
    wp_unschedule_hook(NIGHTLY);
});

add_action('transition_post_status', __NAMESPACE__ . '\on_transition', 10, 3);
add_action('wp_after_insert_post', __NAMESPACE__ . '\on_saved', 100, 4);
add_action('before_delete_post', __NAMESPACE__ . '\on_deleting', 10, 1);
add_action('deleted_post', __NAMESPACE__ . '\on_deleted', 10, 2);
add_action('wp_insert_comment', __NAMESPACE__ . '\on_comment', 10, 1);
add_action('edit_comment', __NAMESPACE__ . '\on_comment', 10, 1);
add_action('transition_comment_status', __NAMESPACE__ . '\on_comment_transition', 10, 3);
add_action('rest_api_init', __NAMESPACE__ . '\register_routes', 10, 0);

if (is_admin()) {
    require __DIR__ . '/sender/settings.php';
    require __DIR__ . '/sender/page.php';
    require __DIR__ . '/sender/notices.php';
}
// The checks of Site Health run in the administration, by REST and in its weekly cron event.
add_filter('site_status_tests', function (array $tests): array {
    require_once __DIR__ . '/sender/health.php';
    return health_tests($tests);
});
if (defined('WP_CLI') && WP_CLI) {
    require __DIR__ . '/sender/cli.php';
}
