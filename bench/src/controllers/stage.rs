//! One pair at work: an API server over an empty etcd, a controller manager beside it, and what both have used.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use host::programs::wait_for;
use lab::LabError;
use originals::UNLIMITED;
use serde_json::Value;

use super::Programs;
use super::metric::Metric;
use super::mode::{Mode, Pair};
use super::objects::{self, FIRST, NAMESPACE, NAMESPACES};
use super::requests::Requests;
use super::sample::Settings;
use crate::interrupt::Interrupt;
use crate::measure::failed;
use crate::servers::client::JSON;
use crate::servers::clients::{self, Request};
use crate::servers::side::Side;
use crate::servers::watcher::{Times, Watcher};
use crate::servers::worker::Worker;

pub const MERGE_PATCH: &str = "application/merge-patch+json";

/// Clients that ask at the same time.
const CLIENTS: usize = 64;
/// How long one may wait without anything new to see.
const STILL: Duration = Duration::from_secs(120);

pub type Values = BTreeMap<Metric, f64>;

/// What a round works with.
pub struct Round<'a> {
    pub programs: &'a Programs,
    pub settings: &'a Settings,
    pub interrupt: &'a Interrupt,
    /// Where etcd writes.
    pub directory: &'a Path,
    pub mode: Mode,
    /// Whether to say which requests there were.
    pub says_requests: bool,
}

/// Both end when it is dropped.
pub struct Stage<'a> {
    round: &'a Round<'a>,
    // In this order: who asks ends before the one that answers.
    manager: Option<Worker>,
    side: Side,
}

/// What was used until a moment.
pub struct Used {
    manager: f64,
    server: f64,
    requests: Requests,
}

impl<'a> Stage<'a> {
    /// A server with the namespaces, and no controller manager yet.
    pub fn make(round: &'a Round<'a>) -> Result<Self, LabError> {
        let side = Side::make(round.mode.pair.server(), &round.programs.servers, round.directory)?;
        side.start(round.interrupt)?;
        let stage = Self { round, manager: None, side };
        for name in [NAMESPACE, FIRST] {
            stage.ask("POST", NAMESPACES, &objects::namespace(name))?;
        }
        Ok(stage)
    }

    /// Starts the controller manager, and waits until it has made the pod of a first Deployment and is idle.
    pub fn start_manager(&mut self, flags: &[&str]) -> Result<(), LabError> {
        let Round { programs, mode, interrupt, .. } = self.round;
        let original = || {
            let program = programs.kube_controller_manager.as_deref();
            program.ok_or_else(|| failed("kube-controller-manager", "it is not built"))
        };
        let program: &Path = if mode.pair.is_original() { original()? } else { &programs.servers.weft };
        let limits = if mode.pair == Pair::Limited { &[][..] } else { &UNLIMITED[..] };
        let credentials = [
            format!("--root-ca-file={}", self.side.certificate().display()),
            format!("--service-account-private-key-file={}", self.side.account_key().display()),
        ];
        let flags = limits.iter().chain(flags).map(|flag| (*flag).to_owned()).chain(credentials);
        let manager = Worker::start("kube-controller-manager", program, &self.side, flags)?;
        self.manager = Some(manager);
        self.ask("POST", "/apis/apps/v1/namespaces/first/deployments", &objects::deployment(FIRST, 1))?;
        let mut client = self.side.client()?;
        let deadline = Instant::now() + STILL;
        let seen = wait_for(deadline, || {
            self.lives()?;
            if interrupt.asked() {
                return Err(LabError::Interrupted);
            }
            let pods = client.must("GET", "/api/v1/namespaces/first/pods?limit=1", &[])?;
            let pods: Value = serde_json::from_slice(&pods).unwrap_or_default();
            Ok::<_, LabError>(pods["items"].as_array().is_some_and(|items| !items.is_empty()).then_some(()))
        })?;
        seen.ok_or_else(|| self.explain(failed("the first pod", "the controller manager does not make it")))?;
        self.settle()
    }

    pub fn side(&self) -> &Side {
        &self.side
    }

    /// One request that has to succeed.
    pub fn ask(&self, method: &str, path: &str, object: &Value) -> Result<(), LabError> {
        let body = if object.is_null() { String::new() } else { object.to_string() };
        let content = if method == "PATCH" { MERGE_PATCH } else { JSON };
        let mut client = self.side.client()?.with(JSON, content);
        client.must(method, path, body.as_bytes()).map(drop)
    }

    /// So many requests of 64 clients.
    pub fn ask_all(
        &self,
        method: &'static str,
        count: u32,
        object: impl Fn(u32) -> (String, Value) + Sync,
    ) -> Result<(), LabError> {
        let content = if method == "PATCH" { MERGE_PATCH } else { JSON };
        let clients = clients::of(&self.side, CLIENTS)?;
        let clients = clients.into_iter().map(|client| client.with(JSON, content)).collect();
        let request = |nth| {
            let (path, object) = object(nth);
            Request { method, path, body: object.to_string().into_bytes() }
        };
        clients::measure(clients, count, request, self.round.interrupt).map(drop)
    }

    /// Waits until so many were seen, as long as all live.
    pub fn wait(
        &self,
        watcher: &Watcher,
        count: u32,
        also: impl Fn() -> Result<(), LabError>,
    ) -> Result<Times, LabError> {
        let lives = || self.lives().and_then(|()| also());
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        watcher.wait(count, STILL, self.round.interrupt, lives).map_err(|error| self.explain(error))
    }

    fn lives(&self) -> Result<(), LabError> {
        self.side.must_run()?;
        self.manager.as_ref().map_or(Ok(()), |manager| manager.pid().map(drop))
    }

    fn explain(&self, error: LabError) -> LabError {
        match &self.manager {
            Some(manager) => manager.explain(error),
            None => error,
        }
    }

    /// Waits until the controller manager has nothing more to do.
    pub fn settle(&self) -> Result<(), LabError> {
        let settled = self.manager.as_ref().map_or(Ok(()), |manager| manager.settle(self.round.interrupt));
        if self.round.interrupt.asked() { Err(LabError::Interrupted) } else { settled }
    }

    pub fn manager(&self) -> Result<&Worker, LabError> {
        self.manager.as_ref().ok_or_else(|| failed("a controller manager", "none was started"))
    }

    pub fn used(&self) -> Result<Used, LabError> {
        let manager = self.manager.as_ref().map_or(Ok(0.0), Worker::cpu)?;
        Ok(Used { manager, server: self.side.cpu()?, requests: Requests::of(&self.side)? })
    }

    /// What `count` objects took: `time` until they were seen, and what was used for them since `before` until all is idle
    /// again. `own`: writes of the benchmark.
    pub fn costs(&self, count: u32, time: Duration, before: &Used, own: u32) -> Result<Values, LabError> {
        self.settle()?;
        let now = self.used()?;
        let objects = f64::from(count.max(1));
        let each = |used: f64| used * 1e6 / objects;
        let requests = now.requests.since(&before.requests);
        if self.round.says_requests {
            telemetry::note!("  {}, for each: {}", self.round.mode, requests.each(count));
        }
        let seconds = time.as_secs_f64().max(1e-9);
        let mut values = Values::from([
            (Metric::Time, seconds),
            (Metric::Rate, f64::from(count) / seconds),
            (Metric::ServerCpu, each(now.server - before.server)),
        ]);
        if let Some(manager) = &self.manager {
            values.insert(Metric::Cpu, each(now.manager - before.manager));
            values.insert(Metric::Writes, (requests.writes() - f64::from(own)) / objects);
            values.insert(Metric::Memory, manager.memory()?);
        }
        Ok(values)
    }
}

/// The time until the last one was seen.
pub fn until_last(begun: Instant, times: &Times) -> Duration {
    times.values().max().map_or(Duration::ZERO, |last| last.duration_since(begun))
}
