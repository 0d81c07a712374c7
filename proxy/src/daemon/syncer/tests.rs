//! The syncer over a kernel that is a number: how many service ports it holds.

use std::collections::BTreeMap;
use std::time::Duration;

use host::netlink::{Address, LinkChange, Netlink};
use host::netns::Namespace;
use serde_json::{Value, json};

use proxy_core::table::PortKey;
use tokio::sync::watch;

use super::*;
use crate::backends::Backend;
use crate::options::{self, Fixture};

#[derive(Default)]
struct Number {
    kernel: usize,
    full: usize,
    fails: bool,
}

impl Backend for Number {
    type Observed = usize;
    type Plan = String;

    fn mode(&self) -> &'static str {
        "number"
    }

    fn probe(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    fn observe(&mut self) -> Result<usize, BackendError> {
        Ok(self.kernel)
    }

    fn plan(&self, want: &ServiceTable, have: &usize) -> String {
        let want = want.ports.len();
        if want == *have { String::new() } else { want.to_string() }
    }

    fn apply(&mut self, plan: String) -> Result<Applied, BackendError> {
        if self.fails {
            return Err(BackendError::Busy { mode: "number", tries: 1 });
        }
        self.full += 1;
        self.kernel = plan.parse().unwrap_or(self.kernel);
        Ok(Applied { full: true, writes: 1 })
    }

    fn sync_delta(&mut self, want: &ServiceTable, _: &TableDelta) -> Result<Applied, BackendError> {
        self.kernel = want.ports.len();
        Ok(Applied { full: false, writes: 1 })
    }

    async fn disturbed(&mut self) -> Result<(), BackendError> {
        std::future::pending().await
    }

    fn connections(&mut self, _: &ServiceTable) -> Result<BTreeMap<PortKey, u64>, BackendError> {
        Ok(BTreeMap::new())
    }

    fn remove(&mut self) -> Result<(), BackendError> {
        Ok(())
    }
}

/// A syncer of both families, and the text of its metrics.
struct Kept(Syncer<Number>);

impl Kept {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(more: &[&str]) -> Self {
        let arguments = [&["--feed-dir=/nowhere"], more].concat();
        let options = options::resolve(&arguments, &Fixture::named("here")).expect("options");
        let health = ProxyHealth::new(Duration::from_secs(30));
        let (_, known) = watch::channel(None);
        let mut syncer = Syncer::new(
            &options,
            Box::<Number>::default(),
            Surroundings {
                settings: KernelSettings::none(),
                addresses: LocalAddresses::told(known),
                bridges: Bridges::unknown(),
                announcing: None,
            },
            health,
            Metrics::new(),
            EventRecorder::default(),
        );
        syncer.families = Family::BOTH.into();
        Self(syncer)
    }

    fn put(&mut self, kind: Kind, object: Value, triggered: Option<SystemTime>) {
        let object = kind.decode(object.to_string().as_bytes()).expect("an object").object;
        self.0.note(Change::Put(object), Instant::now(), triggered);
    }

    /// A TCP service: nobody looks for its flows.
    fn service(&mut self, name: &str) {
        let ip = format!("10.96.0.{}", name.len());
        let object = json!({ "metadata": { "namespace": "default", "name": name }, "spec": {
            "clusterIP": ip, "clusterIPs": [ip], "ports": [{ "port": 80, "protocol": "TCP" }] } });
        self.put(Kind::Service, object, None);
    }

    fn slice(&mut self, family: &str, ip: &str, triggered: Option<SystemTime>) {
        let object = json!({
            "metadata": { "namespace": "default", "name": format!("web-{}", family.to_lowercase()),
                          "labels": { "kubernetes.io/service-name": "web" } },
            "addressType": family, "endpoints": [{ "addresses": [ip] }], "ports": [{ "port": 80 }],
        });
        self.put(Kind::EndpointSlice, object, triggered);
    }

    fn count(&self, name: &str, family: &str) -> f64 {
        let text = self.0.metrics.encode().expect("text");
        let start = format!("{name}{{ip_family=\"{family}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok()).unwrap_or(0.0)
    }
}

#[tokio::test]
async fn whole_is_what_a_second_look_finds_nothing_missing_in() {
    let mut kept = Kept::new();
    kept.service("web");
    assert!(!kept.0.is_whole(), "nothing is written yet");
    kept.0.pass().expect("a pass");
    assert!(kept.0.is_whole() && !kept.0.has_work());
    // Somebody took it away, and the kernel did not tell.
    kept.0.backend.kernel = 0;
    assert!(!kept.0.is_whole() && kept.0.has_work());
    let before = kept.0.backend.full;
    kept.0.pass().expect("a pass");
    assert!(kept.0.backend.full == before + 1 && kept.0.is_whole());
}

const PROGRAMMED: &str = "kubeproxy_network_programming_duration_seconds";
const APPLIED: &str = "weft_proxy_change_to_kernel_seconds";

#[tokio::test]
async fn changes_are_timed_one_by_one_from_their_cause_and_their_arrival_in_their_family() {
    let mut kept = Kept::new();
    kept.service("web");
    kept.0.pass().expect("a pass");
    let count =
        |kept: &Kept, name: &str| ["IPv4", "IPv6"].map(|family| kept.count(&format!("{name}_count"), family));
    assert_eq!((count(&kept, PROGRAMMED), count(&kept, APPLIED)), ([0.0, 0.0], [1.0, 1.0]));
    // As if it had run for a while.
    kept.0.started -= Duration::from_secs(60);
    let ago = |seconds| Some(SystemTime::now() - Duration::from_secs(seconds));
    kept.slice("IPv4", "10.244.1.1", ago(20));
    kept.slice("IPv6", "fd00::1", None);
    // The same again is no change; what was caused before the start is not ours to answer for.
    kept.slice("IPv4", "10.244.1.1", ago(20));
    kept.slice("IPv4", "10.244.1.2", ago(300));
    kept.0.backend.fails = true;
    kept.0.behind = true;
    assert!(kept.0.pass().is_err());
    assert_eq!((count(&kept, PROGRAMMED), count(&kept, APPLIED)), ([0.0, 0.0], [1.0, 1.0]), "not there yet");
    kept.0.backend.fails = false;
    kept.0.pass().expect("a pass");
    assert_eq!((count(&kept, PROGRAMMED), count(&kept, APPLIED)), ([1.0, 0.0], [3.0, 2.0]));
    let sum = kept.count(&format!("{PROGRAMMED}_sum"), "IPv4");
    assert!((20.0..60.0).contains(&sum), "{sum}");
    // A pass without a change times nothing.
    kept.0.behind = true;
    kept.0.pass().expect("a pass");
    assert_eq!((count(&kept, PROGRAMMED), count(&kept, APPLIED)), ([1.0, 0.0], [3.0, 2.0]));
}

#[test]
fn services_without_an_endpoint_here_are_counted_where_their_policy_is_local() {
    let mut kept = Kept::new();
    kept.service("else");
    let mut near = |policy: &str| {
        let object = json!({ "metadata": { "namespace": "default", "name": "web" }, "spec": {
            "type": "NodePort", "clusterIP": "10.96.0.99", "clusterIPs": ["10.96.0.99"],
            "internalTrafficPolicy": policy, "externalTrafficPolicy": "Local",
            "ports": [{ "port": 80, "nodePort": 30080, "protocol": "TCP" }] } });
        kept.put(Kind::Service, object, None);
        kept.slice("IPv4", "10.244.9.9", None);
        kept.0.pass().expect("a pass");
        let text = kept.0.metrics.encode().expect("text");
        let count = |policy: &str| {
            let line = format!(
                "kubeproxy_sync_proxy_rules_no_local_endpoints_total{{traffic_policy=\"{policy}\",ip_family=\"IPv4\"}} "
            );
            text.lines().find_map(|found| found.strip_prefix(&line)).map(str::to_owned)
        };
        (count("internal"), count("external"))
    };
    let counts = |internal: &str, external: &str| (Some(internal.to_owned()), Some(external.to_owned()));
    assert_eq!(near("Local"), counts("1", "1"));
    assert_eq!(near("Cluster"), counts("0", "1"));
}

/// A service with a health-check node port.
fn near(kept: &mut Kept, node_port: u16) {
    let object = json!({ "metadata": { "namespace": "default", "name": "near" }, "spec": {
        "type": "LoadBalancer", "clusterIP": "10.96.0.77", "clusterIPs": ["10.96.0.77"],
        "externalTrafficPolicy": "Local", "healthCheckNodePort": node_port,
        "ports": [{ "port": 80, "nodePort": 30077, "protocol": "TCP" }] } });
    kept.put(Kind::Service, object, None);
}

/// What the loop does, until `is`.
async fn follow_until(kept: &mut Kept, what: &str, mut is: impl FnMut() -> bool) {
    let wait = async {
        while !is() {
            if matches!(kept.0.wake(true).await, Wake::FollowUp) {
                kept.0.follow_up();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect(what);
}

fn listens(ip: [u8; 4], port: u16) -> bool {
    std::net::TcpStream::connect((std::net::IpAddr::from(ip), port)).is_ok()
}

#[tokio::test]
async fn a_health_check_port_that_was_taken_is_opened_when_it_is_free_without_any_change() {
    let taken = std::net::TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let mut kept = Kept::with(&["--nodeport-addresses=0.0.0.0/0"]);
    near(&mut kept, port);
    kept.0.pass().expect("a pass");
    drop(taken);
    follow_until(&mut kept, "the port to open", || listens([127, 0, 0, 1], port)).await;
}

#[test]
fn health_check_ports_follow_the_addresses_of_the_node() {
    let name = format!("weft-prx-hcaddr-{}", std::process::id());
    let namespace = Namespace::create(&name).expect("this test needs root");
    let inside = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let netlink = Netlink::connect().expect("netlink");
            let lo = netlink.link_by_name("lo").await.expect("links").expect("lo").index;
            netlink.set_link(lo, &LinkChange::up()).await.expect("lo up");
            let address = |text: &str| Address::new(lo, text.parse().expect("a network"));
            let mut kept = Kept::with(&["--nodeport-addresses=192.0.2.0/24"]);
            near(&mut kept, 32000);
            kept.0.pass().expect("a pass");
            assert!(
                !listens([127, 0, 0, 1], 32000),
                "nobody knows the addresses: nowhere, and not everywhere"
            );
            kept.0.follow_ups =
                FollowUps::new(LocalAddresses::follow(), Bridges::unknown(), kept.0.health.clone());
            for (ip, other) in [([192, 0, 2, 1], "192.0.2.1/32"), ([192, 0, 2, 9], "192.0.2.9/32")] {
                netlink.add_address(&address(other)).await.expect("an address");
                follow_until(&mut kept, "the port to open at an address that came", || listens(ip, 32000))
                    .await;
            }
            assert!(!listens([127, 0, 0, 1], 32000));
            netlink.delete_address(&address("192.0.2.1/32")).await.expect("an address fewer");
            netlink.add_address(&address("192.0.2.1/32")).await.expect("the address again");
            follow_until(&mut kept, "the port to open again", || listens([192, 0, 2, 1], 32000)).await;
            assert!(listens([192, 0, 2, 9], 32000), "it never closed here");
        });
    };
    let outcome = namespace.run(inside);
    Namespace::delete(&name).expect("to delete the namespace");
    outcome.expect("the namespace");
}

#[tokio::test]
async fn a_node_is_eligible_until_a_node_object_says_otherwise_however_passes_go() {
    let mut kept = Kept::new();
    kept.0.nodes_are_known = true;
    kept.0.backend.fails = true;
    let node = |taints: Value| json!({ "metadata": { "name": "here" }, "spec": { "taints": taints } });
    let eligible = |kept: &Kept| kept.0.health.is_node_eligible();
    kept.service("web");
    assert!(kept.0.pass().is_err() && eligible(&kept), "no Node is known");
    kept.put(
        Kind::Node,
        node(json!([{ "key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule" }])),
        None,
    );
    assert!(!eligible(&kept), "the autoscaler is about to delete it");
    kept.put(Kind::Node, node(json!([])), None);
    assert!(eligible(&kept));
    kept.0.note(
        Change::Delete(Kind::Node, proxy_core::names::ObjectName::new("", "here")),
        Instant::now(),
        None,
    );
    assert!(!eligible(&kept), "it was deleted");
}
