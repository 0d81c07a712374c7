//! Weft's own commands.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::services;

/// Pod networking for Linux hosts, and labs to see it work.
///
/// Weft speaks flannel's protocols: a node that runs `weft flanneld` joins a cluster of flannel nodes, and
/// leaves it again, without the others noticing.
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
            Command::Explain(explain) => explain.run(),
            Command::Lab(lab) => lab.run(),
            Command::Bench(bench) => bench.run(),
        }
    }
}
