<?php

/**
 * How a write is refused: the answer, thrown, so that the transaction around it ends.
 */

namespace Copydesk\Receiver;

defined('ABSPATH') || exit;

/** The write is not to be carried out; `$error` is the answer. */
final class Refusal extends \RuntimeException
{
    /** @var \WP_Error */
    public $error;

    public function __construct(string $code, string $message, int $status, array $data = [])
    {
        parent::__construct($message);
        $this->error = new \WP_Error($code, $message, ['status' => $status] + $data);
    }
}

function invalid(string $param, string $why): Refusal
{
    $data = ['params' => [$param => "$param $why."]];
    return new Refusal('rest_invalid_param', "Invalid parameter: $param $why.", 400, $data);
}
