<?php

/**
 * wp-cli.php SITE_DIR VERB [ARGUMENT…] [--OPTION[=VALUE]…]: `wp copydesk VERB …` without wp-cli, which no package
 * brings: what the plugin uses of it, as wp-cli's own documents describe it. Lists are printed as JSON.
 *
 * phpcs:disable Squiz.Classes.ValidClassName, PSR1.Methods.CamelCapsMethodName -- The names are wp-cli's.
 */

namespace WP_CLI\Utils {
    function format_items(string $format, array $items, array $fields): void
    {
        echo json_encode(array_map(function (array $item) use ($fields): array {
            return array_intersect_key($item, array_flip($fields));
        }, $items));
    }
}

namespace {
    final class WP_CLI
    {
        /** @var string[] */
        public static $commands = [];

        public static function add_command(string $name, string $class): void
        {
            self::$commands[$name] = $class;
        }

        public static function line(string $text): void
        {
            echo "$text\n";
        }

        public static function success(string $text): void
        {
            self::line("Success: $text");
        }

        public static function error(string $text): void
        {
            self::line("Error: $text");
            exit(1);
        }
    }

    define('WP_CLI', true);
    define('COPYDESK_CALL', array_slice($argv, 1));
    define('WP_DISABLE_FATAL_ERROR_HANDLER', true);
    set_error_handler(function (): bool {
        return true;
    }, E_DEPRECATED);
    require COPYDESK_CALL[0] . '/site/wp-load.php';
    (function (string $verb, array $given): void {
        $command = new WP_CLI::$commands['copydesk']();
        $synopsis = (new ReflectionMethod($command, $verb))->getDocComment();
        $arguments = $options = [];
        foreach ($given as $text) {
            if (!preg_match('/^--(\w+)(?:=(.*))?$/', $text, $option)) {
                $arguments[] = $text;
                continue;
            }
            // wp-cli refuses what the command does not document.
            if (!preg_match("/\[--{$option[1]}[=\]]/", $synopsis)) {
                WP_CLI::error("unknown --{$option[1]} parameter");
            }
            $options[$option[1]] = $option[2] ?? true;
        }
        $command->$verb($arguments, $options);
    })(COPYDESK_CALL[1], array_slice(COPYDESK_CALL, 2));
}
