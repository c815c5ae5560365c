//! A disk that is too small.

use super::node::Node;

/// A node's data folder on a file system in memory, of a size to choose. Needs root, as
/// `scripts/test` does.
#[derive(Debug)]
pub(crate) struct SmallDisk(std::path::PathBuf);

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

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the node that uses it ends a moment later.
        self.system("umount", &["--lazy"]);
    }
}
