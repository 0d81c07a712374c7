//! The statuses of a pod's containers.

use apiclient_core::time;
use goflags::duration;
use serde_json::{Map, Value, json};

use super::runtime::{Clock, Container, KILLED, Run, Runtime, State};
use super::spec::{ContainerSpec, PodSpec};

/// Of the init containers and of the others, each in the pod's order. `over`: nothing of the pod will run again.
pub fn statuses(
    pod: &PodSpec<'_>,
    runtime: &Runtime,
    over: bool,
    clock: &mut Clock,
) -> (Vec<Value>, Vec<Value>) {
    let mut of = |specs: &[ContainerSpec<'_>], init: bool| -> Vec<Value> {
        let unknown = Container::default();
        let status = |spec: &ContainerSpec<'_>| {
            let container = runtime.containers.get(spec.name).unwrap_or(&unknown);
            let waits = if init || runtime.initialized || pod.inits.is_empty() {
                "ContainerCreating"
            } else {
                "PodInitializing"
            };
            Status { pod, spec, container, stopping: over || runtime.stop.is_some(), over, waits }
                .render(clock)
        };
        specs.iter().map(status).collect()
    };
    (of(&pod.inits, true), of(&pod.mains, false))
}

struct Status<'a> {
    pod: &'a PodSpec<'a>,
    spec: &'a ContainerSpec<'a>,
    container: &'a Container,
    /// No container is started again.
    stopping: bool,
    over: bool,
    /// Why a container waits that has not started.
    waits: &'static str,
}

impl Status<'_> {
    fn render(&self, clock: &mut Clock) -> Value {
        let (spec, container) = (self.spec, self.container);
        let again = match container.state {
            State::Ended(run) if !self.stopping && spec.restart.again(run.code) => Some(run),
            _ => None,
        };
        let state = match (container.state, again) {
            (_, Some(run)) => self.crash_loop(run),
            (State::Running(since), _) => json!({ "running": { "startedAt": time::seconds(since) } }),
            (State::Ended(run), _) => json!({ "terminated": self.terminated(run, container.restarts) }),
            (State::Waiting, _) if self.over => json!({ "terminated": {
                "exitCode": KILLED, "reason": "ContainerStatusUnknown", "startedAt": null, "finishedAt": null,
                "message": "The container could not be located when the pod was terminated",
            } }),
            (State::Waiting, _) => json!({ "waiting": self.waiting() }),
        };
        let last = match (again, container.last) {
            (Some(run), _) => json!({ "terminated": self.terminated(run, container.restarts) }),
            (None, Some(run)) => {
                json!({ "terminated": self.terminated(run, container.restarts.saturating_sub(1)) })
            }
            (None, None) => json!({}),
        };
        let completed = matches!(container.state, State::Ended(run) if run.code == 0 && again.is_none());
        let init = self.waits_for_nobody();
        let mut status = json!({
            "name": spec.name,
            "state": state,
            "lastState": last,
            "ready": if init { completed } else { container.ready(spec, clock) },
            "restartCount": container.restarts,
            "image": spec.image,
            "imageID": "",
            "started": container.started(spec, clock),
        });
        if container.state != State::Waiting {
            status["imageID"] = json!(spec.image);
            status["containerID"] = json!(self.id(container.restarts));
            self.resources(&mut status);
        }
        status
    }

    /// It is an init container that does its part once.
    fn waits_for_nobody(&self) -> bool {
        !self.spec.sidecar && self.pod.inits.iter().any(|init| init.name == self.spec.name)
    }

    fn waiting(&self) -> Value {
        let (reason, message) = match &self.spec.problem {
            Some(problem) => ("CreateContainerConfigError", problem.to_string()),
            None if !self.spec.pulls => (
                "ImagePullBackOff",
                format!("Back-off pulling image {:?}: ErrImagePull: not found", self.spec.image),
            ),
            None => (self.waits, String::new()),
        };
        match message.is_empty() {
            true => json!({ "reason": reason }),
            false => json!({ "reason": reason, "message": message }),
        }
    }

    fn crash_loop(&self, run: Run) -> Value {
        let pause = duration::format(self.container.pause(self.spec, run));
        let [namespace, name, uid] = ["namespace", "name", "uid"].map(|field| self.pod.text(field));
        json!({ "waiting": { "reason": "CrashLoopBackOff", "message": format!(
            "back-off {pause} restarting failed container={} pod={name}_{namespace}({uid})", self.spec.name
        ) } })
    }

    fn terminated(&self, run: Run, nth: u32) -> Value {
        json!({
            "exitCode": run.code,
            "reason": if run.code == 0 { "Completed" } else { "Error" },
            "startedAt": time::seconds(run.since),
            "finishedAt": time::seconds(run.until),
            "containerID": self.id(nth),
        })
    }

    /// Another one for each run.
    fn id(&self, nth: u32) -> String {
        format!("weft://{}-{}-{nth}", self.pod.text("uid"), self.spec.name)
    }

    /// What the container was given of what its spec asks for: all of it.
    fn resources(&self, status: &mut Value) {
        let resources = &self.spec.object["resources"];
        if resources["requests"].as_object().is_some_and(|requests| !requests.is_empty()) {
            status["allocatedResources"] = resources["requests"].clone();
        }
        let given = ["limits", "requests"].iter().filter_map(|field| {
            let amounts = resources[field].as_object().filter(|amounts| !amounts.is_empty())?;
            Some(((*field).to_owned(), Value::Object(amounts.clone())))
        });
        status["resources"] = Value::Object(given.collect());
        let mounts: Vec<Value> =
            self.spec.object["volumeMounts"].as_array().into_iter().flatten().map(mount).collect();
        if !mounts.is_empty() {
            status["volumeMounts"] = json!(mounts);
        }
    }
}

fn mount(mount: &Value) -> Value {
    let mut said = Map::new();
    for field in ["name", "mountPath"] {
        said.insert(field.to_owned(), mount[field].clone());
    }
    if mount["readOnly"] == true {
        said.insert("readOnly".to_owned(), json!(true));
        said.insert("recursiveReadOnly".to_owned(), json!("Disabled"));
    }
    Value::Object(said)
}
