//! The real program as a child process.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;

use super::eventually;

/// A node's folder, configuration and process.
#[derive(Debug)]
pub(crate) struct Node {
    folder: tempfile::TempDir,
    child: Option<Child>,
    client: reqwest::Client,
    environment: Vec<(String, String)>,
    open_files: Option<u32>,
    /// The network namespace that it runs in.
    namespace: Option<String>,
}

/// What a configuration is made of.
#[derive(Debug, Clone)]
pub(crate) struct Parts<'a> {
    /// `embedded` or a NATS address.
    pub(crate) log: &'a str,
    /// The whole `[sites.news]` table without its header.
    pub(crate) site: &'a str,
    /// The provider table without its header; empty: the built-in one.
    pub(crate) provider: &'a str,
    /// Lines of the route beyond source, events and enrich.
    pub(crate) route: &'a str,
}

pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef-test";

impl Node {
    /// Writes the configuration; nothing runs yet.
    pub(crate) fn new(parts: &Parts<'_>) -> Self {
        let Parts { log, site, provider, route } = parts;
        let provider = if provider.is_empty() { "kind = \"builtin\"" } else { provider };
        Self::configured(&format!(
            r#"
[http]
listen = "127.0.0.1:0"
[admin]
# A test looks far more often than a person.
requests_per_second = 1000
[log]
url = "{log}"
[sites.news]
{site}
[sources.news]
scheme = "wp-relay"
secrets = [{{ id = "k1", value = "env:NEWS_SECRET" }}]
site = "news"
[providers.main]
{provider}
[enrichments.summary]
provider = "main"
recipe = "summary"
field = "excerpt"
mode = "apply"
[[routes]]
source = "news"
events = ["post.published", "post.updated"]
enrich = ["summary"]
{route}
"#,
        ))
    }

    /// Writes this configuration, to which the data folder is added; nothing runs yet.
    pub(crate) fn configured(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let config = format!("data_dir = \"{}\"\n{config}", data.display());
        std::fs::write(folder.path().join("copydesk.toml"), config).unwrap();
        let environment = vec![
            ("NEWS_SECRET".to_owned(), SECRET.to_owned()),
            ("NEWS_APP_PASSWORD".to_owned(), "canary-password-1234".to_owned()),
        ];
        Self {
            folder,
            child: None,
            client: super::client(),
            environment,
            open_files: None,
            namespace: None,
        }
    }

    pub(crate) fn with_env(mut self, name: &str, value: &str) -> Self {
        self.set_env(name, value);
        self
    }

    /// For its next start.
    pub(crate) fn set_env(&mut self, name: &str, value: &str) {
        self.environment.retain(|(n, _)| n != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Starts it with this soft limit of open files.
    pub(crate) fn with_open_files(mut self, soft_limit: u32) -> Self {
        self.open_files = Some(soft_limit);
        self
    }

    /// Starts it in this network namespace.
    pub(crate) fn in_namespace(mut self, name: &str) -> Self {
        self.namespace = Some(name.to_owned());
        self
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn log_file(&self) -> PathBuf {
        self.folder.path().join("node.log")
    }

    /// Runs a command of the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> std::process::Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command on another data folder.
    pub(crate) fn run_in(&self, data_dir: &Path, arguments: &[&str]) -> std::process::Output {
        self.command(arguments).env("COPYDESK_DATA_DIR", data_dir).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        // Another build of it, to be measured or counted (`scripts/dist`).
        let program = std::env::var("COPYDESK_PROGRAM")
            .unwrap_or_else(|_| env!("CARGO_BIN_EXE_copydesk").to_owned());
        let mut command = match (self.open_files, &self.namespace) {
            (None, None) => Command::new(program),
            // It becomes the program: the process is the same.
            (None, Some(name)) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", name, &program]);
                command
            }
            (Some(limit), _) => {
                let mut shell = Command::new("sh");
                let script = format!("ulimit -S -n {limit}; exec \"$0\" \"$@\"");
                shell.args(["-c", &script, &program]);
                shell
            }
        };
        command.args(arguments).arg("--config").arg(self.folder.path().join("copydesk.toml"));
        command.envs(self.environment.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        command.stdin(Stdio::null());
        command
    }

    /// Starts the node and waits until it takes webhooks. Returns its ingress address.
    pub(crate) async fn start(&mut self) -> String {
        let started = self.try_start().await;
        started.unwrap_or_else(|status| panic!("the node ended at its start: {status}"))
    }

    /// Starts the node and waits until it takes webhooks, or ends.
    pub(crate) async fn try_start(&mut self) -> Result<String, ExitStatus> {
        assert!(self.child.is_none(), "it runs already");
        let from = std::fs::read_to_string(self.log_file()).unwrap_or_default().len();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log_file());
        let log = log.unwrap();
        let mut command = self.command(&["serve"]);
        command.stderr(log.try_clone().unwrap()).stdout(log);
        self.child = Some(command.spawn().unwrap());
        let path = self.log_file();
        eventually("the node takes webhooks", || {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            let address = listening(&path, from);
            std::future::ready(ended.map(Err).or(address.map(Ok)))
        })
        .await
        .inspect_err(|_| self.child = None)
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn dies(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        eventually("the node dies", || std::future::ready(child.try_wait().unwrap())).await
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks it to stop (SIGTERM), and waits for its end.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.ended()
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends it a signal: `STOP` freezes it, `CONT` lets it go on.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.child.take().unwrap().wait().unwrap()
    }

    /// Asks the admin API.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let (address, token) = self.access();
        let url = format!("http://{address}/api/v1{path}");
        let response = self.client.get(url).bearer_auth(token).send().await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.status());
        response.json().await.unwrap()
    }

    /// Where the admin API is.
    pub(crate) fn admin_address(&self) -> String {
        self.access().0
    }

    /// The token of the data folder.
    pub(crate) fn token(&self) -> String {
        self.access().1
    }

    /// Changes something at the admin API.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        let (address, token) = self.access();
        let url = format!("http://{address}/api/v1{path}");
        let response = self.client.post(url).bearer_auth(token).json(body).send().await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.status());
        response.json().await.unwrap()
    }

    /// Rewrites the configuration; it counts from the next start on.
    pub(crate) fn configure(&self, change: impl FnOnce(String) -> String) {
        let file = self.folder.path().join("copydesk.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, change(text)).unwrap();
    }

    /// Runs a command that must succeed, and reads what it printed.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What a Prometheus would be shown: on the admin listener, without its token.
    pub(crate) async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.access().0);
        let response = self.client.get(url).send().await.unwrap();
        assert!(response.status().is_success(), "{}", response.status());
        response.text().await.unwrap()
    }

    pub(crate) fn access(&self) -> (String, String) {
        let text = std::fs::read_to_string(self.data_dir().join("admin.json")).unwrap();
        let access: Value = serde_json::from_str(&text).unwrap();
        let field = |name: &str| access[name].as_str().unwrap().to_owned();
        (field("address"), field("token"))
    }

    /// Sockets that the process has open.
    pub(crate) fn sockets(&self) -> usize {
        let pid = self.child.as_ref().unwrap().id();
        let handles = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let links = handles.filter_map(|handle| std::fs::read_link(handle.ok()?.path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
    }

    /// What the process has used so far.
    pub(crate) fn usage(&self) -> Usage {
        let pid = self.child.as_ref().unwrap().id();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        // Fields 14 and 15, counted from 1: user and system time in ticks of 10 ms. The name in
        // field 2 may hold spaces, so counting starts behind it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks = |at: usize| fields[at - 3].parse::<u64>().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let mb = |name: &str| {
            let size = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            size.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
        };
        Usage {
            cpu: std::time::Duration::from_millis((ticks(14) + ticks(15)) * 10),
            peak_mb: mb("VmHWM:"),
            resident_mb: mb("VmRSS:"),
        }
    }

    /// Waits until nothing waits and nothing runs. When that never comes, tells what is stuck.
    pub(crate) async fn quiet(&self) {
        let deadline = std::time::Instant::now() + super::PATIENCE * super::times();
        loop {
            let status = self.get("/status").await;
            if status["backlog"] == 0 && status["busy_posts"] == 0 {
                return;
            }
            if std::time::Instant::now() > deadline {
                panic!("work is stuck: {status:#}\n{:#}", self.stuck().await);
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// The journey of a post that waits.
    async fn stuck(&self) -> Value {
        let posts = self.get("/posts?limit=200").await;
        let rows = posts["rows"].as_array().unwrap();
        match rows.iter().find(|row| row["waiting"] != 0) {
            Some(row) => self.get(&format!("/posts/{}", row["post"].as_str().unwrap())).await,
            None => posts,
        }
    }
}

/// What a process has used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) cpu: std::time::Duration,
    pub(crate) peak_mb: f64,
    pub(crate) resident_mb: f64,
}

#[expect(clippy::print_stderr, reason = "a failed test tells why")]
impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let said = std::fs::read_to_string(self.log_file()).unwrap_or_default();
            let tail: Vec<&str> = said.lines().rev().take(40).collect();
            eprintln!("the node said last:");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// The ingress address in the line "copydesk takes webhooks", after this many bytes of log.
fn listening(path: &Path, from: usize) -> Option<String> {
    let said = std::fs::read_to_string(path).ok()?;
    let line = said.get(from..)?.lines().find(|line| line.contains("copydesk takes webhooks"))?;
    let line: Value = serde_json::from_str(line).ok()?;
    let address = line["http"].as_str().or_else(|| line["fields"]["http"].as_str())?;
    Some(format!("http://{address}"))
}
