//! What controllers decide: what is to be written, given the objects that are known and the time.
//!
//! Owns: every decision of the controllers, each in a folder of its name ([`Controller`], [`all`]); what is known of the
//! server's objects, this program's own writes included ([`World`]); the order of work ([`Queue`]).
//! Never: performs I/O, reads the clock.

mod act;
mod amount;
mod claim;
mod controller;
mod engine;
mod hash;
pub mod kinds;
pub mod object;
pub mod pods;
mod queue;
mod revisions;
mod status;
#[cfg(test)]
mod trial;
mod world;

pub use act::{Act, Note, Stage, Write};
pub use controller::{Context, Controller, Decision, Refused};
pub use engine::{Ended, Engine, Work};
pub use kinds::Kind;
pub use queue::Queue;
pub use world::{Change, World};

pub mod cron_job;
pub mod daemon_set;
pub mod deployment;
pub mod job;
pub mod replica_set;
pub mod stateful_set;
pub mod ttl_after_finished;

/// Every controller of this program, in the order of their names.
pub fn all() -> Vec<Box<dyn Controller>> {
    vec![
        Box::new(cron_job::CronJobs),
        Box::new(daemon_set::DaemonSets),
        Box::new(deployment::Deployments),
        Box::new(job::Jobs),
        Box::new(replica_set::ReplicaSets::sets()),
        Box::new(replica_set::ReplicaSets::controllers()),
        Box::new(stateful_set::StatefulSets),
        Box::new(ttl_after_finished::TtlAfterFinished),
    ]
}
