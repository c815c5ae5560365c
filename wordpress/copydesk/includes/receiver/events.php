<?php

/**
 * Events of AI providers as posts of a type of their own, one per (source, external id).
 */

namespace Copydesk\Receiver;

use function Copydesk\content_hash;
use function Copydesk\muted;

defined('ABSPATH') || exit;

const EVENT_TYPE = 'ai_event';
const METADATA_BYTES_MAX = 65536;
const SUMMARY_CHARS_MAX = 2000;
// What people may see of an event's own fields, as post meta.
const EVENT_META = ['source', 'external_id', 'status', 'metadata'];

add_action('init', static function (): void {
    register_post_type(EVENT_TYPE, [
        'labels' => [
            'name' => __('AI events', 'copydesk'),
            'singular_name' => __('AI event', 'copydesk'),
            'edit_item' => __('AI event', 'copydesk'),
            'not_found' => __('No AI events yet.', 'copydesk'),
        ],
        'public' => false,
        'show_ui' => true,
        'show_in_menu' => 'edit.php',
        'supports' => ['title', 'editor'],
        'capability_type' => 'post',
        'map_meta_cap' => true,
        // They come from Copydesk only.
        'capabilities' => ['create_posts' => 'do_not_allow'],
    ]);
});

/** A provider's event as Copydesk sends it. */
final class ProviderEvent
{
    /** @var Ticket */
    public $ticket;
    /** @var array<string, string> By name; `metadata` as JSON. */
    public $meta;
    /** @var string */
    public $summary;

    /** @throws Refusal */
    public function __construct(array $body)
    {
        $this->ticket = new Ticket($body);
        $metadata = $body['metadata'] ?? [];
        $json = is_array($metadata) ? encoded((object) $metadata) : '';
        if (!$json || strlen($json) > METADATA_BYTES_MAX) {
            throw invalid('metadata', 'must be an object of up to ' . METADATA_BYTES_MAX . ' bytes');
        }
        $this->meta = [
            'source' => plain(text_of($body, 'source', 191, '/./'), 'source'),
            'external_id' => plain(text_of($body, 'external_id', 191, '/./'), 'external_id'),
            'status' => plain(text_of($body, 'status', 191, '/^/', ''), 'status'),
            'metadata' => $json,
        ];
        $this->summary = plain(text_of($body, 'summary', 8 * SUMMARY_CHARS_MAX, '/^/', ''), 'summary');
        if (mb_strlen($this->summary) > SUMMARY_CHARS_MAX) {
            throw invalid('summary', 'is longer than ' . SUMMARY_CHARS_MAX . ' characters');
        }
        if ($this->meta['source'] === '' || $this->meta['external_id'] === '') {
            throw invalid('external_id', 'has no text');
        }
    }
}

/** @throws Refusal */
function plain(string $text, string $param): string
{
    try {
        return clean_text($text, '');
    } catch (ActiveContent $e) {
        throw invalid($param, 'holds hidden markup or a script address');
    }
}

/** Makes or updates the event's post; same fence and answers as a write to a post. @throws Refusal|StorageError */
function apply_event(ProviderEvent $event): array
{
    $item = 'event:' . content_hash([$event->meta['source'], $event->meta['external_id']]);
    make_fence($item);
    $answer = transaction(static function () use ($event, $item): array {
        $row = lock_fence($item);
        $stored = check_fence($row, $event->ticket);
        if ($stored) {
            return $stored;
        }
        $known = (int) $row['post_id'];
        if ($known) {
            present_post($known); // A person has thrown it away: it does not come back.
        }
        $post_id = muted(static function () use ($event, $known): int {
            return save_event($event, $known);
        });
        $modified = rfc3339(get_post($post_id)->post_modified_gmt);
        $answer = $event->ticket->answer() + ['id' => $post_id, 'modified_gmt' => $modified];
        advance_fence($row, $event->ticket, $post_id, $answer);
        return $answer;
    });
    clean_post_cache($answer['id']);
    return $answer;
}

function save_event(ProviderEvent $event, int $known): int
{
    $values = [
        'post_type' => EVENT_TYPE,
        'post_status' => 'private',
        'post_title' => $event->meta['source'] . ' ' . $event->meta['external_id'],
        'post_content' => $event->summary,
        'meta_input' => [],
    ];
    foreach ($event->meta as $name => $value) {
        $values['meta_input']["_copydesk_$name"] = $value;
    }
    $post_id = $known
        ? wp_update_post(wp_slash(['ID' => $known] + $values), true)
        : wp_insert_post(wp_slash($values), true);
    if (is_wp_error($post_id)) {
        throw new StorageError('WordPress did not save the event');
    }
    return $post_id;
}
