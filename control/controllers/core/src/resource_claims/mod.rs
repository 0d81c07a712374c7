//! ResourceClaims of pods: made of templates, reserved for those who use them, and given back.
//!
//! Owns: which claims a pod has ([`PodClaims`]), and whom a claim is reserved for ([`Reservations`]). Never: allocates devices;
//! the scheduler does. Facts: kube-controller-manager 1.36, `pkg/controller/resourceclaim`.

mod reservations;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use apiclient_core::names::ObjectName;
use control_core::edit::{at, child, list, set, text};
use serde_json::{Value, json};

use crate::kinds::{PODS, RESOURCE_CLAIM_TEMPLATES, RESOURCE_CLAIMS};
use crate::{Act, Change, Context, Controller, Decision, Kind, Note, Stage, World, Write, object, pods};

pub use reservations::Reservations;

const NAME: &str = "resourceclaim-controller";
const ACCOUNT: &str = "resource-claim-controller";

/// Says which of its pod's claims a generated one is.
const POD_CLAIM: &str = "resource.kubernetes.io/pod-claim-name";

/// A claim has room for so many users.
const MOST_USERS: usize = 256;

/// Keys are pods.
#[derive(Debug)]
pub struct PodClaims;

/// It will not run, or not any more.
fn is_done(pod: &Value) -> bool {
    pods::has_ended(pod) || object::is_deleting(pod) && pods::node(pod).is_empty()
}

/// Names of the claims that a pod uses, as far as they are known.
fn names(pod: &Value) -> Vec<String> {
    let of = |claim| match recorded(pod, claim) {
        Recorded::Named(name) => Some(name.to_owned()),
        Recorded::Unneeded | Recorded::Nothing => None,
    };
    let extended = text(pod, &["status", "extendedResourceClaimStatus", "resourceClaimName"]);
    let extended = (!extended.is_empty()).then(|| extended.to_owned());
    list(pod, &["spec", "resourceClaims"]).iter().filter_map(of).chain(extended).collect()
}

/// What is written of a pod's claim.
enum Recorded<'a> {
    Named(&'a str),
    /// It was found that it needs none.
    Unneeded,
    Nothing,
}

fn recorded<'a>(pod: &'a Value, claim: &'a Value) -> Recorded<'a> {
    if let Some(name) = claim["resourceClaimName"].as_str() {
        return Recorded::Named(name);
    }
    let statuses = list(pod, &["status", "resourceClaimStatuses"]);
    match statuses.iter().find(|status| status["name"] == claim["name"]) {
        None => Recorded::Nothing,
        Some(status) => status["resourceClaimName"].as_str().map_or(Recorded::Unneeded, Recorded::Named),
    }
}

fn template_of(claim: &Value) -> Option<&str> {
    claim["resourceClaimTemplateName"].as_str()
}

impl Controller for PodClaims {
    fn name(&self) -> &'static str {
        NAME
    }

    fn account(&self) -> &'static str {
        ACCOUNT
    }

    fn follows(&self) -> &[Kind] {
        &[PODS, RESOURCE_CLAIMS, RESOURCE_CLAIM_TEMPLATES]
    }

    fn concerns(&self, world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        let namespace = object::namespace(change.object());
        let here = || world.within(PODS, namespace);
        match change.kind {
            PODS => {
                let new = change.new.iter().filter(|pod| !list(pod, &["spec", "resourceClaims"]).is_empty());
                keys.extend(new.map(|pod| object::key(pod)));
            }
            RESOURCE_CLAIMS => {
                let name = object::name(change.object());
                let using = here().filter(|pod| names(pod).iter().any(|used| used == name));
                keys.extend(using.map(|pod| object::key(pod)));
            }
            _ => {
                let name = object::name(change.object());
                let asks = |pod: &&Arc<Value>| {
                    list(pod, &["spec", "resourceClaims"])
                        .iter()
                        .any(|claim| template_of(claim) == Some(name))
                };
                keys.extend(here().filter(asks).map(|pod| object::key(pod)));
            }
        }
    }

    fn decide(&self, world: &World, key: &ObjectName, context: &Context) -> Decision {
        let pod = world.get(PODS, key).filter(|pod| !object::is_deleting(pod) && !pods::has_ended(pod));
        let Some(pod) = pod else { return Decision::nothing() };
        let mut made = Made::default();
        for claim in list(pod, &["spec", "resourceClaims"]) {
            made.look(world, pod, claim, context);
        }
        let mut decision =
            Decision { stages: made.notes.into_iter().map(Stage::Tell).collect(), again: None };
        decision = decision.all(made.acts);
        if !made.names.is_empty() {
            decision = decision.then(record(pod, &made.names));
        }
        decision.all(reservations(world, pod))
    }
}

/// What is missing of a pod's claims.
#[derive(Default)]
struct Made {
    acts: Vec<Act>,
    notes: Vec<Note>,
    /// By the names in the pod.
    names: Vec<(String, String)>,
}

impl Made {
    fn look(&mut self, world: &World, pod: &Arc<Value>, claim: &Value, context: &Context) {
        let Some(template) = template_of(claim) else { return };
        let namespace = object::namespace(pod);
        match recorded(pod, claim) {
            Recorded::Unneeded => return,
            Recorded::Named(name) => {
                let known = world.get(RESOURCE_CLAIMS, &ObjectName::new(namespace, name));
                if known.is_some_and(|known| object::controller_uid(known) == Some(object::uid(pod))) {
                    return;
                }
            }
            Recorded::Nothing => {}
        }
        let of = text(claim, &["name"]);
        // One that was made, and not recorded because this process ended in between.
        let mut own = world.managed(RESOURCE_CLAIMS, object::uid(pod));
        if let Some(found) = own.find(|found| object::annotation(found, POD_CLAIM) == Some(of)) {
            self.names.push((of.to_owned(), object::name(found).to_owned()));
            return;
        }
        let failed = |why: &str| {
            let text = format!("PodResourceClaim {of}: {why}");
            Note::warning(PODS, pod, "FailedResourceClaimCreation", text)
        };
        let Some(found) = world.get(RESOURCE_CLAIM_TEMPLATES, &ObjectName::new(namespace, template)) else {
            let why = format!(
                "resource claim template {template:?}: resourceclaimtemplate.resource.k8s.io {template:?} not found"
            );
            self.notes.push(failed(&why));
            return;
        };
        let name = context.generated(&base(object::name(pod), of), self.acts.len());
        let new = from_template(pod, found, of, &name);
        self.acts.push(Act::create(RESOURCE_CLAIMS, new).telling_refusals(failed("create ResourceClaim : ")));
        self.names.push((of.to_owned(), name));
    }
}

/// The beginning of a generated name: both parts are cut in proportion where they are too long together.
fn base(pod: &str, claim: &str) -> String {
    const MOST: usize = 57;
    let whole = format!("{pod}-{claim}-");
    if whole.len() <= MOST {
        return whole;
    }
    let cut = |part: &str| part[..part.floor_char_boundary(part.len() * MOST / whole.len())].to_owned();
    format!("{}-{}", cut(pod), cut(claim))
}

fn from_template(pod: &Value, template: &Value, of: &str, name: &str) -> Value {
    let mut owner = object::controller_reference(&PODS, pod);
    control_core::edit::remove(&mut owner, "blockOwnerDeletion");
    let mut metadata = json!({
        "namespace": object::namespace(pod), "name": name, "ownerReferences": [owner],
        "annotations": at(template, &["spec", "metadata", "annotations"]),
    });
    if let Some(annotations) = child(&mut metadata, "annotations") {
        set(annotations, POD_CLAIM, of);
    }
    let labels = at(template, &["spec", "metadata", "labels"]);
    if !labels.is_null() {
        set(&mut metadata, "labels", labels.clone());
    }
    json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": metadata,
        "spec": template["spec"]["spec"],
    })
}

/// Writes the names of a pod's claims into its status.
fn record(pod: &Value, names: &[(String, String)]) -> Act {
    let named = |name: &Value| names.iter().any(|(of, _)| name["name"] == **of);
    let before =
        list(pod, &["status", "resourceClaimStatuses"]).iter().filter(|status| !named(status)).cloned();
    let new = names.iter().map(|(of, name)| json!({"name": of, "resourceClaimName": name}));
    let statuses: Vec<Value> = before.chain(new).collect();
    let patch = json!({
        "metadata": {"uid": object::uid(pod)}, "status": {"resourceClaimStatuses": statuses},
    });
    Act::new(PODS, Write::Strategic { name: object::key(pod), part: "status", patch })
}

/// A pod that has a node without the scheduler's help has its claims reserved here.
fn reservations(world: &World, pod: &Value) -> Vec<Act> {
    if pods::node(pod).is_empty() {
        return Vec::new();
    }
    let reserve = |name: String| {
        let claim = world.get(RESOURCE_CLAIMS, &ObjectName::new(object::namespace(pod), name))?;
        let users = list(claim, &["status", "reservedFor"]);
        let has = users.iter().any(|user| text(user, &["uid"]) == object::uid(pod));
        if has || users.len() >= MOST_USERS || claim["status"]["allocation"].is_null() {
            return None;
        }
        let mut reserved = Value::clone(claim);
        let mut users = users.to_vec();
        users.push(json!({"resource": "pods", "name": object::name(pod), "uid": object::uid(pod)}));
        set(&mut reserved["status"], "reservedFor", users);
        Some(Act::status(RESOURCE_CLAIMS, reserved))
    };
    names(pod).into_iter().filter_map(reserve).collect()
}
