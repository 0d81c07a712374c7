//! Which node a pod goes to: filters, scores, preemption, and the order of the queue.
//!
//! Owns: every decision of the scheduler, as functions of objects and time. What it knows of the objects is [`pod::Pod`] and
//! [`node::Node`], read once; what it knows of all of them is the [`cluster::Cluster`], kept up to date by each change.
//! Begin at [`state::State::step`]. Facts: kube-scheduler 1.36, whose names and words are kept.
//! Never: performs I/O, reads the clock, sees JSON while it decides.

pub mod attempt;
pub mod cluster;
pub mod diagnosis;
pub mod filters;
pub mod node;
pub mod plugin;
pub mod pod;
pub mod preemption;
pub mod profile;
pub mod queue;
mod read;
pub mod resources;
pub mod scores;
pub mod selectors;
pub mod state;
pub mod volumes;
pub mod world;

pub use read::BadObject;

/// Labels of an object.
pub type Labels = std::collections::BTreeMap<String, String>;
