//! What the status of a pod says of its containers: where a node goes on that was away.

use std::net::IpAddr;
use std::time::SystemTime;

use apiclient_core::time;
use serde_json::Value;

use super::runtime::{Container, Run, Runtime, State};

/// The pod as a node wrote it; `None` where no node has seen it yet.
pub fn resume(pod: &Value) -> Option<Runtime> {
    let status = &pod["status"];
    let start = stamp(&status["startTime"])?;
    let list = |field: &str| status[field].as_array().into_iter().flatten();
    let ips = list("podIPs").filter_map(|ip| ip["ip"].as_str()?.parse::<IpAddr>().ok());
    let mut runtime = Runtime::new(start, ips.collect());
    runtime.initialized =
        list("conditions").any(|have| have["type"] == "Initialized" && have["status"] == "True");
    for status in list("initContainerStatuses").chain(list("containerStatuses")) {
        let name = status["name"].as_str().unwrap_or_default().to_owned();
        runtime.containers.insert(name, container(status));
    }
    Some(runtime)
}

fn container(status: &Value) -> Container {
    let restarts = status["restartCount"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    let (state, last) = (&status["state"], run(&status["lastState"]));
    let running = stamp(&state["running"]["startedAt"]);
    let (state, last) = match (running, run(state), last) {
        (Some(since), ..) => (State::Running(since), last),
        (None, Some(ended), _) => (State::Ended(ended), last),
        // It waits for its next run. Which one was before the last is not known any more.
        (None, None, Some(last)) => (State::Ended(last), None),
        (None, None, None) => (State::Waiting, None),
    };
    Container { state, restarts, last, fails: restarts }
}

fn run(state: &Value) -> Option<Run> {
    let ended = &state["terminated"];
    let code = i32::try_from(ended["exitCode"].as_i64()?).ok()?;
    Some(Run { since: stamp(&ended["startedAt"])?, until: stamp(&ended["finishedAt"])?, code })
}

fn stamp(value: &Value) -> Option<SystemTime> {
    time::parse(value.as_str()?)
}
