//! `weft explain`, `weft proxy render`, `weft proxy diff`: the commands around [`proxy::tools`].

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use proxy::options::{self, Machine, Options};
use proxy::tools::{Question, World};

/// The rules did not match: as diff(1) has it.
const DIFFERENT: u8 = 1;
/// No answer.
const TROUBLE: u8 = 2;

/// Where the objects are, and what of the proxy's own flags decides about packets.
#[derive(Debug, Args)]
struct Around {
    /// Files with Services, EndpointSlices, Nodes and ServiceCIDRs (needs no root)
    #[arg(long, value_name = "DIR", conflicts_with = "kubeconfig")]
    feed_dir: Option<PathBuf>,
    /// How to reach the API server
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Name of the node; otherwise this host's, or that of the only Node there is
    #[arg(long, visible_alias = "hostname-override", value_name = "NAME")]
    node: Option<String>,
    /// The node's own addresses; otherwise those of its Node object
    #[arg(long, value_name = "IP,IP")]
    node_ips: Option<String>,
    /// Networks of the pods
    #[arg(long, value_name = "CIDR,CIDR")]
    cluster_cidr: Option<String>,
    /// How a pod's packet is known: ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix
    #[arg(long, value_name = "MODE")]
    detect_local_mode: Option<String>,
    /// The interface of BridgeInterface
    #[arg(long, value_name = "NAME")]
    pod_bridge_interface: Option<String>,
    /// The beginning of names for InterfaceNamePrefix
    #[arg(long, value_name = "PREFIX")]
    pod_interface_name_prefix: Option<String>,
    /// Masquerade all traffic to ClusterIPs
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    masquerade_all: Option<bool>,
    /// Where node ports are served: networks, or primary
    #[arg(long, value_name = "CIDR,CIDR")]
    nodeport_addresses: Option<String>,
    /// Whether node ports are served on 127.0.0.1 (iptables mode)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    iptables_localhost_nodeports: Option<bool>,
    #[arg(help = proxy::modes::NAMES, long, visible_alias = "mode", value_name = "MODE")]
    proxy_mode: Option<String>,
}

impl Around {
    /// Read as the proxy reads its command line, so that they mean the same.
    fn options(&self) -> anyhow::Result<Options> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let truth = |truth: Option<bool>| truth.map(|truth| truth.to_string());
        let flags = [
            ("feed-dir", path(&self.feed_dir)),
            ("kubeconfig", path(&self.kubeconfig)),
            ("hostname-override", self.node.clone()),
            ("node-ips", self.node_ips.clone()),
            ("cluster-cidr", self.cluster_cidr.clone()),
            ("detect-local-mode", self.detect_local_mode.clone()),
            ("pod-bridge-interface", self.pod_bridge_interface.clone()),
            ("pod-interface-name-prefix", self.pod_interface_name_prefix.clone()),
            ("masquerade-all", truth(self.masquerade_all)),
            ("nodeport-addresses", self.nodeport_addresses.clone()),
            ("iptables-localhost-nodeports", truth(self.iptables_localhost_nodeports)),
            ("proxy-mode", self.proxy_mode.clone()),
        ];
        let given = flags.into_iter().filter_map(|(name, value)| Some(format!("--{name}={}", value?)));
        Ok(options::resolve(&given.collect::<Vec<_>>(), &Machine)?)
    }

    async fn world(&self) -> anyhow::Result<(World, Options)> {
        let options = self.options()?;
        let world = World::read(&options).await?;
        for trouble in &world.troubles {
            telemetry::note!("{trouble}");
        }
        Ok((world, options))
    }
}

/// `weft explain`.
#[derive(Debug, Args)]
pub struct ExplainCli {
    #[command(flatten)]
    around: Around,
    /// How to answer
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// The first packet of a connection, such as '10.244.1.7 -> 10.96.0.10:80/tcp'
    #[arg(value_name = "SRC -> DST:PORT/PROTO")]
    packet: Question,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Text,
    Json,
}

impl ExplainCli {
    pub fn run(self) -> ExitCode {
        finish("weft explain", async {
            let (world, _) = self.around.world().await?;
            let answer = proxy::tools::explain(&world, &self.packet);
            match self.output {
                Output::Text => telemetry::put!("{answer}"),
                Output::Json => telemetry::say!("{:#}", answer.json()),
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// `weft proxy render` and `weft proxy diff`; everything else behind `weft proxy` is the proxy's own.
#[derive(Debug, Args)]
pub struct ProxyCli {
    #[command(subcommand)]
    tool: Option<ProxyTool>,
}

#[derive(Debug, Subcommand)]
enum ProxyTool {
    /// Print the rules that the proxy would write
    Render(Around),
    /// Print what a proxy would change in the kernel now; exit status 1 where that is something
    Diff(Around),
}

impl ProxyCli {
    pub fn run(self) -> ExitCode {
        match self.tool {
            // Taken by name before this parser; listed here for the help text.
            None => proxy::main(&[]),
            Some(ProxyTool::Render(around)) => finish("weft proxy render", async {
                let (world, options) = around.world().await?;
                telemetry::put!("{}", proxy::tools::render(&world, &options));
                Ok(ExitCode::SUCCESS)
            }),
            Some(ProxyTool::Diff(around)) => finish("weft proxy diff", async {
                let (world, options) = around.world().await?;
                let difference = proxy::tools::diff(&world, &options)?;
                telemetry::put!("{}", difference.text);
                Ok(if difference.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
            }),
        }
    }
}

fn finish(name: &str, work: impl Future<Output = anyhow::Result<ExitCode>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.context("cannot start").and_then(|runtime| runtime.block_on(work));
    // An exit status of 1 is an answer here.
    let outcome = outcome.map(|code| match telemetry::output::failure() {
        Some(_) => ExitCode::from(TROUBLE),
        None => code,
    });
    outcome.unwrap_or_else(|error| {
        telemetry::note!("{name}: {error:#}");
        ExitCode::from(TROUBLE)
    })
}
