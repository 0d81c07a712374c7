//! Objects as values that many readers share: list, watch and write, whichever way to the server there is.
//!
//! Owns: the trait [`Api`], by which the parts of a control plane see a server, and what follows a kind over it
//! ([`follow`]). [`Client`](crate::Client) is one that speaks over a wire; a server of the same process is another, whose
//! objects are its own memory's. Never: decodes into types of its own.

mod follow;
mod wire;

use std::sync::Arc;

use serde_json::Value;

use crate::transport::Pending;
use crate::{Failure, Patch, Query};

pub use follow::{News, follow};

/// A server, as one user.
pub trait Api: Send + Sync + 'static {
    /// The server, for messages.
    fn server(&self) -> String;

    /// One object, by its path.
    ///
    /// # Errors
    /// [`Failure`]; see [`Status::is_not_found`](apiclient_core::wire::Status::is_not_found).
    fn read<'a>(&'a self, path: &'a str) -> Pending<'a, Result<Arc<Value>, Failure>>;

    /// All objects that a query chooses. `known`: as the server has them in memory, which may lag behind a little.
    ///
    /// # Errors
    /// [`Failure`].
    fn list<'a>(&'a self, query: &'a Query, known: bool) -> Pending<'a, Result<Listed, Failure>>;

    /// What happens to them after a version.
    ///
    /// # Errors
    /// [`Failure`]; also as the first change, where the version is forgotten.
    fn watch<'a>(
        &'a self,
        query: &'a Query,
        since: &'a str,
    ) -> Pending<'a, Result<Box<dyn Changes>, Failure>>;

    /// Writes, and gives what the server made of it; null where a deletion leaves nothing.
    ///
    /// # Errors
    /// [`Failure`]. After [`Failure::Away`] it may be written.
    fn write<'a>(&'a self, write: &'a Write) -> Pending<'a, Result<Arc<Value>, Failure>>;
}

/// A list, and where its changes begin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listed {
    pub version: String,
    pub objects: Vec<Arc<Value>>,
}

/// Something that happened to an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Changed {
    /// It is new, or another, or chosen now.
    Put(Arc<Value>),
    /// It is gone, or not chosen any more: as it was last, at the version of that.
    Gone(Arc<Value>),
    /// Nothing happened up to this version.
    Until(String),
}

/// A watch.
pub trait Changes: Send {
    /// The next change; `None` at the end, after which the next watch begins. May be dropped and called again.
    ///
    /// # Errors
    /// [`Failure`]; [`Status::is_expired`](apiclient_core::wire::Status::is_expired) where changes were missed.
    fn next(&mut self) -> Pending<'_, Result<Option<Changed>, Failure>>;
}

/// A write. Paths are those of [`Resource`](crate::Resource).
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// An object into its collection, or a subresource such as a Binding.
    Create {
        path: String,
        object: Value,
    },
    /// The version in the object's metadata must be the current one, if it has any.
    Update {
        path: String,
        object: Value,
    },
    Patch {
        path: String,
        patch: Patch,
    },
    /// `options` is a `DeleteOptions`, or null.
    Delete {
        path: String,
        options: Value,
    },
}

/// An object's version.
pub fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default()
}
