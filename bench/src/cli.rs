//! The command line of `weft bench`, and what its commands have in common.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::api::Api;
use super::controllers::Controllers;
use super::overlay::Overlay;
use super::proxy::Proxy;
use super::repairs::Repairs;
use super::scheduler::Scheduler;

/// `weft bench ...`
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct BenchCli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Packet paths between two nodes: direct, host-gw, vxlan, udp, and the original flanneld
    ///
    /// Makes a lab of two nodes for every path, measures all of them in turn in every repetition, prints medians with
    /// their spread and the ratio to the bare wire, and removes the labs. Needs root and a quiet machine. Where the
    /// original flanneld was built (scripts/peers) it runs in the same table.
    Overlay(Overlay),
    /// Service proxies: ours and kube-proxy, with nftables and both flavours of iptables
    ///
    /// Starts each proxy on a fresh node before 100 to 30,000 services, measures its start, a change of an endpoint,
    /// memory, CPU and connections, prints medians with their spread and the ratios to kube-proxy and to a direct
    /// connection. Needs root and a quiet machine. Where kube-apiserver and kube-proxy were built (scripts/peers) all
    /// get their objects from one API server; without, ours is fed from a directory.
    Proxy(Proxy),
    /// API servers: ours and kube-apiserver, and etcd alone
    ///
    /// Starts each over an etcd of its own, measures its start, memory, requests of 1, 16 and 64 clients, lists of 10,000
    /// pods and the way of a write to 1,000 watchers, prints medians with their spread and the ratios to kube-apiserver,
    /// and says which goals were reached. Needs openssl, etcd and a quiet machine, but not root, and takes ten minutes.
    /// Where kube-apiserver and etcd 3.6 were built (scripts/peers) they are used; without, ours is measured over the
    /// etcd on the PATH.
    Api(Box<Api>),
    /// Schedulers: ours and kube-scheduler, on ours and on kube-apiserver
    ///
    /// Starts each on an API server of its own, gives it workloads of upstream's scheduler_perf, measures pods a second, the
    /// time from a pod's creation until it is bound, CPU and memory, prints medians with their spread and the ratios to
    /// the originals, and says which goals were reached. Needs openssl, etcd and a quiet machine, but not root, and
    /// takes half an hour. Where kube-apiserver, kube-scheduler and etcd 3.6 were built (scripts/peers) they are used.
    Scheduler(Box<Scheduler>),
    /// Controllers: ours and kube-controller-manager, on ours and on kube-apiserver
    ///
    /// Starts each on an API server of its own, gives it a Deployment, a rolling update, a namespace to delete, Services and
    /// Jobs, measures objects a second, CPU, writes and memory, at rest too, prints medians with their spread and the ratios
    /// to the originals, and says which goals were reached. Needs openssl, etcd and a quiet machine, but not root, and takes
    /// an hour. Where kube-apiserver, kube-controller-manager, kube-scheduler and etcd 3.6 were built (scripts/peers) they
    /// are used.
    Controllers(Box<Controllers>),
    /// Repairs: how long flanneld takes to restore what somebody has deleted or changed
    ///
    /// Makes a lab of two nodes with vxlan, damages routes, neighbours, FDB entries, addresses, the tunnel's link and the
    /// firewall in turn in every repetition, waits until all is as it was, and prints medians with their spread. Needs
    /// root and a quiet machine.
    Repairs(Repairs),
}

impl BenchCli {
    /// Runs the command and says what went wrong on standard error.
    pub fn run(self) -> ExitCode {
        let outcome = match self.command {
            Command::Overlay(overlay) => overlay.run(),
            Command::Proxy(proxy) => proxy.run(),
            Command::Api(api) => api.run(),
            Command::Scheduler(scheduler) => scheduler.run(),
            Command::Controllers(controllers) => controllers.run(),
            Command::Repairs(repairs) => repairs.run(),
        };
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                telemetry::note!("error: {error}");
                let mut cause = std::error::Error::source(&error);
                while let Some(error) = cause {
                    telemetry::note!("  {error}");
                    cause = error.source();
                }
                ExitCode::from(error.exit_status())
            }
        }
    }
}
