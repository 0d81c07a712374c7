//! Who asks, and for what: what authentication finds and authorization decides on.

use std::collections::BTreeMap;

/// Who sends a request (`user.Info`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// `system:serviceaccount:NAMESPACE:NAME` for service accounts, `system:node:NAME` for nodes.
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    pub const ANONYMOUS: &str = "system:anonymous";

    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }
}

/// What a request is about (`authorizer.Attributes`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or in lower case the method of a
    /// request for a path that is no resource.
    pub verb: String,
    pub group: String,
    pub version: String,
    /// Plural; empty for a path that is no resource.
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    /// For what is no resource: `/healthz`.
    pub path: String,
}
