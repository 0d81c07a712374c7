//! Labs for tests, and the daemon on a node under whatever flags.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use lab::flanneld::Binary;
use lab::spec::Backend;
use lab::{FlanneldOptions, Node, ScratchLab, Spec};
use telemetry::samples::{self, Sample};

use crate::wait::{SOON, until};

/// How long a daemon may take until it is ready.
pub const READY: Duration = Duration::from_secs(90);

/// The weft under test, with the lab's flags.
///
/// # Panics
/// It has not been built.
pub fn weft() -> FlanneldOptions {
    let binary = Binary::beside_test().expect("the weft that these tests drive");
    FlanneldOptions { binary, ..FlanneldOptions::default() }
}

/// Two nodes of one pod, under a name that begins with `prefix` (at most 8 lower-case letters and digits).
///
/// # Panics
/// On another prefix.
pub fn spec(prefix: &str, backend: Backend) -> Spec {
    let spec = ScratchLab::spec(prefix).expect("a short prefix");
    Spec { nodes: 2, pods: 1, backend, flanneld: Some(weft()), ..spec }
}

/// The same with etcd and wires, but without pods and with no flanneld yet.
///
/// # Panics
/// As [`spec`].
pub fn bare(prefix: &str, backend: Backend) -> Spec {
    Spec { pods: 0, flanneld: None, ..spec(prefix, backend) }
}

/// Brings it up.
///
/// # Panics
/// It does not come up: with the reason.
pub fn up(spec: &Spec) -> ScratchLab {
    ScratchLab::up(spec).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs a shell script on a node; gives its standard output.
///
/// # Panics
/// It fails.
pub fn sh(node: &Node, script: &str) -> String {
    node.run(["sh", "-ec", script]).unwrap_or_else(|error| panic!("{error}"))
}

/// Starts flanneld and waits until it is ready.
///
/// # Panics
/// It does not get there.
pub fn start(node: &Node, options: &FlanneldOptions) {
    node.start_flanneld(options).unwrap_or_else(|error| panic!("{error}"));
    node.wait_ready(READY).unwrap_or_else(|error| panic!("{error}"));
}

/// Starts flanneld, which is to end by itself; gives its status and what it wrote in this life.
///
/// # Panics
/// It goes on.
pub fn run_to_its_end(node: &Node, options: &FlanneldOptions) -> (ExitStatus, String) {
    let before = node.log().len();
    node.start_flanneld(options).unwrap_or_else(|error| panic!("{error}"));
    let status = node.flanneld().wait_exit(SOON).unwrap_or_else(|error| panic!("{error}\n{}", node.log()));
    (status.expect("this process started it"), node.log()[before..].to_owned())
}

/// Waits for words in the log of a node, written after its first `from` bytes; gives their line.
///
/// # Panics
/// They do not come.
pub fn said(node: &Node, from: usize, words: &str) -> String {
    let line = || node.log().get(from..)?.lines().find(|line| line.contains(words)).map(str::to_owned);
    until(&format!("{words:?} in the log of {}", node.name()), line)
}

/// As [`said`], for a warning.
///
/// # Panics
/// It does not come.
pub fn warned(node: &Node, from: usize, words: &str) -> String {
    let is_it = |line: &&str| line.contains("WARN") && line.contains(words);
    let line = || node.log().get(from..)?.lines().find(is_it).map(str::to_owned);
    until(&format!("a warning with {words:?} in the log of {}", node.name()), line)
}

/// What flanneld counts, as Prometheus would read it.
///
/// # Panics
/// Nobody answers.
pub fn samples(node: &Node) -> Vec<Sample> {
    samples::parse(&node.metrics().unwrap_or_else(|error| panic!("{error}")))
}

/// The sum over a metric's labels; `name` without the common prefix.
///
/// # Panics
/// Nobody answers.
pub fn metric(node: &Node, name: &str) -> f64 {
    samples::sum(&samples(node), &format!("weft_flanneld_{name}"))
}

/// All writes that flanneld has made to tables and rules.
///
/// # Panics
/// Nobody answers.
pub fn writes(node: &Node) -> f64 {
    metric(node, "table_writes_total") + metric(node, "firewall_writes_total")
}

/// Every pod reaches every other one, by every probe, within [`SOON`].
///
/// # Panics
/// One does not.
pub fn assert_all_reach_all(lab: &ScratchLab) {
    let end = Instant::now() + SOON;
    loop {
        let over = Instant::now() >= end;
        let said = match lab.check() {
            Ok(results) if !results.is_empty() && results.iter().all(|pair| pair.passed()) => return,
            Ok(results) => lab::check::render(&lab.spec().name, &results),
            // An address that has only just been given is not yet one to listen at.
            Err(error) => format!("{error}: {:?}", std::error::Error::source(&error)),
        };
        assert!(!over, "{said}");
    }
}
