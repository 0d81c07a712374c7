//! The scheduler: it follows pods and nodes, asks its core where a pod goes, and binds it there.
//!
//! Owns: the clock, the objects that are followed ([`feeds`]), the loop between them and the core ([`daemon`]), writes
//! ([`writer`]), and the program `weft scheduler` ([`program`]). Begin at [`daemon::run`].
//! Never: chooses a node itself.

pub mod config;
pub mod daemon;
mod events;
mod extenders;
mod feeds;
mod limit;
mod metrics;
pub mod options;
pub mod program;
mod writer;

pub use metrics::Metrics;
