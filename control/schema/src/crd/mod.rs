//! CustomResourceDefinitions: kinds described at run time.
//!
//! Owns: what a definition's schema must be ([`structural::check`]), the [`Schema`] that the rest of this package works
//! with ([`build::schema`]), and what objects of the kind must be ([`Validator`]), rules in CEL included.
//! Never: stores definitions, names kinds, or converts between versions. Begin at [`compile`].

pub mod build;
pub mod cel;
mod dates;
mod formats;
mod regexes;
pub mod structural;
mod urls;
mod validate;

use serde_json::Value;

pub use self::validate::{Validator, Violations};

use crate::library::Schema;

/// One version of a kind, ready to serve.
#[derive(Debug)]
pub struct Compiled {
    pub schema: Schema,
    pub validator: Validator,
}

/// Makes ready what a version's `openAPIV3Schema` describes. Such a schema was accepted by [`structural::check`]; of
/// others, and of absent ones (null), what makes no sense is ignored.
///
/// `preserve_unknown`: the definition says `preserveUnknownFields: true`, so that nothing is pruned.
pub fn compile(group: &str, version: &str, kind: &str, open_api: &Value, preserve_unknown: bool) -> Compiled {
    let schema = build::schema(&build::name(group, version, kind), open_api, preserve_unknown);
    Compiled { schema, validator: Validator::new(open_api) }
}

#[cfg(test)]
mod tests;
