//! The kernel's tables: reading them in the core's terms, and carrying out a plan.
//!
//! Owns: the translation between `host::netlink` (by interface index) and `flanneld_core::tables` (by name).
//! Never: decides; what is ours is [`Ownership`]'s business, what to write is the plan's.

mod apply;
mod observe;
mod shield;

pub use apply::{Failure, apply};
pub use observe::{Observed, Raw, observed};
pub use shield::Shield;
