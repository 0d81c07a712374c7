//! `weft lab up`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use ipnet::Ipv4Net;
use proxy::modes::{MODES, NAMES};

use super::terminal::Terminal;
use super::{DEFAULT_NAME, name_flag, print, show};
use crate::asking::{self, Asked};
use crate::call;
use crate::check::{self, PairResult};
use crate::error::LabError;
use crate::flanneld::{Binary, FlanneldOptions};
use crate::lab::Lab;
use crate::name::LabName;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::proxy::{ProxyOptions, SERVICE_CIDR};
use crate::signals::Signals;
use crate::spec::{Backend, Datapath, ProxyMode, Spec};

/// How long the nodes may take to hear of each other before a check that fails counts.
const SETTLE: Duration = Duration::from_secs(15);

/// Make a lab, check it, and say what to try
///
/// Makes the namespaces, starts etcd and a flanneld on every node, connects the pods, starts a service proxy on every
/// node and feeds it a service that the pods answer, proves that every pod reaches every other one and the service,
/// measures, and leaves the lab running. What an error or Ctrl-C leaves half made is removed again.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Up {
    /// Nodes, 1 to 200
    #[arg(long, value_name = "N", default_value_t = 3)]
    nodes: u16,
    /// Pods on each node, 0 to 200
    #[arg(long, value_name = "P", default_value_t = 2)]
    pods: u16,
    /// What carries packets between nodes: udp, vxlan or host-gw
    #[arg(long, value_name = "BACKEND", default_value_t = Backend::Udp)]
    backend: Backend,
    /// How the udp backend moves packets: auto, ebpf or simple
    #[arg(long, value_name = "PATH", default_value_t = Datapath::Auto)]
    datapath: Datapath,
    /// A name for the lab; several run side by side
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAME)]
    name: LabName,
    /// IPv6 beside IPv4, on the underlay and for the pods
    #[arg(long)]
    ipv6: bool,
    /// MTU of the underlay
    #[arg(long, value_name = "BYTES", default_value_t = 1500)]
    mtu: u32,
    /// Laid over the network config in etcd, key by key
    #[arg(long, value_name = "JSON", value_parser = json_object)]
    network_config: Option<serde_json::Value>,
    /// Another flanneld: a `weft`, or an original; with NODE= for one node only. May be repeated
    #[arg(long, value_name = "[NODE=]PATH")]
    flanneld: Vec<OnNode>,
    /// A flag for every flanneld, after those of the lab. May be repeated
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    flanneld_arg: Vec<String>,
    #[arg(long, value_name = "MODE", default_value = MODES[0].as_str(), value_parser = proxy_mode, help = format!(
        "How the service proxy of every node writes services into the kernel: {NAMES}, or none for no proxy"
    ))]
    proxy_mode: Mode,
    /// A flag for every service proxy, after those of the lab. May be repeated
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    proxy_arg: Vec<String>,
    /// Where ClusterIPs are from, apart from the pods' network; a length of 8 to 28
    #[arg(long, value_name = "CIDR", default_value_t = SERVICE_CIDR, value_parser = network)]
    service_cidr: Ipv4Net,
    /// Neither check nor measure when it is up
    #[arg(long)]
    quick: bool,
    /// Print what would be made, as commands of iproute2, and make nothing; needs no root
    #[arg(long)]
    plan: bool,
}

const EXAMPLES: &str = "\
Examples:
  weft lab up
  weft lab up --backend udp --datapath simple --name slow
  weft lab up --backend vxlan --network-config '{\"Backend\":{\"VNI\":7,\"DirectRouting\":true}}'
  weft lab up --flanneld n2=/opt/flannel/flanneld        (an original on n2 beside ours)
  weft lab up --flanneld-arg=-v=5 --mtu 9000
  weft lab up --proxy-mode iptables --proxy-arg=--masquerade-all
  weft lab up --plan";

fn network(word: &str) -> Result<Ipv4Net, String> {
    word.parse().map_err(|_| "want an IPv4 network such as 10.96.0.0/12".to_owned())
}

/// None is no proxy. (A type of its own, so that clap does not take the flag for one that may be left out.)
type Mode = Option<ProxyMode>;

fn proxy_mode(word: &str) -> Result<Mode, String> {
    match word {
        "none" => Ok(None),
        _ => word.parse().map(Some).map_err(|error| format!("{error}, none")),
    }
}

/// A program, for one node or for all.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OnNode {
    node: Option<String>,
    path: PathBuf,
}

impl std::str::FromStr for OnNode {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once('=') {
            Some((node, path)) if !node.contains('/') => {
                Self { node: Some(node.to_owned()), path: path.into() }
            }
            _ => Self { node: None, path: text.into() },
        })
    }
}

fn json_object(text: &str) -> Result<serde_json::Value, String> {
    match serde_json::from_str(text) {
        Ok(value @ serde_json::Value::Object(_)) => Ok(value),
        Ok(_) => Err("it has to be an object: {\"Backend\":{...}}".to_owned()),
        Err(error) => Err(format!("not JSON: {error}")),
    }
}

impl Up {
    /// What was asked for.
    pub(super) fn spec(&self) -> Spec {
        let options = |path: Option<&PathBuf>| FlanneldOptions {
            binary: path.map_or_else(Binary::default, |path| Binary::from_path(path.clone())),
            args: self.flanneld_arg.clone(),
            env: Vec::new(),
        };
        let everywhere = self.flanneld.iter().rfind(|on| on.node.is_none());
        let some = self.flanneld.iter().filter_map(|on| Some((on.node.clone()?, options(Some(&on.path)))));
        Spec {
            nodes: self.nodes,
            pods: self.pods,
            backend: self.backend,
            datapath: self.datapath,
            ipv6: self.ipv6,
            mtu: self.mtu,
            network_config: self.network_config.clone(),
            flanneld: Some(options(everywhere.map(|on| &on.path))),
            flanneld_on: some.collect(),
            proxy: self.proxy_mode.map(|mode| ProxyOptions {
                mode,
                args: self.proxy_arg.clone(),
                service_cidr: self.service_cidr,
                ..ProxyOptions::default()
            }),
            ..Spec::of(self.name.clone())
        }
    }

    pub(super) fn run(self) -> Result<ExitCode, LabError> {
        let spec = self.spec();
        spec.validate()?;
        if self.plan {
            let steps = Plan::of(&spec).steps;
            steps.iter().for_each(|step| print(&format!("{step}\n")));
            return Ok(ExitCode::SUCCESS);
        }
        let signals = Signals::listen()?;
        let mut terminal = Terminal::new(signals.cancelled());
        let lab = Lab::up(&spec, &mut terminal)?;
        // From here on an interruption ends the command and leaves the lab.
        let stays = format!("`{} down{}` removes it", call::lab(), name_flag(&spec.name));
        signals.end_at_once(&format!("the lab {} stays; {stays}", spec.name));
        if self.quick {
            terminal.say(&format!("the lab {} is up", spec.name));
            return Ok(ExitCode::SUCCESS);
        }
        if spec.pods > 0 {
            terminal.begin("every pod to every other");
            let results = lab.check_within(SETTLE)?;
            let passed = results.iter().filter(|result| result.passed()).count();
            terminal.done(&format!("{passed} of {} pairs get through", results.len()));
            if passed < results.len() {
                print(&check::render(&spec.name, &results));
            }
            let mut fine = results.iter().all(PairResult::passed);
            if spec.proxy.is_some() {
                fine &= check_services(&lab, &mut terminal)?;
            }
            if !fine {
                terminal.say(&format!("the lab stays as it is; {stays}"));
                return Ok(ExitCode::FAILURE);
            }
        }
        show::show_with(&lab, &mut terminal)
    }
}

/// Whether every pod and node reaches the service.
fn check_services(lab: &Lab, terminal: &mut Terminal) -> Result<bool, LabError> {
    terminal.begin("the service, from every pod and node");
    let results = lab.check_services_within(SETTLE)?;
    let (answered, asked) =
        results.iter().fold((0, 0), |(a, b), asked| (a + asked.answered(), b + asked.asked()));
    terminal.done(&format!("{answered} of {asked} answered"));
    print(&format!("\n{}", asking::render(lab, &results)));
    Ok(results.iter().all(Asked::passed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_for_all_or_for_one() {
        let on = |text: &str| text.parse::<OnNode>().unwrap();
        assert_eq!(
            on("n2=/opt/flanneld"),
            OnNode { node: Some("n2".to_owned()), path: "/opt/flanneld".into() }
        );
        assert_eq!(on("/opt/flanneld"), OnNode { node: None, path: "/opt/flanneld".into() });
        assert_eq!(on("/opt/a=b"), OnNode { node: None, path: "/opt/a=b".into() });
    }
}
