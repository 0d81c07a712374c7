//! The containers of a pod as time goes by: what a container runtime would know.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::spec::{ContainerSpec, PodSpec};

/// A run that lasts this long makes the next pause a short one again.
const LONG_RUN: Duration = Duration::from_secs(600);

/// The longest pause before a restart, in first pauses.
const LONGEST: u32 = 30;

/// What a process ends with that was told to stop, and one that was killed.
pub const STOPPED: i32 = 143;
pub const KILLED: i32 = 137;

/// A pod on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// When the node first saw it.
    pub start: SystemTime,
    /// One of each family; none where there is none left.
    pub addresses: Vec<IpAddr>,
    /// By name.
    pub containers: BTreeMap<String, Container>,
    /// All init containers have done their part, once.
    pub initialized: bool,
    /// Since when it is to end, and why.
    pub stop: Option<(SystemTime, Stop)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    Deleted,
    /// It was active for longer than it may.
    Deadline,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    pub state: State,
    pub restarts: u32,
    /// The run before this one.
    pub last: Option<Run>,
    /// Restarts since it last ran for long.
    pub fails: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    #[default]
    Waiting,
    Running(SystemTime),
    Ended(Run),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub since: SystemTime,
    pub until: SystemTime,
    pub code: i32,
}

/// Now, and when something will happen by itself.
#[derive(Debug)]
pub struct Clock {
    pub now: SystemTime,
    pub next: Option<SystemTime>,
}

impl Clock {
    pub fn at(now: SystemTime) -> Self {
        Self { now, next: None }
    }

    /// Whether that time has come; if not, it will be looked at again then.
    pub fn reached(&mut self, time: SystemTime) -> bool {
        if time > self.now {
            self.next = Some(self.next.map_or(time, |next| next.min(time)));
        }
        time <= self.now
    }
}

/// Times beyond what a clock can say never come.
pub fn after(time: SystemTime, wait: Duration) -> SystemTime {
    time.checked_add(wait).unwrap_or_else(|| time + Duration::from_secs(1 << 32))
}

impl Runtime {
    pub fn new(start: SystemTime, addresses: Vec<IpAddr>) -> Self {
        Self { start, addresses, containers: BTreeMap::new(), initialized: false, stop: None }
    }

    /// Lets time go by up to now. What happened on the way has the time at which it happened.
    pub fn advance(&mut self, pod: &PodSpec<'_>, clock: &mut Clock) {
        self.stop(pod, clock);
        let stop = self.stop.map(|(at, _)| at);
        let grace = pod.deleted;
        let mut gate = (!self.addresses.is_empty()).then_some(self.start);
        for spec in &pod.inits {
            let container = self.containers.entry(spec.name.to_owned()).or_default();
            // A sidecar ends after the containers, below.
            let stop = stop.filter(|_| !spec.sidecar);
            container.run(
                spec,
                if self.initialized { gate.or(Some(self.start)) } else { gate },
                stop,
                grace,
                clock,
            );
            gate = gate.and_then(|_| container.done(spec, clock));
        }
        self.initialized |= gate.is_some();
        let gate = if self.initialized { gate.or(Some(self.start)) } else { None };
        for spec in &pod.mains {
            self.containers.entry(spec.name.to_owned()).or_default().run(spec, gate, stop, grace, clock);
        }
        if let Some(end) = self.mains_end(pod) {
            for spec in pod.inits.iter().filter(|spec| spec.sidecar) {
                let container = self.containers.entry(spec.name.to_owned()).or_default();
                container.run(spec, None, Some(end), grace, clock);
            }
        }
    }

    fn stop(&mut self, pod: &PodSpec<'_>, clock: &mut Clock) {
        if self.stop.is_none()
            && let Some(deadline) = pod.deadline
        {
            let end = after(self.start, deadline);
            if clock.reached(end) {
                self.stop = Some((end, Stop::Deadline));
            }
        }
        if self.stop.is_none() && pod.deleted.is_some() {
            self.stop = Some((clock.now, Stop::Deleted));
        }
    }

    /// When the last of the containers ended that a pod is for, if none of them will run again.
    fn mains_end(&self, pod: &PodSpec<'_>) -> Option<SystemTime> {
        let stop = self.stop.map(|(at, _)| at);
        if self.init_failed(pod) {
            return self.last_end(pod.inits.iter()).or(stop);
        }
        for spec in &pod.mains {
            match self.state(spec.name) {
                State::Running(_) => return None,
                State::Waiting if stop.is_none() => return None,
                State::Ended(run) if stop.is_none() && spec.restart.again(run.code) => return None,
                State::Waiting | State::Ended(_) => {}
            }
        }
        self.last_end(pod.mains.iter()).max(stop)
    }

    fn last_end<'s>(&self, specs: impl Iterator<Item = &'s ContainerSpec<'s>>) -> Option<SystemTime> {
        let ends = specs.filter_map(|spec| match self.state(spec.name) {
            State::Ended(run) => Some(run.until),
            _ => None,
        });
        ends.max()
    }

    /// An init container failed for good.
    pub fn init_failed(&self, pod: &PodSpec<'_>) -> bool {
        pod.inits.iter().any(|spec| match self.state(spec.name) {
            State::Ended(run) => run.code != 0 && !spec.sidecar && !spec.restart.again(run.code),
            _ => false,
        })
    }

    pub fn state(&self, name: &str) -> State {
        self.containers.get(name).map_or(State::Waiting, |container| container.state)
    }

    /// Nothing runs, and nothing will.
    pub fn is_over(&self, pod: &PodSpec<'_>) -> bool {
        self.mains_end(pod).is_some()
            && pod.containers().all(|spec| !matches!(self.state(spec.name), State::Running(_)))
    }
}

impl Container {
    /// Lets time go by. `gate` is when it may start first, if it is known; `stop` when it is told to stop.
    fn run(
        &mut self,
        spec: &ContainerSpec<'_>,
        gate: Option<SystemTime>,
        stop: Option<SystemTime>,
        grace: Option<Duration>,
        clock: &mut Clock,
    ) {
        loop {
            match self.state {
                State::Waiting => {
                    let Some(gate) = gate.filter(|_| stop.is_none() && spec.pulls && spec.problem.is_none())
                    else {
                        return;
                    };
                    let start = after(gate, spec.orders.start_delay);
                    if !clock.reached(start) {
                        return;
                    }
                    self.state = State::Running(start);
                }
                State::Running(since) => {
                    let Some((until, code)) = self.end(spec, since, stop, grace) else { return };
                    if !clock.reached(until) {
                        return;
                    }
                    self.state = State::Ended(Run { since, until, code });
                }
                State::Ended(run) => {
                    if stop.is_some() || gate.is_none() || !spec.restart.again(run.code) {
                        return;
                    }
                    let start = after(run.until, self.pause(spec, run));
                    if !clock.reached(start) {
                        return;
                    }
                    self.fails = if long(run) { 1 } else { self.fails.saturating_add(1) };
                    self.restarts = self.restarts.saturating_add(1);
                    self.last = Some(run);
                    self.state = State::Running(start);
                }
            }
        }
    }

    /// When this run ends, and with which code; `None` where it goes on for ever.
    fn end(
        &self,
        spec: &ContainerSpec<'_>,
        since: SystemTime,
        stop: Option<SystemTime>,
        grace: Option<Duration>,
    ) -> Option<(SystemTime, i32)> {
        let codes = &spec.orders.exit_codes;
        let nth = usize::try_from(self.restarts).unwrap_or(usize::MAX).min(codes.len().saturating_sub(1));
        let own = spec.orders.run_for.map(|time| (after(since, time), codes.get(nth).copied().unwrap_or(0)));
        let told = stop.map(|at| {
            let (wait, most) = (spec.orders.stop_delay, grace.unwrap_or(Duration::from_secs(30)));
            let code = if wait > most { KILLED } else { STOPPED };
            (after(at.max(since), wait.min(most)), code)
        });
        match (own, told) {
            (Some(own), Some(told)) => Some(if own.0 <= told.0 { own } else { told }),
            (own, told) => own.or(told),
        }
    }

    /// Before it runs again. The kubelet starts it again at once the first time.
    pub fn pause(&self, spec: &ContainerSpec<'_>, run: Run) -> Duration {
        let first = spec.orders.restart_delay;
        match if long(run) { 0 } else { self.fails } {
            0 => Duration::ZERO,
            nth => first.saturating_mul(1 << (nth - 1).min(16)).min(first.saturating_mul(LONGEST)),
        }
    }

    /// Since when an init container holds up nobody any more.
    fn done(&self, spec: &ContainerSpec<'_>, clock: &mut Clock) -> Option<SystemTime> {
        match self.state {
            State::Ended(run) if !spec.sidecar && run.code == 0 => Some(run.until),
            State::Running(since) if spec.sidecar => {
                let started = after(since, spec.started_after);
                clock.reached(started).then_some(started)
            }
            _ => None,
        }
    }

    /// It runs, and its startup probe has passed.
    pub fn started(&self, spec: &ContainerSpec<'_>, clock: &mut Clock) -> bool {
        self.running_for(spec.started_after, clock)
    }

    pub fn ready(&self, spec: &ContainerSpec<'_>, clock: &mut Clock) -> bool {
        self.running_for(spec.ready_after, clock) && spec.orders.ready
    }

    fn running_for(&self, time: Duration, clock: &mut Clock) -> bool {
        matches!(self.state, State::Running(since) if clock.reached(after(since, time)))
    }
}

fn long(run: Run) -> bool {
    run.until.duration_since(run.since).is_ok_and(|time| time >= LONG_RUN)
}

#[cfg(test)]
mod tests;
