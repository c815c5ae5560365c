//! Real nats-servers for tests, here and in other crates: started on a free port with a folder
//! of their own, killed when dropped.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::{Config, Stream};
use bytes::Bytes;
use tempfile::TempDir;

/// Longer than a start takes on a busy machine.
const START_MAX: Duration = Duration::from_secs(30);

/// A nats-server with JetStream, without accounts.
#[derive(Debug)]
pub struct NatsServer {
    binary: PathBuf,
    folder: TempDir,
    arguments: Vec<String>,
    port: Option<u16>,
    child: Child,
}

impl NatsServer {
    /// Starts the server we test with.
    ///
    /// # Panics
    /// When the binary is missing or the server does not come up.
    #[must_use]
    pub fn start() -> Self {
        Self::start_version("")
    }

    /// Starts an older server, for example `2.10.26`.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn start_version(version: &str) -> Self {
        Self::start_with(version, Vec::new())
    }

    /// Starts a server with more arguments.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn start_with(version: &str, arguments: Vec<String>) -> Self {
        let (binary, folder) = (binary(version), TempDir::new().unwrap());
        let child = spawn(&binary, folder.path(), &arguments, None);
        let mut server = Self { binary, folder, arguments, port: None, child };
        server.port = Some(server.wait_for_port());
        server
    }

    /// Where clients connect.
    ///
    /// # Panics
    /// Never: a started server has a port.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port.unwrap())
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills the server without a word.
    ///
    /// # Panics
    /// When the system refuses to kill it.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the killed server again, on the same port and folder.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&mut self) {
        self.child = spawn(&self.binary, self.folder.path(), &self.arguments, self.port);
        self.port = Some(self.wait_for_port());
    }

    /// The file in which the server says its ports, once it listens.
    fn ports(&self) -> Option<String> {
        let name = self.binary.file_name().unwrap().to_string_lossy();
        let file = format!("{name}_{}.ports", self.child.id());
        std::fs::read_to_string(self.folder.path().join(file)).ok()
    }

    fn wait_for_port(&mut self) -> u16 {
        let deadline = Instant::now() + START_MAX;
        loop {
            if let Some(url) = self.ports().and_then(|ports| address(&ports, "nats")) {
                let port = url.rsplit(':').next().and_then(|port| port.parse().ok());
                return port.unwrap();
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "no nats-server: {ended:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Three servers that know each other, named `n1`, `n2` and `n3`.
#[derive(Debug)]
pub struct NatsCluster {
    servers: Vec<(String, NatsServer)>,
}

impl NatsCluster {
    /// Starts all three. They elect their leaders while the first client waits.
    ///
    /// # Panics
    /// When one does not come up.
    #[must_use]
    pub fn start() -> Self {
        // A server wants to know the others' ports before they have any. Held together, so that
        // they differ.
        let free = [0; 3].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let url = |listener: &TcpListener| format!("nats://{}", listener.local_addr().unwrap());
        let urls = [&free[0], &free[1], &free[2]].map(url);
        drop(free);
        let servers = urls.iter().zip(["n1", "n2", "n3"]).map(|(own, name)| {
            let others = urls.iter().filter(|other| *other != own);
            let routes = others.cloned().collect::<Vec<_>>().join(",");
            let arguments = ["--name", name, "--cluster_name", "c", "--cluster", own, "--routes"];
            let mut arguments = arguments.map(ToOwned::to_owned).to_vec();
            arguments.push(routes);
            (name.to_owned(), NatsServer::start_with("", arguments))
        });
        Self { servers: servers.collect() }
    }

    /// Every address, separated by commas.
    #[must_use]
    pub fn url(&self) -> String {
        let urls: Vec<_> = self.servers.iter().map(|(_, server)| server.url()).collect();
        urls.join(",")
    }

    /// Kills one of them.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn kill(&mut self, name: &str) {
        self.server(name).kill();
    }

    /// Starts a killed one again; it finds the others.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&mut self, name: &str) {
        self.server(name).restart();
    }

    fn server(&mut self, name: &str) -> &mut NatsServer {
        &mut self.servers.iter_mut().find(|(other, _)| other == name).unwrap().1
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        // It may be dead already.
        let _dead = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn spawn(binary: &Path, folder: &Path, arguments: &[String], port: Option<u16>) -> Child {
    let port = port.map_or_else(|| "-1".to_owned(), |port| port.to_string());
    let mut command = Command::new(binary);
    command.args(["--addr", "127.0.0.1", "--port", &port, "--jetstream", "--store_dir"]);
    command.arg(folder.join("store")).arg("--ports_file_dir").arg(folder).args(arguments);
    // Its log is where a failed test's folder is looked at.
    command.arg("--log").arg(folder.join("log"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// The first address of a kind in the server's file of ports, which is
/// `{"nats":["nats://127.0.0.1:4222"],…}`.
fn address(ports: &str, kind: &str) -> Option<String> {
    let (_, after) = ports.split_once(&format!("\"{kind}\":"))?;
    after.split('"').nth(1).map(ToOwned::to_owned)
}

/// The server we test with.
///
/// # Panics
/// When it is not installed.
#[must_use]
pub fn nats_binary() -> PathBuf {
    binary("")
}

/// The binary: `COPYDESK_NATS_SERVER` if set and no version is asked for, else the cache's.
fn binary(version: &str) -> PathBuf {
    let given = std::env::var_os("COPYDESK_NATS_SERVER").filter(|_| version.is_empty());
    let cached = || {
        let cache = std::env::var_os("COPYDESK_CACHE").map(PathBuf::from).unwrap_or_else(|| {
            PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into()))
                .join(".cache/copydesk")
        });
        let ending = if version.is_empty() { String::new() } else { format!("-{version}") };
        cache.join("bin").join(format!("nats-server{ending}"))
    };
    let binary = given.map_or_else(cached, PathBuf::from);
    let install = format!("scripts/lib/nats-install.sh {version}");
    assert!(binary.exists(), "no nats-server at {}: run {}", binary.display(), install.trim());
    binary
}

/// A stream of somebody else, as its owner sees it.
#[derive(Debug)]
pub struct ForeignStream(Stream);

impl ForeignStream {
    /// Makes a stream that keeps this subject, with the server's own defaults.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn make(url: &str, subject: &str) -> Self {
        let context = async_nats::jetstream::new(async_nats::connect(url).await.unwrap());
        let config = Config {
            name: subject.replace('.', "-"),
            subjects: vec![subject.to_owned()],
            ..Config::default()
        };
        Self(context.create_stream(config).await.unwrap())
    }

    /// Every message in it: id, trace and body.
    ///
    /// # Panics
    /// When it cannot be read.
    pub async fn messages(&self) -> Vec<(String, Option<String>, Bytes)> {
        let last = self.0.get_info().await.unwrap().state.last_sequence;
        let mut messages = Vec::new();
        for sequence in 1..=last {
            let message = self.0.get_raw_message(sequence).await.unwrap();
            let header = |name: &str| message.headers.get(name).map(ToString::to_string);
            let id = header("Nats-Msg-Id").unwrap_or_default();
            messages.push((id, header("traceparent"), message.payload.clone()));
        }
        messages
    }
}
