//! Fake nodes: what a kubelet would write, with no container behind it.
//!
//! Owns: the life of a pod on a node ([`decide`], where to begin; [`runtime`] is its containers, [`status`] what is written of
//! them), the node's own objects ([`Host`]), and the annotations by which a test tells them what to do ([`orders`]).
//! Pure: objects and a time in, what to write and when to look again out. Never: performs I/O, or reads a clock.
//! [`crate::fleet`] does what is decided here.

mod containers;
pub mod host;
pub mod orders;
mod pod;
mod resume;
pub mod runtime;
pub mod spec;
pub mod status;
pub mod usage;

pub use host::{Host, NodeWrite, Shape};
pub use pod::{Act, Decision, adopt, decide, forget};
pub use runtime::Runtime;
