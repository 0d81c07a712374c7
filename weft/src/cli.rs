//! Weft's own commands.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{control, services};

/// Pod networking, services and the Kubernetes API for Linux hosts, and labs to see it work.
///
/// Weft speaks the originals' protocols: `weft flanneld`, `weft proxy`, `weft apiserver` and `weft scheduler` take the places of
/// flanneld, kube-proxy, kube-apiserver and kube-scheduler, one at a time, and leave them again.
#[derive(Debug, Parser)]
#[command(name = "weft", version, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Overlay network daemon with flannel's flags (`weft flanneld --help`); also by the name `flanneld`
    ///
    /// Leases a subnet for this node from etcd and carries the pods' packets to the other nodes.
    Flanneld,
    /// Docker options from subnet.env (`weft docker-opts --help`); also by the name `mk-docker-opts.sh`
    DockerOpts,
    /// Service proxy with kube-proxy's flags (`weft proxy --help`); also by the name `kube-proxy`
    ///
    /// Has the kernel carry packets to Services to their endpoints. `weft proxy render --help` and
    /// `weft proxy diff --help` show what it would write, and what the kernel lacks of it.
    Proxy(services::ProxyCli),
    /// Kubernetes API server with kube-apiserver's flags (`weft apiserver --help`); also by the name `kube-apiserver`
    ///
    /// Serves the API over an etcd that you run, beside or in place of kube-apiserver.
    Apiserver,
    /// Scheduler with kube-scheduler's flags (`weft scheduler --help`); also by the name `kube-scheduler`
    ///
    /// Binds pods to nodes, over any Kubernetes API, beside or in place of kube-scheduler.
    Scheduler,
    /// Controllers with kube-controller-manager's flags (`weft controller-manager --help`); also by the name
    /// `kube-controller-manager`
    ///
    /// Keeps true what is asked for: Deployments, Services, namespaces and others, at any API server, ours or the original.
    ControllerManager,
    /// A control plane of this one machine: etcd, keys, the Kubernetes API, its controllers and scheduler
    ///
    /// Makes what it needs at the first start, and says what to type next. Ctrl-C ends all of it; the state stays in
    /// --data-dir.
    Control(control::ControlCli),
    /// Where would this packet go, and why?
    Explain(services::ExplainCli),
    /// Many nodes on this one machine, with pods on each, in network namespaces
    Lab(lab::cli::LabCli),
    /// Measure packet paths side by side
    Bench(bench::BenchCli),
}

impl Cli {
    pub fn run(self) -> ExitCode {
        match self.command {
            // Taken by name before this parser; listed here for the help text.
            Command::Flanneld => flanneld::main(&[]),
            Command::DockerOpts => crate::docker_opts::main(&[]),
            Command::Proxy(tool) => tool.run(),
            Command::Apiserver => control_apiserver::program::main(&[]),
            Command::Scheduler => control_scheduler::program::main(&[]),
            Command::ControllerManager => control_controllers::program::main(&[]),
            Command::Control(control) => control.run(),
            Command::Explain(explain) => explain.run(),
            Command::Lab(lab) => lab.run(),
            Command::Bench(bench) => bench.run(),
        }
    }
}
