//! A disk that is too small, and one that is slow.

use std::path::PathBuf;
use std::time::Duration;

use super::node::Node;

/// A node's data folder on a file system in memory, of a size to choose. Needs root, as
/// `scripts/test` does.
#[derive(Debug)]
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    pub(crate) fn mount(node: &Node, size: &str) -> Self {
        let folder = node.data_dir();
        std::fs::create_dir(&folder).unwrap();
        let disk = Self(folder);
        disk.system("mount", &["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "tmpfs"]);
        disk
    }

    pub(crate) fn resize(&self, size: &str) {
        self.system("mount", &["-o", &format!("remount,size={size}")]);
    }

    fn system(&self, program: &str, arguments: &[&str]) {
        let status = std::process::Command::new(program).args(arguments).arg(&self.0).status();
        assert!(status.unwrap().success(), "{program} {arguments:?}");
    }
}

/// How long the node's log syncs, beyond what the disk takes. In the program that is tested, not in
/// the kernel: no device that may be slowed is on every machine.
#[derive(Debug)]
pub(crate) struct SlowDisk(PathBuf);

impl SlowDisk {
    /// From the node's next start on, it can be slowed.
    pub(crate) fn beside(node: &mut Node) -> Self {
        let file = node.data_dir().with_file_name("sync-ms");
        node.set_env("EVENTLOG_SYNC_MS_IN", file.to_str().unwrap());
        Self(file)
    }

    /// From the next sync on.
    pub(crate) fn syncs_take(&self, longer: Duration) {
        // Renamed into its place: a node never reads a half of it.
        let new = self.0.with_extension("new");
        std::fs::write(&new, longer.as_millis().to_string()).unwrap();
        std::fs::rename(new, &self.0).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the node that uses it ends a moment later.
        self.system("umount", &["--lazy"]);
    }
}
