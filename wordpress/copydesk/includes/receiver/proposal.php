<?php

/**
 * One field's part of a write.
 */

namespace Copydesk\Receiver;

defined('ABSPATH') || exit;

const MODES = ['suggest', 'apply_if_empty', 'apply'];

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
