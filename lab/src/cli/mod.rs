//! `weft lab ...`: the command line of the labs.

mod nodes;
mod show;
mod terminal;
mod up;

use std::io;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use host::netns::Sysfs;

use crate::asking::ask::Target;
use crate::asking::{self, Asked};
use crate::call;
use crate::check::PairResult;
use crate::down;
use crate::error::LabError;
use crate::lab::Lab;
pub use crate::name::DEFAULT_NAME;
use crate::name::{LabName, name_flag};
use crate::state;
use crate::status;

/// Many nodes on this one machine, with pods on each, in network namespaces
///
/// Every node is a network namespace on one virtual switch and runs the same flanneld and the same service proxy that a
/// real node would; etcd runs beside them, pods run behind them and answer a service. Nothing outside of the lab's own
/// namespaces is touched, and `down` leaves nothing. All but `list`, `nodes`, `--help` and `up --plan` need root.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct LabCli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  weft lab up                                  three nodes, two pods each, udp
  weft lab up --backend vxlan --ipv6 --name v  another lab beside it, dual stack
  weft lab exec n1-p1 -- ping 10.244.7.2       from inside a pod
  weft lab exec n1 -- tcpdump -ni eth0         on a node
  weft lab status                              nodes, leases, pods, services, counters
  weft lab check                               every pod to every pod, and to the service
  weft lab ask n1-p1 10.96.0.10:80             who answers a service?
  weft lab down --all                          remove every lab of this machine
  weft lab nodes 100 --kubeconfig FILE         fake nodes at an API server, for schedulers and controllers

A lab keeps its files in /run/weft/lab/NAME: nodes/n1/{subnet.env,flanneld.log,
proxy.log,cni.conflist}, etcd/etcd.log, and services/, whose Services and EndpointSlices feed the proxies: add your own.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a lab, check it, and say what to try
    Up(up::Up),
    /// Nodes, leases, pods, the data path in use, proxies and their services, counters
    #[command(after_help = "Example:\n  weft lab status -o json | jq '.nodes[].datapath'")]
    Status(Report),
    /// Every pod to every pod and node, and back: ping, TCP, a large UDP datagram, a packet as large as the MTU
    ///
    /// Then the service of the lab from every pod and node: by its ClusterIP and by the node port of every node, TCP and
    /// UDP. Prints a matrix of round-trip times and one of who answered, then all that failed, why, and what to look at.
    /// Exit status 1 when any failed.
    Check(Report),
    /// Ask an address from inside a pod or a node, several times: which pods answer, and which address they see
    ///
    /// Every pod of the lab answers on port 8080, TCP and UDP; what a service makes of it, this shows. Exit status 1
    /// when an answer is missing.
    #[command(after_help = "\
Examples:
  weft lab ask n1-p1 10.96.0.10:80              a ClusterIP, TCP
  weft lab ask n1-p1 10.96.0.10:80/udp -n 100   UDP, a hundred times
  weft lab ask n2 172.30.0.11:30080             a node port, from a node")]
    Ask(Ask),
    /// Answer in every pod, in the foreground: what `up` starts
    #[command(hide = true)]
    Answer(Chosen),
    /// Nodes and data paths, how fast pods reach each other, and what to try next (as `up` shows at its end)
    Show(Chosen),
    /// Run a command inside a node, a pod or the switch (`hub`)
    #[command(after_help = "\
Examples:
  weft lab exec n1-p1 -- ping -c 3 10.244.7.2
  weft lab exec n2 -- nft list ruleset
  weft lab exec hub -- etcdctl get --prefix /coreos.com/network
  weft lab exec n1                              (a shell)")]
    Exec(Exec),
    /// Take a lab away, whole or in ruins: its processes, namespaces, mounts and files
    Down(Down),
    /// The labs of this machine
    List,
    Nodes(nodes::Nodes),
}

#[derive(Debug, Args)]
struct Chosen {
    /// The lab
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAME)]
    name: LabName,
}

#[derive(Debug, Args)]
struct Report {
    #[command(flatten)]
    lab: Chosen,
    /// How to write it
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t = Form::Text)]
    output: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Tables for people
    Text,
    /// JSON for programs
    Json,
}

#[derive(Debug, Args)]
struct Exec {
    #[command(flatten)]
    lab: Chosen,
    /// A node (n1), a pod (n1-p2), or hub
    #[arg(value_name = "NODE|POD")]
    member: String,
    /// The command, after `--`; a shell when there is none
    #[arg(value_name = "CMD", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

#[derive(Debug, Args)]
struct Ask {
    #[command(flatten)]
    lab: Chosen,
    /// Who asks: a node (n1) or a pod (n1-p2)
    #[arg(value_name = "NODE|POD")]
    from: String,
    /// What is asked; tcp where no protocol is named
    #[arg(value_name = "ADDRESS:PORT[/tcp|/udp]")]
    target: Target,
    /// How often, 1 to 10000
    #[arg(short = 'n', long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    times: u16,
}

#[derive(Debug, Args)]
struct Down {
    #[command(flatten)]
    lab: Chosen,
    /// Every lab of this machine
    #[arg(long, conflicts_with = "name")]
    all: bool,
}

impl LabCli {
    /// Does what was asked; errors go to the standard error.
    pub fn run(self) -> ExitCode {
        crate::signals::many_files();
        let result = match self.command {
            Command::Up(up) => up.run(),
            Command::Status(report) => print_status(&report),
            Command::Check(report) => print_check(&report),
            Command::Ask(ask) => ask.run(),
            Command::Answer(chosen) => Lab::open(&chosen.name)
                .and_then(|lab| asking::answer::answer(&lab))
                .map(|()| ExitCode::SUCCESS),
            Command::Show(chosen) => Lab::open(&chosen.name).and_then(|lab| show::show(&lab)),
            Command::Exec(exec) => exec.run(),
            Command::Down(down) => down.run(),
            Command::List => list(),
            Command::Nodes(nodes) => nodes.run(),
        };
        result.unwrap_or_else(|error| fail(&error))
    }
}

fn print_status(report: &Report) -> Result<ExitCode, LabError> {
    let status = status::observe(&Lab::open(&report.lab.name)?)?;
    match report.output {
        Form::Text => print(&status.render()),
        Form::Json => print(&json(&status)?),
    }
    Ok(ExitCode::SUCCESS)
}

fn print_check(report: &Report) -> Result<ExitCode, LabError> {
    let lab = Lab::open(&report.lab.name)?;
    let (pairs, services) = (lab.check()?, lab.check_services()?);
    match report.output {
        Form::Text => {
            print(&crate::check::render(&report.lab.name, &pairs));
            let said = asking::render(&lab, &services);
            if !said.is_empty() {
                print(&format!("\n{said}"));
            }
        }
        Form::Json => print(&json(&serde_json::json!({ "pairs": pairs, "services": services }))?),
    }
    let passed = pairs.iter().all(PairResult::passed) && services.iter().all(Asked::passed);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Ask {
    fn run(self) -> Result<ExitCode, LabError> {
        let lab = Lab::open(&self.lab.name)?;
        let from = lab.member(&self.from)?;
        let ask = || (0..self.times).map(|_| asking::ask::ask(self.target)).collect::<Vec<_>>();
        let results = from.run(ask)?;
        print(&asking::asked(&self.from, &self.target, &results));
        if results.iter().all(Result::is_ok) {
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(command) = asking::explain_from(&lab, &self.from, &self.target)? {
            print(&format!("What should happen: {command}\n"));
        }
        Ok(ExitCode::FAILURE)
    }
}

impl Exec {
    fn run(self) -> Result<ExitCode, LabError> {
        let lab = Lab::open(&self.lab.name)?;
        let namespace = lab.member(&self.member)?;
        let shell = || std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned());
        let words = if self.command.is_empty() { vec![shell()] } else { self.command };
        // This very program, wherever it is.
        let program = match words[0].as_str() {
            "weft" => std::env::current_exe().unwrap_or_else(|_| "weft".into()),
            other => other.into(),
        };
        let mut command = namespace.command_with(&program, Sysfs::Remount);
        command.args(&words[1..]).env("ETCDCTL_API", "3");
        // Comes back only if it could not be started.
        let error = command.exec();
        let hint = match error.kind() {
            io::ErrorKind::NotFound => " (is it installed?)",
            _ => "",
        };
        telemetry::note!("weft: {}: {error}{hint}", words[0]);
        Ok(ExitCode::from(127))
    }
}

impl Down {
    fn run(self) -> Result<ExitCode, LabError> {
        if !nix::unistd::geteuid().is_root() {
            return Err(LabError::NotRoot);
        }
        let names = if self.all { state::list()? } else { vec![self.lab.name] };
        if names.is_empty() {
            print("there is no lab\n");
        }
        let mut code = ExitCode::SUCCESS;
        for name in names {
            match down::down(&name) {
                Ok(removed) => print(&format!(
                    "lab {name}: {} namespaces and {} processes are gone\n",
                    removed.namespaces, removed.processes
                )),
                // The others shall go all the same.
                Err(error) => code = fail(&error),
            }
        }
        Ok(code)
    }
}

fn list() -> Result<ExitCode, LabError> {
    let mut table = crate::table::Table::new(["LAB", "NODES", "PODS", "BACKEND", "SERVICES", "FILES"]);
    table.align_right([1, 2]);
    let names = state::list()?;
    for name in &names {
        let state = state::State::of(name);
        let files = state.directory().display().to_string();
        match state.load() {
            Ok(spec) => table.row([
                name.to_string(),
                spec.nodes.to_string(),
                (spec.nodes * spec.pods).to_string(),
                spec.backend.to_string(),
                spec.proxy.map_or_else(|| "-".to_owned(), |proxy| proxy.mode.to_string()),
                files,
            ]),
            Err(_) => {
                let ruins = format!("in ruins; `{} down --name {name}` removes it", call::lab());
                let unknown = std::iter::repeat_n("-".to_owned(), 4);
                table.row(std::iter::once(name.to_string()).chain(unknown).chain([ruins]));
            }
        }
    }
    if names.is_empty() {
        print(&format!("there is no lab; `{}` makes one\n", call::up()));
    } else {
        print(&table.to_string());
    }
    Ok(ExitCode::SUCCESS)
}

fn json(value: &impl serde::Serialize) -> Result<String, LabError> {
    let text = serde_json::to_string_pretty(value).map_err(|e| LabError::io("write", "JSON")(e.into()))?;
    Ok(text + "\n")
}

/// Writes to the standard output.
fn print(text: &str) {
    telemetry::put!("{text}");
}

/// Says what went wrong, with every cause.
fn fail(error: &LabError) -> ExitCode {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    telemetry::note!("weft lab: {text}");
    ExitCode::from(error.exit_status())
}

#[cfg(test)]
mod tests;
