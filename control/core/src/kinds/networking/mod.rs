//! The kinds of `networking.k8s.io`: policies for pods, ways in from outside, and the addresses of Services.

use std::sync::Arc;

use control_schema::library::Library;

use super::entry::Group;
use crate::kind::{Kind, Subresource, Traits};

mod address;
mod backend;
mod class;
mod ingress;
mod policy;
mod range;

pub fn kinds(library: &Arc<Library>) -> Vec<Kind> {
    let networking =
        Group { library, name: "networking.k8s.io", package: "io.k8s.api.networking", versions: &["v1"] };
    vec![
        networking
            .cluster_kind("IngressClass", "ingressclasses")
            .columns(class::COLUMNS, class::row)
            .strategy(class::Strategy)
            .into(),
        networking
            .kind("Ingress", "ingresses")
            .short(&["ing"])
            .stored_under("ingress")
            .subresources(&[Subresource::Status])
            .columns(ingress::COLUMNS, ingress::row)
            .strategy(ingress::Strategy)
            .into(),
        networking
            .cluster_kind("IPAddress", "ipaddresses")
            .short(&["ip"])
            .traits(Traits { no_garbage_collection: true, ..Traits::default() })
            .columns(address::COLUMNS, address::row)
            .strategy(address::Strategy)
            .into(),
        networking
            .kind("NetworkPolicy", "networkpolicies")
            .short(&["netpol"])
            .columns(policy::COLUMNS, policy::row)
            .strategy(policy::Strategy)
            .into(),
        networking
            .cluster_kind("ServiceCIDR", "servicecidrs")
            .subresources(&[Subresource::Status])
            .columns(range::COLUMNS, range::row)
            .strategy(range::Strategy)
            .into(),
    ]
}
