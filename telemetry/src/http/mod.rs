//! The one HTTP listener of all daemons: health, metrics, health-check node ports.
//!
//! Owns: sockets, connections and their limits ([`Server`], [`Connections`]), the way from a path to an answer
//! ([`Routes`]), `/healthz`, `/readyz` and `/metrics` in the form that most daemons want ([`Health`]), and TLS where a
//! [`Guard`] is handed in. Begin at [`serve`] and [`serve_guarded`].
//! Never: decides whether a daemon is ready, what its metrics are, or who may see them.

mod connections;
mod deadline;
mod guard;
mod health;
mod listen;
mod message;
mod routes;
mod server;

pub use connections::Connections;
pub use guard::{Check, Checked, Guard};
pub use health::{Health, Texts, metrics_answer};
pub use hyper::header::{self, HeaderMap, HeaderName};
pub use hyper::{Method, StatusCode};
pub use listen::{BindError, bind, listen};
pub use message::{Answer, Request};
pub use routes::Routes;
pub use server::{Server, WhenTaken, serve, serve_guarded};
pub use tokio_rustls::rustls::ServerConfig;
pub use tokio_rustls::rustls::pki_types::CertificateDer;

pub use crate::ready::Ready;
