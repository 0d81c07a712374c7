//! What both sides of the Kubernetes API need to know of an object.
//!
//! Owns: names and their rules, object metadata, selectors, quantities, time stamps, the forms that go over the wire,
//! helpers to decode JSON with errors that name the field, who leads by a Lease, and the one reader of YAML.
//! Never: performs I/O, reads the clock, or knows what a kind is for.

pub mod fields;
pub mod leader;
pub mod metadata;
pub mod names;
pub mod path;
pub mod percent;
pub mod quantity;
pub mod selector;
pub mod time;
pub mod wire;
pub mod yaml;
