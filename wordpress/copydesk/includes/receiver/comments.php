<?php

/**
 * Comments as Copydesk judges them: approved, held or spam, always with the reason, which the comments list shows. A
 * person's decision stands.
 */

namespace Copydesk\Receiver;

use function Copydesk\content_hash;
use function Copydesk\muted;
use function Copydesk\Sender\comment_status;

defined('ABSPATH') || exit;

const JUDGEMENT = '_copydesk_moderation';
const VERDICTS = ['approve' => 'approved', 'hold' => 'hold', 'spam' => 'spam'];
const REASON_CHARS_MAX = 320;

add_filter('manage_edit-comments_columns', static function (array $columns): array {
    return $columns + ['copydesk' => __('Copydesk', 'copydesk')];
});
add_action('manage_comments_custom_column', __NAMESPACE__ . '\show_judgement', 10, 2);

/** @param int|string $comment_id */
function show_judgement(string $column, $comment_id): void
{
    $judgement = $column === 'copydesk' ? get_comment_meta((int) $comment_id, JUDGEMENT, true) : null;
    if (!is_array($judgement)) {
        return;
    }
    $labels = [
        'approve' => __('Approve', 'copydesk'),
        'hold' => __('Hold', 'copydesk'),
        'spam' => __('Spam', 'copydesk'),
    ];
    $outcomes = [
        'applied' => __('done', 'copydesk'),
        'already' => __('as it was', 'copydesk'),
        'suggested' => __('suggested', 'copydesk'),
        'kept' => __('a person had decided', 'copydesk'),
    ];
    $verdict = $labels[$judgement['verdict']] ?? $judgement['verdict'];
    $outcome = $outcomes[$judgement['outcome']] ?? $judgement['outcome'];
    echo '<strong>' . esc_html($verdict) . '</strong> (' . esc_html($outcome) . ')<br>';
    echo esc_html($judgement['reason']);
}

/** What Copydesk thinks of a comment. */
final class Judgement
{
    /** @var Ticket */
    public $ticket;
    /** @var string Verdict and reason, as they came. */
    public $value;
    /** @var string One of VERDICTS. */
    public $verdict;
    /** @var string */
    public $reason;
    /** @var string The status the comment had when it was judged, as the REST API names it. */
    public $seen;
    /** @var ?string Hash of the author's name and the text that were judged. */
    public $input_hash;
    /** @var bool Whether the comment's status is left to people. */
    public $is_suggestion;
    /** @var string */
    public $model;

    /** @throws Refusal */
    public function __construct(array $body)
    {
        $this->ticket = new Ticket($body);
        $fields = $body['fields'] ?? null;
        $field = is_array($fields) && count($fields) === 1 && isset($fields[0]) ? $fields[0] : null;
        if (!is_array($field) || ($field['field'] ?? null) !== 'comment') {
            throw invalid('fields', 'must be one field, named comment');
        }
        $this->value = text_of($field, 'value', 8 * REASON_CHARS_MAX, '/^(?:approve|hold|spam): ./');
        [$this->verdict, $reason] = explode(': ', $this->value, 2);
        $this->reason = plain($reason, 'value');
        $this->is_suggestion = text_of($field, 'mode', 20, '/^(?:suggest|apply_if_empty|apply)$/D') === 'suggest';
        $this->model = plain(text_of($field, 'model', 191, '/^/', ''), 'model');
        $this->seen = text_of($body, 'seen', 20, '/^[a-z-]*$/D', '');
        $this->input_hash = hash_of($body, 'input_hash');
        if ($this->reason === '' || mb_strlen($this->reason) > REASON_CHARS_MAX) {
            throw invalid('value', 'must give a reason of up to ' . REASON_CHARS_MAX . ' characters');
        }
    }
}

/** For the route about one comment. One that is not there is answered by the route itself. */
function copydesk_may_moderate(int $comment_id): bool
{
    $comment = get_comment($comment_id);
    $type = $comment ? get_post_type((int) $comment->comment_post_ID) : null;
    return current_user_can(WRITE) && (!$comment || in_array($type, chosen_types(), true));
}

/** @throws Refusal */
function present_comment(int $comment_id): \WP_Comment
{
    clean_comment_cache($comment_id);
    $comment = get_comment($comment_id);
    if (!$comment) {
        throw new Refusal('copydesk_gone', 'There is no such comment.', 404);
    }
    if (in_array($comment->comment_approved, ['trash', 'post-trashed'], true)) {
        throw new Refusal('copydesk_trashed', 'The comment is in the bin.', 410);
    }
    return $comment;
}

/** Same fence and answers as a write to a post. @throws Refusal|StorageError */
function judge_comment(int $comment_id, Judgement $judgement): array
{
    $item = "comment:$comment_id";
    make_fence($item);
    $answer = transaction(static function () use ($comment_id, $judgement, $item): array {
        $row = lock_fence($item);
        $stored = check_fence($row, $judgement->ticket);
        if ($stored) {
            return $stored;
        }
        $comment = present_comment($comment_id);
        $hash = content_hash([$comment->comment_author, $comment->comment_content]);
        if ($judgement->input_hash !== null && $judgement->input_hash !== $hash) {
            $why = 'The comment is not what was judged.';
            throw new Refusal('copydesk_changed', $why, 412, ['input_hash' => $hash]);
        }
        $outcome = carry_out_judgement($comment, $judgement);
        $answer = $judgement->ticket->answer() + [
            'id' => $comment_id,
            'fields' => ['comment' => ['outcome' => $outcome, 'hash' => content_hash([$judgement->value])]],
            'comment_status' => comment_status(present_comment($comment_id)),
        ];
        advance_fence($row, $judgement->ticket, (int) $comment->comment_post_ID, $answer);
        return $answer;
    });
    clean_comment_cache($comment_id);
    return $answer;
}

/** @return string `applied`, `already`, `suggested` or `kept`. @throws StorageError */
function carry_out_judgement(\WP_Comment $comment, Judgement $judgement): string
{
    $status = comment_status($comment);
    $outcome = 'applied';
    if ($status === VERDICTS[$judgement->verdict]) {
        $outcome = 'already';
    } elseif ($judgement->is_suggestion) {
        $outcome = 'suggested';
    } elseif ($judgement->seen !== '' && $judgement->seen !== $status) {
        $outcome = 'kept';
    }
    $id = (int) $comment->comment_ID;
    if ($outcome === 'applied') {
        $set = muted(static function () use ($id, $judgement): bool {
            return wp_set_comment_status($id, $judgement->verdict) === true;
        });
        if (!$set) {
            throw new StorageError('WordPress did not set the status');
        }
    }
    update_comment_meta($id, JUDGEMENT, [
        'verdict' => $judgement->verdict,
        'reason' => wp_slash($judgement->reason),
        'outcome' => $outcome,
        'model' => wp_slash($judgement->model),
        'at' => now_ms(),
    ]);
    return $outcome;
}
