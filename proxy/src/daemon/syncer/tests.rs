//! The syncer over a kernel that is a number: how many service ports it holds.

use std::time::Duration;

use proxy_core::table::PortKey;
use serde_json::{Value, json};

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
        let options = options::resolve(&["--feed-dir=/nowhere"], &Fixture::named("here")).expect("options");
        let health = ProxyHealth::new(Duration::from_secs(30));
        let mut syncer =
            Syncer::new(&options, Box::<Number>::default(), health, Metrics::new(), Herald::default());
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
    kept.0.pass().await.expect("a pass");
    assert!(kept.0.is_whole() && !kept.0.has_work());
    // Somebody took it away, and the kernel did not tell.
    kept.0.backend.kernel = 0;
    assert!(!kept.0.is_whole() && kept.0.has_work());
    let before = kept.0.backend.full;
    kept.0.pass().await.expect("a pass");
    assert!(kept.0.backend.full == before + 1 && kept.0.is_whole());
}

const PROGRAMMED: &str = "kubeproxy_network_programming_duration_seconds";
const APPLIED: &str = "weft_proxy_change_to_kernel_seconds";

#[tokio::test]
async fn changes_are_timed_one_by_one_from_their_cause_and_their_arrival_in_their_family() {
    let mut kept = Kept::new();
    kept.service("web");
    kept.0.pass().await.expect("a pass");
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
    assert!(kept.0.pass().await.is_err());
    assert_eq!((count(&kept, PROGRAMMED), count(&kept, APPLIED)), ([0.0, 0.0], [1.0, 1.0]), "not there yet");
    kept.0.backend.fails = false;
    kept.0.pass().await.expect("a pass");
    assert_eq!((count(&kept, PROGRAMMED), count(&kept, APPLIED)), ([1.0, 0.0], [3.0, 2.0]));
    let sum = kept.count(&format!("{PROGRAMMED}_sum"), "IPv4");
    assert!((20.0..60.0).contains(&sum), "{sum}");
    // A pass without a change times nothing.
    kept.0.behind = true;
    kept.0.pass().await.expect("a pass");
    assert_eq!((count(&kept, PROGRAMMED), count(&kept, APPLIED)), ([1.0, 0.0], [3.0, 2.0]));
}

#[test]
fn services_without_an_endpoint_here_are_counted_where_their_policy_is_local() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut kept = Kept::new();
    kept.service("else");
    let mut near = |policy: &str| {
        let object = json!({ "metadata": { "namespace": "default", "name": "web" }, "spec": {
            "type": "NodePort", "clusterIP": "10.96.0.99", "clusterIPs": ["10.96.0.99"],
            "internalTrafficPolicy": policy, "externalTrafficPolicy": "Local",
            "ports": [{ "port": 80, "nodePort": 30080, "protocol": "TCP" }] } });
        kept.put(Kind::Service, object, None);
        kept.slice("IPv4", "10.244.9.9", None);
        runtime.block_on(kept.0.pass()).expect("a pass");
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
