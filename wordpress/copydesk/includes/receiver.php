<?php

/**
 * The receiver: takes Copydesk's writes, keeps a person's words, shows people what happened and undoes it.
 */

namespace Copydesk\Receiver;

defined('ABSPATH') || exit;

require __DIR__ . '/receiver/schema.php';
require __DIR__ . '/receiver/database.php';
require __DIR__ . '/receiver/refusal.php';
require __DIR__ . '/receiver/access.php';
require __DIR__ . '/receiver/text.php';
require __DIR__ . '/receiver/field.php';
require __DIR__ . '/receiver/ticket.php';
require __DIR__ . '/receiver/proposal.php';
require __DIR__ . '/receiver/write.php';
require __DIR__ . '/receiver/fence.php';
require __DIR__ . '/receiver/ownership.php';
require __DIR__ . '/receiver/plan.php';
require __DIR__ . '/receiver/carry-out.php';
require __DIR__ . '/receiver/apply.php';
require __DIR__ . '/receiver/events.php';
require __DIR__ . '/receiver/comments.php';
require __DIR__ . '/receiver/routes.php';
require __DIR__ . '/receiver/decisions.php';
require __DIR__ . '/receiver/people-routes.php';
if (is_admin()) {
    require __DIR__ . '/receiver/editor.php';
    require __DIR__ . '/receiver/settings.php';
    require __DIR__ . '/receiver/posts-list.php';
}

\Copydesk\on_install('receiver', 1, static function (): void {
    create_tables();
    create_role();
});
