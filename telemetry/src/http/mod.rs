//! The one HTTP listener of all daemons: health, metrics, health-check node ports.
//!
//! Owns: sockets, connections and their limits ([`Server`], [`Connections`]), the way from a path to an answer
//! ([`Routes`]), and `/healthz`, `/readyz` and `/metrics` in the form that most daemons want ([`Health`]).
//! Begin at [`serve`].
//! Never: decides whether a daemon is ready, or what its metrics are.

mod connections;
mod deadline;
mod health;
mod listen;
mod message;
mod routes;
mod server;

pub use connections::Connections;
pub use health::{Health, Texts, metrics_answer};
pub use hyper::header::{self, HeaderMap, HeaderName};
pub use hyper::{Method, StatusCode};
pub use listen::{BindError, bind, listen};
pub use message::{Answer, Request};
pub use routes::Routes;
pub use server::{Server, WhenTaken, serve};

pub use crate::ready::Ready;
