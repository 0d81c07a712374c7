//! Kinds of objects as data.
//!
//! Owns: the tree of fields that describes a kind ([`library::Library`]), and everything that is written once over it:
//! encodings, defaults, pruning, structural validation, patches, server-side apply, OpenAPI. The built-in kinds' trees
//! come from `data/`, those of a CustomResourceDefinition are made at run time, and nothing else differs between them.
//! Never: performs I/O, reads the clock, or knows what a Pod is for.
//!
//! An object in work is a [`serde_json::Value`]; times, quantities and bytes are strings in it, as in JSON.

pub mod apply;
pub mod builtin;
pub mod codec;
pub mod crd;
pub mod defaults;
pub mod library;
pub mod openapi;
pub mod patch;
