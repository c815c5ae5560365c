<?php

/**
 * Tools → Site Health: whether events can get out of this site and Copydesk's results into it.
 */

namespace Copydesk\Sender;

use function Copydesk\table;

defined('ABSPATH') || exit;

/** WP-Cron has missed several ticks by then. */
const CRON_DEAD_S = 900;
/** An event that is older is late. */
const LATE_S = 3600;

function health_tests(array $tests): array
{
    foreach (['cron', 'late', 'settings', 'passwords', 'permalinks', 'engine'] as $name) {
        $tests['direct']["copydesk_$name"] = [
            'label' => "Copydesk: $name",
            'test' => __NAMESPACE__ . "\\health_$name",
        ];
    }
    return $tests;
}

/** In the form that Site Health wants. $problem is 'critical' or 'recommended', or '' when all is well. */
function finding(string $name, string $problem, string $label, string $description): array
{
    return [
        'label' => $label,
        'status' => $problem === '' ? 'good' : $problem,
        'badge' => ['label' => 'Copydesk', 'color' => 'blue'],
        'description' => '<p>' . esc_html($description) . '</p>',
        'actions' => '',
        'test' => "copydesk_$name",
    ];
}

function health_cron(): array
{
    $silent_s = time() - (int) get_option('copydesk_ticked', 0);
    if ($silent_s < CRON_DEAD_S) {
        return finding('cron', '', __('WP-Cron sends Copydesk’s events', 'copydesk'), '');
    }
    return finding(
        'cron',
        'recommended',
        __('WP-Cron does not run: events to Copydesk wait', 'copydesk'),
        __(
            'It runs when the site is visited. Have the server call wp-cron.php each minute.',
            'copydesk'
        )
    );
}

function health_late(): array
{
    $outbox = table('outbox');
    $oldest = rows("SELECT * FROM $outbox WHERE state = 'due' ORDER BY saved_at LIMIT 1")[0] ?? null;
    if (!$oldest || time() - (int) ($oldest['saved_at'] / 1000) < LATE_S) {
        return finding('late', '', __('No event to Copydesk is late', 'copydesk'), '');
    }
    return finding(
        'late',
        'recommended',
        __('Events to Copydesk are late', 'copydesk'),
        sprintf(
            /* translators: 1: a span of time, 2: why it was not taken */
            __('The oldest was saved %1$s ago. %2$s', 'copydesk'),
            human_time_diff((int) ($oldest['saved_at'] / 1000)),
            (int) $oldest['attempts'] > 0 ? explain_row($oldest) : ''
        )
    );
}

function health_settings(): array
{
    $missing = missing();
    return $missing === ''
        ? finding('settings', '', __('Copydesk’s endpoint and secret are set', 'copydesk'), '')
        : finding('settings', 'critical', __('Copydesk is not set up', 'copydesk'), explain_missing($missing));
}

function health_passwords(): array
{
    if (wp_is_application_passwords_available()) {
        return finding('passwords', '', __('Copydesk can log in with an application password', 'copydesk'), '');
    }
    return finding(
        'passwords',
        'critical',
        __('Copydesk cannot write its results: application passwords are off', 'copydesk'),
        __('They need https, and no other plugin that switches them off.', 'copydesk')
    );
}

function health_permalinks(): array
{
    if ((string) get_option('permalink_structure') !== '') {
        return finding('permalinks', '', __('Copydesk finds the REST API at /wp-json', 'copydesk'), '');
    }
    return finding(
        'permalinks',
        'recommended',
        __('Plain permalinks: the REST API is not at /wp-json', 'copydesk'),
        __('Choose another structure under Settings → Permalinks.', 'copydesk')
    );
}

function health_engine(): array
{
    $good = __('Copydesk’s tables can lock single rows', 'copydesk');
    global $wpdb;
    $like = $wpdb->esc_like($wpdb->prefix . 'copydesk_') . '%';
    $tables = rows('SHOW TABLE STATUS LIKE %s', $like);
    $wrong = array_filter($tables, function (array $table): bool {
        return strcasecmp((string) ($table['Engine'] ?? ''), 'InnoDB') !== 0;
    });
    if (!$wrong) {
        return finding('engine', '', $good, '');
    }
    return finding(
        'engine',
        'recommended',
        __('Copydesk’s tables are not InnoDB', 'copydesk'),
        __('Writes at the same moment are kept apart by locks on rows, which only InnoDB has here.', 'copydesk')
    );
}
