<?php

/**
 * What a write would do to each field. Decided for all fields before the first is written.
 */

namespace Copydesk\Receiver;

use function Copydesk\table;

defined('ABSPATH') || exit;

/** One field's fate: `outcome` and `reason` as in the contract, and what there is to write. */
final class Step
{
    /** @var Proposal */
    public $proposal;
    /** @var string applied, already, suggested or kept. */
    public $outcome;
    /** @var string */
    public $reason = '';
    /** @var string|string[] The cleaned text, or the names of terms. */
    public $value;

    /** @param string|string[] $value */
    public function __construct(Proposal $proposal, string $outcome, string $reason = '', $value = '')
    {
        $this->proposal = $proposal;
        $this->outcome = $outcome;
        $this->reason = $reason;
        $this->value = $value;
    }
}

/**
 * @return Step[]
 * @throws Refusal
 */
function plan(Write $write, \WP_Post $post): array
{
    $rows = ownership_rows($post->ID);
    return array_map(static function (Proposal $proposal) use ($post, $rows): Step {
        $field = $proposal->field;
        $value = $field->cleaned($proposal->value, $post); // What cannot be is refused wherever it was to go.
        if (!$field->existsFor($post)) {
            return new Step($proposal, 'kept', 'no_such_field');
        }
        $row = $rows[$field->name] ?? null;
        return $field->isTerms()
            ? plan_terms($proposal, $value, $post, $row)
            : plan_text($proposal, $value, $post, $row);
    }, $write->proposals);
}

function plan_text(Proposal $proposal, string $value, \WP_Post $post, ?array $row): Step
{
    $field = $proposal->field;
    $current = $field->read($post);
    if ($current === $value) {
        return new Step($proposal, 'already');
    }
    if ($proposal->mode === 'suggest' || $field->name === 'title') {
        return suggestion($proposal, $value, '', $post);
    }
    $owner = owner($field, $post, $row);
    $changed = $proposal->base_hash !== null && $proposal->base_hash !== value_hash($current);
    $is_persons = $owner === 'human' || ($changed && $owner !== 'copydesk');
    if ($proposal->mode === 'apply_if_empty' && !$field->isEmpty($post)) {
        return new Step($proposal, 'kept', 'not_empty');
    }
    if ($is_persons) {
        return $proposal->mode === 'apply'
            ? suggestion($proposal, $value, 'human_owned', $post)
            : new Step($proposal, 'kept', 'human_owned');
    }
    return new Step($proposal, 'applied', '', $value);
}

/** @param string[] $names */
function plan_terms(Proposal $proposal, array $names, \WP_Post $post, ?array $row): Step
{
    $field = $proposal->field;
    $known = known_terms($field, $names);
    $usable = may_add_terms($field) ? $names : array_intersect($names, array_keys($known));
    if (!$usable) {
        return new Step($proposal, 'kept', 'no_such_term');
    }
    $present = wp_list_pluck($field->terms($post), 'term_id');
    $missing = array_values(array_filter($usable, static function (string $name) use ($known, $present): bool {
        return !in_array($known[$name] ?? 0, $present, true);
    }));
    if (!$missing) {
        return new Step($proposal, 'already');
    }
    if ($proposal->mode === 'suggest') {
        return suggestion($proposal, $missing, '', $post);
    }
    if ($proposal->mode === 'apply_if_empty' && !$field->isEmpty($post)) {
        return new Step($proposal, 'kept', 'not_empty');
    }
    $refused = terms_ever_added($row);
    $wanted = array_values(array_filter($missing, static function (string $name) use ($known, $refused): bool {
        return !in_array($known[$name] ?? 0, $refused, true);
    }));
    return $wanted ? new Step($proposal, 'applied', '', $wanted) : new Step($proposal, 'kept', 'human_owned');
}

/** @param string|string[] $value */
function suggestion(Proposal $proposal, $value, string $reason, \WP_Post $post): Step
{
    $sql = 'SELECT id FROM ' . table('suggestions')
        . " WHERE post_id = %d AND field = %s AND value_hash = %s AND state = 'dismissed' LIMIT 1";
    if (row($sql, [$post->ID, $proposal->field->name, value_hash($value)])) {
        return new Step($proposal, 'kept', 'dismissed');
    }
    return new Step($proposal, 'suggested', $reason, $value);
}

/**
 * @param string[] $names
 * @return array<string, int> Ids of the terms that exist, by name.
 */
function known_terms(Field $field, array $names): array
{
    $known = [];
    foreach ($names as $name) {
        $term = get_term_by('name', wp_slash($name), $field->key);
        if ($term instanceof \WP_Term) {
            $known[$name] = $term->term_id;
        }
    }
    return $known;
}

/** Whether Copydesk may make new terms for this field; the site's owner decides. */
function may_add_terms(Field $field): bool
{
    return in_array($field->name, (array) get_option('copydesk_new_terms', []), true);
}
