//! The Kubernetes API over HTTP. A request's way is one straight line, and the folders are its stations in order:
//! connection, request, authentication, authorization, negotiation, decoding, admission, strategy, storage, encoding.
//!
//! Begin at [`Server::handle`]: the line itself. [`serve`] puts it behind a listener.

pub mod access;
pub mod admission;
pub mod admit;
pub mod allocation;
pub mod authentication;
pub mod authorization;
pub mod backend;
pub mod call;
pub mod connection;
pub mod decoding;
pub mod discovery;
pub mod dispatch;
pub mod encoding;
pub mod fairness;
pub mod health;
pub mod ids;
pub mod in_process;
pub mod inflight;
pub mod line;
pub mod local;
pub mod metrics;
pub mod negotiation;
pub mod openapi;
pub mod options;
pub mod program;
pub mod registry;
pub mod reply;
pub mod request;
pub mod run;
pub mod server;
pub mod storage;
pub mod strategy;
pub mod subresources;
mod usage;
pub mod verbs;
pub mod websocket;

#[cfg(test)]
mod fixture;

pub use connection::serve;
pub use control_pki as pki;
pub use control_serving::{expiring, followed, webhook};
pub use server::{Parts, Peer, Server, Times};
