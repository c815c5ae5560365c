<?php

/**
 * The receiver's tables. InnoDB, because a write is one transaction; times are milliseconds since 1970.
 */

namespace Copydesk\Receiver;

use function Copydesk\make_table;

defined('ABSPATH') || exit;

/** Numbers of a fence are compared by PHP, which holds 63 bits; `log` has up to 20 digits and stays text. */
const TABLES = [
    // One row per item that Copydesk writes to: its newest write, and the answer it was given.
    'fence' => 'item varchar(80) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        post_id bigint unsigned NOT NULL DEFAULT 0,
        log varchar(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT \'\',
        epoch bigint unsigned NOT NULL DEFAULT 0,
        write_number bigint unsigned NOT NULL DEFAULT 0,
        delivery_id varchar(191) NOT NULL DEFAULT \'\',
        body_hash char(64) NOT NULL DEFAULT \'\',
        result longtext NULL,
        touched bigint unsigned NOT NULL DEFAULT 0,
        updated_at bigint unsigned NOT NULL DEFAULT 0,
        PRIMARY KEY  (item)',
    // What we wrote last into a field, and whether a person has changed it since. `terms` are all we ever added.
    'fields' => 'post_id bigint unsigned NOT NULL,
        field varchar(160) NOT NULL,
        owner varchar(16) NOT NULL,
        hash char(64) NOT NULL,
        write_id bigint unsigned NOT NULL DEFAULT 0,
        terms longtext NULL,
        PRIMARY KEY  (post_id, field)',
    'writes' => 'id bigint unsigned NOT NULL AUTO_INCREMENT,
        post_id bigint unsigned NOT NULL,
        field varchar(160) NOT NULL,
        kind varchar(16) NOT NULL,
        before_value longtext NOT NULL,
        after_value longtext NOT NULL,
        terms_added longtext NULL,
        model varchar(191) NOT NULL,
        prompt_version bigint unsigned NOT NULL DEFAULT 0,
        enrichment varchar(191) NOT NULL,
        delivery_id varchar(191) NOT NULL,
        log varchar(20) NOT NULL,
        epoch bigint unsigned NOT NULL,
        write_number bigint unsigned NOT NULL,
        approved_by bigint unsigned NOT NULL DEFAULT 0,
        created_at bigint unsigned NOT NULL,
        undone_by bigint unsigned NOT NULL DEFAULT 0,
        undone_at bigint unsigned NOT NULL DEFAULT 0,
        PRIMARY KEY  (id),
        KEY by_post (post_id, id),
        KEY by_time (created_at)',
    'suggestions' => 'id bigint unsigned NOT NULL AUTO_INCREMENT,
        post_id bigint unsigned NOT NULL,
        field varchar(160) NOT NULL,
        value longtext NOT NULL,
        value_hash char(64) NOT NULL,
        reason varchar(32) NOT NULL,
        state varchar(16) NOT NULL,
        model varchar(191) NOT NULL,
        prompt_version bigint unsigned NOT NULL DEFAULT 0,
        enrichment varchar(191) NOT NULL,
        delivery_id varchar(191) NOT NULL,
        log varchar(20) NOT NULL,
        epoch bigint unsigned NOT NULL,
        write_number bigint unsigned NOT NULL,
        created_at bigint unsigned NOT NULL,
        decided_by bigint unsigned NOT NULL DEFAULT 0,
        decided_at bigint unsigned NOT NULL DEFAULT 0,
        PRIMARY KEY  (id),
        KEY by_post (post_id, state)',
    // How a post's newest event ended, for the posts list.
    'statuses' => 'post_id bigint unsigned NOT NULL,
        sequence bigint unsigned NOT NULL,
        state varchar(16) NOT NULL,
        cause varchar(500) NOT NULL,
        at bigint unsigned NOT NULL,
        PRIMARY KEY  (post_id),
        KEY by_state (state)',
];

function create_tables(): void
{
    foreach (TABLES as $name => $columns) {
        make_table($name, preg_replace('/^\s+/m', '', $columns));
    }
}
