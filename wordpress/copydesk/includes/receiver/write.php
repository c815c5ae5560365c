<?php

/**
 * A write as Copydesk sends it, read strictly: what is not as the contract says is refused before anything is done.
 */

namespace Copydesk\Receiver;

defined('ABSPATH') || exit;

const FIELDS_MAX = 20;
const MODES = ['suggest', 'apply_if_empty', 'apply'];

/** The place of a write in the order of all writes to one item, and what tells it from another. */
final class Ticket
{
    /** @var string */
    public $delivery_id;
    /** @var string A decimal number of up to 20 digits: more than PHP's integers hold, so it stays text. */
    public $log;
    /** @var int */
    public $epoch;
    /** @var int */
    public $write;
    /** @var string */
    public $body_hash;

    /** @throws Refusal */
    public function __construct(array $body)
    {
        $this->delivery_id = text_of($body, 'delivery_id', 191, '/^[\x21-\x7e]+$/D');
        $this->log = text_of($body, 'log', 20, '/^(?:0|[1-9][0-9]*)$/D');
        $this->epoch = number_of($body, 'epoch');
        $this->write = number_of($body, 'write');
        unset($body['id']); // A write may come alone at first and in a batch the next time.
        $this->body_hash = hash('sha256', (string) wp_json_encode(sorted($body)));
    }

    /** Older than $row, newer, or the same: -1, 1, 0. Only (log, epoch) counts with $only_owner. */
    public function compare(array $row, bool $only_owner = false): int
    {
        // Without leading zeros the longer number is the greater one.
        return strlen($this->log) <=> strlen($row['log'])
            ?: strcmp($this->log, $row['log'])
            ?: $this->epoch <=> (int) $row['epoch']
            ?: ($only_owner ? 0 : $this->write <=> (int) $row['write_number']);
    }
}

/** One field's part of a write. */
final class Proposal
{
    /** @var Field */
    public $field;
    /** @var mixed Not cleaned: that takes the post. */
    public $value;
    /** @var string */
    public $mode;
    /** @var string|null */
    public $base_hash;
    /** @var array {enrichment, model, prompt_version}: kept with what is written. */
    public $origin;

    /** @throws Refusal */
    public function __construct(array $part)
    {
        $field = Field::of(text_of($part, 'field', 191, '/^/'));
        if (!$field) {
            throw invalid('field', 'is none that can be written');
        }
        $this->field = $field;
        $this->value = $part['value'] ?? null;
        $this->mode = text_of($part, 'mode', 20, '/^(?:' . implode('|', MODES) . ')$/D');
        $this->base_hash = hash_of($part, 'base_hash');
        $this->origin = [
            'enrichment' => text_of($part, 'enrichment', 191, '/^/', ''),
            'model' => text_of($part, 'model', 191, '/^/', ''),
            'prompt_version' => number_of($part, 'prompt_version', 0),
        ];
    }
}

final class Write
{
    /** @var Ticket */
    public $ticket;
    /** @var int */
    public $sequence;
    /** @var string|null */
    public $input_hash;
    /** @var Proposal[] */
    public $proposals = [];

    /** @throws Refusal */
    public function __construct(array $body)
    {
        $this->ticket = new Ticket($body);
        $this->sequence = number_of($body, 'sequence', 0);
        $this->input_hash = hash_of($body, 'input_hash');
        $parts = $body['fields'] ?? null;
        if (!is_array($parts) || $parts === [] || count($parts) > FIELDS_MAX) {
            throw invalid('fields', 'must be a list of 1 to ' . FIELDS_MAX);
        }
        foreach ($parts as $part) {
            $proposal = new Proposal(is_array($part) ? $part : []);
            if (isset($this->proposals[$proposal->field->name])) {
                throw invalid('fields', 'names a field twice');
            }
            $this->proposals[$proposal->field->name] = $proposal;
        }
    }
}

/** @throws Refusal */
function text_of(array $body, string $name, int $bytes_max, string $pattern, ?string $default = null): string
{
    $value = $body[$name] ?? $default;
    if (!is_string($value) || strlen($value) > $bytes_max || !seems_utf8($value) || !preg_match($pattern, $value)) {
        throw invalid($name, "must be text of up to $bytes_max bytes in its form");
    }
    return $value;
}

/** @throws Refusal */
function number_of(array $body, string $name, ?int $default = null): int
{
    // A number over 63 bits is a float here and has lost digits: it is refused like any other that is not exact.
    $value = $body[$name] ?? $default;
    if (!is_int($value) || $value < 0) {
        throw invalid($name, 'must be a whole number of up to 63 bits');
    }
    return $value;
}

/** @throws Refusal */
function hash_of(array $body, string $name): ?string
{
    return isset($body[$name]) ? text_of($body, $name, 64, '/^[0-9a-f]{64}$/D') : null;
}

/** The same for the same content, in whatever order its keys came. */
function sorted(array $body): array
{
    if ($body !== [] && array_keys($body) !== range(0, count($body) - 1)) {
        ksort($body, SORT_STRING);
    }
    return array_map(static function ($value) {
        return is_array($value) ? sorted($value) : $value;
    }, $body);
}
