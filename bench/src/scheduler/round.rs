//! One pair in one workload, once: from an empty etcd to the last pod that is bound.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use lab::LabError;
use originals::UNLIMITED;
use serde_json::{Value, json};

use super::Programs;
use super::metric::Metric;
use super::mode::{Mode, Pair, Workload};
use super::objects;
use crate::interrupt::Interrupt;
use crate::measure::failed;
use crate::servers::clients::{self, Request};
use crate::servers::side::Side;
use crate::servers::watcher::{METADATA, Times, Watcher, present};
use crate::servers::worker::Worker;
use crate::stats::percentile;

/// Clients that create at the same time, or bind.
const CLIENTS: usize = 64;
/// How long one may wait without another pod that is bound.
const STILL: Duration = Duration::from_secs(60);
const BOUND: &str = "/api/v1/pods?watch=1&fieldSelector=spec.nodeName!%3D";

type Values = BTreeMap<Metric, f64>;

/// What a round works with.
pub struct Round<'a> {
    pub programs: &'a Programs,
    pub interrupt: &'a Interrupt,
    /// Where etcd writes.
    pub directory: &'a Path,
    pub mode: Mode,
}

impl Round<'_> {
    /// # Errors
    /// A program does not start, or not all pods are bound.
    pub fn measure(&self) -> Result<Values, LabError> {
        let side = Side::make(self.mode.pair.server(), &self.programs.servers, self.directory)?;
        side.start(self.interrupt)?;
        let mut client = side.client()?;
        for (path, object) in objects::once() {
            client.must("POST", path, object.to_string().as_bytes())?;
        }
        let workload = self.mode.workload;
        self.create(&side, self.mode.size.nodes, |nth| {
            ("/api/v1/nodes".to_owned(), objects::node(workload, nth))
        })?;
        let values = match (workload, self.mode.pair) {
            (_, Pair::Clients) => self.by_clients(&side),
            (Workload::Backlog, _) => self.backlog(&side),
            _ => self.as_they_come(&side),
        };
        side.must_run()?;
        values
    }

    fn create(
        &self,
        side: &Side,
        count: u32,
        object: impl Fn(u32) -> (String, Value) + Sync,
    ) -> Result<(), LabError> {
        let request = |nth| {
            let (path, object) = object(nth);
            Request { method: "POST", path, body: object.to_string().into_bytes() }
        };
        clients::measure(clients::of(side, CLIENTS)?, count, request, self.interrupt).map(drop)
    }

    fn create_pods(&self, side: &Side, are_measured: bool, count: u32) -> Result<(), LabError> {
        let pod = |nth| (objects::path(are_measured), objects::pod(self.mode.workload, are_measured, nth));
        self.create(side, count, pod)
    }

    /// The pods are there, then the scheduler comes.
    fn backlog(&self, side: &Side) -> Result<Values, LabError> {
        let count = objects::counts(self.mode.workload, self.mode.size).1;
        self.create_pods(side, true, count)?;
        let bound = bound(side)?;
        let server_before = side.cpu()?;
        let scheduler = Scheduler::start(self.programs, self.mode.pair, side)?;
        let times = scheduler.wait(&bound, to_usize(count), self.interrupt)?;
        let (Some(first), Some(last)) = (times.values().min(), times.values().max()) else {
            return Err(failed("a backlog", "no pod was bound"));
        };
        let rate = f64::from(count - 1) / last.duration_since(*first).as_secs_f64().max(1e-9);
        let mut values = self.costs(side, &scheduler, count, (0.0, server_before))?;
        values.insert(Metric::Rate, rate);
        Ok(values)
    }

    /// The scheduler has bound what was there before and waits; then pods come.
    fn as_they_come(&self, side: &Side) -> Result<Values, LabError> {
        let (before, count) = objects::counts(self.mode.workload, self.mode.size);
        self.create_pods(side, false, before)?;
        let bound = bound(side)?;
        let scheduler = Scheduler::start(self.programs, self.mode.pair, side)?;
        scheduler.wait(&bound, to_usize(before), self.interrupt)?;
        let costs_before = (scheduler.0.cpu()?, side.cpu()?);
        let begun = Instant::now();
        let created = std::sync::Mutex::new(vec![None; to_usize(count)]);
        self.create(side, count, |nth| {
            let pod = objects::pod(self.mode.workload, true, nth);
            if let Ok(mut created) = created.lock() {
                created[to_usize(nth)] = Some(Instant::now());
            }
            (objects::path(true), pod)
        })?;
        let times = scheduler.wait(&bound, to_usize(before + count), self.interrupt)?;
        let mut values = self.costs(side, &scheduler, count, costs_before)?;
        let created = created.into_inner().unwrap_or_default();
        let mut waited = Vec::new();
        let mut last = begun;
        for (nth, created) in (0..).zip(&created) {
            let seen = times.get(&objects::name(true, nth));
            let (Some(created), Some(seen)) = (created, seen) else {
                return Err(failed(
                    "pods as they come",
                    format!("{} was not seen", objects::name(true, nth)),
                ));
            };
            waited.push(seen.duration_since(*created).as_secs_f64() * 1e3);
            last = last.max(*seen);
        }
        waited.sort_unstable_by(f64::total_cmp);
        let rate = f64::from(count) / last.duration_since(begun).as_secs_f64().max(1e-9);
        values.insert(Metric::Rate, rate);
        for (metric, percent) in [(Metric::P50, 50.0), (Metric::P99, 99.0)] {
            values.extend(percentile(&waited, percent).map(|value| (metric, value)));
        }
        Ok(values)
    }

    /// What the server takes in bindings.
    fn by_clients(&self, side: &Side) -> Result<Values, LabError> {
        let count = objects::counts(self.mode.workload, self.mode.size).1;
        self.create_pods(side, true, count)?;
        let before = side.cpu()?;
        let begun = Instant::now();
        let nodes = self.mode.size.nodes;
        let bind = |nth| {
            let name = objects::name(true, nth);
            let node = objects::node(self.mode.workload, nth % nodes)["metadata"]["name"].clone();
            let binding = json!({
                "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
                "target": {"apiVersion": "v1", "kind": "Node", "name": node},
            });
            (format!("{}/{name}/binding", objects::path(true)), binding)
        };
        self.create(side, count, bind)?;
        let rate = f64::from(count) / begun.elapsed().as_secs_f64().max(1e-9);
        let used = (side.cpu()? - before) * 1e6 / f64::from(count);
        Ok(Values::from([(Metric::Rate, rate), (Metric::ServerCpu, used)]))
    }

    /// CPU for each pod since `before` (of the scheduler, of the server), and memory now.
    fn costs(
        &self,
        side: &Side,
        scheduler: &Scheduler,
        count: u32,
        before: (f64, f64),
    ) -> Result<Values, LabError> {
        let each = |used: f64| used * 1e6 / f64::from(count);
        Ok(Values::from([
            (Metric::Cpu, each(scheduler.0.cpu()? - before.0)),
            (Metric::ServerCpu, each(side.cpu()? - before.1)),
            (Metric::Memory, scheduler.0.memory()?),
        ]))
    }
}

/// A scheduler at work. It ends when it is dropped.
struct Scheduler(Worker);

impl Scheduler {
    fn start(programs: &Programs, pair: Pair, side: &Side) -> Result<Self, LabError> {
        let original = || {
            let program = programs.kube_scheduler.as_deref();
            program.ok_or_else(|| failed("kube-scheduler", "it is not built"))
        };
        let program: &Path = if pair.is_original() { original()? } else { &programs.servers.weft };
        Worker::start("kube-scheduler", program, side, UNLIMITED.map(str::to_owned)).map(Self)
    }

    /// Waits until so many pods are bound.
    fn wait(&self, bound: &Watcher, count: usize, interrupt: &Interrupt) -> Result<Times, LabError> {
        let lives = || self.0.pid().map(drop);
        bound.wait(count, STILL, interrupt, lives).map_err(|error| self.0.explain(error))
    }
}

/// Watches the pods that are bound.
fn bound(side: &Side) -> Result<Watcher, LabError> {
    Watcher::open(side, "pods that are bound", BOUND, METADATA, |line| present(line).map(str::to_owned))
}

fn to_usize(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
