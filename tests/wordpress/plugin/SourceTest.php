<?php

namespace Copydesk\Tests;

use PhpParser\Node;
use PhpParser\NodeFinder;
use PhpParser\ParserFactory;
use PHPUnit\Framework\TestCase;

/** What the plugin's sources may not hold: the site's PHP may be 7.4, which the tests' PHP is not. */
final class SourceTest extends TestCase
{
    /** Kinds of syntax that came with PHP 8. */
    private const NEW_SYNTAX = [
        Node\AttributeGroup::class,
        Node\Expr\Match_::class,
        Node\Expr\NullsafeMethodCall::class,
        Node\Expr\NullsafePropertyFetch::class,
        Node\Expr\Throw_::class,
        Node\IntersectionType::class,
        Node\Stmt\Enum_::class,
        Node\UnionType::class,
        Node\VariadicPlaceholder::class,
    ];
    /** Functions of PHP 8 and later, other than those that WordPress 6.1 brings itself. */
    private const NEW_FUNCTIONS = ['array_find', 'array_any', 'array_all', 'array_is_list', 'fdiv', 'get_debug_type',
        'get_resource_id', 'json_validate', 'mb_str_pad', 'mb_trim', 'preg_last_error_msg'];

    /** @return array[] */
    public function sources(): array
    {
        $sources = [];
        $root = dirname(__DIR__, 3) . '/wordpress/copydesk';
        foreach (new \RecursiveIteratorIterator(new \RecursiveDirectoryIterator($root)) as $file) {
            if ($file->getExtension() === 'php') {
                $sources[substr($file->getPathname(), strlen($root) + 1)] = [$file->getPathname()];
            }
        }
        return $sources;
    }

    /** @dataProvider sources */
    public function testSourceIsPhp74(string $path): void
    {
        require_once 'PhpParser/autoload.php';
        $tree = (new ParserFactory())->create(ParserFactory::ONLY_PHP7)->parse(file_get_contents($path));
        $found = (new NodeFinder())->find($tree, function (Node $node): bool {
            return self::isNew($node);
        });
        self::assertSame([], array_map(function (Node $node): string {
            return "line {$node->getStartLine()}: {$node->getType()}";
        }, $found));
    }

    private static function isNew(Node $node): bool
    {
        $types = ['mixed', 'never', 'static', 'false', 'null', 'true'];
        return in_array(get_class($node), self::NEW_SYNTAX, true)
            || ($node instanceof Node\Arg && $node->name !== null)
            || ($node instanceof Node\Param && ($node->flags !== 0 || self::isNamed($node->type, $types)))
            || ($node instanceof Node\FunctionLike && self::isNamed($node->getReturnType(), $types))
            || ($node instanceof Node\Stmt\Catch_ && $node->var === null)
            || ($node instanceof Node\Expr\ClassConstFetch && $node->class instanceof Node\Expr
                && self::isNamed($node->name, ['class']))
            || ($node instanceof Node\Expr\FuncCall && self::isNamed($node->name, self::NEW_FUNCTIONS));
    }

    /** @param string[] $names */
    private static function isNamed(?Node $node, array $names): bool
    {
        $node = $node instanceof Node\NullableType ? $node->type : $node;
        $is_name = $node instanceof Node\Identifier || $node instanceof Node\Name;
        return $is_name && in_array($node->toLowerString(), $names, true);
    }

    public function testNewSyntaxIsFound(): void
    {
        $old = new self('testSourceIsPhp74');
        $new = ['match (1) { 1 => 2 };', '$a?->b;', 'f(a: 1);', 'try { } catch (E) { }', 'function f(): static { }',
            'function f(int|string $a) { }', '$a::class;', 'array_is_list([]);', '$a ?? throw new E();'];
        foreach ($new as $code) {
            $file = tempnam(sys_get_temp_dir(), 'copydesk-syntax-');
            file_put_contents($file, "<?php\n$code");
            try {
                $old->testSourceIsPhp74($file);
                $passed = true;
            } catch (\PHPUnit\Framework\AssertionFailedError $e) {
                $passed = false;
            } finally {
                unlink($file);
            }
            self::assertFalse($passed, $code);
        }
    }
}
