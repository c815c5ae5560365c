<?php

/**
 * Plugin Name: Copydesk
 * Description: Sends your posts to Copydesk without losing one, and never lets its results replace a person's words.
 * Version: 0.1.0
 * Requires at least: 6.1
 * Requires PHP: 7.4
 * License: GPL-2.0-or-later
 * License URI: https://www.gnu.org/licenses/gpl-2.0.html
 * Text Domain: copydesk
 * Domain Path: /languages
 */

namespace Copydesk;

defined('ABSPATH') || exit;

const VERSION = '0.1.0';
const FILE = __FILE__;

require __DIR__ . '/includes/shared.php';
require __DIR__ . '/includes/sender.php';
require __DIR__ . '/includes/receiver.php';
