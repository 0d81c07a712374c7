//! How a daemon is seen from outside: logs, metrics, health and readiness over HTTP, READY to systemd.
//!
//! Owns: the log format, the one HTTP listener of all daemons with its limits, the two formats of the metrics text,
//! the notification protocol, how a command prints ([`output`]), and what every daemon has: the frame of its life
//! ([`daemon`]), whether it is ready ([`Ready`]), how long it waits before the next try ([`Backoff`]). Begin at
//! [`daemon::program`], [`logs::init`] and [`http::serve`].
//! Never: knows what a daemon does. Texts, readiness and metrics are handed in.

pub mod backoff;
pub mod daemon;
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
