//! The command line of `weft bench`, and what its commands have in common.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::overlay::Overlay;
use super::proxy::Proxy;
use lab::LabError;

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
}

/// Where results go, and where earlier ones come from.
#[derive(Debug, Args)]
pub struct Files {
    /// Write everything measured as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Print (and write, and draw) the results of an earlier run, its --json, instead of measuring
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

impl Files {
    /// The earlier run that was asked for.
    pub fn earlier<R: DeserializeOwned>(&self) -> Result<Option<R>, LabError> {
        let Some(file) = &self.from else { return Ok(None) };
        let text = fs::read_to_string(file).map_err(LabError::io("read", file))?;
        serde_json::from_str(&text).map(Some).map_err(|error| LabError::io("read", file)(error.into()))
    }

    /// Writes a report, where one was asked for.
    pub fn write<R: Serialize>(&self, report: &R) -> Result<(), LabError> {
        let Some(file) = &self.json else { return Ok(()) };
        let text = serde_json::to_string_pretty(report).map_err(|e| LabError::io("write", file)(e.into()))?;
        fs::write(file, text + "\n").map_err(LabError::io("write", file))
    }
}

/// Where scripts/peers puts the originals, seen from the checkout.
pub const PEERS: &str = "peers/bin";

/// An original, where it was built.
pub fn peer(folder: Option<&Path>, name: &str) -> Option<PathBuf> {
    Some(folder.unwrap_or(Path::new(PEERS)).join(name)).filter(|program| program.is_file())
}

impl BenchCli {
    /// Runs the command and says what went wrong on standard error.
    pub fn run(self) -> ExitCode {
        let outcome = match self.command {
            Command::Overlay(overlay) => overlay.run(),
            Command::Proxy(proxy) => proxy.run(),
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
