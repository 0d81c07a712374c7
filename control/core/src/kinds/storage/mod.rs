//! The kinds of `storage.k8s.io`: classes of volumes, drivers, and which volume is attached where.

use std::sync::Arc;

use control_schema::library::Library;

use super::entry::Group;
use crate::kind::{Kind, Subresource};

mod attachment;
mod attributes;
mod capacity;
mod class;
pub mod driver;
mod node;

pub fn kinds(library: &Arc<Library>) -> Vec<Kind> {
    let storage = Group { library, name: "storage.k8s.io", package: "io.k8s.api.storage", versions: &["v1"] };
    vec![
        storage
            .cluster_kind("CSIDriver", "csidrivers")
            .columns(driver::COLUMNS, driver::row)
            .strategy(driver::Strategy)
            .into(),
        storage
            .cluster_kind("CSINode", "csinodes")
            .columns(node::COLUMNS, node::row)
            .strategy(node::Strategy)
            .into(),
        storage.kind("CSIStorageCapacity", "csistoragecapacities").strategy(capacity::Strategy).into(),
        storage
            .cluster_kind("StorageClass", "storageclasses")
            .short(&["sc"])
            .columns(class::COLUMNS, class::row)
            .strategy(class::Strategy)
            .into(),
        storage
            .cluster_kind("VolumeAttachment", "volumeattachments")
            .subresources(&[Subresource::Status])
            .columns(attachment::COLUMNS, attachment::row)
            .strategy(attachment::Strategy)
            .into(),
        storage
            .cluster_kind("VolumeAttributesClass", "volumeattributesclasses")
            .short(&["vac"])
            .columns(attributes::COLUMNS, attributes::row)
            .strategy(attributes::Strategy)
            .into(),
    ]
}
