<?php

namespace Copydesk;

defined('ABSPATH') || exit;
