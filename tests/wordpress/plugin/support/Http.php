<?php

namespace Copydesk\Tests;

/** A person or a program at the site's web server. */
final class Http
{
    /** @var string */
    private $base;
    /** @var string|null user:application password */
    private $basic;
    /** @var string|null file of cookies */
    private $jar = null;

    private function __construct(?string $basic)
    {
        $this->base = PluginTestCase::state()['url'];
        $this->basic = $basic;
    }

    public static function anonymous(): self
    {
        return new self(null);
    }

    /** With the application password of one of the site's users. */
    public static function program(string $login): self
    {
        return new self($login . ':' . PluginTestCase::state()['users'][$login]['application_password']);
    }

    /** With an application password made by the test. */
    public static function withPassword(string $login, string $password): self
    {
        return new self("$login:$password");
    }

    /** Logged in through wp-login.php, as a browser. */
    public static function browser(string $login): self
    {
        $browser = new self(null);
        $browser->jar = tempnam(sys_get_temp_dir(), 'copydesk-cookies-');
        $browser->get('/wp-login.php');
        $answer = $browser->post('/wp-login.php', [
            'log' => $login,
            'pwd' => PluginTestCase::state()['users'][$login]['password'],
            'wp-submit' => 'Log In',
            'testcookie' => '1',
        ]);
        if ($answer['status'] !== 302) {
            throw new \RuntimeException("$login could not log in: {$answer['status']}");
        }
        return $browser;
    }

    public function __destruct()
    {
        if ($this->jar !== null) {
            unlink($this->jar);
        }
    }

    public function get(string $path, array $headers = []): array
    {
        return $this->send('GET', $path, null, $headers);
    }

    /** A form. */
    public function post(string $path, array $fields, array $headers = []): array
    {
        return $this->send('POST', $path, http_build_query($fields), $headers);
    }

    /** REST below /wp-json, with a body of JSON unless it is null. */
    public function rest(string $method, string $route, ?array $body = null, array $headers = []): array
    {
        $json = $body === null ? null : json_encode((object) $body);
        return $this->send($method, "/wp-json$route", $json, $headers + ['Content-Type' => 'application/json']);
    }

    /** @return array status, headers (small letters), body, json (decoded or null) */
    public function send(string $method, string $path, ?string $body, array $headers = []): array
    {
        $curl = $this->handle($method, $path, $body, $headers);
        $received = [];
        curl_setopt($curl, CURLOPT_HEADERFUNCTION, function ($curl, string $line) use (&$received): int {
            [$name, $value] = explode(':', $line, 2) + [1 => ''];
            $received[strtolower($name)] = trim($value);
            return strlen($line);
        });
        $text = curl_exec($curl);
        if ($text === false) {
            throw new \RuntimeException("$method $path: " . curl_error($curl));
        }
        $status = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
        // Closing writes the cookies.
        unset($curl);
        return ['status' => $status, 'headers' => $received, 'body' => $text, 'json' => json_decode($text, true)];
    }

    /** A request that is not sent yet, for those who send many at once. @return resource|\CurlHandle */
    public function handle(string $method, string $path, ?string $body, array $headers = [])
    {
        $curl = curl_init($this->base . $path);
        $lines = [];
        foreach ($headers as $name => $value) {
            $lines[] = "$name: $value";
        }
        curl_setopt_array($curl, [
            CURLOPT_CUSTOMREQUEST => $method,
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_TIMEOUT => 60,
            CURLOPT_HTTPHEADER => $lines,
        ]);
        if ($body !== null) {
            curl_setopt($curl, CURLOPT_POSTFIELDS, $body);
        }
        if ($this->basic !== null) {
            curl_setopt($curl, CURLOPT_USERPWD, $this->basic);
        }
        if ($this->jar !== null) {
            curl_setopt_array($curl, [CURLOPT_COOKIEJAR => $this->jar, CURLOPT_COOKIEFILE => $this->jar]);
        }
        return $curl;
    }

    /** The value of a hidden field or of a name in a script of a page. */
    public static function find(string $pattern, string $page): string
    {
        if (!preg_match($pattern, $page, $match)) {
            throw new \RuntimeException("the page has no $pattern");
        }
        return html_entity_decode($match[1]);
    }
}
