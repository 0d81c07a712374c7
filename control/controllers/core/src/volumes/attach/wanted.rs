//! Which volumes a node's pods need, and what of that is there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use apiclient_core::names::ObjectName;
use control_core::edit::{list, text};
use serde_json::Value;

use crate::kinds::{ATTACHMENTS, CLAIMS, CSI_DRIVERS, PODS, VOLUMES};
use crate::volumes::{uses, volume_key, volume_name};
use crate::{World, object, pods};

/// A volume that a driver attaches.
#[derive(Clone, Debug)]
pub struct Attachable<'a> {
    pub volume: &'a Arc<Value>,
    pub driver: &'a str,
    pub handle: &'a str,
}

impl<'a> Attachable<'a> {
    /// `None` where nothing is to be attached: another kind of volume, or a driver that needs none of it.
    pub fn of(world: &World, volume: &'a Arc<Value>) -> Option<Self> {
        let csi = &volume["spec"]["csi"];
        let (driver, handle) = (text(csi, &["driver"]), text(csi, &["volumeHandle"]));
        let known = world.get(CSI_DRIVERS, &ObjectName::new("", driver));
        let needs = known.is_none_or(|driver| driver["spec"]["attachRequired"] != false);
        (needs && !driver.is_empty()).then_some(Self { volume, driver, handle })
    }

    /// As nodes report it.
    pub fn unique_name(&self) -> String {
        format!("kubernetes.io/csi/{}^{}", self.driver, self.handle)
    }

    /// The name of its attachment to a node: kubelets compute the same.
    pub fn attachment(&self, node: &str) -> String {
        let text = format!("{}{}{node}", self.handle, self.driver);
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        digest.as_ref().iter().fold("csi-".to_owned(), |mut name, byte| {
            let _ = write!(name, "{byte:02x}");
            name
        })
    }

    /// Several nodes may have it at once, or nobody knows.
    pub fn is_shared(&self) -> bool {
        let modes = list(self.volume, &["spec", "accessModes"]);
        modes.is_empty() || modes.iter().any(|mode| mode == "ReadWriteMany" || mode == "ReadOnlyMany")
    }
}

/// Its volumes may go: it has ended, or goes and nothing of it runs.
pub fn is_over(pod: &Value) -> bool {
    let stopped = |field| {
        let mut all = list(pod, &["status", field]).iter();
        all.all(|container| {
            !container["state"]["terminated"].is_null() || !container["state"]["waiting"].is_null()
        })
    };
    let all_stopped = || {
        ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"].into_iter().all(stopped)
    };
    pods::has_ended(pod) || object::is_deleting(pod) && all_stopped()
}

/// The volume that a claim has, if both say so.
fn volume_of<'a>(world: &'a World, claim: &ObjectName) -> Option<&'a Arc<Value>> {
    let claim = world.get(CLAIMS, claim)?;
    let volume = world.get(VOLUMES, &volume_key(volume_name(claim)))?;
    let both = text(claim, &["status", "phase"]) == "Bound"
        && text(volume, &["spec", "claimRef", "uid"]) == object::uid(claim);
    both.then_some(volume)
}

/// Volumes that a pod needs attached.
pub fn of_pod<'a>(world: &'a World, pod: &'a Value) -> impl Iterator<Item = Attachable<'a>> {
    uses(pod).filter_map(move |used| {
        let claim = ObjectName::new(object::namespace(pod), used.claim);
        Attachable::of(world, volume_of(world, &claim)?)
    })
}

/// Volumes that are needed on a node, by name, and the pods that need them.
pub type Wanted<'a> = BTreeMap<&'a str, (Attachable<'a>, Vec<&'a Arc<Value>>)>;

pub fn on_node<'a>(world: &'a World, node: &str) -> Wanted<'a> {
    let mut wanted: Wanted<'a> = BTreeMap::new();
    for pod in world.all(PODS).filter(|pod| pods::node(pod) == node && !is_over(pod)) {
        for volume in of_pod(world, pod) {
            wanted.entry(object::name(volume.volume)).or_insert_with(|| (volume, Vec::new())).1.push(pod);
        }
    }
    wanted
}

/// Pods that need a volume, anywhere.
pub fn users<'a>(world: &'a World, volume: &'a Value) -> Vec<&'a Arc<Value>> {
    let claim = &volume["spec"]["claimRef"];
    let (namespace, name) = (text(claim, &["namespace"]), text(claim, &["name"]));
    let uses_it = |pod: &&Arc<Value>| !is_over(pod) && uses(pod).any(|used| used.claim == name);
    world.within(PODS, namespace).filter(uses_it).collect()
}

/// Attachments of a volume, or to a node.
pub fn attachments<'a>(
    world: &'a World,
    is: impl Fn(&Value) -> bool + 'a,
) -> impl Iterator<Item = &'a Arc<Value>> {
    world.all(ATTACHMENTS).filter(move |attachment| is(attachment))
}

/// Its name is one that [`Attachable::attachment`] gives. What somebody else ordered is theirs to withdraw.
pub fn is_order(attachment: &Value) -> bool {
    let digest = object::name(attachment).strip_prefix("csi-").unwrap_or_default();
    digest.len() == 64 && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

pub fn node_of(attachment: &Value) -> &str {
    text(attachment, &["spec", "nodeName"])
}

pub fn volume_of_attachment(attachment: &Value) -> &str {
    text(attachment, &["spec", "source", "persistentVolumeName"])
}
