//! A fake node: its objects, and the addresses of its pods.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use apiclient_core::time;
use ipnet::IpNet;
use serde_json::{Value, json};

use super::orders::Orders;

/// What all nodes of a fleet have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    pub cpu: String,
    pub memory: String,
    pub pods: u32,
    /// Labels of the topology go round through so many zones.
    pub zones: u32,
    pub labels: Vec<(String, String)>,
}

/// How often a node says that it is there though nothing changed, as the kubelet does.
const REPORT: Duration = Duration::from_secs(300);

/// How often it renews its Lease, and how long that lasts.
pub const RENEWAL: Duration = Duration::from_secs(10);
const LEASE_SECONDS: u64 = 40;

/// The version that it claims to be.
const KUBELET: &str = "v1.36.3";

/// Taints that a node has while it is not known to be ready.
const NOT_READY: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

#[derive(Clone, Debug)]
pub struct Host {
    pub name: String,
    /// Counted from 0.
    pub index: u32,
    pub addresses: Vec<IpAddr>,
    /// Where the addresses of its pods are from, one of each family.
    networks: Vec<Network>,
    assigned: bool,
    /// Where its kubelet answers; `None`: nowhere.
    kubelet: Option<SocketAddr>,
}

/// Of kubelets.
const PORT: u16 = 10_250;

/// What a node has to write about itself.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeWrite {
    Create(Value),
    /// A merge patch of its status.
    Status(Value),
    /// A merge patch of the rest.
    Spec(Value),
}

impl Host {
    /// Pods get addresses from a range of its own until the node has one from the cluster.
    pub fn new(prefix: &str, index: u32, shape: &Shape) -> Self {
        // 198.18.0.0/15 is for benchmarks (RFC 2544), 100.64.0.0/10 for networks behind others (RFC 6598).
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 1)).wrapping_add(index));
        let size = (shape.pods.saturating_add(3)).next_power_of_two().clamp(256, 1 << 16);
        let base = u32::from(Ipv4Addr::new(100, 64, 0, 0)).wrapping_add(index.wrapping_mul(size) % (1 << 22));
        let length = u8::try_from(32 - size.ilog2()).unwrap_or(24);
        let pool = ipnet::Ipv4Net::new_assert(Ipv4Addr::from(base), length).into();
        Self {
            name: format!("{prefix}-{}", index + 1),
            index,
            addresses: vec![address.into()],
            networks: vec![Network::new(pool)],
            assigned: false,
            kubelet: None,
        }
    }

    /// It has a kubelet, and the address of that.
    pub fn answers_at(&mut self, kubelet: SocketAddr) {
        (self.kubelet, self.addresses) = (Some(kubelet), vec![kubelet.ip()]);
    }

    /// Takes over what the cluster says of the node: the range of its pods, and its address where it has one.
    pub fn learn(&mut self, node: &Value) {
        let cidrs = node["spec"]["podCIDRs"].as_array().into_iter().flatten();
        let networks: Vec<IpNet> = cidrs.filter_map(|cidr| cidr.as_str()?.parse().ok()).collect();
        if !networks.is_empty() && !self.assigned {
            self.networks = networks.into_iter().map(Network::new).collect();
            self.assigned = true;
        }
        let addresses = node["status"]["addresses"].as_array().into_iter().flatten();
        let internal = addresses.filter(|address| address["type"] == "InternalIP");
        let found: Vec<IpAddr> =
            internal.filter_map(|address| address["address"].as_str()?.parse().ok()).collect();
        if !found.is_empty() && self.kubelet.is_none() {
            self.addresses = found;
        }
    }

    /// One address of each family for a new pod; none where one family has none left.
    pub fn take(&mut self) -> Vec<IpAddr> {
        let taken: Option<Vec<IpAddr>> = self.networks.iter_mut().map(Network::take).collect();
        taken.unwrap_or_default()
    }

    /// Addresses that a pod has already, or that a pod has no more.
    pub fn mark(&mut self, addresses: &[IpAddr], used: bool) {
        for address in addresses {
            for network in self.networks.iter_mut().filter(|network| network.net.contains(address)) {
                if used {
                    network.used.insert(*address)
                } else {
                    network.used.remove(address)
                };
            }
        }
    }

    /// What is to be written of the node next, `have` being the node as the server has it.
    pub fn write(&self, have: Option<&Value>, shape: &Shape, now: SystemTime) -> Option<NodeWrite> {
        let Some(have) = have else { return Some(NodeWrite::Create(self.object(shape, now))) };
        let ready = condition(have, "Ready");
        let beat = ready["lastHeartbeatTime"].as_str().and_then(time::parse);
        let late = beat.is_none_or(|beat| now.duration_since(beat).is_ok_and(|age| age >= REPORT));
        let capacity = &have["status"]["capacity"];
        let same = ["cpu", "memory", "pods"]
            .iter()
            .all(|name| amount(&capacity[name]) == amount(&self.capacity(shape)[name]));
        let moved = self.kubelet.is_some_and(|own| !is_at(have, own));
        if late || moved || ready["status"] != "True" || !same {
            return Some(NodeWrite::Status(json!({ "status": self.status(Some(have), shape, now) })));
        }
        // The node life cycle controller takes these away, too, where there is one.
        let taints = have["spec"]["taints"].as_array().cloned().unwrap_or_default();
        let kept: Vec<Value> = taints.iter().filter(|taint| !is_not_ready(taint)).cloned().collect();
        let labels = self.labels(shape);
        let missing = labels.iter().any(|(key, value)| have["metadata"]["labels"][key] != json!(value));
        if kept.len() < taints.len() {
            let version = &have["metadata"]["resourceVersion"];
            let taints = if kept.is_empty() { Value::Null } else { Value::Array(kept) };
            return Some(NodeWrite::Spec(
                json!({ "metadata": { "resourceVersion": version }, "spec": { "taints": taints } }),
            ));
        }
        missing.then(|| NodeWrite::Spec(json!({ "metadata": { "labels": object(labels) } })))
    }

    fn object(&self, shape: &Shape, now: SystemTime) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": self.name,
                "labels": object(self.labels(shape)),
                "annotations": { "weft.dev/fake": "true" },
            },
            "status": self.status(None, shape, now),
        })
    }

    fn labels(&self, shape: &Shape) -> Vec<(String, String)> {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let mut labels = vec![
            pair("kubernetes.io/hostname", &self.name),
            pair("kubernetes.io/os", "linux"),
            pair("kubernetes.io/arch", "amd64"),
            pair("beta.kubernetes.io/os", "linux"),
            pair("beta.kubernetes.io/arch", "amd64"),
        ];
        if shape.zones > 0 {
            labels.push(pair("topology.kubernetes.io/region", "region-1"));
            labels
                .push(pair("topology.kubernetes.io/zone", &format!("zone-{}", self.index % shape.zones + 1)));
        }
        labels.extend(shape.labels.iter().cloned());
        labels
    }

    fn capacity(&self, shape: &Shape) -> Value {
        json!({
            "cpu": shape.cpu, "memory": shape.memory, "pods": shape.pods.to_string(), "ephemeral-storage": "100Gi",
            "hugepages-1Gi": "0", "hugepages-2Mi": "0",
        })
    }

    fn status(&self, have: Option<&Value>, shape: &Shape, now: SystemTime) -> Value {
        let stamp = time::seconds(now);
        let conditions = CONDITIONS.map(|(kind, status, reason, message)| {
            let before = have.map_or(&Value::Null, |have| condition(have, kind));
            let since =
                if before["status"] == status { before["lastTransitionTime"].clone() } else { json!(stamp) };
            json!({
                "type": kind, "status": status, "reason": reason, "message": message,
                "lastHeartbeatTime": stamp, "lastTransitionTime": since,
            })
        });
        // Those of others stay: a merge patch replaces the whole list.
        let others = have.and_then(|have| have["status"]["conditions"].as_array()).into_iter().flatten();
        let others =
            others.filter(|other| CONDITIONS.iter().all(|(kind, ..)| other["type"] != *kind)).cloned();
        let conditions: Vec<Value> = others.chain(conditions).collect();
        let internal =
            self.addresses.iter().map(|ip| json!({ "type": "InternalIP", "address": ip.to_string() }));
        let hostname = json!({ "type": "Hostname", "address": self.name });
        json!({
            "capacity": self.capacity(shape),
            "allocatable": self.capacity(shape),
            "conditions": conditions,
            "addresses": internal.chain([hostname]).collect::<Vec<_>>(),
            "nodeInfo": {
                "machineID": self.name, "systemUUID": self.name, "bootID": self.name, "kernelVersion": "fake",
                "osImage": "fake", "containerRuntimeVersion": "weft://0", "kubeletVersion": KUBELET,
                "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": "amd64",
            },
            "daemonEndpoints": { "kubeletEndpoint": { "Port": self.kubelet.map_or(PORT, |own| own.port()) } },
        })
    }

    /// A merge patch that renews its Lease.
    pub fn renewal(&self, now: SystemTime) -> Value {
        json!({ "spec": {
            "holderIdentity": self.name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": time::micros(now),
        } })
    }

    /// Its Lease, where there is none.
    pub fn lease(&self, node: &Value, now: SystemTime) -> Value {
        let mut lease = self.renewal(now);
        lease["apiVersion"] = json!("coordination.k8s.io/v1");
        lease["kind"] = json!("Lease");
        lease["metadata"] = json!({
            "name": self.name, "namespace": "kube-node-lease",
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": self.name, "uid": node["metadata"]["uid"] }],
        });
        lease
    }
}

/// The kubelet's conditions of a node that is well, in its order.
const CONDITIONS: [(&str, &str, &str, &str); 4] = [
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
];

/// Somebody plays that the machine is gone.
pub fn is_lost(node: &Value) -> bool {
    Orders::of(node).lost()
}

/// The server knows the node's kubelet to be there.
fn is_at(node: &Value, kubelet: SocketAddr) -> bool {
    let addresses = node["status"]["addresses"].as_array();
    let own = kubelet.ip().to_string();
    node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"] == kubelet.port()
        && addresses.into_iter().flatten().any(|one| one["type"] == "InternalIP" && one["address"] == own)
}

fn condition<'a>(node: &'a Value, kind: &str) -> &'a Value {
    let conditions = node["status"]["conditions"].as_array();
    conditions.into_iter().flatten().find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
}

fn is_not_ready(taint: &Value) -> bool {
    NOT_READY.iter().any(|key| taint["key"] == *key)
}

/// As a value: the server may write it in another way.
fn amount(value: &Value) -> Option<apiclient_core::quantity::Quantity> {
    value.as_str()?.parse().ok()
}

fn object(pairs: Vec<(String, String)>) -> Value {
    pairs
        .into_iter()
        .map(|(key, value)| (key, Value::String(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// A range of addresses. The first two are the network's own and the node's.
#[derive(Clone, Debug)]
struct Network {
    net: IpNet,
    used: BTreeSet<IpAddr>,
    /// Behind the last one that was taken, so that an address rests before it is taken again.
    next: u128,
}

impl Network {
    fn new(net: IpNet) -> Self {
        Self { net: net.trunc(), used: BTreeSet::new(), next: 2 }
    }

    fn take(&mut self) -> Option<IpAddr> {
        let size = 1_u128
            .checked_shl(u32::from(self.net.max_prefix_len() - self.net.prefix_len()))
            .unwrap_or(u128::MAX);
        // The last one of an IPv4 range is for broadcasts.
        let end = size - u128::from(matches!(self.net, IpNet::V4(_)));
        let usable = end.checked_sub(2).filter(|usable| *usable > self.used.len() as u128)?;
        for _ in 0..usable {
            let at = if self.next < end { self.next } else { 2 };
            self.next = at + 1;
            let address = match self.net.network() {
                IpAddr::V4(ip) => IpAddr::V4((u32::from(ip) + u32::try_from(at).ok()?).into()),
                IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) + at).into()),
            };
            if self.used.insert(address) {
                return Some(address);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
