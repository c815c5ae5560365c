<?php
/**
 * setup.php DIR FACTS PLAIN [PLUGIN…]: users, application passwords, permalinks and plugins; writes DIR/state.json.
 *
 * FACTS is JSON of what the shell knows (url, pids, …); PLAIN is 1 for plain permalinks. Run by every ../up:
 * passwords that still hold are kept.
 */
define('WP_ADMIN', true);
require $argv[1] . '/site/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/admin.php';

const ROLES = [
    'admin'    => 'administrator',
    'copydesk' => 'editor', // The one Copydesk writes with.
    'desk'     => 'editor',
    'writer'   => 'author',
    'intern'   => 'contributor',
    'reader'   => 'subscriber',
];

function or_die($result) {
    if (is_wp_error($result)) {
        fwrite(STDERR, 'setup: ' . $result->get_error_message() . "\n");
        exit(1);
    }
    return $result;
}

/** The user with its passwords; makes what is missing. */
function ensure_user(string $login, string $role, array $known): array {
    $user = get_user_by('login', $login);
    if (!$user || empty($known['password'])) {
        $known['password'] = wp_generate_password(24, false);
        if ($user) {
            wp_set_password($known['password'], $user->ID);
        } else {
            $user = get_user_by('id', or_die(wp_insert_user([
                'user_login' => $login,
                'user_pass'  => $known['password'],
                'user_email' => "$login@example.test",
                'role'       => $role,
            ])));
        }
    }
    $id = $user->ID;
    if (!WP_Application_Passwords::get_user_application_password($id, $known['application_password_uuid'] ?? '')) {
        $name = 'up ' . wp_generate_uuid4(); // A name may be taken only once.
        [$password, $item] = or_die(WP_Application_Passwords::create_new_application_password($id, ['name' => $name]));
        $known['application_password'] = $password;
        $known['application_password_uuid'] = $item['uuid'];
    }
    return ['id' => $id, 'role' => $role] + $known;
}

[, $dir, $facts, $plain] = $argv;
$plugins = array_slice($argv, 4);
$facts = json_decode($facts, true, 8, JSON_THROW_ON_ERROR);
$before = is_file("$dir/state.json") ? json_decode(file_get_contents("$dir/state.json"), true) : [];
$users = [];
foreach (ROLES as $login => $role) {
    $users[$login] = ensure_user($login, $role, $before['users'][$login] ?? []);
}

if (!wp_get_theme()->exists()) {
    switch_theme(array_key_first(wp_get_themes()));
}
wp_clean_plugins_cache();
foreach (array_keys(get_plugins()) as $file) {
    if (in_array(explode('/', $file)[0], $plugins, true)) {
        or_die(activate_plugin($file));
    }
}
$GLOBALS['wp_rewrite']->set_permalink_structure($plain ? '' : '/%year%/%monthnum%/%postname%/');
flush_rewrite_rules(false);

$state = $facts + [
    'rest_url'             => $facts['url'] . ($plain ? '/?rest_route=' : '/wp-json'),
    'user'                 => 'copydesk',
    'application_password' => $users['copydesk']['application_password'],
    'users'                => $users,
    'wordpress'            => get_bloginfo('version'),
    'php'                  => PHP_VERSION,
    'active_plugins'       => array_values(get_option('active_plugins')),
];
$json = wp_json_encode($state, JSON_PRETTY_PRINT | JSON_UNESCAPED_SLASHES | JSON_THROW_ON_ERROR) . "\n";
if (file_put_contents("$dir/state.json.new", $json) !== strlen($json) || !rename("$dir/state.json.new", "$dir/state.json")) {
    fwrite(STDERR, "setup: cannot write $dir/state.json\n");
    exit(1);
}
