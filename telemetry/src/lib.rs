//! How a daemon is seen from outside: logs, metrics, health and readiness over HTTP, READY to systemd.
//!
//! Owns: the log format, the one HTTP listener of all daemons with its limits, the two formats of the metrics text,
//! the notification protocol, how a command prints ([`output`]), and two small things that every daemon has: whether it is ready ([`Ready`]), and how
//! long it waits before the next try ([`Backoff`]). Begin at [`logs::init`] and [`http::serve`].
//! Never: knows what a daemon does. Texts, readiness and metrics are handed in.

pub mod backoff;
pub mod http;
pub mod logs;
pub mod metrics;
pub mod output;
pub mod process;
mod ready;
pub mod samples;
pub mod systemd;

pub use backoff::Backoff;
pub use ready::Ready;
