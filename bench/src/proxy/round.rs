//! One proxy, once: started on a fresh node, measured, and ended.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use host::netns::Namespace;

use super::daemon::{Programs, Running};
use super::feed::Feed;
use super::metric::Metric;
use super::mode::{Kind, Mode};
use super::objects::{self, ENDPOINTS, TARGET_PORT, THROUGHPUT};
use super::sample::{Failure, Sample, Settings};
use super::table::START;
use super::testbed::Testbed;
use super::{place, tools};
use crate::interrupt::Interrupt;
use crate::measure::{Path, connect, cpu, failed, iperf};
use crate::stats::Spread;
use crate::table::QUIET;
use host::programs::wait_for;
use lab::LabError;

/// How often a connection is tried while a program starts.
const POLL: Duration = Duration::from_millis(2);
/// How often while a change is on its way, at first and later.
const SOON: Duration = Duration::from_micros(250);
const LATER: Duration = Duration::from_millis(2);
/// Services that must answer, besides the last, to call a start complete.
const SPREAD: u32 = 10;
/// How long a change may take.
const CHANGE_LIMIT: Duration = Duration::from_secs(60);
/// How long a program may take to become idle.
const IDLE_LIMIT: Duration = Duration::from_secs(30);

/// What a round works with.
pub struct Round<'a> {
    pub testbed: &'a mut Testbed,
    pub feed: &'a Feed,
    pub programs: &'a Programs,
    pub settings: &'a Settings,
    pub interrupt: &'a Interrupt,
    pub mode: Mode,
    pub repetition: u32,
    /// Whether throughput is measured: it does not depend on the number of services.
    pub throughput: bool,
    /// How long to wait for others to leave the CPUs alone.
    pub quiet: Duration,
}

/// What came of it.
pub struct Outcome {
    pub sample: Sample,
    pub failures: Vec<Failure>,
}

impl Round<'_> {
    /// Every measure, one after the other. What fails is said in the outcome, and what can be measured without it is.
    pub fn measure(mut self) -> Outcome {
        let sample = Sample {
            mode: self.mode,
            repetition: self.repetition,
            values: BTreeMap::new(),
            busy_before: 0.0,
        };
        let mut outcome = Outcome { sample, failures: Vec::new() };
        let measured = match self.mode.proxy {
            Kind::Direct => self.direct(&mut outcome),
            _ => self.proxy(&mut outcome),
        };
        if let Err(error) = measured {
            self.failed(&mut outcome, START, &error);
        }
        // The next one begins with both endpoints, whatever happened here.
        if let Err(error) = self.feed.change(&ENDPOINTS) {
            self.failed(&mut outcome, "both endpoints again", &error);
        }
        outcome
    }

    fn direct(&mut self, outcome: &mut Outcome) -> Result<(), LabError> {
        self.testbed.new_node()?;
        outcome.sample.busy_before = cpu::wait_for_quiet(QUIET, self.quiet)?;
        let taken = self.connects(&[Pod]).and_then(|mut values| {
            values.extend(self.throughput(ENDPOINTS[0])?);
            Ok(values)
        });
        self.take(outcome, "connections", taken);
        Ok(())
    }

    fn proxy(&mut self, outcome: &mut Outcome) -> Result<(), LabError> {
        let node = self.testbed.new_node()?;
        let path = match self.mode.proxy.flavour() {
            Some(flavour) => Some(tools::path(flavour, self.testbed.directory())?),
            None => None,
        };
        outcome.sample.busy_before = cpu::wait_for_quiet(QUIET, self.quiet)?;
        let (flags, directory) = (self.feed.flags(), self.testbed.directory());
        let running =
            Running::start(self.mode.proxy, self.programs, &node, &flags, path.as_deref(), directory)?;
        let start = self.wait_complete(&running)?;
        let used = running.wait_idle(IDLE_LIMIT)?;
        let after_start = running.memory()?;
        outcome.sample.values.extend([
            (Metric::Start, start.as_secs_f64()),
            (Metric::StartCpu, used),
            (Metric::MemoryAfterStart, after_start.resident),
        ]);
        let taken = self.changes(&running);
        self.take(outcome, "changes", taken);
        let taken = place::ends(&node, path.as_deref(), self.mode.services).and_then(|[first, last]| {
            self.connects(&[Service(Metric::FirstP50, first), Service(Metric::LastP50, last), Pod])
        });
        self.take(outcome, "connections", taken);
        let SocketAddr::V4(frontend) = THROUGHPUT else { return Ok(()) };
        let taken = self.throughput(*frontend.ip());
        self.take(outcome, "throughput", taken);
        running.must_run()
    }

    /// From the program's start until the last service, and a spread of others, can be connected to.
    fn wait_complete(&self, running: &Running) -> Result<Duration, LabError> {
        let limit = Duration::from_secs(u64::from(self.settings.patience));
        let services = self.mode.services;
        let last = objects::frontend(services - 1);
        let others: Vec<SocketAddr> =
            (0..SPREAD).map(|nth| objects::frontend(services / SPREAD * nth)).collect();
        let (started, interrupt) = (running.started, self.interrupt);
        let connected = self.testbed.client.run(|| {
            let mut tries = 0u32;
            loop {
                let next = Instant::now() + POLL;
                if connect::reaches(last, POLL) {
                    let reached = started.elapsed();
                    // What is written in several parts is complete with the last of them.
                    if others.iter().all(|other| connect::reaches(*other, Duration::from_millis(100))) {
                        return Ok(Some(reached));
                    }
                }
                tries += 1;
                if tries.is_multiple_of(256) {
                    running.must_run()?;
                }
                if interrupt.asked() {
                    return Err(LabError::Interrupted);
                }
                if started.elapsed() > limit {
                    return Ok(None);
                }
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        })??;
        connected.ok_or_else(|| LabError::NotReady {
            what: format!("the first complete sync of {}", self.mode.proxy),
            waited: limit,
            reason: "no connection to the last service".to_owned(),
        })
    }

    /// The last service moves to and fro between its endpoints.
    fn changes(&self, running: &Running) -> Result<Vec<(Metric, f64)>, LabError> {
        // From two endpoints to one, where chance could answer too early: not counted.
        self.change(1)?;
        self.settle(1)?;
        let before = running.wait_idle(IDLE_LIMIT)?;
        let mut times = Vec::new();
        let end = self.settings.changes as usize + 2;
        for nth in 2..end {
            times.push(self.change(nth)?.as_secs_f64() * 1e3);
            running.wait_idle(IDLE_LIMIT)?;
        }
        let used = running.cpu()? - before;
        let memory = running.memory()?;
        let median = Spread::of(times).ok_or(LabError::Interrupted)?.median;
        let mut values = vec![
            (Metric::Change, median),
            (Metric::ChangeCpu, used * 1e3 / f64::from(self.settings.changes)),
            (Metric::MemoryAtEnd, memory.resident),
            (Metric::MemoryPeak, memory.peak),
        ];
        if !self.mode.proxy.is_original() {
            values.push((Metric::ToKernel, self.to_kernel(running, end)?));
        }
        Ok(values)
    }

    /// Asks for metrics between further changes, now that nothing else is measured by which that could count.
    fn to_kernel(&self, running: &Running, from: usize) -> Result<f64, LabError> {
        let mut times = Vec::new();
        let mut before = running.to_kernel()?;
        for nth in from..from + self.settings.changes as usize {
            self.change(nth)?;
            let after = wait_for(Instant::now() + CHANGE_LIMIT, || {
                let after = running.to_kernel()?;
                Ok::<_, LabError>((after.0 > before.0).then_some(after))
            })?;
            let after = after.ok_or_else(|| failed("the proxy's metrics", "a change is not counted"))?;
            times.push((after.1 - before.1) / (after.0 - before.0) * 1e3);
            before = after;
            running.wait_idle(IDLE_LIMIT)?;
        }
        Ok(Spread::of(times).ok_or(LabError::Interrupted)?.median)
    }

    /// From the acknowledgement of a change until the other endpoint answers. It does at an odd `nth` the first one.
    fn change(&self, nth: usize) -> Result<Duration, LabError> {
        if self.interrupt.asked() {
            return Err(LabError::Interrupted);
        }
        let (byte, endpoint) = which(nth);
        let frontend = objects::frontend(self.mode.services - 1);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let asking = scope.spawn(|| self.testbed.client.run(|| until_answered(frontend, byte, &stop)));
            let put = self.feed.change(&[endpoint]);
            let acknowledged = Instant::now();
            if put.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            let answered = asking.join().map_err(|_| failed("a change", "the client panicked"))??;
            put?;
            let answered = answered.ok_or_else(|| LabError::NotReady {
                what: format!("a changed endpoint with {}", self.mode.proxy),
                waited: CHANGE_LIMIT,
                reason: format!("no new connection reaches {endpoint}"),
            })?;
            // An answer may come before the acknowledgement does.
            Ok(answered.saturating_duration_since(acknowledged))
        })
    }

    /// Waits until only the one endpoint answers.
    fn settle(&self, nth: usize) -> Result<(), LabError> {
        const IN_A_ROW: u32 = 20;
        let (byte, _) = which(nth);
        let frontend = objects::frontend(self.mode.services - 1);
        let settled = wait_for(Instant::now() + CHANGE_LIMIT, || {
            let answers =
                |_| connect::ask(frontend, Duration::from_secs(1)).is_ok_and(|answer| answer == byte);
            Ok::<_, LabError>(self.testbed.client.run(|| (0..IN_A_ROW).all(answers))?.then_some(()))
        })?;
        settled.ok_or_else(|| failed("a changed endpoint", "the other one goes on answering"))
    }

    fn connects(&self, targets: &[Target]) -> Result<Vec<(Metric, f64)>, LabError> {
        let mut values = Vec::new();
        for target in targets {
            if self.interrupt.asked() {
                return Err(LabError::Interrupted);
            }
            let (address, [p50, p99, rate]) = match *target {
                Pod => {
                    let pod = SocketAddr::from((ENDPOINTS[1], TARGET_PORT));
                    (pod, [Metric::PodP50, Metric::PodP99, Metric::PodRate])
                }
                Service(Metric::FirstP50, frontend) => {
                    (frontend, [Metric::FirstP50, Metric::FirstP99, Metric::FirstRate])
                }
                Service(_, frontend) => (frontend, [Metric::LastP50, Metric::LastP99, Metric::LastRate]),
            };
            let seen = connect::connects(&self.testbed.client, address, self.settings.connects)?;
            values.extend([(p50, seen.p50), (p99, seen.p99), (rate, seen.per_second)]);
        }
        Ok(values)
    }

    fn throughput(&self, address: Ipv4Addr) -> Result<Vec<(Metric, f64)>, LabError> {
        if !self.throughput || self.interrupt.asked() {
            return Ok(Vec::new());
        }
        let clone = Namespace::clone;
        let path =
            Path { from: clone(&self.testbed.client), to: clone(&self.testbed.first_endpoint), address };
        let tcp = iperf::tcp(&path, 1, self.settings.seconds)?;
        Ok(vec![(Metric::Throughput, tcp.gigabits_per_second)])
    }

    fn take(&self, outcome: &mut Outcome, measure: &str, taken: Result<Vec<(Metric, f64)>, LabError>) {
        match taken {
            Ok(values) => outcome.sample.values.extend(values),
            Err(error) => self.failed(outcome, measure, &error),
        }
    }

    fn failed(&self, outcome: &mut Outcome, measure: &str, error: &LabError) {
        let (mode, repetition) = (self.mode, self.repetition);
        let (measure, reason) = (measure.to_owned(), error.to_string());
        outcome.failures.push(Failure { mode, repetition, measure, reason });
    }
}

/// Where connections go.
#[derive(Clone, Copy, Debug)]
enum Target {
    /// To an endpoint itself.
    Pod,
    /// To a service, and whether that is the first or the last.
    Service(Metric, SocketAddr),
}

use Target::{Pod, Service};

/// Who answers after the change with that number, and what.
fn which(nth: usize) -> (u8, Ipv4Addr) {
    if nth % 2 == 1 { (b'1', ENDPOINTS[0]) } else { (b'2', ENDPOINTS[1]) }
}

/// When the first new connection was answered so; None at the end of patience, or when told to stop.
fn until_answered(frontend: SocketAddr, byte: u8, stop: &AtomicBool) -> Option<Instant> {
    let begun = Instant::now();
    while begun.elapsed() < CHANGE_LIMIT && !stop.load(Ordering::Relaxed) {
        if connect::ask(frontend, Duration::from_millis(200)).is_ok_and(|answer| answer == byte) {
            return Some(Instant::now());
        }
        thread::sleep(if begun.elapsed() < Duration::from_millis(50) { SOON } else { LATER });
    }
    None
}
