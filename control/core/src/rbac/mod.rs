//! Role-based access control.
//!
//! Owns: what a rule allows ([`rule`]), who has which rules ([`index`]), when a set of rules holds another one ([`cover`]),
//! the check that nobody grants what they do not have ([`escalation`]), and the roles that every cluster has
//! ([`defaults`]). Begin at [`index::Index`].
//! Never: reads objects by itself; it is told of every role and binding.

pub mod cover;
pub mod defaults;
pub mod escalation;
pub mod index;
pub mod rule;

/// The API group of roles and bindings.
pub const GROUP: &str = "rbac.authorization.k8s.io";

// The resources that the index must be told of, as `Kind::qualified` has them.
pub const CLUSTER_ROLES: &str = "clusterroles.rbac.authorization.k8s.io";
pub const CLUSTER_ROLE_BINDINGS: &str = "clusterrolebindings.rbac.authorization.k8s.io";
pub const ROLES: &str = "roles.rbac.authorization.k8s.io";
pub const ROLE_BINDINGS: &str = "rolebindings.rbac.authorization.k8s.io";
