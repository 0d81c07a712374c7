//! The service proxy's decisions.
//!
//! Owns: what a Service means. From the cluster's objects ([`cluster`]) and a node's options it makes one
//! [`ServiceTable`](table::ServiceTable), which backends render without ever looking at a Service again.
//! Begin at [`ServiceTable::build`](table::ServiceTable::build).
//! Never: performs I/O, reads the clock, knows a backend.

pub mod advice;
pub mod announce;
#[cfg(feature = "cases")]
pub mod cases;
pub mod cluster;
pub mod conntrack;
pub mod endpoints;
pub mod health;
pub mod lacking;
pub mod names;
pub mod objects;
pub mod options;
pub mod question;
pub mod table;
