//! Attaches volumes of CSI drivers to the nodes whose pods need them, and detaches them.
//!
//! A VolumeAttachment is the order; the driver's attacher carries it out. The node's status says what is attached, and its
//! kubelet says what is mounted: what is mounted is not detached, unless the node is known to be out of service, or has not
//! been ready for [`PATIENCE`].
//!
//! Owns: which orders there are ([`wanted`]), and when one is withdrawn.

#[cfg(test)]
mod tests;
mod wanted;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use apiclient_core::names::ObjectName;
use control_core::edit::{list, text};
use serde_json::{Value, json};

use self::wanted::{Attachable, Wanted, attachments, is_order, node_of, users, volume_of_attachment};
use super::{claim_key, uses, volume_key, volume_name};
use crate::kinds::{ATTACHMENTS, CLAIMS, CSI_DRIVERS, NODES, PODS, VOLUMES};
use crate::{Act, Change, Context, Controller, Decision, Kind, Note, Stage, World, Write, object, pods};

/// How long a volume that is mounted on a node that is not ready waits for the node's word.
pub const PATIENCE: Duration = Duration::from_secs(6 * 60);

/// A node whose kubelet leaves attaching to this controller.
const MANAGED: &str = "volumes.kubernetes.io/controller-managed-attach-detach";
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Keys are nodes.
#[derive(Debug, Default)]
pub struct AttachDetach {
    /// Since when an attachment is not needed any more and waits for its node, by name. After a restart it begins again, as the
    /// original's does.
    since: Mutex<HashMap<String, SystemTime>>,
}

impl Controller for AttachDetach {
    fn name(&self) -> &'static str {
        "persistentvolume-attach-detach-controller"
    }

    fn account(&self) -> &'static str {
        "attachdetach-controller"
    }

    fn follows(&self) -> &[Kind] {
        &[ATTACHMENTS, CLAIMS, CSI_DRIVERS, NODES, PODS, VOLUMES]
    }

    fn concerns(&self, world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        let mut nodes: BTreeSet<&str> = BTreeSet::new();
        match change.kind {
            PODS => {
                let place = |pod: &Arc<Value>| (pods::node(pod).to_owned(), wanted::is_over(pod));
                if change.old.as_ref().map(place) != change.new.as_ref().map(place) {
                    let users = change.both().filter(|pod| uses(pod).next().is_some());
                    nodes.extend(users.map(|pod| pods::node(pod)));
                }
            }
            CLAIMS => {
                let state = |claim: &Arc<Value>| {
                    (volume_name(claim).to_owned(), text(claim, &["status", "phase"]).to_owned())
                };
                if change.old.as_ref().map(state) != change.new.as_ref().map(state) {
                    let claim = change.object();
                    let volume = world.get(VOLUMES, &volume_key(volume_name(claim)));
                    nodes.extend(
                        volume.into_iter().flat_map(|volume| users(world, volume)).map(|pod| pods::node(pod)),
                    );
                }
            }
            VOLUMES => {
                if change.old.as_ref().and_then(|old| claim_key(old))
                    != change.new.as_ref().and_then(|new| claim_key(new))
                {
                    nodes.extend(users(world, change.object()).into_iter().map(|pod| pods::node(pod)));
                }
            }
            ATTACHMENTS => {
                let attachment = change.object();
                nodes.insert(node_of(attachment));
                // Another node may have waited for it.
                if change.new.is_none() {
                    let volume = world.get(VOLUMES, &volume_key(volume_of_attachment(attachment)));
                    nodes.extend(
                        volume.into_iter().flat_map(|volume| users(world, volume)).map(|pod| pods::node(pod)),
                    );
                }
            }
            NODES => {
                if change.old.as_ref().map(says) != change.new.as_ref().map(says) {
                    nodes.insert(object::name(change.object()));
                }
            }
            _ => nodes.extend(world.all(NODES).map(|node| object::name(node))),
        }
        keys.extend(nodes.into_iter().filter(|node| !node.is_empty()).map(|node| ObjectName::new("", node)));
    }

    fn decide(&self, world: &World, key: &ObjectName, context: &Context) -> Decision {
        let name = &*key.name;
        let is_here =
            |attachment: &Value| node_of(attachment) == name && !volume_of_attachment(attachment).is_empty();
        let mut there: Vec<&Arc<Value>> = attachments(world, is_here).collect();
        // Where somebody else ordered the same, our own order counts.
        there.sort_by_key(|attachment| is_order(attachment));
        let pass = Pass {
            world,
            name,
            node: world.get(NODES, key),
            wanted: wanted::on_node(world, name),
            there: there
                .into_iter()
                .map(|attachment| (volume_of_attachment(attachment), attachment))
                .collect(),
            now: context.now,
        };
        let mut decision = Decision::nothing();
        let mut leaving = Vec::new();
        for (volume, attachment) in &pass.there {
            if pass.wanted.contains_key(volume) {
                self.since().remove(object::name(attachment));
            } else if is_order(attachment) && !object::is_deleting(attachment) {
                match self.stay(&pass, attachment) {
                    Stay::No => leaving.push(*attachment),
                    Stay::UntilTold => {}
                    Stay::For(wait) => decision = decision.again_in(wait),
                }
            }
        }
        // The node learns first that a volume is not to be mounted any more.
        decision = decision.all(pass.report(&leaving).into_iter().collect());
        decision =
            decision.all(leaving.iter().map(|attachment| Act::delete(ATTACHMENTS, attachment)).collect());
        let (orders, notes) = pass.orders();
        decision.stages.extend(notes.into_iter().map(Stage::Tell));
        decision.all(orders)
    }
}

/// What of a node matters.
fn says(node: &Arc<Value>) -> (Value, Value, bool, bool, bool) {
    let status = &node["status"];
    (
        status["volumesInUse"].clone(),
        status["volumesAttached"].clone(),
        object::condition_is(node, "Ready", "True"),
        is_out_of_service(node),
        object::annotation(node, MANAGED).is_some(),
    )
}

fn is_out_of_service(node: &Value) -> bool {
    list(node, &["spec", "taints"]).iter().any(|taint| text(taint, &["key"]) == OUT_OF_SERVICE)
}

impl AttachDetach {
    fn since(&self) -> MutexGuard<'_, HashMap<String, SystemTime>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stay(&self, pass: &Pass<'_>, attachment: &Arc<Value>) -> Stay {
        let name = object::name(attachment);
        let since = *self.since().entry(name.to_owned()).or_insert(pass.now);
        let waited = pass.now.duration_since(since).unwrap_or_default();
        let stay = if !pass.is_mounted(attachment) || pass.node.is_some_and(|node| is_out_of_service(node)) {
            Stay::No
        } else if pass.node.is_some_and(|node| object::condition_is(node, "Ready", "True")) {
            Stay::UntilTold
        } else if waited > PATIENCE {
            Stay::No
        } else {
            Stay::For(PATIENCE.saturating_sub(waited) + Duration::from_secs(1))
        };
        if stay == Stay::No {
            self.since().remove(name);
        }
        stay
    }
}

/// Whether an attachment that nobody needs stays for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stay {
    No,
    /// Until its node says that it is not mounted any more.
    UntilTold,
    For(Duration),
}

/// One look at a node.
struct Pass<'a> {
    world: &'a World,
    name: &'a str,
    node: Option<&'a Arc<Value>>,
    wanted: Wanted<'a>,
    /// By volume.
    there: BTreeMap<&'a str, &'a Arc<Value>>,
    now: SystemTime,
}

impl Pass<'_> {
    fn attachable(&self, attachment: &Value) -> Option<Attachable<'_>> {
        let volume = self.world.get(VOLUMES, &volume_key(volume_of_attachment(attachment)))?;
        let csi = &volume["spec"]["csi"];
        Some(Attachable { volume, driver: text(csi, &["driver"]), handle: text(csi, &["volumeHandle"]) })
    }

    /// The node's kubelet says so. Of a volume that is not known any more, any of its driver may be the one.
    fn is_mounted(&self, attachment: &Value) -> bool {
        let Some(node) = self.node else { return false };
        let mut mounted = list(node, &["status", "volumesInUse"]).iter().filter_map(Value::as_str);
        match self.attachable(attachment) {
            Some(volume) => {
                let name = volume.unique_name();
                mounted.any(|mounted| mounted == name)
            }
            None => {
                let driver = format!("kubernetes.io/csi/{}^", text(attachment, &["spec", "attacher"]));
                mounted.any(|mounted| mounted.starts_with(&driver))
            }
        }
    }

    /// The node's status, if it has to say something else; pods are told of volumes that are there now.
    fn report(&self, leaving: &[&Arc<Value>]) -> Option<Act> {
        let node = self.node?;
        let said: Vec<&str> =
            list(node, &["status", "volumesAttached"]).iter().map(|one| text(one, &["name"])).collect();
        let (mut attached, mut news) = (Vec::new(), Vec::new());
        for (volume, attachment) in &self.there {
            let stays = !object::is_deleting(attachment)
                && !leaving.iter().any(|other| Arc::ptr_eq(other, attachment));
            let Some(known) = self.attachable(attachment) else { continue };
            if stays && attachment["status"]["attached"] == true {
                let name = known.unique_name();
                if !said.contains(&&*name) {
                    news.push(*volume);
                }
                attached.push(name);
            }
        }
        // What somebody else reports stays.
        let others =
            said.iter().filter(|name| !name.starts_with("kubernetes.io/csi/")).map(|name| (*name).to_owned());
        attached.extend(others);
        attached.sort_unstable();
        let mut before: Vec<&str> = said.clone();
        before.sort_unstable();
        if before == attached {
            return None;
        }
        let attached: Vec<Value> =
            attached.iter().map(|name| json!({"name": name, "devicePath": ""})).collect();
        let patch = json!({
            "metadata": {"uid": object::uid(node)}, "status": {"volumesAttached": attached},
        });
        let act = Act::new(NODES, Write::Strategic { name: object::key(node), part: "status", patch });
        let first = news.first().and_then(|volume| Some((volume, self.wanted.get(*volume)?.1.first()?)));
        Some(match first {
            Some((volume, pod)) => {
                let text = format!("AttachVolume.Attach succeeded for volume {volume:?} ");
                act.telling(Note::normal(PODS, pod, "SuccessfulAttachVolume", text))
            }
            None => act,
        })
    }

    /// Attachments that are to be made, and what is in the way of others.
    fn orders(&self) -> (Vec<Act>, Vec<Note>) {
        let (mut acts, mut notes) = (Vec::new(), Vec::new());
        let managed = self.node.is_some_and(|node| object::annotation(node, MANAGED) == Some("true"));
        for (name, (volume, pods)) in self.wanted.iter().filter(|_| managed) {
            let warning =
                |pod: &&Arc<Value>, text: String| Note::warning(PODS, pod, "FailedAttachVolume", text);
            if let Some(there) = self.there.get(name) {
                let problem = text(there, &["status", "attachError", "message"]);
                if !problem.is_empty() && there["status"]["attached"] != true {
                    let text = format!("AttachVolume.Attach failed for volume {name:?} : {problem}");
                    notes.extend(pods.iter().map(|pod| warning(pod, text.clone())));
                }
                continue;
            }
            let elsewhere: Vec<&str> = attachments(self.world, |other| volume_of_attachment(other) == *name)
                .map(|other| node_of(other))
                .collect();
            if !volume.is_shared() && !elsewhere.is_empty() {
                notes.extend(pods.iter().map(|pod| warning(pod, self.conflict(volume, pod, &elsewhere))));
                continue;
            }
            let attachment = json!({
                "apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment",
                "metadata": {"name": volume.attachment(self.name)},
                "spec": {
                    "attacher": volume.driver, "nodeName": self.name, "source": {"persistentVolumeName": name},
                },
            });
            acts.push(Act::create(ATTACHMENTS, attachment));
        }
        (acts, notes)
    }

    /// Why a volume that only one node may have cannot come, without the names of other namespaces' pods.
    fn conflict(&self, volume: &Attachable<'_>, pod: &Value, nodes: &[&str]) -> String {
        let name = object::name(volume.volume);
        let users = users(self.world, volume.volume);
        let others: Vec<&Arc<Value>> =
            users.into_iter().filter(|other| nodes.contains(&pods::node(other))).collect();
        let (near, far): (Vec<&Arc<Value>>, Vec<&Arc<Value>>) =
            others.into_iter().partition(|other| object::namespace(other) == object::namespace(pod));
        let names: Vec<&str> = near.iter().map(|pod| object::name(pod)).collect();
        let why = match (names.as_slice(), far.len()) {
            ([], 0) => "Volume is already exclusively attached to one node and can't be attached to another"
                .to_owned(),
            ([], far) => format!("Volume is already used by {far} pod(s) in different namespaces"),
            (near, 0) => format!("Volume is already used by pod(s) {}", near.join(", ")),
            (near, far) => {
                let near = near.join(", ");
                format!("Volume is already used by pod(s) {near} and {far} pod(s) in different namespaces")
            }
        };
        format!("Multi-Attach error for volume {name:?} {why}")
    }
}

/// For tests: what a node reports.
#[cfg(test)]
fn reported(node: &Value) -> Vec<String> {
    let all = list(node, &["status", "volumesAttached"]);
    all.iter().map(|one| text(one, &["name"]).to_owned()).collect()
}
