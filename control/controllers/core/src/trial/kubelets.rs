//! What kubelets do.

use apiclient_core::time;
use control_core::edit::{self, at};
use serde_json::{Value, json};

use super::Trial;
use crate::{kinds, object, pods};

fn image(pod: &Value) -> &str {
    edit::list(pod, &["spec", "containers"]).first().map_or("", |container| edit::text(container, &["image"]))
}

/// The node that a pod asks for by its name, or any.
fn place(pod: &Value) -> &str {
    let term =
        at(pod, &["spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"]);
    term["nodeSelectorTerms"][0]["matchFields"][0]["values"][0].as_str().unwrap_or("n1")
}

/// A pod's status some time after it came to a node.
fn ran(image: &str, now: &str) -> Value {
    let (phase, ready) = match image {
        "succeeds" => ("Succeeded", "False"),
        "fails" => ("Failed", "False"),
        _ => ("Running", "True"),
    };
    let code = i32::from(image == "fails");
    let state = match phase {
        "Running" => json!({"running": {"startedAt": now}}),
        _ => json!({"terminated": {"exitCode": code, "startedAt": now, "finishedAt": now}}),
    };
    json!({
        "phase": phase, "startTime": now,
        "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": now}],
        "containerStatuses": [{"name": "c", "state": state}],
    })
}

impl Trial {
    /// What kubelets do: pods that are going end and go, and others run and are ready; but by their images some `never` run, others
    /// end by themselves (`succeeds`, `fails`), and one that `stays` does not end as long as a finalizer holds it. Says whether something changed.
    pub fn kubelets(&mut self) -> bool {
        let mut changed = false;
        for pod in self.all(kinds::PODS) {
            let name = object::key(&pod);
            if object::is_deleting(&pod) && edit::list(&pod, &["metadata", "finalizers"]).is_empty() {
                self.server.remove(kinds::PODS, &name);
            } else if object::is_deleting(&pod) && !pods::has_ended(&pod) && image(&pod) != "stays" {
                let mut ended = Value::clone(&pod);
                ended["status"] = ran("fails", &time::seconds(self.now()));
                self.server.put(kinds::PODS, ended);
            } else if pods::phase(&pod) == "Pending" && image(&pod) != "never" && !object::is_deleting(&pod) {
                let mut running = Value::clone(&pod);
                edit::set(&mut running["spec"], "nodeName", place(&pod));
                running["status"] = ran(image(&pod), &time::seconds(self.now()));
                self.server.put(kinds::PODS, running);
            } else {
                continue;
            }
            changed = true;
        }
        changed
    }
}
