//! A whole control plane at rest: `weft control` with the etcd that it starts, or the originals with theirs.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use host::netns::Namespace;
use host::programs::{Daemon, ProgramError, Signal, wait_for};
use lab::LabError;
use nix::unistd::Pid;
use originals::{Scratch, UNLIMITED};

use super::metric::Metric;
use super::mode::Pair;
use super::stage::{Round, Values};
use crate::measure::{cpu, failed, family};
use crate::servers::client::{Client, TOKEN, trust};
use crate::servers::side::Side;
use crate::servers::worker::Worker;

/// How long it may take until it serves.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Memory and CPU of all its processes.
pub fn at_rest(round: &Round<'_>) -> Result<Values, LabError> {
    match round.mode.pair {
        Pair::Ours => ours(round),
        _ => originals(round),
    }
}

fn measure(round: &Round<'_>, processes: &[Pid]) -> Result<Values, LabError> {
    for process in processes {
        cpu::wait_until_idle(*process, || round.interrupt.asked())?;
    }
    let used = round.rest(|| Ok(family::of(processes)?.cpu))?;
    let memory = family::of(processes)?.resident;
    Ok(Values::from([(Metric::Memory, memory), (Metric::IdleCpu, used)]))
}

fn ours(round: &Round<'_>) -> Result<Values, LabError> {
    let scratch = Scratch::make_in(round.directory)?;
    let file = |name: &str| scratch.path().join(name);
    let tokens = file("tokens.csv");
    fs::write(&tokens, format!("{TOKEN},bench,1,system:masters\n"))
        .map_err(LabError::io("write", &tokens))?;
    let port = host::sockets::free_port(Ipv4Addr::LOCALHOST.into());
    let port = port.map_err(ProgramError::io("find", "a free port"))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let etcd = &round.programs.servers.etcd;
    let arguments = [
        "control".to_owned(),
        format!("--data-dir={}", file("control").display()),
        format!("--etcd-program={}", etcd.display()),
        format!("--bind-address={}", address.ip()),
        format!("--secure-port={}", address.port()),
        "--".to_owned(),
        format!("--token-auth-file={}", tokens.display()),
    ];
    let daemon =
        Daemon::new("weft control".to_owned(), Namespace::current()?, scratch.path(), "weft-control");
    let control = Control(daemon);
    control.0.start(&round.programs.servers.weft, &arguments.map(OsString::from), &[])?;
    let certificate = file("control/pki/apiserver.crt");
    let serves = || {
        let client = trust(&certificate).ok().and_then(|trust| Client::new(address, &trust).ok());
        let answer = client.and_then(|mut client| client.ask("GET", "/api/v1/namespaces/default", &[]).ok());
        answer.is_some_and(|(status, _)| status == 200)
    };
    let served = wait_for(Instant::now() + READY_LIMIT, || {
        if round.interrupt.asked() {
            return Err(LabError::Interrupted);
        }
        if control.0.pid().is_none() {
            return Err(control.0.died().into());
        }
        Ok(serves().then_some(()))
    })?;
    served.ok_or_else(|| {
        let reason = format!("the end of its log:\n{}", control.0.log_tail(10));
        failed("weft control, which does not serve", reason)
    })?;
    let pid = control.0.pid().ok_or_else(|| LabError::from(control.0.died()))?;
    measure(round, &[pid])
}

/// It ends when it is dropped, and ends its etcd.
struct Control(Daemon);

impl Drop for Control {
    fn drop(&mut self) {
        if let Err(error) = self.0.stop(Signal::SIGTERM) {
            telemetry::note!("{error}");
        }
    }
}

fn originals(round: &Round<'_>) -> Result<Values, LabError> {
    let programs = round.programs;
    let side = Side::make(round.mode.pair.server(), &programs.servers, round.directory)?;
    side.start(round.interrupt)?;
    let workers = [
        ("kube-controller-manager", &programs.kube_controller_manager),
        ("kube-scheduler", &programs.kube_scheduler),
    ];
    let workers = workers.into_iter().map(|(name, program)| {
        let program = program.as_deref().ok_or_else(|| failed(name, "it is not built"))?;
        Worker::start(name, program, &side, UNLIMITED.map(str::to_owned))
    });
    let workers: Vec<Worker> = workers.collect::<Result<_, _>>()?;
    let mut processes = vec![side.pid()?, side.etcd_pid()?];
    for worker in &workers {
        processes.push(worker.pid()?);
    }
    measure(round, &processes)
}
