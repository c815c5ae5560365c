<?php

/**
 * From text of unknown origin to plain text that is safe to store and show anywhere in WordPress.
 *
 * Copydesk cleans by the same rules (core/src/sanitise); this side does not rely on it. What Copydesk has cleaned
 * comes out unchanged, so that both agree on its hash.
 */

namespace Copydesk\Receiver;

defined('ABSPATH') || exit;

/** Hidden markup in decoded text: someone tries. */
final class ActiveContent extends \RuntimeException
{
}

// What readers, make_clickable or chat programs take for an address.
const ADDRESS = '~\b[a-z][a-z0-9+.\-]{1,30}:/+[^\s<>"\'`()\[\]{}‹›]+'
    . '|//[\p{L}\p{N}\-]+\.[^\s<>"\'`()\[\]{}‹›]+'
    . '|\b(?:www|ftp)\.[^\s<>"\'`()\[\]{}‹›]+'
    . '|\b(?:mailto|tel|sms|data|blob|file|magnet):[^\s<>"\'`()\[\]{}‹›]+'
    . '|(?:[\p{L}\p{N}](?:[\p{L}\p{N}\-]*[\p{L}\p{N}])?\.)+\p{L}{2,24}(?::\d+)?/[^\s<>"\'`()\[\]{}‹›]*'
    . '|\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?/[^\s<>"\'`()\[\]{}‹›]*~iu';
const SCRIPT_ADDRESS = '~(?:javascript|vbscript|livescript):\S|\bdata:[a-z]+/[a-z]~iu';

/**
 * One line of plain text. Addresses stay only if $source, the post itself, holds them.
 *
 * @throws ActiveContent
 */
function clean_text(string $text, string $source): string
{
    // Invisible characters go before tags are looked for, and again after decoding: both can hide a tag.
    $text = visible(decoded(without_tags(visible($text))));
    if (without_tags($text) !== $text || decoded($text) !== $text || preg_match(SCRIPT_ADDRESS, $text)) {
        throw new ActiveContent('hidden markup or a script address');
    }
    $text = strtr($text, ['<' => '‹', '>' => '›', '[' => '(', ']' => ')']);
    $text = preg_replace_callback(ADDRESS, static function (array $found) use ($source): string {
        $address = preg_replace('/[.,;:!?…\/]+$/u', '', $found[0]);
        $is_own = $address && strpos($source, $address) !== false;
        return $is_own ? $found[0] : ' ' . sentence_mark($found[0]);
    }, $text);
    return trim((string) preg_replace('/\s+/u', ' ', (string) $text));
}

function is_utf8(string $text): bool
{
    return preg_match('//u', $text) === 1;
}

function without_tags(string $text): string
{
    return strpos($text, '<') === false ? $text : wp_strip_all_tags($text);
}

/** Entities decoded once; browsers also take some without their semicolon. */
function decoded(string $text): string
{
    if (strpos($text, '&') === false) {
        return $text;
    }
    $text = preg_replace('/&(#\d{1,7}|#x[0-9a-f]{1,6}|lt|gt|quot|amp)(?![;0-9a-z])/i', '&$1;', $text);
    return html_entity_decode((string) $text, ENT_QUOTES | ENT_HTML5, 'UTF-8');
}

// The same list as core/src/sanitise/invisible.rs, of which the joiners (200C, 200D) are looked at apart.
const INVISIBLE = '\x{00}-\x{1F}\x{7F}-\x{9F}\x{AD}\x{34F}\x{61C}\x{115F}\x{1160}\x{17B4}\x{17B5}\x{180B}-\x{180F}'
    . '\x{200B}\x{200E}\x{200F}\x{202A}-\x{202E}\x{2060}-\x{206F}\x{3164}\x{FFA0}\x{FE00}-\x{FE0D}\x{FEFF}'
    . '\x{FFF9}-\x{FFFB}\x{FDD0}-\x{FDEF}\x{FFFE}\x{FFFF}\x{1BCA0}-\x{1BCA3}\x{1D173}-\x{1D17A}\x{E0000}-\x{E0FFF}';

/** Without what no reader sees: controls, direction marks, zero-width and tag characters. White space is a space. */
function visible(string $text): string
{
    if (class_exists(\Normalizer::class)) {
        $text = \Normalizer::normalize($text, \Normalizer::FORM_C) ?: '';
    }
    $text = preg_replace('/[\t\n\x0B\f\r\x{85}\x{2028}\x{2029}]/u', ' ', $text);
    $text = preg_replace('/[' . INVISIBLE . ']/u', '', (string) $text);
    // Joiners spell Persian and Indic words and build emoji; beside ASCII they only hide.
    $hiding = '/(?<![^\x00-\x7F])[\x{200C}\x{200D}]+|[\x{200C}\x{200D}]+(?![^\x00-\x7F])/u';
    return (string) preg_replace($hiding, '', (string) $text);
}

/** The mark that ends the sentence after a dropped address. */
function sentence_mark(string $address): string
{
    $last = substr($address, -1);
    return in_array($last, ['.', '!', '?'], true) ? $last : '';
}

/** SEO plugins replace %%name%%, %name(key)% and #name by values of the post, private ones too. */
function without_variables(string $text): string
{
    return (string) preg_replace(['/%(?=[a-z_]\w*(?:\([^)]*\))?%|%)/iu', '/#(?=[a-z_])/iu'], '', $text);
}
