<?php
/**
 * What both directions use: names of tables, hashes.
 */

namespace Copydesk;

defined('ABSPATH') || exit;

/** The full name of a table of ours. */
function table(string $name): string
{
    global $wpdb;
    return $wpdb->prefix . 'copydesk_' . $name;
}

/**
 * SHA-256 over the parts, each preceded by its length, so that no two lists collide by joining; in hex.
 *
 * @param string[] $parts
 */
function content_hash(array $parts): string
{
    $hash = hash_init('sha256');
    foreach ($parts as $part) {
        hash_update($hash, pack('J', strlen($part)) . $part);
    }
    return hash_final($hash);
}

/** Hash of what an enrichment reads. The fields we write are left out: our own write is no change. */
function input_hash(\WP_Post $post): string
{
    return content_hash([$post->post_title, $post->post_content]);
}
