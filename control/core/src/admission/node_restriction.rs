//! NodeRestriction: a node writes of itself and of its pods, and of nobody else.

mod labels;
mod references;

use apiclient_core::wire::Status;
use serde_json::Value;

use self::labels::forbidden_labels;
use self::references::reference;
use super::certificates;
use super::pod::{MIRROR, is_mirror};
use super::{Admission, AdmissionRequest, Operation, World};
use crate::access::{Attributes, User, quoted};
use crate::edit::{list, text};
use crate::refusal;

#[derive(Debug)]
pub struct NodeRestriction;

impl Admission for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    fn mutate(&self, request: &mut AdmissionRequest<'_>, world: &World<'_>) -> Result<(), Status> {
        if !request.user.name.starts_with("system:node:") || !request.user.is_in(User::NODES) {
            return Ok(());
        }
        let Some(node) = request.user.node() else {
            let why = format!("could not determine node from user {}", quoted(&request.user.name));
            return Err(request.forbidden(&why));
        };
        let asked = Asked { node, request, world };
        match (request.group, request.resource) {
            ("", "pods") => asked.pod(),
            ("", "nodes") => asked.node(),
            ("", "persistentvolumeclaims") if request.subresource == "status" => asked.claim_status(),
            ("", "persistentvolumeclaims") => asked.no("may only update PVC status"),
            ("", "serviceaccounts") => asked.token(),
            ("coordination.k8s.io", "leases") => asked.lease(),
            ("storage.k8s.io", "csinodes") if asked.new_name() == node => Ok(()),
            ("storage.k8s.io", "csinodes") => {
                asked.no("can only access CSINode with the same name as the requesting node")
            }
            ("resource.k8s.io", "resourceslices") => asked.resource_slice(),
            (certificates::GROUP, certificates::REQUESTS) => asked.certificate(),
            (certificates::GROUP, "podcertificaterequests") => {
                asked.no("PodCertificateRequest feature gate is disabled")
            }
            _ => Ok(()),
        }
    }
}

/// A write of a node.
struct Asked<'a> {
    node: &'a str,
    request: &'a AdmissionRequest<'a>,
    world: &'a World<'a>,
}

type Answer = Result<(), Status>;

impl Asked<'_> {
    fn no(&self, why: &str) -> Answer {
        Err(self.request.forbidden(why))
    }

    /// `node "n1" ...`
    fn may_not(&self, what: &str) -> Answer {
        self.no(&format!("node {} {what}", quoted(self.node)))
    }

    fn operation(&self) -> &'static str {
        match self.request.operation {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }

    /// A creation says its name in the object only.
    fn new_name(&self) -> &str {
        if self.request.is_create() {
            text(self.request.object, &["metadata", "name"])
        } else {
            self.request.name
        }
    }

    fn pod(&self) -> Answer {
        match (self.request.subresource, self.request.operation) {
            ("", Operation::Create) => self.mirror_pod(),
            ("", Operation::Delete) => self.own_pod("can only delete pods with spec.nodeName set to itself"),
            ("", _) => self.no(&format!(
                "unexpected operation {}, node {} can only create and delete mirror pods",
                quoted(self.operation()),
                quoted(self.node)
            )),
            ("status", Operation::Update) => self.pod_status(),
            ("status", _) => self.no(&format!("unexpected operation {}", quoted(self.operation()))),
            ("eviction", Operation::Create) => {
                let pod = self.stored_pod()?;
                if text(&pod, &["spec", "nodeName"]) == self.node {
                    return Ok(());
                }
                self.no(&format!("node {} can only evict pods with spec.nodeName set to itself", self.node))
            }
            ("eviction", _) => self.no(&format!("unexpected operation {}", self.operation())),
            (other, _) => self.no(&format!(
                "unexpected pod subresource {}, only 'status' and 'eviction' are allowed",
                quoted(other)
            )),
        }
    }

    fn stored_pod(&self) -> Result<std::sync::Arc<Value>, Status> {
        let name = match self.request.name {
            "" => text(self.request.object, &["metadata", "name"]),
            name => name,
        };
        let found = self.world.objects.get("pods", self.request.namespace, name);
        found.ok_or_else(|| refusal::missing("", "pods", name))
    }

    fn own_pod(&self, otherwise: &str) -> Answer {
        let pod = self.stored_pod()?;
        if text(&pod, &["spec", "nodeName"]) == self.node { Ok(()) } else { self.may_not(otherwise) }
    }

    fn mirror_pod(&self) -> Answer {
        let pod = &*self.request.object;
        if !is_mirror(pod) {
            return self.no(&format!(
                "pod does not have {} annotation, node {} can only create mirror pods",
                quoted(MIRROR),
                quoted(self.node)
            ));
        }
        if text(pod, &["spec", "nodeName"]) != self.node {
            return self.may_not("can only create pods with spec.nodeName set to itself");
        }
        let owner = match list(pod, &["metadata", "ownerReferences"]) {
            [owner] => owner,
            [] => return self.may_not("can only create pods with an owner reference set to itself"),
            _ => return self.may_not("can only create pods with a single owner reference set to itself"),
        };
        let [version, kind, name, uid] =
            ["apiVersion", "kind", "name", "uid"].map(|field| text(owner, &[field]));
        if (version, kind, name) != ("v1", "Node", self.node) {
            return self.may_not("can only create pods with an owner reference set to itself");
        }
        if owner["controller"] != true {
            return self.may_not("can only create pods with a controller owner reference set to itself");
        }
        if owner["blockOwnerDeletion"] == true {
            return self.may_not("must not set blockOwnerDeletion on an owner reference");
        }
        let Some(stored) = self.world.objects.get("nodes", "", self.node) else {
            return Err(refusal::missing("", "nodes", self.node));
        };
        let have = text(&stored, &["metadata", "uid"]);
        if uid != have {
            return self.no(&format!("node {} UID mismatch: expected {uid} got {have}", self.node));
        }
        match reference(pod) {
            Ok(None) => Ok(()),
            Ok(Some(what)) => self.may_not(&format!("can not create pods that reference {what}")),
            Err(why) => self.no(&format!("error checking mirror pod for API references: {why}")),
        }
    }

    fn pod_status(&self) -> Answer {
        let (Some(old), new) = (self.request.old, &*self.request.object) else { return Ok(()) };
        if text(old, &["spec", "nodeName"]) != self.node {
            return self.may_not("can only update pod status for pods with spec.nodeName set to itself");
        }
        let same = |path: &[&str]| crate::edit::at(old, path) == crate::edit::at(new, path);
        if labels(old) != labels(new) {
            return self.may_not("cannot update labels through pod status");
        }
        if !same(&["status", "resourceClaimStatuses"]) {
            return self.may_not("cannot update resource claim statues");
        }
        if !same(&["status", "extendedResourceClaimStatus"]) {
            return self.may_not("cannot update extended resource claim status");
        }
        Ok(())
    }

    fn claim_status(&self) -> Answer {
        let (Operation::Update, Some(old)) = (self.request.operation, self.request.old) else {
            return self.no(&format!("unexpected operation {}", quoted(self.operation())));
        };
        let bare = |claim: &Value| {
            let mut claim = claim.clone();
            if let Some(metadata) = crate::edit::existing(&mut claim, "metadata") {
                ["resourceVersion", "managedFields"]
                    .iter()
                    .for_each(|field| crate::edit::remove(metadata, field));
            }
            if let Some(status) = crate::edit::existing(&mut claim, "status") {
                for field in ["capacity", "conditions", "allocatedResourceStatuses", "allocatedResources"] {
                    crate::edit::remove(status, field);
                }
            }
            claim
        };
        if bare(old) == bare(self.request.object) {
            return Ok(());
        }
        self.may_not("is not allowed to update fields other than status.quantity and status.conditions")
    }

    fn node(&self) -> Answer {
        let new = &*self.request.object;
        let name = if self.request.name.is_empty() { self.new_name() } else { self.request.name };
        if name != self.node {
            return self.may_not(&format!("is not allowed to modify node {}", quoted(name)));
        }
        if self.request.is_create() {
            if new["spec"]["configSource"].is_object() {
                return self.may_not("is not allowed to create pods with a non-nil configSource");
            }
            let forbidden = forbidden_labels(new, &Value::Null);
            if !forbidden.is_empty() {
                return self.may_not(&format!(
                    "is not allowed to set the following labels: {}",
                    forbidden.join(", ")
                ));
            }
        }
        if let (true, Some(old)) = (self.request.is_update(), self.request.old) {
            let differs = |path: &[&str]| {
                let [new, old] = [new, old].map(|node| crate::edit::at(node, path));
                let none = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
                new != old && !(none(new) && none(old))
            };
            let source = ["spec", "configSource"];
            if new["spec"]["configSource"].is_object() && differs(&source) {
                return self.may_not("is not allowed to update configSource to a new non-nil configSource");
            }
            if differs(&["spec", "taints"]) {
                return self.may_not("is not allowed to modify taints");
            }
            if differs(&["metadata", "ownerReferences"]) {
                return self.may_not("is not allowed to modify ownerReferences");
            }
            let forbidden = forbidden_labels(new, old);
            if !forbidden.is_empty() {
                return self.no(&format!("is not allowed to modify labels: {}", forbidden.join(", ")));
            }
        }
        Ok(())
    }

    fn token(&self) -> Answer {
        if !self.request.is_create() || self.request.subresource != "token" {
            return Ok(());
        }
        let spec = &self.request.object["spec"];
        let bound = &spec["boundObjectRef"];
        let [version, kind, name, uid] =
            ["apiVersion", "kind", "name", "uid"].map(|field| text(bound, &[field]));
        if (version, kind) != ("v1", "Pod") || name.is_empty() {
            return self.no("node requested token not bound to a pod");
        }
        if uid.is_empty() {
            return self.no("node requested token with a pod binding without a uid");
        }
        let Some(pod) = self.world.objects.get("pods", self.request.namespace, name) else {
            return Err(refusal::missing("", "pods", name));
        };
        if text(&pod, &["metadata", "uid"]) != uid {
            return self.no(&format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
            ));
        }
        if text(&pod, &["spec", "nodeName"]) != self.node {
            return self.no("node requested token bound to a pod scheduled on a different node");
        }
        let audience = match list(spec, &["audiences"]) {
            [] => "",
            [one] => one.as_str().unwrap_or_default(),
            _ => return self.no("node may only request 0 or 1 audiences"),
        };
        if self.pod_needs(&pod, audience) || self.may_request(audience) {
            return Ok(());
        }
        let (audience, user) = (quoted(audience), &self.request.user.name);
        self.no(&format!(
            "audience {audience} not found in pod spec volume, {user} is not authorized to request tokens for this audience"
        ))
    }

    /// A volume of the pod asks for a token with this audience, by itself or through its CSI driver.
    fn pod_needs(&self, pod: &Value, audience: &str) -> bool {
        let (namespace, name) = (self.request.namespace, text(pod, &["metadata", "name"]));
        list(pod, &["spec", "volumes"]).iter().any(|volume| {
            let tokens =
                list(volume, &["projected", "sources"]).iter().map(|source| &source["serviceAccountToken"]);
            if tokens.into_iter().any(|token| token.is_object() && text(token, &["audience"]) == audience) {
                return true;
            }
            let claim = match text(volume, &["persistentVolumeClaim", "claimName"]) {
                "" if volume["ephemeral"].is_object() => format!("{name}-{}", text(volume, &["name"])),
                claim => claim.to_owned(),
            };
            let inline = text(volume, &["csi", "driver"]).to_owned();
            let driver = if claim.is_empty() { inline } else { self.driver_of(namespace, &claim) };
            let found = self.world.objects.get("csidrivers.storage.k8s.io", "", &driver);
            found.is_some_and(|driver| {
                list(&driver, &["spec", "tokenRequests"])
                    .iter()
                    .any(|one| text(one, &["audience"]) == audience)
            })
        })
    }

    fn driver_of(&self, namespace: &str, claim: &str) -> String {
        let claim = self.world.objects.get("persistentvolumeclaims", namespace, claim);
        let volume = claim.and_then(|claim| {
            self.world.objects.get("persistentvolumes", "", text(&claim, &["spec", "volumeName"]))
        });
        volume.map_or_else(String::new, |volume| text(&volume, &["spec", "csi", "driver"]).to_owned())
    }

    fn may_request(&self, audience: &str) -> bool {
        let attributes = Attributes {
            verb: "request-serviceaccounts-token-audience".to_owned(),
            version: "v1".to_owned(),
            resource: audience.to_owned(),
            namespace: self.request.namespace.to_owned(),
            name: self.request.name.to_owned(),
            ..Attributes::default()
        };
        self.world.authorizer.authorize(&attributes, self.request.user).is_allowed()
    }

    fn lease(&self) -> Answer {
        if self.request.namespace != "kube-node-lease" {
            return self.no("can only access leases in the \"kube-node-lease\" system namespace");
        }
        if self.new_name() == self.node {
            return Ok(());
        }
        self.no("can only access node lease with the same name as the requesting node")
    }

    fn resource_slice(&self) -> Answer {
        let (object, verb) = match (self.request.operation, self.request.old) {
            (Operation::Create, _) => (&*self.request.object, "create"),
            (Operation::Delete, Some(old)) => (old, "delete"),
            _ => return Ok(()),
        };
        if text(object, &["spec", "nodeName"]) == self.node {
            return Ok(());
        }
        self.no(&format!("can only {verb} ResourceSlice with the same NodeName as the requesting node"))
    }

    fn certificate(&self) -> Answer {
        let spec = &self.request.object["spec"];
        let signer = text(spec, &["signerName"]);
        let own = ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"]
            .contains(&signer);
        if !self.request.is_create() || !own {
            return Ok(());
        }
        match certificates::subject(&spec["request"]) {
            Err(why) => self.no(&format!("unable to parse csr: {why}")),
            Ok((name, _)) if name == format!("system:node:{}", self.node) => Ok(()),
            Ok(_) => self.no(&format!("can only create a node CSR with CN=system:node:{}", self.node)),
        }
    }
}

fn labels(object: &Value) -> Vec<(&String, &Value)> {
    object["metadata"]["labels"].as_object().into_iter().flatten().collect()
}

#[cfg(test)]
mod tests;
