//! The kinds of `resource.k8s.io`: devices of nodes, and claims to them.

use std::sync::Arc;

use control_schema::library::Library;

use super::entry::Group;
use crate::kind::{Kind, Subresource};

pub fn kinds(library: &Arc<Library>) -> Vec<Kind> {
    let resource =
        Group { library, name: "resource.k8s.io", package: "io.k8s.api.resource", versions: &["v1"] };
    vec![
        resource.cluster_kind("DeviceClass", "deviceclasses").into(),
        resource.kind("ResourceClaim", "resourceclaims").subresources(&[Subresource::Status]).into(),
        resource.kind("ResourceClaimTemplate", "resourceclaimtemplates").into(),
        resource.cluster_kind("ResourceSlice", "resourceslices").into(),
    ]
}
