//! The OpenAPI documents of an API: what kubectl validates, explains and merges with.
//!
//! Owns: the documents that the original serves at `/openapi/v3/...` and `/openapi/v2`, without their prose.
//! Never: knows which kinds there are: they come in as [`Resource`]s. Begin at [`v3::document`].

mod content;
mod operations;
mod parameters;
mod schemas;
pub mod v2;
pub mod v3;

use crate::library::Schema;

/// A resource of one version of a group, as discovery has it.
#[derive(Clone, Debug)]
pub struct Resource<'a> {
    /// Empty for the core group.
    pub group: &'a str,
    pub version: &'a str,
    pub kind: &'a str,
    pub plural: &'a str,
    pub namespaced: bool,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verbs: Vec<&'a str>,
    pub schema: &'a Schema,
    /// Strategic merge patches are taken: built-in kinds.
    pub strategic: bool,
    /// Fields that a definition lets lists select by: `spec.size`.
    pub selectable: Vec<&'a str>,
    pub subresources: Vec<Subresource<'a>>,
}

#[derive(Clone, Debug)]
pub struct Subresource<'a> {
    /// `status`, `exec`.
    pub name: &'a str,
    /// Of the body, where it is not the resource's own: `autoscaling`, `v1`, `Scale`.
    pub group: &'a str,
    pub version: &'a str,
    pub kind: &'a str,
    pub body: Body<'a>,
    /// As in discovery: `get`, `update`, `patch`, `create`.
    pub verbs: Vec<&'a str>,
}

#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// An object.
    Object(&'a Schema),
    /// Lines of text (`log`).
    Text,
    /// A connection that is passed on (`exec`, `proxy`). `kind` names its options: `PodExecOptions`.
    Connection,
}

/// `apps/v1`, `v1`.
fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

#[cfg(test)]
mod tests;
