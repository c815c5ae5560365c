<?php

/**
 * What Receiver runs under `php -S`: notes each request as a line of JSON, then answers as RECEIVER_DIR/answer.json
 * says: {status, body, headers, wait_ms}, or by `only`: {"<text in the body>": {…}} before that.
 */

$dir = getenv('RECEIVER_DIR');
$body = file_get_contents('php://input');
$answer = json_decode(file_get_contents("$dir/answer.json"), true);
foreach ($answer['only'] ?? [] as $text => $other) {
    if (strpos($body, $text) !== false) {
        $answer = $other;
    }
}
foreach ($answer['key'] ?? [] as $id => $other) {
    if ($id === ($_SERVER['HTTP_X_WP_KEY_ID'] ?? '')) {
        $answer = $other;
    }
}
$line = json_encode([
    'method' => $_SERVER['REQUEST_METHOD'],
    'path' => $_SERVER['REQUEST_URI'],
    'headers' => array_change_key_case(getallheaders()),
    'body' => $body,
    'at' => microtime(true),
    'status' => $answer['status'] ?? 202,
]);
file_put_contents("$dir/requests.jsonl", "$line\n", FILE_APPEND | LOCK_EX);
usleep(1000 * ($answer['wait_ms'] ?? 0));
http_response_code($answer['status'] ?? 202);
header('Content-Type: application/json');
foreach ($answer['headers'] ?? [] as $name => $value) {
    header("$name: $value");
}
echo $answer['body'] ?? '{"status":"accepted","event_id":"1"}';
