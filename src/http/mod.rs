//! HTTP in: the accept loop both listeners share, and the webhooks' ingress.

mod answer;
mod connections;
mod ingress;
mod intake;
mod server;
mod suspects;
#[cfg(test)]
mod tests;

pub use answer::RequestId;
pub use ingress::Ingress;
pub use intake::{Arrival, Intake, Receipt, Storing};
pub use server::{DRAIN_MAX, Drain, Handler, Server};
