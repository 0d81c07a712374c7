//! kube-proxy and the behavioural cases: the same packets as ours, in both of its modes. Where it does something else
//! than ours the case says so, with the reason; a note that is not true fails as well.
//!
//! The objects go into etcd past the API server, which hands them on: most of what no server would let in reaches
//! kube-proxy all the same.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use bench::proxy::mode::Flavour;
use bench::proxy::tools;
use host::netns::Namespace;
use originals::{ControlPlane, KubeProxy, Mode, User};
use proxy::cases::{self, Subject};
use proxy_core::cases::Case;
use proxy_core::options::{DetectLocal, NodePortAddresses};
use serde_json::{Value, json};

/// How long kube-proxy may take to write what it was told, on a busy machine. It takes some 0.2 s.
const FOLLOW: Duration = Duration::from_secs(90);

/// The same where the case says that it never does.
const STUCK: Duration = Duration::from_secs(5);

/// What it says when the tools refuse what it writes.
const FAILED: [&str; 2] = ["Failed to execute iptables-restore", "nftables sync failed"];

/// Where a service of the test's own is that shows how far kube-proxy has come, and where it leads: to no address that
/// a case has in its service network, where its nftables mode drops what is translated too.
const MARK: [&str; 2] = ["10.200.99.1", "fd00:10:200:99::1"];
const MARKED: [&str; 2] = ["203.0.113.99", "2001:db8:113::99"];
const MARKED_PORT: u16 = 80;

struct Original {
    mode: Mode,
    /// Of the iptables tools that it finds.
    flavour: Flavour,
    name: String,
    /// From the first case on.
    control_plane: Option<ControlPlane>,
    running: Option<(String, KubeProxy)>,
    /// What etcd holds, by kind and name.
    there: BTreeMap<String, Value>,
    round: u16,
}

impl Original {
    fn new(mode: Mode, flavour: Flavour) -> Self {
        let name = format!("kube-proxy {mode}");
        Self { mode, flavour, name, control_plane: None, running: None, there: BTreeMap::new(), round: 0 }
    }

    fn control_plane(&mut self) -> &ControlPlane {
        self.control_plane.get_or_insert_with(|| {
            let here = Namespace::current().expect("the node's namespace");
            ControlPlane::up(&here, [127, 0, 0, 1].into()).unwrap_or_else(|error| panic!("{error}"))
        })
    }

    /// Makes etcd hold these and no others of ours, and the marking service after all of them: changes of one
    /// revision come in any order.
    fn put(&mut self, objects: Vec<Value>) {
        let mut old = std::mem::take(&mut self.there);
        let mut changed = Vec::new();
        for object in objects {
            let metadata = &object["metadata"];
            let key = format!("{} {} {}", object["kind"], metadata["namespace"], metadata["name"]);
            if old.remove(&key).as_ref() != Some(&object) {
                changed.push(object.clone());
            }
            self.there.insert(key, object);
        }
        let marking = marking(self.round);
        let control_plane = self.control_plane();
        let written = control_plane.unload(old.values()).and_then(|()| control_plane.load(&changed));
        written.and_then(|()| control_plane.load(&marking)).unwrap_or_else(|error| panic!("{error}"));
    }

    fn start(&mut self, setting: &str, case: &Case) {
        self.running = None;
        let here = Namespace::current().expect("the node's namespace");
        let (mode, kubeconfig) = (self.mode, self.control_plane().kubeconfig(User::Proxy));
        let mut configuration = configuration(mode, case);
        configuration["clientConnection"] = json!({"kubeconfig": kubeconfig, "qps": 100, "burst": 100});
        let file = self.control_plane().directory().join("kube-proxy.yaml");
        std::fs::write(&file, configuration.to_string()).expect("a file");
        let flag = format!("--config={}", file.display());
        let path = tools::path(self.flavour, self.control_plane().directory())
            .unwrap_or_else(|error| panic!("{error}"));
        let env = [("PATH".to_owned(), path)];
        let started = KubeProxy::start_with(&here, mode, &kubeconfig, &[&flag], &env);
        self.running = Some((setting.to_owned(), started.unwrap_or_else(|error| panic!("{error}"))));
    }

    /// Waits until new connections meet the marking service of this round, in both families.
    fn wait(&mut self, case: &Case) -> Result<(), String> {
        let stuck = case.stuck.contains_key(&self.name);
        let deadline = Instant::now() + if stuck { STUCK } else { FOLLOW };
        for (mark, marked) in MARK.iter().zip(MARKED) {
            let mark = SocketAddr::new(mark.parse().unwrap(), port_of(self.round));
            let marked = SocketAddr::new(marked.parse().unwrap(), MARKED_PORT);
            while reached(mark) != Some(marked) {
                let (_, running) = self.running.as_ref().expect("started");
                let log = running.log();
                let failed = stuck && FAILED.iter().any(|text| log.contains(text));
                if failed || running.pid().is_none() || Instant::now() > deadline {
                    let lines: Vec<&str> = log.lines().filter(|line| !line.starts_with('I')).collect();
                    let last = lines[lines.len().saturating_sub(12)..].join("\n");
                    self.running = None;
                    return Err(format!("it does not follow:\n{last}"));
                }
            }
        }
        Ok(())
    }
}

/// Waits until its nftables mode knows the service networks, of which it may hear after its first pass. No two of them
/// touch each other: nft would print them as one.
fn knows_networks(case: &Case) -> Result<(), String> {
    let networks: Vec<&str> = case
        .objects
        .iter()
        .filter(|object| object["kind"] == "ServiceCIDR")
        .flat_map(|object| object["spec"]["cidrs"].as_array().into_iter().flatten().filter_map(Value::as_str))
        .collect();
    let deadline = Instant::now() + FOLLOW;
    loop {
        // Runs in the node's namespace, like this thread.
        let list = |family| {
            let listed = Command::new("nft")
                .args(["list", "chain", family, "kube-proxy", "cluster-ips-check"])
                .output();
            String::from_utf8_lossy(&listed.expect("nft is installed").stdout).into_owned()
        };
        let rules = list("ip") + &list("ip6");
        let missing: Vec<_> = networks.iter().filter(|network| !rules.contains(**network)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("it never hears of {missing:?}:\n{rules}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn port_of(round: u16) -> u16 {
    1000 + round
}

fn reached(mark: SocketAddr) -> Option<SocketAddr> {
    let pause = || {
        std::thread::sleep(Duration::from_millis(5));
        None
    };
    let Ok(mut stream) = TcpStream::connect_timeout(&mark, Duration::from_millis(200)) else {
        return pause();
    };
    stream.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.split(' ').next()?.parse().ok()
}

/// A service and its endpoints that exist in this round only. The port's name ties them to each other, so that
/// kube-proxy has to have seen both; watches bring changes in order, so that it has seen all others before.
fn marking(round: u16) -> Vec<Value> {
    let (port, name) = (port_of(round), format!("r{round}"));
    let metadata = |name: &str| json!({"namespace": "zz", "name": name, "labels": {"kubernetes.io/service-name": "mark"}});
    let slice = |family: &str, ip: &str| {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
            "metadata": metadata(&format!("mark-{}", family.to_lowercase())),
            "endpoints": [{"addresses": [ip], "conditions": {"ready": true}}],
            "ports": [{"name": name, "port": MARKED_PORT, "protocol": "TCP"}],
        })
    };
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata("mark"),
        "spec": {
            "type": "ClusterIP", "clusterIP": MARK[0], "clusterIPs": MARK, "ipFamilies": ["IPv4", "IPv6"],
            "ports": [{"name": name, "port": port, "targetPort": MARKED_PORT, "protocol": "TCP"}],
        },
    });
    vec![slice("IPv4", MARKED[0]), slice("IPv6", MARKED[1]), service]
}

/// The case's options in kube-proxy's configuration file: not all of them are flags.
fn configuration(mode: Mode, case: &Case) -> Value {
    let options = &case.options;
    let list = |nets: &[ipnet::IpNet]| nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let (detect_local, cluster_cidr, local) = match &options.detect_local {
        DetectLocal::None => ("ClusterCIDR", String::new(), json!({})),
        DetectLocal::ClusterCidr(nets) => ("ClusterCIDR", list(nets), json!({})),
        DetectLocal::NodeCidr => ("NodeCIDR", String::new(), json!({})),
        DetectLocal::Bridge(name) => ("BridgeInterface", String::new(), json!({"bridgeInterface": **name})),
        DetectLocal::InterfacePrefix(prefix) => {
            ("InterfaceNamePrefix", String::new(), json!({"interfaceNamePrefix": **prefix}))
        }
    };
    let nodeport_addresses = match &options.nodeport_addresses {
        // Its nftables mode means the primary address when nothing is said.
        NodePortAddresses::All => json!(["0.0.0.0/0", "::/0"]),
        NodePortAddresses::Primary => json!(["primary"]),
        NodePortAddresses::Cidrs(nets) => json!(nets),
    };
    let pace = json!({"minSyncPeriod": "10ms", "syncPeriod": "30s", "masqueradeAll": options.masquerade_all});
    let mut iptables = pace.clone();
    iptables["localhostNodePorts"] = options.localhost_nodeports.into();
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "mode": mode.to_string(), "hostnameOverride": *options.node_name,
        "iptables": iptables, "nftables": pace,
        "detectLocalMode": detect_local, "clusterCIDR": cluster_cidr, "detectLocal": local,
        "nodePortAddresses": nodeport_addresses,
        // What is not the namespace's own stays as it is.
        "oomScoreAdj": 0,
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    })
}

/// As an API server has it, which fills in what a case may leave out.
fn stored(object: &Value) -> Value {
    let mut object = object.clone();
    if object.get("apiVersion").is_none() {
        object["apiVersion"] = json!(match object["kind"].as_str() {
            Some("EndpointSlice") => "discovery.k8s.io/v1",
            Some("ServiceCIDR") => "networking.k8s.io/v1",
            _ => "v1",
        });
    }
    if object["kind"] == "Service" && object["spec"].get("clusterIPs").is_none() {
        let ips: Vec<Value> = object["spec"].get("clusterIP").cloned().into_iter().collect();
        object["spec"]["clusterIPs"] = ips.into();
    }
    object
}

fn is_watched_for_changes(object: &Value) -> bool {
    object["kind"] == "Service" || object["kind"] == "EndpointSlice"
}

impl Subject for Original {
    fn implementation(&self) -> &str {
        &self.name
    }

    /// Nodes and service networks are read at the start, like the flags.
    fn setting(&self, case: &Case) -> String {
        let others: Vec<_> = case.objects.iter().filter(|object| !is_watched_for_changes(object)).collect();
        format!("{} {others:?}", configuration(self.mode, case))
    }

    fn beyond(&self, case: &Case) -> Option<&'static str> {
        let nameless = |object: &Value| object["metadata"].get("name").is_none();
        let untyped = |object: &Value| object["kind"] == "Service" && object["spec"]["ports"].is_string();
        if case.objects.iter().any(nameless) {
            return Some("etcd has no place for an object without a name");
        }
        if case.objects.iter().any(untyped) {
            return Some("an API server that finds it in etcd hands out no service at all");
        }
        None
    }

    fn needs(&self) -> Vec<SocketAddr> {
        let ips = MARKED.iter().chain(&MARK).map(|ip| ip.parse::<IpAddr>().unwrap());
        ips.map(|ip| SocketAddr::new(ip, MARKED_PORT)).collect()
    }

    fn program(&mut self, case: &Case) -> Result<(), String> {
        self.round += 1;
        let known = ["Service", "EndpointSlice", "Node", "ServiceCIDR"];
        let objects = case.objects.iter().filter(|object| known.iter().any(|kind| object["kind"] == *kind));
        // The API server makes this one itself, at an address that a case uses: somebody else's.
        let labels = json!({"service.kubernetes.io/service-proxy-name": "nobody"});
        let own = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": "default", "name": "kubernetes", "labels": labels},
            "spec": {
                "type": "ClusterIP", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"],
                "ports": [{"name": "https", "port": 443, "targetPort": 6443, "protocol": "TCP"}],
            },
        });
        let wanted = objects.map(stored).chain([own]).collect();
        let setting = self.setting(case);
        // Where it is stuck, what its log says is to be of this case.
        let stuck = case.stuck.contains_key(&self.name);
        let starts = stuck || self.running.as_ref().is_none_or(|(running, _)| *running != setting);
        if starts {
            // First: with its former settings it would follow these objects too, the marking service among them.
            self.running = None;
        }
        self.put(wanted);
        if starts {
            self.start(&setting, case);
        }
        self.wait(case)?;
        if starts && self.mode == Mode::Nftables { knows_networks(case) } else { Ok(()) }
    }

    /// From nothing: its sets and maps are filled in an order of their own each time.
    fn again(&mut self, case: &Case) -> Result<(), String> {
        let nothing = Case {
            objects: case.objects.iter().filter(|object| !is_watched_for_changes(object)).cloned().collect(),
            ..case.clone()
        };
        self.program(&nothing)?;
        self.program(case)
    }
}

fn every_case_holds(mode: Mode, flavour: Flavour) {
    let began = Instant::now();
    let asked = cases::run(&mut Original::new(mode, flavour));
    println!("{mode}: {:?}", began.elapsed());
    assert!(asked >= 420, "{asked}");
}

#[test]
fn every_case_says_what_kube_proxy_does_in_iptables_mode() {
    every_case_holds(Mode::Iptables, Flavour::Nft);
}

#[test]
fn the_legacy_tools_change_nothing_of_kube_proxys_iptables_mode() {
    every_case_holds(Mode::Iptables, Flavour::Legacy);
}

#[test]
fn every_case_says_what_kube_proxy_does_in_nftables_mode() {
    every_case_holds(Mode::Nftables, Flavour::Nft);
}
