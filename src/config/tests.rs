#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::collections::BTreeSet;

use secrecy::ExposeSecret;

use super::*;

const NEWS: &str = r#"
[sites.news]
url = "http://127.0.0.1:8081"
user = "copydesk"
application_password = "env:NEWS_APP_PASSWORD"
delivery = "plugin"
ingest_path = "/wp-json/ai-guy/v1/ingest"
concurrency = 8

[sources.news]
scheme = "wp-relay"
secrets = [{ id = "k1", value = "env:NEWS_SECRET" }]
site = "news"

[providers.main]
kind = "openai"
base_url = "http://127.0.0.1:8082/v1"
api_key = "env:OPENAI_API_KEY"
model = "gpt-4o-mini"
concurrency = 64

[enrichments.summary]
provider = "main"
recipe = "summary"
field = "excerpt"
mode = "apply"

[[routes]]
source = "news"
events = ["post.published", "post.updated"]
enrich = ["summary"]
coalesce = "every"
"#;

fn parse(text: &str) -> Result<Loaded, ConfigError> {
    Loaded::parse("copydesk.toml", text.to_owned(), &Environment::default())
}

fn with(env: Environment) -> Result<Loaded, ConfigError> {
    Loaded::parse("copydesk.toml", NEWS.to_owned(), &env)
}

/// One refusal: its line and column (0 when it has none), and words it must say.
fn refused(text: &str, line: usize, column: usize, words: &[&str]) {
    let error = parse(text).expect_err(text);
    let shown = error.to_string();
    let at = match &error.problems[0].place {
        Place::Line { line, column, .. } => (*line, *column),
        Place::File { .. } | Place::Variable { .. } => (0, 0),
    };
    assert_eq!(at, (line, column), "{shown}");
    for word in words {
        assert!(shown.contains(word), "{word:?} is missing in:\n{shown}");
    }
}

#[test]
fn the_shape_of_the_design_is_read() {
    let config = parse(NEWS).unwrap().config;
    let site = &config.sites[&"news".parse().unwrap()];
    assert_eq!((site.delivery, site.concurrency), (Delivery::Plugin, 8));
    assert_eq!(site.timeout, std::time::Duration::from_secs(30));
    let provider = &config.providers[&"main".parse().unwrap()];
    assert_eq!((provider.kind, provider.concurrency), (ProviderKind::Openai, 64));
    assert_eq!(config.routes[0].quiet, std::time::Duration::from_secs(10));
    assert_eq!(config.enrichments.values().next().unwrap().mode, Mode::Apply);
}

#[test]
fn the_default_file_is_the_defaults() {
    assert_eq!(parse(DEFAULT_TOML).unwrap().config, Config::default());
    assert_eq!(parse("").unwrap().config, Config::default());
}

/// The file with its examples uncommented.
fn examples() -> String {
    let example = |line: &str| {
        let rest = line.strip_prefix('#').unwrap_or(line);
        let plain = rest.starts_with('[') || rest.starts_with(|c: char| c.is_ascii_lowercase());
        if plain { rest.to_owned() } else { line.to_owned() }
    };
    DEFAULT_TOML.lines().map(example).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_examples_of_the_default_file_are_valid_and_say_the_defaults() {
    let config = parse(&examples()).unwrap().config;
    let bare = parse(
        r#"
        [sites.news]
        url = "https://news.example.org"
        user = "copydesk"
        application_password = "env:NEWS_APP_PASSWORD"
        day_budget = "5.00"
        month_budget = "100.00"
        [sources.news]
        secrets = [{ id = "k1", value = "env:NEWS_SECRET" }]
        site = "news"
        path = "/hooks/wordpress"
        allow = ["203.0.113.0/24"]
        requests_per_minute = 600
        about = "post"
        map = { event = "/type", external_id = "/data/id", version = "/created", key = "/id", text = "/data/text", title = "/data/subject" }
        require = { "post.published" = ["/title"] }
        [enrichments.summary]
        recipe = "summary"
        field = "excerpt"
        [outbound]
        subscriber_key = "file:/etc/copydesk/subscriber.key"
        [subscribers.crm]
        url = "https://crm.example.org/hooks/copydesk"
        secrets = [{ id = "k1", value = "env:CRM_SECRET" }]
        match = [{ field = "/event/section", is = "sport" }]
        fields = ["/post", "/results", "/event/title"]
        [subscribers.files]
        folder = "/var/lib/copydesk/notices"
        [subscribers.lake.store]
        url = "s3://news-notices/copydesk"
        access_key = "env:LAKE_KEY_ID"
        secret_key = "env:LAKE_KEY"
        [subscribers.bus.nats]
        url = "nats://127.0.0.1:4222"
        subject = "newsroom.notices"
        credentials = "file:/etc/copydesk/bus.creds"
        [[routes]]
        name = "summaries"
        source = "news"
        enrich = ["summary"]
        match = [
            { field = "/type", is = "post" },
            { field = "/categories", contains = "politics" },
        ]
        coalesce = "every"
        "#,
    )
    .unwrap()
    .config;
    assert_eq!(config.sites, bare.sites);
    assert_eq!(config.sources, bare.sources);
    assert_eq!(config.enrichments, bare.enrichments);
    assert_eq!(config.routes, bare.routes);
    assert_eq!(config.subscribers, bare.subscribers);
    assert_eq!(config.outbound, bare.outbound);
    let provider = &config.providers.values().next().unwrap();
    let bare = Provider::default();
    assert_eq!((provider.concurrency, provider.timeout), (bare.concurrency, bare.timeout));
}

#[test]
fn the_default_file_names_every_key() {
    let tables = [
        "zz = 1",
        "[http]\nzz = 1",
        "[admin]\nzz = 1",
        "[log]\nzz = 1",
        "[telemetry]\nzz = 1",
        "[limits]\nzz = 1",
        "[retention]\nzz = 1",
        "[archive]\nzz = 1",
        "[alerts]\nzz = 1",
        "[outbound]\nzz = 1",
        "[sites.a]\nzz = 1",
        "[sources.a]\nzz = 1",
        "[providers.a]\nzz = 1",
        "[subscribers.a]\nzz = 1",
        "[enrichments.a]\nzz = 1",
        "[[routes]]\nzz = 1",
    ];
    // Keys of one scheme each; docs/sources.md shows them.
    let explained = ["token_header", "custom", "schedule"];
    let shown: BTreeSet<&str> = DEFAULT_TOML
        .lines()
        .filter_map(|line| line.trim_start_matches('#').split(['=', '.', ']']).next())
        .map(|key| key.trim_start_matches('[').trim())
        .collect();
    for table in tables {
        let help = parse(table).unwrap_err().problems.remove(0).help;
        let keys = help.strip_prefix("there is: ").unwrap_or_else(|| panic!("{table}: {help}"));
        for key in keys.split(", ").filter(|key| !explained.contains(key)) {
            assert!(shown.contains(key), "{key} is missing in default.toml");
        }
    }
}

#[test]
fn a_bad_file_is_refused_with_its_line() {
    refused("data_dir = ", 1, 12, &["copydesk.toml:1:12"]);
    refused(
        "\n[http]\nlisen = \"127.0.0.1:1\"",
        3,
        1,
        &["unknown key `lisen`", "did you mean `listen`?", "3 | lisen", "^^^^^"],
    );
    refused("[htp]\n", 1, 2, &["unknown key `htp`", "`http`"]);
    refused("[http]\nlisten = 8080", 2, 10, &["8080"]);
    refused("[http]\nlisten = \"localhost\"", 2, 10, &["invalid socket address"]);
    refused("[http]\nbacklog_max = 0", 2, 15, &["backlog_max must be 1 to"]);
    refused("[http]\nbacklog_max = \"many\"", 2, 15, &["expected u64"]);
    refused("[http]\npublic_hosts = [\"a\", \"http://b\"]", 2, 22, &["without scheme"]);
    refused("[admin]\nlisten = \"0.0.0.0:9\"", 2, 10, &["no TLS", "allow_remote"]);
    refused("[log]\nurl = \"redis://x\"", 2, 7, &["embedded", "nats://"]);
    refused("[log]\nurl = \"nats://u:p@x\"", 2, 7, &["credentials"]);
    refused("[log]\nreplicas = 2", 2, 12, &["1, 3 or 5"]);
    refused("[log]\nreplicas = 3", 2, 12, &["embedded log keeps one copy"]);
    refused("[telemetry]\nsampling = 2.0", 2, 12, &["0.0 to 1.0"]);
    refused(
        "[telemetry]\nlog_format = \"xml\"",
        2,
        14,
        &["`xml` is not a choice", "auto, json, pretty"],
    );
    refused("[retention]\ndays = -1", 2, 8, &["-1"]);
}

#[test]
fn a_bad_table_of_the_desk_is_refused_with_its_line() {
    let at = |from: &str, to: &str, line, column, words: &[&str]| {
        assert!(NEWS.contains(from), "{from}");
        refused(&NEWS.replacen(from, to, 1), line, column, words);
    };
    at("http://127.0.0.1:8081", "ftp://x", 3, 7, &["https://"]);
    at("http://127.0.0.1:8081", "http://u:p@x", 3, 7, &["user or password"]);
    at("url = \"http://127.0.0.1:8081\"\n", "", 2, 1, &["`url` is missing"]);
    at("delivery = \"plugin\"", "delivery = \"plugins\"", 6, 12, &["did you mean `plugin`?"]);
    at("concurrency = 8", "concurrency = 0", 8, 15, &["concurrency must be 1 to"]);
    at("/wp-json/ai-guy/v1/ingest", "wp-json/../x", 7, 15, &["begins with /"]);
    at("[sites.news]", "[sites.News]", 2, 8, &["a-z"]);
    at(
        "site = \"news\"",
        "site = \"new\"",
        13,
        8,
        &["no site named `new`", "did you mean `news`?"],
    );
    at(
        "secrets = [{ id = \"k1\", value = \"env:NEWS_SECRET\" }]",
        "secrets = []",
        12,
        11,
        &["1 to 8 secrets"],
    );
    at("site = \"news\"", "path = \"/webhooks/x\"", 13, 8, &["Copydesk's own"]);
    at("model = \"gpt-4o-mini\"\n", "", 15, 1, &["model is missing"]);
    at("model = \"gpt-4o-mini\"", "model = \"m\"\ntimeout = \"ten\"", 20, 11, &["\"10s\""]);
    at("model = \"gpt-4o-mini\"", "model = \"m\"\nday_budget = \"5\"", 20, 14, &["needs prices"]);
    at(
        "model = \"gpt-4o-mini\"",
        "model = \"m\"\nday_budget = \"$5\"",
        20,
        14,
        &["dollars as text"],
    );
    at("model = \"gpt-4o-mini\"", "model = \"m\"\ntimeout = \"2h\"", 20, 11, &["at most 10m"]);
    at(
        "model = \"gpt-4o-mini\"",
        "model = \"m\"\ninput_price = \"1.1234567\"",
        20,
        15,
        &["6 decimals"],
    );
    at("model = \"gpt-4o-mini\"", "model = \"m\"\nfallback = \"main\"", 20, 12, &["circle"]);
    at(
        "model = \"gpt-4o-mini\"",
        "model = \"m\"\nfallback = \"mian\"",
        20,
        12,
        &["did you mean `main`?"],
    );
    at("provider = \"main\"", "provider = \"mainn\"", 23, 12, &["did you mean `main`?"]);
    at("field = \"excerpt\"", "field = \"body\"", 25, 9, &["a field is excerpt"]);
    at("source = \"news\"", "source = \"nws\"", 29, 10, &["no source named `nws`", "`news`"]);
    at(
        "enrich = [\"summary\"]",
        "enrich = [\"summary\", \"titles\"]",
        31,
        22,
        &["no enrichment named `titles`"],
    );
    at("\"post.published\"", "\"post published\"", 30, 11, &["joined by dots"]);
    at(
        "coalesce = \"every\"",
        "coalesce = \"latest\"\nquiet = \"2m\"",
        28,
        1,
        &["max_wait must be at least quiet"],
    );
}

#[test]
fn all_wrong_names_are_shown_at_once() {
    let text = NEWS.replace("site = \"news\"", "site = \"x\"").replace("[\"summary\"]", "[\"y\"]");
    assert_eq!(parse(&text).unwrap_err().problems.len(), 2);
}

#[test]
fn a_secret_in_the_file_is_refused_and_never_shown() {
    for wrong in ["hunter2hunter2", "env:", "env:1A B", "file:", "Env:X"] {
        let text = NEWS.replace("env:OPENAI_API_KEY", wrong);
        refused(&text, 18, 11, &["env:NAME", "file:PATH"]);
        let shown = parse(&text).unwrap_err().to_string();
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    for (wrong, line) in [("api_key = 4711", 18), ("api_key = \"hunter2", 18)] {
        let text = NEWS.replace("api_key = \"env:OPENAI_API_KEY\"", wrong);
        let error = parse(&text).unwrap_err();
        let Place::Line { line: at, .. } = error.problems[0].place else { panic!("{error}") };
        assert_eq!(at, line);
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert!(!error.problems[0].reason.contains("4711"), "{error}");
    }
}

#[test]
fn variables_override_the_file() {
    let loaded = with(Environment::from([
        ("COPYDESK_HTTP_LISTEN", "127.0.0.1:9"),
        ("COPYDESK_HTTP__PUBLIC_HOSTS", r#"["desk.example.org"]"#),
        ("COPYDESK_DATA_DIR", "/tmp/x"),
        ("COPYDESK_LOG_SYNC_ALWAYS", "true"),
        ("COPYDESK_SITES__NEWS__URL", "https://other.example.org"),
        ("COPYDESK_SITES__BLOG__URL", "https://blog.example.org"),
        ("COPYDESK_SITES__BLOG__USER", "7"),
        ("COPYDESK_SITES__BLOG__APPLICATION_PASSWORD", "env:X"),
        ("COPYDESK_PROVIDERS__MAIN__INPUT_PRICE", "0.15"),
        ("COPYDESK_PROVIDERS__MAIN__CONCURRENCY", "3"),
        ("COPYDESK_CONFIG", "elsewhere.toml"),
        ("COPYDESK_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("OTHER_HTTP_LISTEN", "no"),
    ]))
    .unwrap();
    let config = &loaded.config;
    assert_eq!(config.http.listen.port(), 9);
    assert_eq!(config.http.public_hosts, ["desk.example.org"]);
    assert!(config.log.sync_always);
    assert_eq!(config.sites.len(), 2);
    assert_eq!(config.sites[&"news".parse().unwrap()].url.as_str(), "https://other.example.org/");
    assert_eq!(config.sites[&"blog".parse().unwrap()].user, "7");
    let provider = &config.providers[&"main".parse().unwrap()];
    assert_eq!(provider.input_price.microdollars_per_million_tokens, 150_000);
    assert_eq!(provider.concurrency, 3);
    assert_eq!(loaded.notes, ["COPYDESK_PORT_8080_TCP sets nothing: ignored"]);
}

#[test]
fn a_bad_variable_is_refused_by_its_name() {
    for (name, value, word) in [
        ("COPYDESK_HTTP_LISEN", "127.0.0.1:9", "did you mean `listen`?"),
        ("COPYDESK_HTTP_LISTEN", "nowhere", "socket address"),
        ("COPYDESK_HTTP_BACKLOG_MAX", "many", "u64"),
        ("COPYDESK_HTTP_BACKLOG_MAX", "0", "must be 1 to"),
        ("COPYDESK_SITES__NEWS__URL", "x", "not a URL"),
        ("COPYDESK_SOURCES__NEWS__SITE", "nws", "did you mean `news`?"),
        ("COPYDESK_PROVIDERS__MAIN__API_KEY", "hunter2", "env:NAME"),
    ] {
        let error = with(Environment::from([(name, value)])).unwrap_err().to_string();
        assert!(error.starts_with(&format!("environment variable {name}: ")), "{error}");
        assert!(error.contains(word), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn secrets_are_read_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "from a file\n").unwrap();
    let text = NEWS.replace("env:OPENAI_API_KEY", &format!("file:{}", file.display()));
    let loaded = parse(&text).unwrap();

    let shown = loaded.secrets(&Environment::default()).unwrap_err().to_string();
    assert!(
        shown.contains("copydesk.toml:5:24: the environment variable NEWS_APP_PASSWORD"),
        "{shown}"
    );
    assert!(shown.contains("copydesk.toml:12:"), "{shown}");

    let short = [("NEWS_APP_PASSWORD", "abcd efgh"), ("NEWS_SECRET", "too short")];
    let shown = loaded.secrets(&Environment::from(short)).unwrap_err().to_string();
    assert!(shown.contains("has 32 to") && !shown.contains("too short\""), "{shown}");

    let good =
        [("NEWS_APP_PASSWORD", "abcd efgh"), ("NEWS_SECRET", "0123456789abcdef0123456789abcdef")];
    let secrets = loaded.secrets(&Environment::from(good)).unwrap();
    let place = SecretRef::File(file);
    assert_eq!(secrets.get(&place).unwrap().expose_secret(), "from a file");
    assert!(!format!("{secrets:?}").contains("from a file"));
}

#[test]
fn checks_made_later_point_into_the_file() {
    let error = parse(NEWS).unwrap().refuse("enrichments.summary.recipe", "unknown recipe", "x");
    assert!(error.to_string().starts_with("copydesk.toml:24:10: unknown recipe"), "{error}");
}

#[test]
fn a_file_that_was_named_must_exist() {
    let error = load(Some(Path::new("/nowhere/copydesk.toml")), &Environment::default());
    assert!(error.unwrap_err().to_string().contains("copydesk init"));
}

#[test]
fn any_text_is_answered_without_a_panic() {
    for text in [
        "\u{0}",
        "=",
        "[",
        "[[",
        "[a",
        "é = 1",
        "\"é\" = [1, \"",
        "a = '''",
        "\r\n\r=",
        "[sites.\"é\"]\nurl = 1",
        "routes = 1",
        "sites = []",
        "[[routes]]\nname = 1",
    ] {
        let error = parse(text).expect_err(text);
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn schemes_maps_and_matches_are_refused_at_their_place() {
    let source = "secrets = [{ id = \"k\", value = \"env:S\" }]\n";
    let with = |rest: &str| {
        format!(
            "{}\n[sources.a]\nsite = \"news\"\n{source}{rest}",
            &NEWS[..NEWS.find("[sources").unwrap()]
        )
    };
    // Lines are counted from the source's own table.
    let check = |rest: &str, words: &[&str]| {
        let error = parse(&with(rest)).expect_err(rest);
        let shown = error.to_string();
        let at = matches!(&error.problems[0].place, Place::Line { line, .. } if *line >= 10);
        assert!(at, "{shown}");
        for word in words {
            assert!(shown.contains(word), "{word:?} is missing in:\n{shown}");
        }
    };
    check("scheme = \"githab\"", &["githab", "github"]);
    check("scheme = \"custom\"", &["[sources.<name>.custom]"]);
    check("token_header = \"X-T\"", &["scheme = \"token\""]);
    check("scheme = \"token\"\ntoken_header = \"X T\"", &["name of a header"]);
    let custom = "scheme = \"custom\"\n[sources.a.custom]\nsignature_header = \"X-S\"\n";
    check(&format!("{custom}signed = \"{{path}}\""), &["{timestamp}, {key}", "{path}"]);
    check(
        &format!("{custom}signed = \"{{body}}\"\ntimestamp_header = \"X-T\""),
        &["sent and signed"],
    );
    check(&format!("{custom}signed = \"{{body}}\"\nencoding = \"hax\""), &["hax"]);
    check("allow = [\"10.0.0.0/33\"]", &["a network is written"]);
    check("requests_per_minute = 0", &["must be 1 to"]);
    check("map = { event = \"type\" }", &["JSON pointer"]);
    check("map = { event_default = \"Lead\" }", &["words of a-z"]);
    check("require = { \"a b\" = [] }", &["words of a-z"]);
    check("require = { \"a.b\" = [\"email\"] }", &["JSON pointer"]);
    let route = |rest: &str| format!("[[routes]]\nsource = \"a\"\nmatch = [{{ {rest} }}]");
    check(&route("field = \"/a\""), &["one of any = true"]);
    check(&route("field = \"/a\", is = \"x\", like = \"y\""), &["one of any = true"]);
    check(&route("field = \"a\", is = \"x\""), &["JSON pointer"]);
    check(&route("field = \"/a\", like = \"(\""), &["pattern"]);
    assert!(parse(&with(&route("field = \"/a\", like = \"^x\""))).is_ok());
}

#[test]
fn a_secret_must_fit_its_scheme() {
    let text = NEWS.replace("scheme = \"wp-relay\"", "scheme = \"standard-webhooks\"");
    let loaded = parse(&text).unwrap();
    let env = |value: &str| {
        Environment::from([
            ("NEWS_SECRET", value),
            ("NEWS_APP_PASSWORD", "x"),
            ("OPENAI_API_KEY", "x"),
        ])
    };
    let refused = loaded.secrets(&env("not base64, but long enough for it")).unwrap_err();
    assert!(refused.to_string().contains("base64, after whsec_"), "{refused}");
    assert!(!refused.to_string().contains("long enough"), "{refused}");
    assert!(loaded.secrets(&env("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).is_ok());
}
