//! What somebody wants a lab to be. Plain data, checked once.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::LabError;
use crate::flanneld::FlanneldOptions;
use crate::name::LabName;
use crate::proxy::{IPV6_SERVICE_CIDR, ProxyOptions};
pub use crate::words::{Backend, Datapath, ProxyMode, UnknownWord};

/// The most nodes of a lab: the last node's underlay address ends in 10 + this.
pub const MAX_NODES: u16 = 200;
/// The most pods of a node: they have to fit a /24 behind the bridge.
pub const MAX_PODS: u16 = 200;
/// The pod network of a lab, as etcd holds it.
pub const NETWORK: &str = "10.244.0.0/16";
/// The pods' IPv6 network.
pub const IPV6_NETWORK: &str = "fd00:244::/48";

/// A lab as somebody asked for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    pub name: LabName,
    /// 1..=[`MAX_NODES`].
    pub nodes: u16,
    /// Pods of each node, 0..=[`MAX_PODS`].
    pub pods: u16,
    pub backend: Backend,
    /// How the udp backend moves packets; [`Datapath::Auto`] leaves the choice to flanneld.
    pub datapath: Datapath,
    /// Dual stack: IPv6 on the underlay and for the pods. Not with udp.
    pub ipv6: bool,
    /// MTU of the underlay, 1280..=65535.
    pub mtu: u32,
    /// Merged over the network config that the lab makes: objects by key, all else replaced.
    pub network_config: Option<Value>,
    pub topology: Topology,
    /// What runs on the nodes; None starts nothing, and makes no pods, for there is no subnet to put them in
    /// (see [`crate::Node::connect_pods_to`]).
    pub flanneld: Option<FlanneldOptions>,
    /// Nodes that run something else than the others, by name.
    pub flanneld_on: BTreeMap<String, FlanneldOptions>,
    /// Whether etcd is started and given the network config.
    pub etcd: bool,
    /// The service proxy of every node, with a Service to try; None for no proxy. `weft lab up` has one unless told
    /// otherwise; tests ask for it.
    #[serde(default)]
    pub proxy: Option<ProxyOptions>,
}

impl Spec {
    /// Three nodes of two pods, udp, on one switch, running the `weft` that this process is.
    ///
    /// # Errors
    /// A word that cannot name a lab.
    pub fn named(name: &str) -> Result<Self, LabError> {
        Ok(Self::of(LabName::new(name)?))
    }

    /// As [`Spec::named`], for a name that is known to be one.
    pub fn of(name: LabName) -> Self {
        Self {
            name,
            nodes: 3,
            pods: 2,
            backend: Backend::Udp,
            datapath: Datapath::Auto,
            ipv6: false,
            mtu: 1500,
            network_config: None,
            topology: Topology::Switch,
            flanneld: Some(FlanneldOptions::default()),
            flanneld_on: BTreeMap::new(),
            etcd: true,
            proxy: None,
        }
    }

    /// Refuses what cannot work, before anything is made.
    ///
    /// # Errors
    /// [`LabError::BadSpec`] with the value and what is legal.
    pub fn validate(&self) -> Result<(), LabError> {
        let refuse = |reason: String| Err(LabError::BadSpec(reason));
        if !(1..=MAX_NODES).contains(&self.nodes) {
            return refuse(format!("{} nodes: a lab has 1 to {MAX_NODES}", self.nodes));
        }
        if self.pods > MAX_PODS {
            return refuse(format!("{} pods on each node: at most {MAX_PODS}", self.pods));
        }
        if !(1280..=65535).contains(&self.mtu) {
            return refuse(format!("an underlay MTU of {}: it has to be 1280 to 65535", self.mtu));
        }
        if self.topology == Topology::Direct && self.nodes != 2 {
            return refuse(format!("{} nodes joined directly: one wire has two ends", self.nodes));
        }
        if self.ipv6 && self.backend == Backend::Udp {
            return refuse("the udp backend carries IPv4 only; with IPv6 take vxlan or host-gw".to_owned());
        }
        if self.datapath != Datapath::Auto && self.backend != Backend::Udp {
            return refuse(format!(
                "the data path {} is one of the udp backend's, and this lab is {}",
                self.datapath, self.backend
            ));
        }
        if self.network_config.as_ref().is_some_and(|config| !config.is_object()) {
            return refuse("the network config has to be a JSON object".to_owned());
        }
        if !self.etcd && self.flanneld.is_some() {
            return refuse("flanneld cannot start without etcd".to_owned());
        }
        if let Some(proxy) = &self.proxy {
            self.validate_proxy(proxy)?;
        }
        let names = self.node_names();
        if let Some(stranger) = self.flanneld_on.keys().find(|name| !names.contains(name)) {
            return refuse(format!("there is no node {stranger:?}; the nodes are {}", names.join(", ")));
        }
        Ok(())
    }

    fn validate_proxy(&self, proxy: &ProxyOptions) -> Result<(), LabError> {
        let refuse = |reason: String| Err(LabError::BadSpec(reason));
        if self.flanneld.is_none() {
            return refuse("services need pods, and pods need flanneld".to_owned());
        }
        if !proxy.binary.is_ours() {
            return refuse("only a weft takes services from the lab's directory".to_owned());
        }
        let range = proxy.service_cidr;
        if !(8..=28).contains(&range.prefix_len()) {
            return refuse(format!("{range} for ClusterIPs: want a network of length 8 to 28"));
        }
        let taken = self.pod_networks().into_iter().chain(underlays());
        if let Some(other) = taken.into_iter().find(|net| overlap(*net, IpNet::V4(range))) {
            return refuse(format!(
                "{range} for ClusterIPs meets {other}, which the lab uses already; --service-cidr names another range"
            ));
        }
        Ok(())
    }

    /// Where all pods are: the networks of the network config, IPv4 first.
    pub fn pod_networks(&self) -> Vec<IpNet> {
        let config: Value = serde_json::from_str(&self.network_config_json()).unwrap_or_default();
        let find = |wanted: &str| {
            let entries = config.as_object().into_iter().flatten();
            let mut found = entries.filter(|(key, _)| key.eq_ignore_ascii_case(wanted));
            found.next()?.1.as_str()?.parse().ok()
        };
        let v6 = if self.ipv6 { find("IPv6Network") } else { None };
        find("Network").into_iter().chain(v6).collect()
    }

    /// Where ClusterIPs are from, IPv4 first; none without a proxy.
    pub fn service_networks(&self) -> Vec<IpNet> {
        let Some(proxy) = &self.proxy else { return Vec::new() };
        let v6 = self.ipv6.then(|| IPV6_SERVICE_CIDR.parse().ok()).flatten();
        std::iter::once(IpNet::V4(proxy.service_cidr.trunc())).chain(v6).collect()
    }

    /// `n1`, `n2`, ...
    pub fn node_names(&self) -> Vec<String> {
        (1..=self.nodes).map(|i| format!("n{i}")).collect()
    }

    /// What the node runs, if anything.
    pub fn flanneld_of(&self, node: &str) -> Option<&FlanneldOptions> {
        self.flanneld_on.get(node).or(self.flanneld.as_ref())
    }

    /// The value of `/coreos.com/network/config`.
    pub fn network_config_json(&self) -> String {
        let mut backend = json!({ "Type": self.backend.to_string() });
        if self.datapath != Datapath::Auto {
            backend["Datapath"] = json!(self.datapath.to_string());
        }
        let mut config = json!({ "Network": NETWORK, "Backend": backend });
        if self.ipv6 {
            config["EnableIPv6"] = json!(true);
            config["IPv6Network"] = json!(IPV6_NETWORK);
        }
        if let Some(extra) = &self.network_config {
            merge(&mut config, extra);
        }
        config.to_string()
    }
}

/// Lays `over` on `base`: objects key by key, without regard to case (as flannel reads them), all else whole.
fn merge(base: &mut Value, over: &Value) {
    let (Value::Object(base), Value::Object(over)) = (&mut *base, over) else {
        *base = over.clone();
        return;
    };
    for (key, value) in over {
        let same = base.keys().find(|known| known.eq_ignore_ascii_case(key)).cloned();
        merge(base.entry(same.unwrap_or_else(|| key.clone())).or_insert(Value::Null), value);
    }
}

/// The networks that join the nodes, and reach etcd.
fn underlays() -> [IpNet; 2] {
    [[172, 30, 0, 0], [172, 31, 0, 0]].map(|network| IpNet::new_assert(IpAddr::from(network), 24))
}

fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b) || b.contains(&a)
}

/// How the nodes are joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topology {
    /// Every node's eth0 is a port of one virtual switch, where etcd listens as well.
    #[default]
    Switch,
    /// Two nodes, their eth0 the two ends of one veth pair; etcd is reached by eth1. For measuring: there is no
    /// bridge in the way.
    Direct,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        Spec::named("t").unwrap()
    }

    fn config(spec: &Spec) -> Value {
        serde_json::from_str(&spec.network_config_json()).unwrap()
    }

    #[test]
    fn the_network_config_is_what_flannel_reads() {
        let want = json!({ "Network": "10.244.0.0/16", "Backend": { "Type": "udp" } });
        assert_eq!(config(&spec()), want);
        let spec = Spec { backend: Backend::Vxlan, ipv6: true, ..spec() };
        let want = json!({
            "Network": "10.244.0.0/16",
            "EnableIPv6": true,
            "IPv6Network": "fd00:244::/48",
            "Backend": { "Type": "vxlan" },
        });
        assert_eq!(config(&spec), want);
    }

    #[test]
    fn a_given_network_config_lies_over_the_labs_own() {
        let given = json!({ "network": "10.5.0.0/16", "Backend": { "VNI": 7 } });
        let spec = Spec { backend: Backend::Vxlan, network_config: Some(given), ..spec() };
        let want = json!({ "Network": "10.5.0.0/16", "Backend": { "Type": "vxlan", "VNI": 7 } });
        assert_eq!(config(&spec), want);
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_reason() {
        let refused = |spec: Spec| spec.validate().unwrap_err().to_string();
        assert_eq!(refused(Spec { nodes: 0, ..spec() }), "0 nodes: a lab has 1 to 200");
        assert!(refused(Spec { topology: Topology::Direct, ..spec() }).contains("two ends"));
        assert!(refused(Spec { ipv6: true, ..spec() }).contains("vxlan or host-gw"));
        assert!(
            refused(Spec { datapath: Datapath::Ebpf, backend: Backend::Vxlan, ..spec() }).contains("ebpf")
        );
        assert!(refused(Spec { network_config: Some(json!(1)), ..spec() }).contains("JSON object"));
        let on = BTreeMap::from([("n9".to_owned(), FlanneldOptions::default())]);
        assert!(refused(Spec { flanneld_on: on, ..spec() }).contains("n1, n2, n3"));
        assert!(spec().validate().is_ok());
    }

    #[test]
    fn cluster_ips_stay_clear_of_pods_and_nodes() {
        let with = |range: &str, config: Option<Value>| {
            let proxy = ProxyOptions { service_cidr: range.parse().unwrap(), ..ProxyOptions::default() };
            Spec { proxy: Some(proxy), network_config: config, ..spec() }
        };
        assert!(with("10.96.0.0/12", None).validate().is_ok());
        let refused = |spec: Spec| spec.validate().unwrap_err().to_string();
        assert!(refused(with("10.244.8.0/24", None)).contains("meets 10.244.0.0/16"));
        assert!(refused(with("172.16.0.0/12", None)).contains("meets 172.30.0.0/24"));
        assert!(refused(with("10.96.0.0/30", None)).contains("length 8 to 28"));
        let moved = json!({ "network": "10.100.0.0/16" });
        assert!(refused(with("10.96.0.0/12", Some(moved))).contains("meets 10.100.0.0/16"));
        assert!(refused(Spec { flanneld: None, ..with("10.96.0.0/12", None) }).contains("need flanneld"));
    }

    #[test]
    fn an_unknown_word_is_answered_with_the_known_ones() {
        assert_eq!(
            "wireguard".parse::<Backend>().unwrap_err().to_string(),
            "\"wireguard\" is no backend of the lab; there is udp, vxlan, host-gw"
        );
    }

    #[test]
    fn a_spec_survives_its_file() {
        let text = serde_json::to_string(&spec()).unwrap();
        assert_eq!(serde_json::from_str::<Spec>(&text).unwrap(), spec());
    }
}
