//! Three machines in network namespaces on one switch, each with a NATS server of a cluster, and the
//! cables between them to be pulled. Needs Linux, root and iproute2; without them a test fails.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use copydesk_eventlog::testing::nats_binary;

/// Machines.
pub(crate) const MACHINES: usize = 3;

/// The machines, switched on.
#[derive(Debug)]
pub(crate) struct Machines {
    /// Begins all names; of this process alone.
    id: String,
    /// The first three bytes of all addresses.
    net: String,
    folder: tempfile::TempDir,
    servers: Vec<Child>,
}

impl Machines {
    /// Cables everything and starts the servers with the example's configuration.
    pub(crate) fn start() -> Self {
        let pid = std::process::id();
        let net = format!("10.{}.{}", 100 + pid % 100, pid / 100 % 250);
        let folder = tempfile::tempdir().unwrap();
        let mut machines = Self { id: format!("cd{pid}"), net, folder, servers: Vec::new() };
        let switch = format!("{}s", machines.id);
        machines.ip(&["link", "add", &switch, "type", "bridge"]);
        machines.ip(&["addr", "add", &format!("{}/24", machines.host()), "dev", &switch]);
        machines.ip(&["link", "set", &switch, "up"]);
        for number in 0..MACHINES {
            machines.add(number, &switch);
        }
        for number in 0..MACHINES {
            let server = machines.server(number);
            machines.servers.push(server);
        }
        machines
    }

    fn add(&self, number: usize, switch: &str) {
        let (name, cable) = (self.name(number), self.cable(number));
        // `ip netns exec` shows a namespace its own copy of these files.
        let folder = Path::new("/etc/netns").join(&name);
        std::fs::create_dir_all(&folder).unwrap();
        let hosts = (0..MACHINES).map(|n| format!("{} nats-{}\n", self.address(n), n + 1));
        std::fs::write(folder.join("hosts"), hosts.collect::<String>()).unwrap();
        self.ip(&["netns", "add", &name]);
        self.ip(&["link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns", &name]);
        self.ip(&["link", "set", &cable, "master", switch, "up"]);
        let address = format!("{}/24", self.address(number));
        self.ip(&["-n", &name, "addr", "add", &address, "dev", "eth0"]);
        self.ip(&["-n", &name, "link", "set", "eth0", "up"]);
        self.ip(&["-n", &name, "link", "set", "lo", "up"]);
    }

    fn server(&self, number: usize) -> Child {
        let binary = nats_binary();
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker/nats.cluster.conf");
        let store = self.folder.path().join(number.to_string());
        let config = std::fs::read_to_string(config).unwrap();
        let config = config.replace("/data", &store.to_string_lossy());
        let path = store.with_extension("conf");
        std::fs::write(&path, config).unwrap();
        let log = std::fs::File::create(self.folder.path().join(format!("{number}.log"))).unwrap();
        Command::new("ip")
            .args(["netns", "exec", &self.name(number)])
            .arg(binary)
            .arg("--config")
            .arg(path)
            .env("NATS_NAME", format!("nats-{}", number + 1))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// The namespace of a machine.
    pub(crate) fn name(&self, number: usize) -> String {
        format!("{}m{number}", self.id)
    }

    fn cable(&self, number: usize) -> String {
        format!("{}v{number}", self.id)
    }

    /// The address of a machine.
    pub(crate) fn address(&self, number: usize) -> String {
        format!("{}.{}", self.net, number + 1)
    }

    /// The address of the test on the same switch.
    pub(crate) fn host(&self) -> String {
        format!("{}.254", self.net)
    }

    /// The servers' addresses, as the machines know them.
    pub(crate) fn url(&self) -> String {
        "nats://nats-1:4222,nats://nats-2:4222,nats://nats-3:4222".to_owned()
    }

    /// Pulls a machine's cable: nobody reaches it and it reaches nobody.
    pub(crate) fn cut(&self, number: usize) {
        self.ip(&["link", "set", &self.cable(number), "down"]);
    }

    /// Plugs it in again.
    pub(crate) fn mend(&self, number: usize) {
        self.ip(&["link", "set", &self.cable(number), "up"]);
    }

    /// Two machines do not reach each other; both reach everybody else.
    pub(crate) fn part(&self, one: usize, other: usize) {
        for (from, to) in [(one, other), (other, one)] {
            self.ip(&["-n", &self.name(from), "route", "add", "blackhole", &self.address(to)]);
        }
    }

    /// They do again.
    pub(crate) fn join(&self, one: usize, other: usize) {
        for (from, to) in [(one, other), (other, one)] {
            self.ip(&["-n", &self.name(from), "route", "del", "blackhole", &self.address(to)]);
        }
    }

    fn ip(&self, arguments: &[&str]) {
        let done = Command::new("ip").args(arguments).output();
        let done = done.expect("network namespaces need iproute2: apt-get install iproute2");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "this needs root and Linux: ip {arguments:?}: {said}");
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _gone = server.kill();
            let _gone = server.wait();
        }
        for number in 0..MACHINES {
            let name = self.name(number);
            let _gone = Command::new("ip").args(["netns", "del", &name]).output();
            let _gone = Command::new("ip").args(["link", "del", &self.cable(number)]).output();
            let _gone = std::fs::remove_dir_all(Path::new("/etc/netns").join(name));
        }
        let switch = format!("{}s", self.id);
        let _gone = Command::new("ip").args(["link", "del", &switch]).output();
    }
}
