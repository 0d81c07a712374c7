//! The table of built-in kinds. Adding a kind is adding an entry to the list of its group.
//!
//! Begin at [`entry::Group`]; a kind's strategy, columns and validation are in the folder of its group, those that several
//! groups share (templates of pods) in `core`.

use std::sync::Arc;

use control_schema::library::Library;

use crate::kind::Kind;

mod admissionregistration;
mod apiextensions;
mod apiregistration;
pub mod apps;
mod authentication;
mod authorization;
mod autoscaling;
mod batch;
mod cells;
mod certificates;
mod coordination;
pub mod core;
pub mod custom;
pub mod deprecated;
mod discovery;
pub mod entry;
mod events;
mod flowcontrol;
pub mod metrics;
mod networking;
mod node;
mod policy;
mod rbac;
mod resource;
pub mod scheduling;
pub mod status;
mod storage;

pub use batch::schedule;

/// Plurals of kinds whose deletion is answered with the object that has gone (`ReturnDeletedObject` of the original).
const RETURN_DELETED: [&str; 17] = [
    "csidrivers",
    "csinodes",
    "deviceclasses",
    "namespaces",
    "persistentvolumeclaims",
    "persistentvolumes",
    "pods",
    "podtemplates",
    "resourceclaims",
    "resourceclaimtemplates",
    "resourcequotas",
    "resourceslices",
    "serviceaccounts",
    "services",
    "storageclasses",
    "volumeattachments",
    "volumeattributesclasses",
];

/// Plurals of kinds whose PUT must say which version it replaces (`AllowUnconditionalUpdate` of the original).
const VERSIONED: [&str; 17] = [
    "apiservices",
    "clustertrustbundles",
    "csidrivers",
    "csinodes",
    "csistoragecapacities",
    "customresourcedefinitions",
    "leases",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
    "mutatingwebhookconfigurations",
    "poddisruptionbudgets",
    "podcertificaterequests",
    "runtimeclasses",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "validatingwebhookconfigurations",
    "volumeattachments",
];

/// What is told of kinds by list and not in their entries, because the original's packages are told of it one by one too.
fn with_lists(mut kind: Kind) -> Kind {
    kind.traits.returns_deleted = RETURN_DELETED.contains(&kind.plural.as_ref());
    kind.traits.needs_resource_version = VERSIONED.contains(&kind.plural.as_ref());
    kind.traits.own_deletion = matches!(kind.plural.as_ref(), "namespaces" | "customresourcedefinitions");
    kind
}

/// Every built-in kind, described by the structs of `library`.
///
/// # Panics
/// `library` lacks the struct of one of them.
pub fn all(library: &Arc<Library>) -> Vec<Kind> {
    [
        core::kinds(library),
        apiregistration::kinds(library),
        apps::kinds(library),
        events::kinds(library),
        authentication::kinds(library),
        authorization::kinds(library),
        autoscaling::kinds(library),
        batch::kinds(library),
        certificates::kinds(library),
        networking::kinds(library),
        policy::kinds(library),
        rbac::kinds(library),
        storage::kinds(library),
        admissionregistration::kinds(library),
        apiextensions::kinds(library),
        scheduling::kinds(library),
        coordination::kinds(library),
        node::kinds(library),
        discovery::kinds(library),
        resource::kinds(library),
        flowcontrol::kinds(library),
    ]
    .into_iter()
    .flatten()
    .map(with_lists)
    .collect()
}
