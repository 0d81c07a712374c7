//! The service proxy: Services and EndpointSlices into the kernel's tables.
//!
//! Owns: the feeds that bring the objects, the backends that write tables, health checks, and the loop between
//! them. What should happen to a packet is decided in `proxy-core`.

pub mod backends;
pub mod feeds;
pub mod health;
pub mod metrics;
pub mod options;
mod yaml;
