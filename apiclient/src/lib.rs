//! The Kubernetes API seen from a client.
//!
//! Owns: where the server is and who we are ([`config`]), connections and their renewal when files rotate
//! ([`connection`]), requests about any kind ([`Client`], [`Resource`]), lists that are followed ([`reflector`]),
//! Events ([`EventRecorder`]), and who of several processes leads ([`leader`]). A [`Transport`] may also be a request
//! handler of the same process; [`objects::Api`] is what the parts of a control plane share, over a wire or straight into a
//! server beside them.
//! Never: knows what a kind is for; what is kept of an object is the [`Decoder`]'s choice.
//! Begin at [`Client::connect`].

mod account;
mod client;
pub mod config;
mod connection;
mod events;
mod failure;
mod items;
pub mod leader;
pub mod objects;
mod pace;
pub mod reflector;
mod resource;
pub mod tls;
mod transport;

pub use account::Account;
pub use client::{Answer, Client, Patch};
pub use config::{Access, AccessError};
pub use events::{Event, EventRecorder, Reference, Reporter};
pub use failure::Failure;
pub use pace::Pace;
pub use reflector::{Closed, Decoded, Decoder, Origin, Query, Reflector, Sink, Update};
pub use resource::{Ask, Resource, escape};
pub use transport::{Body, Handler, Pending, Request, Response, Transport, whole};

/// A whole error in one line: each cause after a colon.
fn chain(error: &dyn std::error::Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        let more = error.to_string();
        // Some repeat their cause in their own text.
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
