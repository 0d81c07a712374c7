//! Volumes of clouds that were built into Kubernetes once: a CSI driver does their work now.
//!
//! Facts: csi-translation-lib 0.36.

use serde_json::Value;

use super::{PROVISIONED_BY, PROVISIONER, annotate, forget};
use crate::object;

/// Says which driver works on a claim or volume in the place of the plugin that it names.
pub const MIGRATED_TO: &str = "pv.kubernetes.io/migrated-to";

/// The former plugin, its driver, and the field of a volume's spec.
const DRIVERS: [(&str, &str, &str); 7] = [
    ("kubernetes.io/aws-ebs", "ebs.csi.aws.com", "awsElasticBlockStore"),
    ("kubernetes.io/azure-disk", "disk.csi.azure.com", "azureDisk"),
    ("kubernetes.io/azure-file", "file.csi.azure.com", "azureFile"),
    ("kubernetes.io/cinder", "cinder.csi.openstack.org", "cinder"),
    ("kubernetes.io/gce-pd", "pd.csi.storage.gke.io", "gcePersistentDisk"),
    ("kubernetes.io/portworx-volume", "pxd.portworx.com", "portworxVolume"),
    ("kubernetes.io/vsphere-volume", "csi.vsphere.vmware.com", "vsphereVolume"),
];

/// The driver that does the work of a former plugin.
pub fn driver(plugin: &str) -> Option<&'static str> {
    DRIVERS.iter().find(|(name, ..)| *name == plugin).map(|(_, driver, _)| *driver)
}

/// The former plugin of a volume, and its driver.
pub fn of_volume(volume: &Value) -> Option<(&'static str, &'static str)> {
    let found = DRIVERS.iter().find(|(_, _, field)| volume["spec"][*field].is_object());
    found.map(|(plugin, driver, _)| (*plugin, *driver))
}

/// A claim or a volume with the right word about its driver; `None` where it has it.
pub fn marked(object: &Value) -> Option<Value> {
    let names = [PROVISIONED_BY, PROVISIONER[0], PROVISIONER[1]];
    let plugin = names.into_iter().find_map(|name| object::annotation(object, name))?;
    let (want, have) = (driver(plugin), object::annotation(object, MIGRATED_TO));
    if want == have.filter(|have| !have.is_empty()) {
        return None;
    }
    let mut marked = object.clone();
    match want {
        Some(driver) => annotate(&mut marked, MIGRATED_TO, driver),
        None => forget(&mut marked, MIGRATED_TO),
    }
    Some(marked)
}
