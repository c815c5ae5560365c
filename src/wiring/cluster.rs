//! Joining the nodes that share the log, under a name of the node's own.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use copydesk_actors::cluster::ClusterSettings;
use copydesk_eventlog::{JetStreamLog, leases_off};
use copydesk_proto::{NAME_BYTES_MAX, NodeName};

use crate::config::Config;

/// File of the node's name inside the data folder.
const NAME_FILE: &str = "node";

/// The register's name beside the stream's.
const REGISTER: &str = "nodes";

/// How the node shares its log; `None` on a log that it has to itself.
///
/// # Errors
/// Why the nodes' register cannot be had, or the name cannot be kept.
pub async fn cluster_settings(
    config: &Config,
    shared: Option<Arc<JetStreamLog>>,
) -> anyhow::Result<Option<ClusterSettings>> {
    let Some(log) = shared.filter(|_| !leases_off()) else { return Ok(None) };
    let register = log.register(REGISTER).await.context(
        "log.url: the nodes' register beside the log; let the user make a key-value bucket",
    )?;
    let name = match &config.cluster.node {
        Some(name) => name.clone(),
        None => kept_name(&config.data_dir)?,
    };
    let release = env!("CARGO_PKG_VERSION").to_owned();
    Ok(Some(ClusterSettings { name, register: Arc::new(register), release }))
}

/// The name in the data folder, made when there is none: a process that is started again has its
/// predecessor's partitions at once.
fn kept_name(data_dir: &Path) -> anyhow::Result<NodeName> {
    let path = data_dir.join(NAME_FILE);
    if let Ok(text) = std::fs::read_to_string(&path) {
        return text.trim().parse().with_context(|| {
            format!("{} holds no node name: write one, or delete it", path.display())
        });
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut random = [0; 2];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    let name = name_of(&host, &hex::encode(random));
    let keep = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(format!("{name}\n").as_bytes())?;
        file.sync_all()
    };
    keep().with_context(|| format!("the node's name cannot be kept in {}", path.display()))?;
    Ok(name)
}

/// A name by which people find the machine.
fn name_of(host: &str, random: &str) -> NodeName {
    let host = host.trim().split('.').next().unwrap_or_default().to_lowercase();
    let plain = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-';
    let room = NAME_BYTES_MAX - random.len() - 1;
    let host: String = host.chars().filter(plain).skip_while(|c| *c == '-').take(room).collect();
    let host = if host.is_empty() { "node" } else { &host };
    format!("{host}-{random}").parse().expect("made of letters and digits, and not too long")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

    use super::*;

    #[test]
    fn a_name_is_made_of_the_machines_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let name = kept_name(folder.path()).unwrap();
        assert_eq!(kept_name(folder.path()).unwrap(), name);
        std::fs::write(folder.path().join(NAME_FILE), "No Name").unwrap();
        assert!(kept_name(folder.path()).unwrap_err().to_string().contains("delete it"));
    }

    #[test]
    fn any_machines_name_will_do() {
        let of = |host| name_of(host, "04af").to_string();
        assert_eq!(of("Desk-1.example.org\n"), "desk-1-04af");
        assert_eq!(of("--\u{fc}"), "node-04af");
        assert_eq!(of(&"x".repeat(64)).len(), NAME_BYTES_MAX);
    }
}
