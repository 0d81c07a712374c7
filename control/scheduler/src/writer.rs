//! What is written: bindings, what pods are told, deletions of victims, claims and volumes.
//!
//! Owns: each write with its retries, as a task that ends with an outcome. Never: decides.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use apiclient::objects::{Api, Write};
use apiclient::{Failure, Pace, Patch};
use apiclient_core::names::{Name, ObjectName};
use apiclient_core::time;
use control_scheduler_core::pod::Pod;
use control_scheduler_core::state::{Bind, Failed, Room};
use control_scheduler_core::volumes::Plan;
use serde_json::{Value, json};

use crate::feeds::{CLAIMS, PODS, VOLUMES};

/// A write that may succeed later is tried for so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at claims that are being bound.
const LOOK: Duration = Duration::from_millis(500);

/// How a binding ended.
#[derive(Debug)]
pub enum Bound {
    Done,
    /// It is bound, or gone, without us: the feed says more.
    Otherwise,
    Failed(String),
}

#[derive(Clone)]
pub struct Writer {
    api: Arc<dyn Api>,
}

impl Writer {
    pub fn new(api: Arc<dyn Api>) -> Self {
        Self { api }
    }

    /// Binds a pod once, even where an answer is lost. `slow` is called when the server asks for patience.
    pub async fn bind(&self, bind: &Bind, slow: impl Fn()) -> Bound {
        let (name, uid) = (&bind.pod.name, &bind.pod.uid);
        let write = Write::Create {
            path: PODS.object_path(&name.namespace, &name.name, "binding"),
            object: json!({
                "apiVersion": "v1", "kind": "Binding",
                "metadata": {"name": *name.name, "namespace": *name.namespace, "uid": **uid},
                "target": {"apiVersion": "v1", "kind": "Node", "name": *bind.node},
            }),
        };
        let (began, mut pace) = (Instant::now(), Pace::default());
        loop {
            let failure = match self.api.write(&write).await {
                Ok(_) => return Bound::Done,
                Err(failure) => failure,
            };
            if failure.code() == 404 {
                return Bound::Otherwise;
            }
            if failure.code() == 409 || matches!(failure, Failure::Away(_)) {
                // Perhaps an attempt before this one got there.
                match self.where_is(&bind.pod).await {
                    Some(Where::On(node)) if node == *bind.node => return Bound::Done,
                    Some(Where::On(_) | Where::Gone) => return Bound::Otherwise,
                    Some(Where::Nowhere) | None => {}
                }
            }
            if !failure.is_passing() || began.elapsed() > PATIENCE {
                return Bound::Failed(failure.to_string());
            }
            slow();
            tokio::time::sleep(pace.wait(failure.wish())).await;
        }
    }

    async fn where_is(&self, pod: &Pod) -> Option<Where> {
        let path = PODS.object_path(&pod.name.namespace, &pod.name.name, "");
        match self.api.read(&path).await {
            Ok(object) if object["metadata"]["uid"].as_str() != Some(&*pod.uid) => Some(Where::Gone),
            Ok(object) => Some(match object["spec"]["nodeName"].as_str() {
                Some(node) if !node.is_empty() => Where::On(node.to_owned()),
                _ => Where::Nowhere,
            }),
            Err(failure) if failure.code() == 404 => Some(Where::Gone),
            Err(_) => None,
        }
    }

    /// Writes what a pod's volumes need, and waits until they are bound.
    ///
    /// # Errors
    /// Why they are not, for the pod's event.
    pub async fn volumes(&self, plan: &Plan, node: &Name, limit: Duration) -> Result<(), String> {
        for (volume, claim) in &plan.bindings {
            let path = CLAIMS.object_path(&claim.namespace, &claim.name, "");
            let object = self.api.read(&path).await.map_err(|failure| failure.to_string())?;
            let (uid, version) = (&object["metadata"]["uid"], &object["metadata"]["resourceVersion"]);
            // Somebody may have given it to another claim meanwhile, or have reserved it for this one.
            let target = VOLUMES.object_path("", volume, "");
            let found = self.api.read(&target).await.map_err(|failure| failure.to_string())?;
            let owner = &found["spec"]["claimRef"];
            let own = owner["namespace"] == *claim.namespace && owner["name"] == *claim.name;
            if !owner.is_null() && (!own || !owner["uid"].is_null() && owner["uid"] != *uid) {
                return Err(format!("binding volumes: volume {volume:?} is not free any more"));
            }
            let mut metadata = json!({"resourceVersion": found["metadata"]["resourceVersion"]});
            if !own {
                metadata["annotations"] = json!({"pv.kubernetes.io/bound-by-controller": "yes"});
            }
            self.patch(
                target,
                json!({
                    "metadata": metadata,
                    "spec": {"claimRef": {"kind": "PersistentVolumeClaim", "apiVersion": "v1",
                        "namespace": *claim.namespace, "name": *claim.name, "uid": uid,
                        "resourceVersion": version}},
                }),
            )
            .await?;
        }
        for claim in &plan.provisions {
            let annotations = json!({"volume.kubernetes.io/selected-node": **node});
            let path = CLAIMS.object_path(&claim.namespace, &claim.name, "");
            self.patch(path, json!({"metadata": {"annotations": annotations}})).await?;
        }
        let claims = plan.bindings.iter().map(|(_, claim)| (claim, false));
        let claims: Vec<_> = claims.chain(plan.provisions.iter().map(|claim| (claim, true))).collect();
        let all = async {
            for (claim, made) in claims {
                while !self.is_bound(claim, made, node).await? {
                    tokio::time::sleep(LOOK).await;
                }
            }
            Ok(())
        };
        match tokio::time::timeout(limit, all).await {
            Ok(outcome) => outcome,
            Err(_) => Err("binding volumes: context deadline exceeded".to_owned()),
        }
    }

    async fn is_bound(&self, claim: &ObjectName, made: bool, node: &Name) -> Result<bool, String> {
        let object = match self.api.read(&CLAIMS.object_path(&claim.namespace, &claim.name, "")).await {
            Ok(object) => object,
            Err(failure) if failure.is_passing() => return Ok(false),
            Err(failure) => return Err(format!("binding volumes: failed to check claim {claim}: {failure}")),
        };
        let annotations = &object["metadata"]["annotations"];
        if made && annotations["volume.kubernetes.io/selected-node"].as_str() != Some(&**node) {
            // The provisioner gives it back where it could make none.
            return Err(format!("binding volumes: provisioning failed for PVC {:?}", &*claim.name));
        }
        let volume = object["spec"]["volumeName"].as_str().unwrap_or_default();
        Ok(!volume.is_empty() && !annotations["pv.kubernetes.io/bind-completed"].is_null())
    }

    async fn patch(&self, path: String, change: Value) -> Result<(), String> {
        let write = Write::Patch { path, patch: Patch::Merge(change) };
        self.patiently(&write).await.map_err(|failure| format!("binding volumes: {failure}"))
    }

    /// Until it is done or refused for good.
    async fn patiently(&self, write: &Write) -> Result<(), Failure> {
        let (began, mut pace) = (Instant::now(), Pace::default());
        loop {
            let failure = match self.api.write(write).await {
                Ok(_) => return Ok(()),
                Err(failure) => failure,
            };
            if !failure.is_passing() || began.elapsed() > PATIENCE {
                return Err(failure);
            }
            tokio::time::sleep(pace.wait(failure.wish())).await;
        }
    }

    /// Writes into a pod why it was not scheduled, and the node where room is made for it.
    pub async fn tell(&self, pod: &Pod, reason: &str, message: &str, nominated: Option<&Name>) {
        let mut status = json!({});
        if pod.verdict.as_ref().is_none_or(|(known, said)| known != reason || said != message) {
            status["conditions"] = json!([{"type": "PodScheduled", "status": "False", "reason": reason,
                "message": message, "observedGeneration": pod.generation, "lastProbeTime": null,
                "lastTransitionTime": time::seconds(SystemTime::now())}]);
        }
        if let Some(node) = nominated.filter(|node| pod.nominated.as_deref().unwrap_or_default() != &***node)
        {
            status["nominatedNodeName"] = if node.is_empty() { Value::Null } else { json!(**node) };
        }
        if status.as_object().is_some_and(serde_json::Map::is_empty) {
            return;
        }
        if let Err(failure) = self.patch_status(pod, status).await
            && failure.code() != 404
        {
            tracing::warn!(pod = %pod.name, %failure, "what became of a pod could not be written into it");
        }
    }

    async fn patch_status(&self, pod: &Pod, status: Value) -> Result<(), Failure> {
        let path = PODS.object_path(&pod.name.namespace, &pod.name.name, "status");
        let patch = json!({"metadata": {"uid": *pod.uid}, "status": status});
        self.patiently(&Write::Patch { path, patch: Patch::Strategic(patch) }).await
    }

    /// Deletes the victims; gives those that are still there.
    pub async fn make_room(
        &self,
        failed: &Failed,
        room: &Room,
        scheduler: &str,
        told: impl Fn(&Pod),
    ) -> Vec<Name> {
        let mut left = Vec::new();
        for other in &failed.displaced {
            self.tell_nothing(other).await;
        }
        for victim in &room.victims {
            match self.delete(victim, scheduler).await {
                Ok(()) => told(victim),
                Err(failure) if failure.code() == 404 => {}
                Err(failure) => {
                    tracing::warn!(victim = %victim.name, pod = %failed.pod.name, %failure, "a pod could not be deleted to make room");
                    left.push(victim.uid.clone());
                }
            }
        }
        left
    }

    async fn tell_nothing(&self, pod: &Pod) {
        if let Err(failure) = self.patch_status(pod, json!({"nominatedNodeName": null})).await {
            tracing::debug!(pod = %pod.name, %failure, "a pod still names a node that another one gets");
        }
    }

    async fn delete(&self, victim: &Pod, scheduler: &str) -> Result<(), Failure> {
        let message = format!("{scheduler}: preempting to accommodate a higher priority pod");
        let condition = json!({"type": "DisruptionTarget", "status": "True",
            "reason": "PreemptionByScheduler", "message": message, "observedGeneration": victim.generation,
            "lastTransitionTime": time::seconds(SystemTime::now())});
        self.patch_status(victim, json!({"conditions": [condition]})).await?;
        let path = PODS.object_path(&victim.name.namespace, &victim.name.name, "");
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions",
            "preconditions": {"uid": *victim.uid}});
        self.patiently(&Write::Delete { path, options }).await
    }
}

enum Where {
    On(String),
    Nowhere,
    Gone,
}
