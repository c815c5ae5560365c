<?php

/**
 * A write to a post as Copydesk sends it.
 */

namespace Copydesk\Receiver;

defined('ABSPATH') || exit;

const FIELDS_MAX = 20;

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
