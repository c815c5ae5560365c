<?php

namespace Copydesk\Tests;

/** A web server of our own in Copydesk's place: it keeps what it is sent and answers as told. */
final class Receiver
{
    /** @var string */
    public $url;
    /** @var string */
    private $dir;
    /** @var int */
    private $port;
    /** @var resource|null */
    private $process = null;

    public function __construct()
    {
        $this->dir = sys_get_temp_dir() . '/copydesk-receiver-' . bin2hex(random_bytes(6));
        mkdir($this->dir);
        $this->port = self::freePort();
        $this->url = "http://127.0.0.1:{$this->port}/webhooks/news";
        $this->answer([]);
        $this->forget();
    }

    public static function freePort(): int
    {
        $socket = stream_socket_server('tcp://127.0.0.1:0');
        return (int) explode(':', stream_socket_get_name($socket, false))[1];
    }

    public function start(): void
    {
        if ($this->process) {
            return;
        }
        $command = [PHP_BINARY, '-S', "127.0.0.1:{$this->port}", __DIR__ . '/receiver-router.php'];
        $log = ['file', "{$this->dir}/log", 'a'];
        // Several workers, so that a slow answer does not hold the others; one group, to end them together.
        array_unshift($command, 'setsid');
        $environment = ['RECEIVER_DIR' => $this->dir, 'PHP_CLI_SERVER_WORKERS' => '6', 'PATH' => getenv('PATH')];
        $this->process = proc_open($command, [['file', '/dev/null', 'r'], $log, $log], $pipes, null, $environment);
        PluginTestCase::waitFor('the receiver to listen', function (): bool {
            $socket = @stream_socket_client("tcp://127.0.0.1:{$this->port}", $code, $text, 1);
            return is_resource($socket) && fclose($socket);
        });
    }

    /** From here on nobody listens. */
    public function stop(): void
    {
        if (!$this->process) {
            return;
        }
        posix_kill(-proc_get_status($this->process)['pid'], SIGKILL);
        proc_close($this->process);
        $this->process = null;
    }

    public function __destruct()
    {
        $this->stop();
        array_map('unlink', glob("{$this->dir}/*"));
        rmdir($this->dir);
    }

    /** How to answer from here on; see receiver-router.php. */
    public function answer(array $answer): void
    {
        file_put_contents("{$this->dir}/answer.json.new", json_encode((object) $answer));
        rename("{$this->dir}/answer.json.new", "{$this->dir}/answer.json");
    }

    public function forget(): void
    {
        file_put_contents("{$this->dir}/requests.jsonl", '', LOCK_EX);
    }

    /** @return array[] Each request with its body decoded as `event`, in the order they came. */
    public function requests(): array
    {
        $requests = [];
        foreach (file("{$this->dir}/requests.jsonl") as $line) {
            $request = json_decode($line, true);
            $requests[] = $request + ['event' => json_decode($request['body'], true)];
        }
        return $requests;
    }
}
