<?php

/**
 * Makes the posts that the browser looks at; prints their ids and the password of Copydesk's user as JSON.
 * Run by test.mjs through scripts/wordpress/eval.
 */

use function Copydesk\muted;
use function Copydesk\table;

global $wpdb;
$made = muted(function () use ($wpdb): array {
    foreach (['outbox', 'fence', 'fields', 'writes', 'suggestions', 'statuses'] as $name) {
        $wpdb->query('DELETE FROM ' . table($name));
    }
    foreach (get_posts(['numberposts' => -1, 'post_status' => 'any']) as $post) {
        wp_delete_post($post->ID, true);
    }
    file_put_contents(COPYDESK_TEST_DIR . '/tmp/kinds.json', '[]');
    // Nobody listens there: what is to be sent waits.
    update_option('copydesk_settings', ['endpoint' => 'http://127.0.0.1:9/webhooks/news']);
    update_option('copydesk_secrets', ['secret' => 'browser-test-secret-0123456789abcdef'], false);
    update_option('gmt_offset', 0);
    foreach (['Harbour', 'City council', 'Transport'] as $name) {
        wp_insert_term($name, 'post_tag');
    }
    $titles = [
        'filtered' => 'Notes for the desk',
        'failed' => 'Bridge closed until Friday',
        'waiting' => 'School choir wins in Vienna',
        'enriched' => 'Night buses run again from May',
        'suggested' => 'Council votes on the new harbour line',
    ];
    $text = '<!-- wp:paragraph --><p>The city council will vote on Thursday on a tram line from the main station to '
        . 'the harbour. The line would open in 2031 and cost 412 million euros, of which the state pays two thirds.</p>'
        . '<!-- /wp:paragraph -->';
    $minutes = 5;
    $ids = [];
    foreach ($titles as $name => $title) {
        $minutes--;
        $ids[$name] = wp_insert_post(wp_slash([
            'post_title' => $title,
            'post_content' => $text,
            'post_excerpt' => $name === 'suggested' ? 'The council votes on Thursday.' : '',
            'post_status' => 'publish',
            'post_author' => get_user_by('login', 'writer')->ID,
            'post_date' => gmdate('Y-m-d H:i:s', time() - 3600 - 60 * $minutes),
        ]));
    }
    return $ids;
});
// Each has been saved once; but for the last, Copydesk has taken the event.
foreach (['failed', 'enriched', 'suggested', 'filtered', 'waiting'] as $name) {
    Copydesk\Sender\enqueue($made[$name], 0, function (WP_Post $post): array {
        return [Copydesk\Sender\post_payload($post, 'post.published'), Copydesk\Sender\source_hash($post)];
    });
}
$wpdb->query($wpdb->prepare('UPDATE ' . table('outbox') . " SET state = 'sent' WHERE post_id <> %d", $made['waiting']));

$robot = get_user_by('login', 'robot');
$robot = $robot ? $robot->ID : wp_insert_user([
    'user_login' => 'robot',
    'user_pass' => wp_generate_password(24),
    'user_email' => 'robot@example.test',
    'role' => 'copydesk',
]);
// No tours over what is to be seen.
$desk = get_user_by('login', 'desk')->ID;
update_user_meta($desk, $wpdb->get_blog_prefix() . 'persisted_preferences', [
    'core/edit-post' => ['welcomeGuide' => false, 'fullscreenMode' => false, 'isComplementaryAreaVisible' => true],
    'core' => ['welcomeGuide' => false, 'fullscreenMode' => false, 'isComplementaryAreaVisible' => true],
    '_modified' => gmdate('c'),
]);
[$password] = WP_Application_Passwords::create_new_application_password($robot, ['name' => wp_generate_uuid4()]);
echo wp_json_encode(['posts' => $made, 'password' => $password]);
