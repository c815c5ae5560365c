<?php

/**
 * A field of a post that Copydesk may write to: where it is kept, what it holds, what may go into it.
 */

namespace Copydesk\Receiver;

use function Copydesk\content_hash;
use function Copydesk\seo_plugin;

defined('ABSPATH') || exit;

// Where each SEO plugin keeps a post's description.
const SEO_DESCRIPTION_KEYS = [
    'yoast' => '_yoast_wpseo_metadesc',
    'rank_math' => 'rank_math_description',
    'aioseo' => '_aioseo_description',
    'seopress' => '_seopress_titles_desc',
];
// The same lengths as core/src/limits.rs (ANSWER_…): what search results and themes show at most.
const TITLE_CHARS_MAX = 200;
const EXCERPT_CHARS_MAX = 2000;
const SEO_DESCRIPTION_CHARS_MAX = 320;
const META_CHARS_MAX = 2000;
const META_KEY = '/^[A-Za-z0-9_.:-]{1,150}$/D';
const TERM_CHARS_MAX = 60;
const TERMS_MAX = 20;

final class Field
{
    /** @var string As in the contract: excerpt, title, tags, categories, meta:KEY, seo_description. */
    public $name;
    /** @var string post, meta or terms. */
    public $store;
    /** @var string Column, meta key or taxonomy; empty if this site has no such place. */
    public $key;
    /** @var int */
    private $chars_max;

    private function __construct(string $name, string $store, string $key, int $chars_max)
    {
        $this->name = $name;
        $this->store = $store;
        $this->key = $key;
        $this->chars_max = $chars_max;
    }

    /** Null for a name that the contract does not know. */
    public static function of(string $name): ?self
    {
        switch ($name) {
            case 'title':
                return new self($name, 'post', 'post_title', TITLE_CHARS_MAX);
            case 'excerpt':
                return new self($name, 'post', 'post_excerpt', EXCERPT_CHARS_MAX);
            case 'tags':
                return new self($name, 'terms', 'post_tag', TERM_CHARS_MAX);
            case 'categories':
                return new self($name, 'terms', 'category', TERM_CHARS_MAX);
            case 'seo_description':
                $key = SEO_DESCRIPTION_KEYS[(string) seo_plugin()] ?? '';
                return new self($name, 'meta', $key, SEO_DESCRIPTION_CHARS_MAX);
        }
        $key = strpos($name, 'meta:') === 0 ? substr($name, strlen('meta:')) : '';
        if (!preg_match(META_KEY, $key)) {
            return null;
        }
        return new self($name, 'meta', in_array($key, meta_keys(), true) ? $key : '', META_CHARS_MAX);
    }

    /** @return self[] Every field that exists for this post. */
    public static function all(\WP_Post $post): array
    {
        $names = ['title', 'excerpt', 'tags', 'categories', 'seo_description'];
        foreach (meta_keys() as $key) {
            $names[] = "meta:$key";
        }
        return array_filter(array_map([self::class, 'of'], $names), static function (?self $field) use ($post): bool {
            return $field !== null && $field->existsFor($post);
        });
    }

    /** What people call it. */
    public function label(): string
    {
        $labels = [
            'title' => __('Title', 'copydesk'),
            'excerpt' => __('Excerpt', 'copydesk'),
            'tags' => __('Tags', 'copydesk'),
            'categories' => __('Categories', 'copydesk'),
            'seo_description' => __('SEO description', 'copydesk'),
        ];
        return $labels[$this->name] ?? substr($this->name, strlen('meta:'));
    }

    public function isTerms(): bool
    {
        return $this->store === 'terms';
    }

    public function existsFor(\WP_Post $post): bool
    {
        if ($this->key === '') {
            return false;
        }
        if ($this->isTerms()) {
            return is_object_in_taxonomy($post->post_type, $this->key);
        }
        if ($this->store === 'post') {
            return post_type_supports($post->post_type, $this->name);
        }
        return is_scalar(get_post_meta($post->ID, $this->key, true));
    }

    /** @return string|string[] The text, or the names of the terms, as they stand. */
    public function read(\WP_Post $post)
    {
        if ($this->isTerms()) {
            return array_map(__NAMESPACE__ . '\term_name', $this->terms($post));
        }
        return $this->store === 'post' ? $post->{$this->key} : (string) get_post_meta($post->ID, $this->key, true);
    }

    /** @return \WP_Term[] */
    public function terms(\WP_Post $post): array
    {
        $terms = wp_get_object_terms($post->ID, $this->key);
        if (is_wp_error($terms)) {
            throw new StorageError('the terms could not be read');
        }
        return $terms;
    }

    /** Whether nobody has put anything here. The category that WordPress gives by itself is nothing. */
    public function isEmpty(\WP_Post $post): bool
    {
        if (!$this->isTerms()) {
            return trim($this->read($post)) === '';
        }
        return array_diff(wp_list_pluck($this->terms($post), 'term_id'), $this->defaultTerms()) === [];
    }

    /** @return int[] */
    public function defaultTerms(): array
    {
        return $this->key === 'category' ? [(int) get_option('default_category')] : [];
    }

    /**
     * The value as it may be written, or an error that says why it cannot be.
     *
     * @param mixed $value
     * @return string|string[]
     * @throws Refusal
     */
    public function cleaned($value, \WP_Post $post)
    {
        if (!$this->isTerms()) {
            return $this->cleanedText($value, $post);
        }
        if (!is_array($value) || $value === [] || array_keys($value) !== range(0, count($value) - 1)) {
            throw invalid($this->name, 'must be a list of names');
        }
        if (count($value) > TERMS_MAX) {
            throw invalid($this->name, 'has more than ' . TERMS_MAX . ' names');
        }
        $names = [];
        foreach ($value as $name) {
            $name = $this->cleanedText($name, $post);
            $names[strtolower($name)] = $name;
        }
        return array_values($names);
    }

    private function cleanedText($value, \WP_Post $post): string
    {
        if (!is_string($value) || !is_utf8($value)) {
            throw invalid($this->name, 'must be text');
        }
        if (strlen($value) > 8 * $this->chars_max) {
            throw invalid($this->name, 'is too long');
        }
        try {
            $text = clean_text($value, "$post->post_title\n$post->post_content\n$post->post_excerpt");
        } catch (ActiveContent $e) {
            throw invalid($this->name, 'holds hidden markup or a script address');
        }
        if ($this->store === 'meta') {
            $text = without_variables($text);
        }
        if ($text === '') {
            throw invalid($this->name, 'has no text');
        }
        if (mb_strlen($text) > $this->chars_max) {
            throw invalid($this->name, "is longer than $this->chars_max characters");
        }
        return $text;
    }
}

/** Hash of what a field holds. @param string|string[] $value */
function value_hash($value): string
{
    return content_hash((array) $value);
}

/** A term's name as people read it: WordPress stores `&` escaped. */
function term_name(\WP_Term $term): string
{
    return html_entity_decode($term->name, ENT_QUOTES | ENT_HTML5, 'UTF-8');
}

/** @return string[] The meta keys that the site's owner lets Copydesk write. */
function meta_keys(): array
{
    return array_values(array_filter((array) get_option('copydesk_meta_keys', []), __NAMESPACE__ . '\may_be_written'));
}

/** Whether a meta key may be chosen: none that WordPress or this plugin itself lives by. @param mixed $key */
function may_be_written($key): bool
{
    return is_string($key) && preg_match(META_KEY, $key)
        && !preg_match('/^_(?:wp_|edit_|copydesk|thumbnail_id|menu_item)/', $key);
}
