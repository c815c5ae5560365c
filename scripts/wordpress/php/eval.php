<?php
/**
 * Runs a file or a piece of code inside a site. Called by ../eval.
 *
 * The command line is kept in a constant: WordPress, loaded at the top level, may overwrite any variable here.
 */
// Errors as text on stderr, not in the site's log or as a web page. An old WordPress on a new PHP brings many
// notes of deprecation, which nobody asked for here.
define('WP_DISABLE_FATAL_ERROR_HANDLER', true);
define('WP_DEBUG_DISPLAY', null);
define('WP_DEBUG_LOG', false);
set_error_handler(function (): bool { return true; }, E_DEPRECATED);
define('COPYDESK_EVAL', (function (array $argv): array {
    $call = ['dir' => $argv[1], 'user' => null, 'admin' => false, 'code' => null, 'file' => null];
    for ($i = 2; $i < count($argv) && $call['code'] === null && $call['file'] === null; $i++) {
        switch ($argv[$i]) {
            case '--user':  $call['user'] = $argv[++$i] ?? ''; break;
            case '--admin': $call['admin'] = true; break;
            case '-e':      $call['code'] = $argv[++$i] ?? ''; break;
            default:        $call['file'] = $argv[$i] === '-' ? '-' : realpath($argv[$i]);
        }
    }
    if ($call['code'] === null && !$call['file']) {
        fwrite(STDERR, "eval: no code, or no such file\n");
        exit(1);
    }
    return $call + ['args' => array_slice($argv, $i)];
})($argv));

if (COPYDESK_EVAL['admin']) {
    define('WP_ADMIN', true);
}
require COPYDESK_EVAL['dir'] . '/site/wp-load.php';
if (COPYDESK_EVAL['admin']) {
    require_once ABSPATH . 'wp-admin/includes/admin.php';
}
(function (): void {
    global $wpdb;
    $args = COPYDESK_EVAL['args'];
    if (COPYDESK_EVAL['user'] !== null) {
        $user = get_user_by('login', COPYDESK_EVAL['user']);
        if (!$user) {
            fwrite(STDERR, 'eval: no user ' . COPYDESK_EVAL['user'] . "\n");
            exit(1);
        }
        wp_set_current_user($user->ID);
    }
    if (COPYDESK_EVAL['code'] !== null) {
        eval(COPYDESK_EVAL['code']);
    } elseif (COPYDESK_EVAL['file'] === '-') {
        eval('?>' . stream_get_contents(STDIN));
    } else {
        include COPYDESK_EVAL['file'];
    }
})();
