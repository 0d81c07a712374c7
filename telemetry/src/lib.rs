//! How a daemon is seen from outside: logs, metrics, health and readiness over HTTP, READY to systemd.
//!
//! Owns: the log format, the HTTP server and its paths, the notification protocol. Begin at [`logs::init`] and
//! [`http::serve`].
//! Never: knows what a daemon does. Texts, readiness and metrics are handed in.

pub mod http;
pub mod logs;
pub mod metrics;
pub mod samples;
pub mod systemd;
