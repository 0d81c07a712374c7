//! A proxy that runs on the node, and what it costs.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use host::netns::Namespace;
use nix::unistd::Pid;

use super::mode::Kind;
use super::objects::{NODE, PODS};
use crate::measure::failed;
use crate::measure::{cpu, memory};
use host::programs::{self, Daemon, Signal};
use lab::LabError;
use telemetry::samples;

/// The clock ticks every 10 ms, so a program that uses none in this time does nothing.
const IDLE: Duration = Duration::from_millis(400);
/// How often we look at a program that shall become idle.
const LOOK: Duration = Duration::from_millis(50);

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    pub weft: PathBuf,
    pub kube_proxy: Option<PathBuf>,
}

/// A proxy. Killed when it is dropped; its rules go with the node.
pub struct Running {
    node: Namespace,
    daemon: Daemon,
    pid: Pid,
    pub started: Instant,
}

impl Running {
    /// Starts it. `path` is the PATH that it gets.
    pub fn start(
        kind: Kind,
        programs: &Programs,
        node: &Namespace,
        feed: &[String],
        path: Option<&str>,
        directory: &Path,
    ) -> Result<Self, LabError> {
        let log = directory.join(format!("{kind}.log"));
        if log.exists() {
            std::fs::remove_file(&log).map_err(LabError::io("remove", &log))?;
        }
        let daemon = Daemon::new(kind.to_string(), node.clone(), directory, &kind.to_string());
        let (program, own): (&Path, &[&str]) = match &programs.kube_proxy {
            Some(kube_proxy) if kind.is_original() => (kube_proxy, &[]),
            None if kind.is_original() => return Err(failed(&kind.to_string(), "it is not built")),
            _ => (&programs.weft, &["proxy"]),
        };
        let mode = if kind.flavour().is_some() { "iptables" } else { "nftables" };
        let flags = [
            format!("--proxy-mode={mode}"),
            format!("--hostname-override={NODE}"),
            format!("--cluster-cidr={PODS}"),
            // A change is written at once: the best that kube-proxy can do.
            "--iptables-min-sync-period=0s".to_owned(),
            // Settings of the whole machine stay as they are.
            "--conntrack-max-per-core=0".to_owned(),
            "--conntrack-min=0".to_owned(),
            "--conntrack-tcp-timeout-established=0".to_owned(),
            "--conntrack-tcp-timeout-close-wait=0".to_owned(),
            "--oom-score-adj=0".to_owned(),
        ];
        let own = own.iter().map(|word| (*word).to_owned());
        let arguments: Vec<OsString> =
            own.chain(flags).chain(feed.iter().cloned()).map(OsString::from).collect();
        let env: Vec<(String, String)> =
            path.map(|path| ("PATH".to_owned(), path.to_owned())).into_iter().collect();
        let started = Instant::now();
        let pid = daemon.start(program, &arguments, &env)?;
        Ok(Self { node: node.clone(), daemon, pid, started })
    }

    /// # Errors
    /// It has ended, with the end of its log.
    pub fn must_run(&self) -> Result<(), LabError> {
        if self.daemon.pid().is_some() { Ok(()) } else { Err(self.daemon.died().into()) }
    }

    /// Waits until it does nothing. Gives the CPU seconds that it and its children have used by then.
    pub fn wait_idle(&self, patience: Duration) -> Result<f64, LabError> {
        let deadline = Instant::now() + patience;
        let (mut used, mut since) = (self.cpu()?, Instant::now());
        loop {
            // This is the length of the look, not a wait for luck.
            thread::sleep(LOOK);
            let now = self.cpu()?;
            if now > used {
                (used, since) = (now, Instant::now());
            }
            if since.elapsed() >= IDLE || Instant::now() >= deadline {
                return Ok(now);
            }
        }
    }

    /// Seconds of CPU so far, with children that have ended.
    pub fn cpu(&self) -> Result<f64, LabError> {
        cpu::with_children(self.pid)?.ok_or_else(|| self.daemon.died().into())
    }

    pub fn memory(&self) -> Result<memory::Memory, LabError> {
        memory::of(self.pid).ok_or_else(|| self.daemon.died().into())
    }

    /// How many changes it has measured from their arrival to the kernel, and their seconds together. Only ours does.
    pub fn to_kernel(&self) -> Result<(f64, f64), LabError> {
        const NAME: &str = "weft_proxy_change_to_kernel_seconds";
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 10249));
        let (_, text) = programs::get(&self.node, address, "/metrics")
            .map_err(|error| failed("the proxy's metrics", error.to_string()))?;
        let samples = samples::parse(&text);
        let of = |what: &str| {
            let name = format!("{NAME}_{what}");
            let found = samples
                .iter()
                .find(|sample| sample.name == name && sample.label("ip_family") == Some("IPv4"));
            found
                .map(|sample| sample.value)
                .ok_or_else(|| failed("the proxy's metrics", format!("there is no {name}")))
        };
        Ok((of("count")?, of("sum")?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.daemon.stop(Signal::SIGKILL) {
            telemetry::note!("{error}");
        }
    }
}
