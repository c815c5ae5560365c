//! Configuration into a running node: every setting becomes what the layer below wants to hear.

mod cluster;
mod desk;
mod intake;
mod jobs;
mod log;
mod money;
mod nodes;
mod rows;
mod sending;
mod settings;
mod shown;
mod store;
mod subscribers;

pub use cluster::cluster_settings;
pub use desk::{NodeDesk, verify_log};
pub use intake::NodeIntake;
pub use log::{OpenLog, open_log, open_snapshots, restore_log};
pub use settings::{
    network_settings, node_settings, payload_rules, routes, source_rules, wordpress,
};
