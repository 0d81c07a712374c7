//! A pod on a node, with a server that takes what the node writes.

use std::time::UNIX_EPOCH;

use super::super::*;
use crate::fake::Shape;

/// Where a test lets time go by.
pub struct World {
    pub pod: Value,
    pub host: Host,
    pub runtime: Option<Runtime>,
    pub now: SystemTime,
    pub said: Vec<String>,
    pub gone: bool,
}

fn begin() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

pub fn host() -> Host {
    let shape = Shape { cpu: "4".into(), memory: "8Gi".into(), pods: 110, zones: 3, labels: Vec::new() };
    Host::new("node", 0, &shape)
}

impl World {
    pub fn new(annotations: Value, spec: Value) -> Self {
        let pod = json!({
            "metadata": { "name": "a", "namespace": "n", "uid": "u", "generation": 1, "annotations": annotations },
            "spec": spec,
            "status": { "phase": "Pending", "qosClass": "BestEffort" },
        });
        Self { pod, host: host(), runtime: None, now: begin(), said: Vec::new(), gone: false }
    }

    /// One container named `c`.
    pub fn simple(annotations: Value) -> Self {
        Self::new(annotations, json!({ "containers": [{ "name": "c", "image": "i" }] }))
    }

    /// Lets `seconds` go by. What the node knows besides the object is lost on the way, where it is to be.
    pub fn live(&mut self, seconds: u64) -> &mut Self {
        let end = self.now + Duration::from_secs(seconds);
        for _ in 0..10_000 {
            if self.gone {
                return self;
            }
            let decision = decide(&self.pod, &mut self.host, &mut self.runtime, self.now);
            match (decision.act, decision.next) {
                (Some(act), _) => self.act(act),
                (None, Some(next)) if next <= end => {
                    assert!(next > self.now, "it looks again at once, for ever");
                    self.now = next;
                }
                _ => {
                    self.now = end;
                    return self;
                }
            }
        }
        panic!("no end: {:?}", self.said.iter().rev().take(5).collect::<Vec<_>>());
    }

    fn act(&mut self, act: Act) {
        let at = self.now.duration_since(begin()).expect("later").as_secs_f64();
        match act {
            Act::Delete(options) => {
                assert_eq!(options["preconditions"]["uid"], "u");
                assert_eq!(options["gracePeriodSeconds"], 0);
                self.said.push(format!("{at} deleted"));
                self.gone = true;
            }
            Act::Status(patch) => {
                assert_eq!(patch["metadata"]["uid"], "u");
                merge(&mut self.pod["status"], &patch["status"]);
                let line = line(&self.pod["status"]);
                self.said.push(format!("{at} {line}"));
            }
        }
    }

    pub fn delete(&mut self, grace: u64) -> &mut Self {
        self.pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T01:00:00Z");
        self.pod["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        self
    }

    pub fn said(&self) -> Vec<&str> {
        self.said.iter().map(String::as_str).collect()
    }

    pub fn condition(&self, kind: &str) -> &Value {
        let list = self.pod["status"]["conditions"].as_array().expect("conditions");
        list.iter().find(|condition| condition["type"] == kind).expect("that condition")
    }
}

/// A strategic merge patch of a status, as far as nodes write it.
fn merge(status: &mut Value, patch: &Value) {
    for (field, value) in patch.as_object().expect("an object") {
        match field.as_str() {
            "conditions" => {
                let mut list = status["conditions"].as_array().cloned().unwrap_or_default();
                for new in value.as_array().expect("a list") {
                    let mut new = new.clone();
                    new.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
                    list.retain(|have| have["type"] != new["type"]);
                    list.push(new);
                }
                let order: Vec<&Value> =
                    patch["$setElementOrder/conditions"].as_array().expect("an order").iter().collect();
                list.sort_by_key(|have| {
                    order.iter().position(|kind| kind["type"] == have["type"]).expect("in the order")
                });
                status["conditions"] = json!(list);
            }
            "$setElementOrder/conditions" => {}
            _ => status[field] = value.clone(),
        }
    }
}

/// `Running ready c:running`.
fn line(status: &Value) -> String {
    let conditions = status["conditions"].as_array().expect("conditions");
    let ready =
        conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    let mut line =
        format!("{} {}", status["phase"].as_str().expect("a phase"), if ready { "ready" } else { "-" });
    for field in ["initContainerStatuses", "containerStatuses"] {
        for container in status[field].as_array().into_iter().flatten() {
            let (state, body) = container["state"].as_object().expect("a state").iter().next().expect("one");
            let word = match state.as_str() {
                "waiting" => body["reason"].as_str().expect("a reason").to_owned(),
                "terminated" => body["exitCode"].to_string(),
                state => state.to_owned(),
            };
            line += &format!(" {}:{word}", container["name"].as_str().expect("a name"));
            if container["restartCount"] != 0 {
                line += &format!("({})", container["restartCount"]);
            }
        }
    }
    line
}
