<?php

/**
 * What every write carries, and reading its body strictly: what is not as the contract says is refused before anything
 * is done.
 */

namespace Copydesk\Receiver;

defined('ABSPATH') || exit;

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

    /** Of a kept suggestion, which has been checked when it came. */
    public static function ofRow(array $row): self
    {
        return new self([
            'delivery_id' => $row['delivery_id'],
            'log' => $row['log'],
            'epoch' => (int) $row['epoch'],
            'write' => (int) $row['write_number'],
        ]);
    }

    /** How the answer to a write that is carried out begins. */
    public function answer(): array
    {
        return ['status' => 'applied', 'write' => $this->write, 'delivery_id' => $this->delivery_id];
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

/** @throws Refusal */
function text_of(array $body, string $name, int $bytes_max, string $pattern, ?string $default = null): string
{
    $value = $body[$name] ?? $default;
    if (!is_string($value) || strlen($value) > $bytes_max || !is_utf8($value) || !preg_match($pattern, $value)) {
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
