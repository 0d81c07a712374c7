//! What a person looks at: nodes, leases, pods, the data path in use, counters.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;

use crate::error::LabError;
use crate::etcd::NetworkKeys;
use crate::lab::Lab;
use crate::node::Node;
use crate::services::{Listing, Services};
use crate::table::Table;
use telemetry::samples::{self, Sample};

/// A lab at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    pub name: String,
    pub backend: String,
    pub etcd: EtcdStatus,
    pub nodes: Vec<NodeStatus>,
    pub pods: Vec<PodStatus>,
    pub leases: Vec<LeaseStatus>,
    /// None where the lab has no service proxies.
    pub services: Option<ServicesStatus>,
}

/// What the service proxies are fed, and the process that answers in the pods.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServicesStatus {
    #[serde(flatten)]
    pub listing: Listing,
    /// None where it has ended.
    pub answers_pid: Option<i32>,
    /// Whether there are pods that could answer.
    pub has_pods: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EtcdStatus {
    pub endpoint: String,
    pub pid: Option<i32>,
    pub healthy: bool,
    /// What stands under the key of the network config.
    pub network_config: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeStatus {
    pub name: String,
    pub underlay: String,
    /// `weft`, `original`, or None when none was started.
    pub flanneld: Option<&'static str>,
    pub pid: Option<i32>,
    pub ready: bool,
    pub subnet: Option<String>,
    pub mtu: Option<u32>,
    /// What moves the packets: `ebpf`, `simple`, `kernel` ...
    pub datapath: Option<String>,
    pub peers: Vec<PeerStatus>,
    /// Packets that the node's data path dropped, by reason; those with none are left out.
    pub drops: BTreeMap<String, f64>,
    /// None when no proxy was started.
    pub proxy: Option<ProxyStatus>,
}

/// The service proxy of a node.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProxyStatus {
    /// In force, as it says itself; as it was started, where it does not answer.
    pub mode: String,
    pub pid: Option<i32>,
    /// Whether its first complete pass is done.
    pub ready: bool,
    /// The status of its `/healthz`; None where nobody answers.
    pub healthz: Option<u16>,
    /// Passes that failed, since its start.
    pub failures: f64,
    /// New connections to services, since its start; None where its mode does not count them.
    pub connections: Option<f64>,
}

/// What a node counts about another one. The keys are the names of the metrics without what they all begin with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PeerStatus {
    pub peer: String,
    /// The node that has this address, if it is one of the lab's.
    pub node: Option<String>,
    pub values: BTreeMap<String, f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PodStatus {
    pub name: String,
    pub node: String,
    pub addresses: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LeaseStatus {
    /// The key: `10.244.7.0-24`.
    pub subnet: String,
    pub node: Option<String>,
    pub public_ip: Option<String>,
    /// udp publishes none.
    pub backend_type: Option<String>,
    /// The whole value, as it stands in etcd.
    pub value: String,
}

/// Looks at everything. What does not answer is shown as such.
///
/// # Errors
/// etcd answers, but not as we know it.
pub fn observe(lab: &Lab) -> Result<Status, LabError> {
    let node_of: BTreeMap<String, String> =
        lab.nodes().iter().map(|node| (node.underlay().to_string(), node.name().to_owned())).collect();
    let healthy = lab.etcd().is_healthy();
    let (mut leases, mut network_config) = (Vec::new(), None);
    if healthy {
        leases = lab.etcd().leases()?.into_iter().map(|(key, value)| lease(key, value, &node_of)).collect();
        let key = format!("{}/config", crate::etcd::PREFIX);
        network_config = lab.etcd().list(&key)?.into_iter().next().map(|(_, value)| value);
    }
    let etcd = EtcdStatus {
        endpoint: lab.etcd().endpoint().to_owned(),
        pid: lab.etcd().pid().map(nix::unistd::Pid::as_raw),
        healthy,
        network_config,
    };
    let pods = lab.nodes().iter().flat_map(|node| {
        node.pods().iter().map(|pod| {
            let addresses = node.pods_network().and_then(|network| network.addresses(pod.plan().index).ok());
            let addresses = addresses.unwrap_or_default().iter().map(|net| net.addr().to_string()).collect();
            PodStatus { name: pod.name().to_owned(), node: node.name().to_owned(), addresses }
        })
    });
    Ok(Status {
        name: lab.spec().name.to_string(),
        backend: lab.spec().backend.to_string(),
        etcd,
        nodes: lab.nodes().iter().map(|node| observe_node(node, &node_of)).collect(),
        pods: pods.collect(),
        leases,
        services: lab.services().map(|services| observe_services(lab, services)).transpose()?,
    })
}

fn observe_services(lab: &Lab, services: &Services) -> Result<ServicesStatus, LabError> {
    Ok(ServicesStatus {
        listing: Listing::read(services.directory())?,
        answers_pid: services.answers().pid().map(nix::unistd::Pid::as_raw),
        has_pods: lab.spec().pods > 0,
    })
}

fn observe_proxy(node: &Node) -> Option<ProxyStatus> {
    let options = node.proxy_options()?;
    let told = node.get_proxy("/proxyMode").ok().filter(|(status, _)| *status == 200);
    let samples = node.get_proxy("/metrics").map(|(_, text)| samples::parse(&text)).unwrap_or_default();
    let failures = samples
        .iter()
        .filter(|s| s.name.ends_with("_failures_total"))
        .map(|s| s.value)
        .fold(0.0, |a, b| a + b);
    let counted = |s: &&Sample| s.name == "weft_proxy_service_connections_total";
    let connections: Vec<f64> = samples.iter().filter(counted).map(|s| s.value).collect();
    Some(ProxyStatus {
        mode: told.map_or_else(|| options.mode.to_string(), |(_, mode)| mode),
        pid: node.proxy().pid().map(nix::unistd::Pid::as_raw),
        ready: node.is_proxy_ready(),
        healthz: node.proxy_health().ok().map(|(status, _)| status),
        failures,
        connections: (!connections.is_empty()).then(|| connections.iter().sum()),
    })
}

fn observe_node(node: &Node, node_of: &BTreeMap<String, String>) -> NodeStatus {
    let samples = node.metrics().map(|text| samples::parse(&text)).unwrap_or_default();
    let env = node.subnet_env();
    let network = env.as_ref().and_then(|env| env.pod_network().ok());
    let flanneld = node.flanneld_options().map(|o| if o.binary.is_ours() { "weft" } else { "original" });
    NodeStatus {
        name: node.name().to_owned(),
        underlay: node.underlay().to_string(),
        flanneld,
        pid: node.flanneld_pid().map(nix::unistd::Pid::as_raw),
        ready: node.is_ready(),
        subnet: network.map(|network| network.gateway.trunc().to_string()),
        mtu: network.map(|network| network.mtu),
        datapath: datapath(&samples),
        peers: peers(&samples, node_of),
        drops: drops(&samples),
        proxy: observe_proxy(node),
    }
}

/// The label `datapath` of whichever metric has one and is not 0.
fn datapath(samples: &[Sample]) -> Option<String> {
    samples.iter().filter(|s| s.value != 0.0).find_map(|s| s.label("datapath")).map(str::to_owned)
}

fn peers(samples: &[Sample], node_of: &BTreeMap<String, String>) -> Vec<PeerStatus> {
    let mut found: BTreeMap<&str, BTreeMap<String, f64>> = BTreeMap::new();
    for sample in samples {
        let (Some(peer), Some((_, what))) = (sample.label("peer"), sample.name.split_once("_peer_")) else {
            continue;
        };
        let what = what.strip_suffix("_total").unwrap_or(what);
        *found.entry(peer).or_default().entry(what.to_owned()).or_default() += sample.value;
    }
    let named = |(peer, values): (&str, _)| PeerStatus {
        node: node_of.get(peer).cloned(),
        peer: peer.to_owned(),
        values,
    };
    found.into_iter().map(named).collect()
}

fn drops(samples: &[Sample]) -> BTreeMap<String, f64> {
    let dropped = samples.iter().filter(|s| s.name.contains("drop") && s.value > 0.0);
    let mut drops = BTreeMap::new();
    for sample in dropped {
        let reason = sample.label("reason").unwrap_or(&sample.name);
        *drops.entry(reason.to_owned()).or_default() += sample.value;
    }
    drops
}

fn lease(subnet: String, value: String, node_of: &BTreeMap<String, String>) -> LeaseStatus {
    let attributes: Value = serde_json::from_str(&value).unwrap_or(Value::Null);
    let text = |key: &str| attributes.get(key).and_then(Value::as_str).map(str::to_owned);
    let public_ip = text("PublicIP");
    LeaseStatus {
        node: public_ip.as_ref().and_then(|ip| node_of.get(ip)).cloned(),
        backend_type: text("BackendType"),
        subnet,
        public_ip,
        value,
    }
}

impl Status {
    /// The tables of `weft lab status`.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let etcd = match (self.etcd.pid, self.etcd.healthy) {
            (Some(pid), true) => format!("healthy (process {pid})"),
            (Some(pid), false) => format!("does not answer (process {pid})"),
            (None, _) => "not running".to_owned(),
        };
        let _ = writeln!(text, "lab {}: etcd at {} is {etcd}", self.name, self.etcd.endpoint);
        let config = self.etcd.network_config.as_deref().unwrap_or("unknown");
        let _ = writeln!(text, "network config: {config}\n");
        let tables = [self.node_table(), self.lease_table(), self.pod_table(), self.peer_table()];
        for table in tables.into_iter().chain([self.proxy_table(), self.service_table()]).flatten() {
            let _ = writeln!(text, "{table}");
        }
        if let Some(services) = &self.services {
            let _ = writeln!(text, "services come from {}", services.listing.directory);
            for problem in &services.listing.problems {
                let _ = writeln!(text, "left out: {problem}");
            }
            if services.has_pods && services.answers_pid.is_none() {
                let _ =
                    writeln!(text, "the process that answers in the pods has ended: no service is answered");
            }
        }
        for node in self.nodes.iter().filter(|node| !node.drops.is_empty()) {
            let drops: Vec<String> = node.drops.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
            let _ = writeln!(text, "{} dropped: {}", node.name, drops.join(", "));
        }
        text
    }

    fn node_table(&self) -> Option<Table> {
        let mut table = Table::new(["NODE", "UNDERLAY", "FLANNELD", "STATE", "SUBNET", "MTU", "DATA PATH"]);
        table.align_right([5]);
        for node in &self.nodes {
            let flanneld = match (node.flanneld, node.pid) {
                (Some(kind), Some(pid)) => format!("{kind} ({pid})"),
                (Some(kind), None) => format!("{kind} (ended)"),
                (None, _) => "-".to_owned(),
            };
            let dash = || "-".to_owned();
            table.row([
                node.name.clone(),
                node.underlay.clone(),
                flanneld,
                state(node.pid, node.ready).to_owned(),
                node.subnet.clone().unwrap_or_else(dash),
                node.mtu.map_or_else(dash, |mtu| mtu.to_string()),
                self.datapath_of(node),
            ]);
        }
        (!self.nodes.is_empty()).then_some(table)
    }

    /// What the daemon says; for an original, which says nothing, what its backend always is.
    pub(crate) fn datapath_of(&self, node: &NodeStatus) -> String {
        match (&node.datapath, node.flanneld, self.backend.as_str()) {
            (Some(name), _, _) => name.clone(),
            (None, Some("original"), "udp") => "original's proxy".to_owned(),
            (None, Some("original"), _) => "kernel".to_owned(),
            (None, ..) => "-".to_owned(),
        }
    }

    fn pod_table(&self) -> Option<Table> {
        let mut table = Table::new(["POD", "NODE", "ADDRESS"]);
        for pod in &self.pods {
            let addresses =
                if pod.addresses.is_empty() { "not connected".to_owned() } else { pod.addresses.join(", ") };
            table.row([pod.name.clone(), pod.node.clone(), addresses]);
        }
        (!self.pods.is_empty()).then_some(table)
    }

    pub(crate) fn lease_table(&self) -> Option<Table> {
        let mut table = Table::new(["LEASE", "NODE", "PUBLIC IP", "BACKEND"]);
        for lease in &self.leases {
            let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
            table.row([
                lease.subnet.clone(),
                text(&lease.node),
                text(&lease.public_ip),
                text(&lease.backend_type),
            ]);
        }
        (!self.leases.is_empty()).then_some(table)
    }

    pub(crate) fn proxy_table(&self) -> Option<Table> {
        let mut table = Table::new(["NODE", "PROXY", "STATE", "HEALTHZ", "FAILURES", "CONNECTIONS"]);
        table.align_right([3, 4, 5]);
        let proxies = self.nodes.iter().filter_map(|node| Some((node, node.proxy.as_ref()?)));
        let mut any = false;
        for (node, proxy) in proxies {
            any = true;
            let (mode, dash) = (&proxy.mode, || "-".to_owned());
            table.row([
                node.name.clone(),
                proxy.pid.map_or_else(|| format!("{mode} (ended)"), |pid| format!("{mode} ({pid})")),
                state(proxy.pid, proxy.ready).to_owned(),
                proxy.healthz.map_or_else(dash, |status| status.to_string()),
                if proxy.healthz.is_some() { proxy.failures.to_string() } else { dash() },
                proxy.connections.map_or_else(dash, |count| count.to_string()),
            ]);
        }
        any.then_some(table)
    }

    fn service_table(&self) -> Option<Table> {
        let listing = &self.services.as_ref()?.listing;
        (!listing.services.is_empty()).then(|| listing.table())
    }

    fn peer_table(&self) -> Option<Table> {
        let all = self.nodes.iter().flat_map(|node| node.peers.iter().map(move |peer| (node, peer)));
        let all: Vec<_> = all.collect();
        let mut keys: Vec<&str> =
            all.iter().flat_map(|(_, peer)| peer.values.keys().map(String::as_str)).collect();
        keys.sort_unstable();
        keys.dedup();
        let title = |key: &&str| key.trim_end_matches("_seconds").replace('_', " ").to_uppercase();
        let mut table =
            Table::new(["FROM", "PEER"].map(str::to_owned).into_iter().chain(keys.iter().map(title)));
        table.align_right(2..2 + keys.len());
        for (node, peer) in &all {
            let values = keys.iter().map(|key| match peer.values.get(*key) {
                Some(seconds) if key.ends_with("_seconds") => format!("{:.0} µs", seconds * 1e6),
                Some(value) => value.to_string(),
                None => "-".to_owned(),
            });
            let name = peer.node.clone().unwrap_or_else(|| peer.peer.clone());
            table.row([node.name.clone(), name].into_iter().chain(values));
        }
        (!all.is_empty()).then_some(table)
    }
}

fn state(pid: Option<i32>, ready: bool) -> &'static str {
    match (pid, ready) {
        (Some(_), true) => "ready",
        (Some(_), false) => "not ready",
        (None, _) => "down",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "weft_flanneld_datapath_info{backend=\"udp\",datapath=\"ebpf\"} 1\n\
        weft_flanneld_peer_tx_packets_total{peer=\"172.30.0.12\"} 7\n\
        weft_flanneld_peer_round_trip_seconds{peer=\"172.30.0.12\"} 0.000042\n\
        weft_flanneld_dropped_packets_total{reason=\"no-lease\"} 3\n\
        weft_flanneld_dropped_packets_total{reason=\"short\"} 0\n";

    fn status() -> Status {
        let node_of = BTreeMap::from([("172.30.0.12".to_owned(), "n2".to_owned())]);
        let samples = samples::parse(METRICS);
        let node = NodeStatus {
            name: "n1".to_owned(),
            underlay: "172.30.0.11".to_owned(),
            flanneld: Some("weft"),
            pid: Some(42),
            ready: true,
            subnet: Some("10.244.7.0/24".to_owned()),
            mtu: Some(1472),
            datapath: datapath(&samples),
            peers: peers(&samples, &node_of),
            drops: drops(&samples),
            proxy: Some(ProxyStatus {
                mode: "nftables".to_owned(),
                pid: None,
                ready: false,
                healthz: None,
                failures: 0.0,
                connections: None,
            }),
        };
        let value = r#"{"PublicIP":"172.30.0.12","PublicIPv6":null}"#;
        Status {
            name: "lab".to_owned(),
            backend: "udp".to_owned(),
            etcd: EtcdStatus {
                endpoint: "http://172.30.0.1:2379".to_owned(),
                pid: Some(41),
                healthy: true,
                network_config: Some("{}".to_owned()),
            },
            nodes: vec![node],
            pods: vec![PodStatus {
                name: "n1-p1".to_owned(),
                node: "n1".to_owned(),
                addresses: vec!["10.244.7.2".to_owned()],
            }],
            leases: vec![lease("10.244.9.0-24".to_owned(), value.to_owned(), &node_of)],
            services: Some(ServicesStatus {
                listing: Listing {
                    directory: "/s".to_owned(),
                    services: vec![],
                    problems: vec!["x: bad".to_owned()],
                },
                answers_pid: None,
                has_pods: true,
            }),
        }
    }

    #[test]
    fn the_tables() {
        assert_eq!(
            status().render(),
            "\
lab lab: etcd at http://172.30.0.1:2379 is healthy (process 41)
network config: {}

NODE  UNDERLAY     FLANNELD   STATE  SUBNET          MTU  DATA PATH
n1    172.30.0.11  weft (42)  ready  10.244.7.0/24  1472  ebpf

LEASE          NODE  PUBLIC IP    BACKEND
10.244.9.0-24  n2    172.30.0.12  -

POD    NODE  ADDRESS
n1-p1  n1    10.244.7.2

FROM  PEER  ROUND TRIP  TX PACKETS
n1    n2         42 µs           7

NODE  PROXY             STATE  HEALTHZ  FAILURES  CONNECTIONS
n1    nftables (ended)  down         -         -            -

services come from /s
left out: x: bad
the process that answers in the pods has ended: no service is answered
n1 dropped: 3 no-lease
"
        );
    }

    #[test]
    fn json_has_the_same_names() {
        let json = serde_json::to_value(status()).unwrap();
        assert_eq!(json["nodes"][0]["peers"][0]["values"]["tx_packets"], 7.0);
        assert_eq!(json["leases"][0]["public_ip"], "172.30.0.12");
    }
}
