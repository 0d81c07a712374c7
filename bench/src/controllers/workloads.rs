//! The workloads: each from an empty etcd to the last thing that a watcher sees.

use std::thread;
use std::time::{Duration, Instant};

use lab::LabError;
use serde_json::Value;

use super::kubelet::Kubelet;
use super::metric::Metric;
use super::mode::{Pair, Workload};
use super::objects::{self, DEPLOYMENT, DEPLOYMENTS, JOBS, NAMESPACE, NAMESPACES, PODS, SERVICES, SLICES};
use super::stage::{Round, Stage, Values, until_last};
use super::whole;
use crate::servers::client::JSON;
use crate::servers::watcher::{METADATA, Watcher, present};

/// How often somebody at rest looks whether to stop.
const LOOK: Duration = Duration::from_millis(100);
/// Nobody takes away a node that nobody keeps alive.
const WITHOUT_NODES: &str = "--controllers=*,-node-lifecycle-controller";

impl Round<'_> {
    /// # Errors
    /// A program does not start, or does not get to the end.
    pub fn measure(&self) -> Result<Values, LabError> {
        if self.mode.workload == Workload::Control {
            return whole::at_rest(self);
        }
        let (stage, size) = (Stage::make(self)?, self.mode.size);
        match self.mode.workload {
            _ if self.mode.pair == Pair::Clients => by_clients(stage, size),
            Workload::Deployment => deployment(stage, size),
            Workload::RollingUpdate => rolling_update(stage, size),
            Workload::Namespace => namespace(stage, size),
            Workload::Services => services(stage, size),
            Workload::Jobs => jobs(stage, size),
            Workload::Idle | Workload::Control => self.idle(stage),
        }
    }

    fn idle(&self, mut stage: Stage<'_>) -> Result<Values, LabError> {
        stage.start_manager(&[])?;
        let manager = stage.manager()?;
        let used = self.rest(|| manager.cpu())?;
        Ok(Values::from([(Metric::Memory, manager.memory()?), (Metric::IdleCpu, used)]))
    }

    /// Does nothing for a while; gives the CPU that was used meanwhile, in 30 s.
    ///
    /// # Errors
    /// Those of `cpu`.
    pub fn rest(&self, cpu: impl Fn() -> Result<f64, LabError>) -> Result<f64, LabError> {
        let (begun, before) = (Instant::now(), cpu()?);
        let rest = Duration::from_secs(self.settings.rest.into());
        while begun.elapsed() < rest {
            if self.interrupt.asked() {
                return Err(LabError::Interrupted);
            }
            // This is the length of the rest, not a wait for luck.
            thread::sleep(LOOK.min(rest.saturating_sub(begun.elapsed())));
        }
        Ok((cpu()? - before) * 30.0 / begun.elapsed().as_secs_f64())
    }
}

fn nothing_else() -> Result<(), LabError> {
    Ok(())
}

/// Watches a list as a whole, by the metadata of its objects.
fn appear(stage: &Stage<'_>, what: &'static str, path: &str) -> Result<Watcher, LabError> {
    let path = format!("{path}?watch=1");
    Watcher::open(stage.side(), what, &path, METADATA, |event| present(event).map(str::to_owned))
}

/// The same as a Deployment makes, by clients.
fn by_clients(stage: Stage<'_>, count: u32) -> Result<Values, LabError> {
    let pods = appear(&stage, "pods of clients", PODS)?;
    let before = stage.used()?;
    let begun = Instant::now();
    stage.ask_all("POST", count, |_| (PODS.to_owned(), objects::pod()))?;
    let times = stage.wait(&pods, count, nothing_else)?;
    stage.costs(count, until_last(begun, &times), &before, count)
}

fn deployment(mut stage: Stage<'_>, count: u32) -> Result<Values, LabError> {
    stage.start_manager(&[])?;
    let pods = appear(&stage, "pods of a Deployment", PODS)?;
    let before = stage.used()?;
    let begun = Instant::now();
    stage.ask("POST", DEPLOYMENTS, &objects::deployment(DEPLOYMENT, count))?;
    let times = stage.wait(&pods, count, nothing_else)?;
    stage.costs(count, until_last(begun, &times), &before, 1)
}

fn rolling_update(mut stage: Stage<'_>, count: u32) -> Result<Values, LabError> {
    stage.start_manager(&[])?;
    let kubelet = Kubelet::start(stage.side())?;
    let path = format!("{DEPLOYMENTS}?watch=1&fieldSelector=metadata.name%3D{DEPLOYMENT}");
    let rolled_out = Watcher::open(stage.side(), "roll-outs", &path, JSON, move |event| {
        objects::rolled_out(event, count)
    })?;
    stage.ask("POST", DEPLOYMENTS, &objects::deployment(DEPLOYMENT, count))?;
    stage.wait(&rolled_out, 1, || kubelet.lives())?;
    stage.settle()?;
    let (before, asked) = (stage.used()?, kubelet.asked());
    let begun = Instant::now();
    stage.ask("PATCH", &format!("{DEPLOYMENTS}/{DEPLOYMENT}"), &objects::update())?;
    let times = stage.wait(&rolled_out, 2, || kubelet.lives())?;
    let time = until_last(begun, &times);
    stage.settle()?;
    stage.costs(count, time, &before, 1 + kubelet.asked() - asked)
}

fn namespace(mut stage: Stage<'_>, count: u32) -> Result<Values, LabError> {
    stage.ask_all("POST", count, |nth| {
        let (path, object) = objects::filling(nth);
        (path.to_owned(), object)
    })?;
    stage.start_manager(&[])?;
    let path = format!("{NAMESPACES}?watch=1&fieldSelector=metadata.name%3D{NAMESPACE}");
    let gone = Watcher::open(stage.side(), "the end of a namespace", &path, METADATA, |event| {
        event.starts_with(r#"{"type":"DELETED""#).then(|| NAMESPACE.to_owned())
    })?;
    let before = stage.used()?;
    let begun = Instant::now();
    stage.ask("DELETE", &format!("{NAMESPACES}/{NAMESPACE}"), &Value::Null)?;
    let times = stage.wait(&gone, 1, nothing_else)?;
    stage.costs(count, until_last(begun, &times), &before, 1)
}

fn services(mut stage: Stage<'_>, count: u32) -> Result<Values, LabError> {
    stage.ask("POST", objects::NODES, &objects::node())?;
    stage.ask_all("POST", count, |nth| (PODS.to_owned(), objects::endpoint(nth).1))?;
    let running = |ready: bool| move |nth| (objects::endpoint(nth).0, objects::running(nth, ready));
    stage.ask_all("PATCH", count, running(true))?;
    stage.ask_all("POST", count, |nth| (SERVICES.to_owned(), objects::service(nth)))?;
    stage.start_manager(&[WITHOUT_NODES])?;
    let path = format!("{SLICES}?watch=1");
    let slices = Watcher::open(stage.side(), "EndpointSlices", &path, JSON, |event| {
        objects::endpoint_of(event).map(|(service, ready)| format!("{service} {ready}"))
    })?;
    stage.wait(&slices, count, nothing_else)?;
    stage.settle()?;
    let before = stage.used()?;
    let begun = Instant::now();
    stage.ask_all("PATCH", count, running(false))?;
    // Each was seen ready before.
    let times = stage.wait(&slices, count * 2, nothing_else)?;
    stage.costs(count, until_last(begun, &times), &before, count)
}

fn jobs(mut stage: Stage<'_>, count: u32) -> Result<Values, LabError> {
    stage.start_manager(&[])?;
    let pods = appear(&stage, "pods of Jobs", PODS)?;
    let path = format!("{JOBS}?watch=1");
    let complete = Watcher::open(stage.side(), "Jobs that are complete", &path, JSON, objects::complete)?;
    let before = stage.used()?;
    let begun = Instant::now();
    stage.ask_all("POST", count, |nth| (JOBS.to_owned(), objects::job(nth)))?;
    let times = stage.wait(&pods, count, nothing_else)?;
    let time = until_last(begun, &times);
    stage.settle()?;
    let names: Vec<&String> = times.keys().collect();
    let begun = Instant::now();
    stage.ask_all("PATCH", count, |nth| {
        let name = usize::try_from(nth).ok().and_then(|nth| names.get(nth));
        (objects::status_path(name.map_or("", |name| name)), objects::succeeded())
    })?;
    let completed = until_last(begun, &stage.wait(&complete, count, nothing_else)?).as_secs_f64();
    let mut values = stage.costs(count, time, &before, count * 2)?;
    values.insert(Metric::Completion, completed);
    values.insert(Metric::CompletionRate, f64::from(count) / completed.max(1e-9));
    Ok(values)
}
