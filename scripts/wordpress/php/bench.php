<?php
/** Called by ../bench: `wp_update_post` with and without the plugin's hooks, in turn. */

namespace Copydesk\Bench;

global $wpdb;
$saves = (int) $args[0];
$hooks = [
    ['transition_post_status', 'Copydesk\Sender\on_transition', 10, 3],
    ['wp_after_insert_post', 'Copydesk\Sender\on_saved', 100, 4],
    ['wp_after_insert_post', 'Copydesk\Receiver\notice_edits', 90, 2],
];

/** The value that a part $p of all values does not exceed. */
function percentile(array $values, float $p): float {
    sort($values);
    return $values[(int) floor($p * (count($values) - 1))];
}

// The text of a usual article: 800 words, and revisions as the site keeps them.
$text = implode("\n\n", array_fill(0, 8, '<p>' . rtrim(str_repeat('word ', 100)) . '</p>'));
$id = wp_insert_post(['post_title' => 'Bench', 'post_content' => $text, 'post_status' => 'publish']);
$ms = ['with' => [], 'without' => []];
$queries = ['with' => 0, 'without' => 0];
for ($i = -20; $i < 2 * $saves; $i++) { // The first are thrown away: caches fill.
    $mode = $i % 2 === 0 ? 'with' : 'without';
    foreach ($hooks as $hook) {
        if ($mode === 'with') {
            add_action(...$hook);
        } else {
            remove_action($hook[0], $hook[1], $hook[2]);
        }
    }
    $count = $wpdb->num_queries;
    $from = hrtime(true);
    wp_update_post(['ID' => $id, 'post_content' => "$text\n\n<p>$i</p>"]);
    if ($i >= 0) {
        $ms[$mode][] = (hrtime(true) - $from) / 1e6;
        $queries[$mode] += $wpdb->num_queries - $count;
    }
}
$events = (int) $wpdb->get_var($wpdb->prepare('SELECT COUNT(*) FROM ' . \Copydesk\table('outbox') . ' WHERE post_id = %d', $id));
if ($events < $saves) {
    fwrite(STDERR, "bench: $events events for $saves saves: the plugin did not work\n");
    exit(1);
}
$wpdb->query($wpdb->prepare('DELETE FROM ' . \Copydesk\table('outbox') . ' WHERE post_id = %d', $id));
wp_delete_post($id, true);
$wpdb->query($wpdb->prepare('DELETE FROM ' . \Copydesk\table('outbox') . ' WHERE post_id = %d', $id));

printf("WordPress %s, PHP %s, %d saves each\n", get_bloginfo('version'), PHP_VERSION, $saves);
foreach ($ms as $mode => $values) {
    printf(
        "wp_update_post %-8s p50 %7.2f ms   p95 %7.2f ms   %4.1f queries\n",
        $mode,
        percentile($values, 0.5),
        percentile($values, 0.95),
        $queries[$mode] / $saves
    );
}
printf("the plugin adds          p50 %7.2f ms\n", percentile($ms['with'], 0.5) - percentile($ms['without'], 0.5));
