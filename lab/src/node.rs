//! A node of a lab and its pods: what one can do to them.

mod proxied;

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use host::netns::Namespace;
use nix::mount::{MsFlags, mount};
use nix::unistd::Pid;

use crate::error::LabError;
use crate::flanneld::{FlanneldOptions, HEALTH_PORT, Place};
use crate::plan::{NodePlan, POD_BRIDGE, PodNetwork, PodPlan};
use crate::wire::Wiring;
use host::programs::{self, Output, ProgramError, wait_for};
use host::programs::{Daemon, Signal};

pub(crate) use proxied::Proxied;

/// How long flanneld may take to make the bridge after it has written subnet.env.
const BRIDGE_LIMIT: Duration = Duration::from_secs(5);

/// How flanneld was started last, in the node's directory.
const OPTIONS: &str = "flanneld.json";

/// A node: a namespace with an underlay address, a place for flanneld, and pods behind it.
#[derive(Debug)]
pub struct Node {
    plan: NodePlan,
    namespace: Namespace,
    directory: PathBuf,
    etcd_endpoint: String,
    /// The underlay interface, where flanneld has to be told.
    iface: Option<&'static str>,
    flanneld: Daemon,
    proxy: Daemon,
    /// What the service proxies of this lab have in common.
    proxied: Proxied,
    pods: Vec<Pod>,
}

/// A pod: a namespace with one wire to its node's bridge.
#[derive(Debug)]
pub struct Pod {
    plan: PodPlan,
    node: String,
    namespace: Namespace,
}

impl Node {
    pub(crate) fn open(
        plan: NodePlan,
        directory: PathBuf,
        etcd_endpoint: &str,
        iface: Option<&'static str>,
        proxied: Proxied,
    ) -> Result<Self, LabError> {
        let namespace = Namespace::open(&plan.netns)?;
        fs::create_dir_all(&directory).map_err(LabError::io("create", &directory))?;
        let pods = plan.pods.iter().map(|pod| {
            let namespace = Namespace::open(&pod.netns)?;
            Ok(Pod { plan: pod.clone(), node: plan.name.clone(), namespace })
        });
        Ok(Self {
            pods: pods.collect::<Result<_, LabError>>()?,
            flanneld: Daemon::new(
                format!("flanneld on {}", plan.name),
                namespace.clone(),
                &directory,
                "flanneld",
            ),
            proxy: Daemon::new(format!("proxy on {}", plan.name), namespace.clone(), &directory, "proxy"),
            proxied,
            namespace,
            plan,
            directory,
            etcd_endpoint: etcd_endpoint.to_owned(),
            iface,
        })
    }

    /// `n1`.
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// Its address on the underlay, which it publishes to its peers.
    pub fn underlay(&self) -> Ipv4Addr {
        self.plan.underlay.addr()
    }

    /// Its addresses on the underlay, one of each family, IPv4 first.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let v6 = self.plan.underlay_ipv6.map(|net| IpAddr::V6(net.addr()));
        std::iter::once(IpAddr::V4(self.underlay())).chain(v6).collect()
    }

    /// Names and addresses that were planned for it.
    pub fn plan(&self) -> &NodePlan {
        &self.plan
    }

    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its files: subnet.env, flanneld.log, proxy.log, cni.conflist, bpf/.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// Runs a command on the node.
    ///
    /// # Errors
    /// It is not installed or runs over the limit. A command that fails is no error: see [`Output::ok`].
    pub fn exec<S: Into<String>>(
        &self,
        argv: impl IntoIterator<Item = S>,
        limit: Duration,
    ) -> Result<Output, ProgramError> {
        programs::run(&programs::inside(&self.namespace, argv).time_limit(limit))
    }

    /// Runs a command on the node that has to succeed within [`programs::LIMIT`]; gives its standard output.
    ///
    /// # Errors
    /// It fails.
    pub fn run<S: Into<String>>(&self, argv: impl IntoIterator<Item = S>) -> Result<String, ProgramError> {
        self.exec(argv, programs::LIMIT)?.ok()
    }

    /// Starts flanneld with the lab's flags and these. It may take a moment until it is ready:
    /// [`Node::wait_ready`].
    ///
    /// # Errors
    /// The program is missing, or one runs already.
    pub fn start_flanneld(&self, options: &FlanneldOptions) -> Result<Pid, LabError> {
        let program = options.binary.program()?;
        if options.binary.is_ours() {
            self.mount_bpf()?;
        }
        let place =
            Place { directory: &self.directory, etcd_endpoint: &self.etcd_endpoint, iface: self.iface };
        let path = self.directory.join(OPTIONS);
        let text = serde_json::to_string(options).map_err(|e| LabError::io("write", &path)(e.into()))?;
        fs::write(&path, text).map_err(LabError::io("write", &path))?;
        Ok(self.flanneld.start(&program, &options.argv(&place), &options.env)?)
    }

    /// Ends flanneld: SIGTERM for a clean end, SIGKILL for a crash. The exit status is known if this process
    /// started it.
    ///
    /// # Errors
    /// It does not end within [`host::programs::STOP_LIMIT`].
    pub fn stop_flanneld(&self, signal: Signal) -> Result<Option<ExitStatus>, ProgramError> {
        self.flanneld.stop(signal)
    }

    /// The daemon's process: pid, log, signals, exit status.
    pub fn flanneld(&self) -> &Daemon {
        &self.flanneld
    }

    /// flanneld's process, if it runs.
    pub fn flanneld_pid(&self) -> Option<Pid> {
        self.flanneld.pid()
    }

    /// How flanneld was started last; None if it never was.
    pub fn flanneld_options(&self) -> Option<FlanneldOptions> {
        let text = fs::read_to_string(self.directory.join(OPTIONS)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// All that flanneld has written, over all its lives.
    pub fn log(&self) -> String {
        self.flanneld.log()
    }

    /// An HTTP GET to flanneld's health port: the status and the body.
    ///
    /// # Errors
    /// Nobody answers.
    pub fn get(&self, path: &str) -> Result<(u16, String), LabError> {
        self.get_at(HEALTH_PORT, path)
    }

    fn get_at(&self, port: u16, path: &str) -> Result<(u16, String), LabError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        programs::get(&self.namespace, address, path).map_err(|error| LabError::Protocol {
            what: format!("http://{address}{path} on {}", self.plan.name),
            reason: error.to_string(),
        })
    }

    /// The text of flanneld's `/metrics`. An original has none.
    ///
    /// # Errors
    /// Nobody answers, or not with 200.
    pub fn metrics(&self) -> Result<String, LabError> {
        match self.get("/metrics")? {
            (200, text) => Ok(text),
            (status, text) => Err(LabError::Protocol {
                what: format!("/metrics on {}", self.plan.name),
                reason: format!("status {status}: {}", text.trim()),
            }),
        }
    }

    /// What flanneld wrote for Docker and CNI plugins; None before it has.
    pub fn subnet_env(&self) -> Option<SubnetEnv> {
        fs::read_to_string(self.directory.join("subnet.env")).ok().map(SubnetEnv::parse)
    }

    /// Whether flanneld says that it is ready, and has written where the pods go. Originals of before 0.29 do not say
    /// it: they are ready when they have written that file in this life of theirs.
    pub fn is_ready(&self) -> bool {
        match self.get("/readyz") {
            Ok((200, _)) => self.subnet_env().is_some(),
            Ok((404, _)) => self.has_written_since_its_start(),
            _ => false,
        }
    }

    fn has_written_since_its_start(&self) -> bool {
        let written = |name: &str| fs::metadata(self.directory.join(name)).and_then(|file| file.modified());
        // The options are written just before each start.
        matches!((written("subnet.env"), written(OPTIONS)), (Ok(env), Ok(start)) if env > start)
    }

    /// Waits for [`Node::is_ready`].
    ///
    /// # Errors
    /// flanneld ended, or is not ready within the limit: both with the end of its log.
    pub fn wait_ready(&self, limit: Duration) -> Result<SubnetEnv, LabError> {
        let ready = wait_for(Instant::now() + limit, || match self.is_ready() {
            true => Ok(self.subnet_env()),
            false if self.flanneld.pid().is_none() => Err(LabError::from(self.flanneld.died())),
            false => Ok(None),
        })?;
        ready.ok_or_else(|| self.not_ready(limit))
    }

    pub(crate) fn not_ready(&self, waited: Duration) -> LabError {
        let reason = format!("the end of its log:\n{}", self.flanneld.log_tail(15));
        LabError::NotReady { what: self.flanneld.what().to_owned(), waited, reason }
    }

    /// Puts the node's pods where its subnet.env says, again if they had a place. The bridge is flanneld's, or made
    /// here for an original, which makes none.
    ///
    /// # Errors
    /// There is no subnet.env, no bridge, or no room.
    pub fn connect_pods(&self) -> Result<(), LabError> {
        let network = self.subnet_env().ok_or_else(|| self.not_ready(Duration::ZERO))?.pod_network()?;
        if !self.flanneld_options().is_some_and(|options| options.binary.is_ours()) {
            return self.connect_pods_to(&network);
        }
        let mut wiring = Wiring::new()?;
        let bridge = wait_for(Instant::now() + BRIDGE_LIMIT, || {
            let addresses = wiring.addresses(&self.plan.netns, POD_BRIDGE)?.unwrap_or_default();
            Ok::<_, LabError>(network.gateways().iter().all(|net| addresses.contains(net)).then_some(()))
        })?;
        bridge.ok_or_else(|| LabError::NotReady {
            what: format!("the bridge {POD_BRIDGE} of {}, with an address of its subnet", self.plan.name),
            waited: BRIDGE_LIMIT,
            reason: format!("the end of flanneld's log:\n{}", self.flanneld.log_tail(15)),
        })?;
        self.wire_pods(&mut wiring, &network, false)
    }

    /// Puts the node's pods into a network of the caller's choice behind a bridge that is made for it, without any
    /// flanneld. Replaces a bridge with other addresses.
    ///
    /// # Errors
    /// No room for the pods.
    pub fn connect_pods_to(&self, network: &PodNetwork) -> Result<(), LabError> {
        let mut wiring = Wiring::new()?;
        let addresses = wiring.addresses(&self.plan.netns, POD_BRIDGE)?.unwrap_or_default();
        let fits = network.gateways().iter().all(|net| addresses.contains(net));
        if !fits {
            wiring.remove_link(&self.plan.netns, POD_BRIDGE)?;
        }
        self.wire_pods(&mut wiring, network, !fits)
    }

    fn wire_pods(&self, wiring: &mut Wiring, network: &PodNetwork, bridge: bool) -> Result<(), LabError> {
        let steps = self.plan.pod_steps(network, bridge)?;
        for pod in &self.pods {
            wiring.remove_link(&self.plan.netns, &pod.plan.port)?;
        }
        wiring.apply_all(&steps)?;
        let path = self.directory.join("pods.json");
        let text = serde_json::to_string(network).map_err(|e| LabError::io("write", &path)(e.into()))?;
        fs::write(&path, text).map_err(LabError::io("write", &path))
    }

    /// Where its pods were put; None before they were.
    pub fn pods_network(&self) -> Option<PodNetwork> {
        serde_json::from_str(&fs::read_to_string(self.directory.join("pods.json")).ok()?).ok()
    }

    /// The addresses of one of its pods, IPv4 first.
    ///
    /// # Errors
    /// The pod is not connected.
    pub fn pod_addresses(&self, pod: &Pod) -> Result<Vec<IpAddr>, LabError> {
        let network = self.pods_network().ok_or_else(|| LabError::NotReady {
            what: format!("the pod {}", pod.name()),
            waited: Duration::ZERO,
            reason: "it is not connected: its node has had no subnet yet".to_owned(),
        })?;
        Ok(network.addresses(pod.plan.index)?.iter().map(|net| net.addr()).collect())
    }

    /// A BPF file system of the node's own, for what flanneld pins.
    fn mount_bpf(&self) -> Result<(), LabError> {
        let point = self.directory.join("bpf");
        fs::create_dir_all(&point).map_err(LabError::io("create", &point))?;
        if crate::down::mounts_below(&point)?.is_empty() {
            mount(Some("bpf"), &point, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
                .map_err(|errno| LabError::io("mount a BPF file system on", &point)(errno.into()))?;
        }
        Ok(())
    }
}

impl Pod {
    /// `n1-p1`.
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// The name of its node.
    pub fn node(&self) -> &str {
        &self.node
    }

    pub fn plan(&self) -> &PodPlan {
        &self.plan
    }

    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Runs a command in the pod, as [`Node::exec`].
    ///
    /// # Errors
    /// It is not installed or runs over the limit.
    pub fn exec<S: Into<String>>(
        &self,
        argv: impl IntoIterator<Item = S>,
        limit: Duration,
    ) -> Result<Output, ProgramError> {
        programs::run(&programs::inside(&self.namespace, argv).time_limit(limit))
    }

    /// Runs a command in the pod that has to succeed, as [`Node::run`].
    ///
    /// # Errors
    /// It fails.
    pub fn run<S: Into<String>>(&self, argv: impl IntoIterator<Item = S>) -> Result<String, ProgramError> {
        self.exec(argv, programs::LIMIT)?.ok()
    }
}

/// The file that flanneld writes for Docker and CNI plugins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubnetEnv {
    /// The file, byte for byte.
    pub text: String,
    values: BTreeMap<String, String>,
}

impl SubnetEnv {
    /// Reads `KEY=VALUE` lines and keeps the text.
    pub fn parse(text: String) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let values = pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect();
        Self { text, values }
    }

    /// A value by its whole key: `FLANNEL_SUBNET`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// Where the pods of this node live.
    ///
    /// # Errors
    /// A subnet or an MTU that is missing or cannot be read.
    pub fn pod_network(&self) -> Result<PodNetwork, LabError> {
        let bad = |key: &str| LabError::Protocol {
            what: "subnet.env".to_owned(),
            reason: format!("{key} is missing or unreadable in:\n{}", self.text),
        };
        let gateway = self.get("FLANNEL_SUBNET").and_then(|text| text.parse().ok());
        let gateway_ipv6 = match self.get("FLANNEL_IPV6_SUBNET") {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| bad("FLANNEL_IPV6_SUBNET"))?),
        };
        let mtu = self.get("FLANNEL_MTU").and_then(|text| text.parse().ok());
        Ok(PodNetwork {
            gateway: gateway.ok_or_else(|| bad("FLANNEL_SUBNET"))?,
            gateway_ipv6,
            mtu: mtu.ok_or_else(|| bad("FLANNEL_MTU"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnet_env_says_where_the_pods_go() {
        let text = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.7.1/24\n\
                    FLANNEL_IPV6_SUBNET=fd00:244:0:7::1/64\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
        let network = SubnetEnv::parse(text.to_owned()).pod_network().unwrap();
        assert_eq!(network.gateway.to_string(), "10.244.7.1/24");
        assert_eq!(network.gateway_ipv6.unwrap().to_string(), "fd00:244:0:7::1/64");
        assert_eq!(network.mtu, 1450);
        let error = SubnetEnv::parse("FLANNEL_MTU=1450\n".to_owned()).pod_network().unwrap_err();
        assert!(error.to_string().contains("FLANNEL_SUBNET is missing"));
    }
}
