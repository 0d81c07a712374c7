//! The API feed beside the real kube-apiserver over etcd, with the rights of the bootstrapped role.
//!
//! Needs kube-apiserver in WEFT_PEERS (or peers/bin) and etcd.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lab::Signal;
use originals::{Api, ControlPlane, User};
use proxy::feeds::{self, Event, Feed};
use proxy::options;
use proxy_core::cluster::{Change, Cluster};
use proxy_core::names::ServiceName;
use proxy_core::objects::Kind;
use serde_json::{Value, json};

fn service(name: &str, ip: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
           "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 80}]}})
}

fn slice(service: &str, ip: &str) -> Value {
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": format!("{service}-1"), "labels": {"kubernetes.io/service-name": service},
            "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00.5Z"}},
        "addressType": "IPv4", "ports": [{"port": 8080}], "endpoints": [{"addresses": [ip]}]})
}

fn node(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
}

/// What kubectl would do.
fn apply(api: &Api, object: &Value) {
    api.apply(object).unwrap_or_else(|error| panic!("{error}"));
}

fn delete(api: &Api, name: &str) {
    api.delete(&service(name, "")).unwrap_or_else(|error| panic!("{error}"));
}

struct Reader {
    feed: Feed,
    cluster: Cluster,
    troubles: Vec<String>,
    listed: Vec<Kind>,
    replaced: usize,
    triggered: usize,
}

impl Reader {
    async fn new(kubeconfig: PathBuf) -> Self {
        let from = options::Feed::Kubernetes { kubeconfig: Some(kubeconfig), master: None };
        let feed = feeds::start(&from, "node-1").await.expect("a client");
        let (cluster, troubles, listed) = (Cluster::default(), Vec::new(), Vec::new());
        Self { feed, cluster, troubles, listed, replaced: 0, triggered: 0 }
    }

    async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while !done(self) {
            let next = tokio::time::timeout_at(deadline, self.feed.next()).await;
            let arrival =
                next.unwrap_or_else(|_| panic!("{what} never came: {:?} {:?}", self.names(), self.troubles));
            let arrival = arrival.expect("the feed runs");
            self.triggered += usize::from(arrival.triggered.is_some());
            match arrival.event {
                Event::Change(change) => {
                    self.replaced += usize::from(matches!(change, Change::Replace(Kind::Service, _)));
                    self.cluster.apply(change);
                }
                Event::Listed(kind) => self.listed.push(kind),
                Event::Trouble(trouble) => self.troubles.push(trouble.to_string()),
            }
        }
    }

    fn names(&self) -> Vec<String> {
        self.cluster.services().map(|service| service.name.name.to_string()).collect()
    }

    fn has(&self, name: &str) -> bool {
        self.names().iter().any(|known| known == name)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follows_a_server_through_absence_change_and_oblivion() {
    let mut control_plane = ControlPlane::here().expect("a control plane");
    control_plane.start_etcd().expect("etcd");
    let admin = control_plane.admin().expect("a client");
    let start = |control_plane: &ControlPlane| {
        control_plane.start_server().expect("a server");
        control_plane.wait_server().expect("a server that serves");
    };

    // Before the server is up.
    let mut reader = Reader::new(control_plane.kubeconfig(User::Proxy)).await;
    reader.until("a report", |reader| !reader.troubles.is_empty()).await;
    assert!(reader.troubles[0].contains("cannot reach the API server"), "{:?}", reader.troubles);
    start(&control_plane);
    reader.until("all lists", |reader| Kind::ALL.iter().all(|kind| reader.listed.contains(kind))).await;
    reader.until("the range of ClusterIPs", |reader| !reader.cluster.service_cidrs().is_empty()).await;

    // Changes, and what the selectors leave out.
    for object in [service("a", "10.96.0.11"), service("headless", "None"), service("b", "10.96.0.12")] {
        apply(&admin, &object);
    }
    for object in [slice("a", "10.244.0.5"), node("node-1"), node("node-2")] {
        apply(&admin, &object);
    }
    let a = ServiceName::new("default", "a");
    reader
        .until("a, b, its slice, the node", |reader| {
            reader.has("a")
                && reader.has("b")
                && reader.cluster.slices(&a).count() == 1
                && reader.cluster.node("node-1").is_some()
        })
        .await;
    assert!(!reader.has("headless") && reader.cluster.node("node-2").is_none());
    assert_eq!(reader.triggered, 1);

    // Lost, and back with other objects: the watch goes on where it was.
    let replaced = reader.replaced;
    control_plane.stop_server(Signal::SIGKILL).expect("killed");
    let back = control_plane.back_door().expect("another server");
    let elsewhere = back.api(User::Admin).expect("a client");
    delete(&elsewhere, "a");
    apply(&elsewhere, &service("c", "10.96.0.13"));
    start(&control_plane);
    let began = Instant::now();
    reader.until("c instead of a", |reader| reader.has("c") && !reader.has("a")).await;
    println!(
        "back {:?} after the server was ready, by {} lists",
        began.elapsed(),
        reader.replaced - replaced
    );

    // Back, but with no memory of where we were: a list, and what is gone goes.
    control_plane.stop_server(Signal::SIGKILL).expect("killed");
    delete(&elsewhere, "b");
    for nth in 0..20 {
        apply(&elsewhere, &service(&format!("many-{nth}"), &format!("10.96.1.{}", nth + 1)));
    }
    control_plane.compact().expect("compacted");
    drop(back);
    start(&control_plane);
    let replaced = reader.replaced;
    reader.until("the end of b", |reader| !reader.has("b") && reader.has("many-19")).await;
    println!("after the compaction by {} lists", reader.replaced - replaced);

    // Another etcd: everything that was is gone, and versions begin again.
    control_plane.stop_server(Signal::SIGKILL).expect("killed");
    control_plane.new_etcd().expect("another etcd");
    start(&control_plane);
    apply(&admin, &service("new", "10.96.0.21"));
    reader.until("the new world", |reader| reader.has("new") && !reader.has("c")).await;

    // An object that no server would have let in.
    control_plane.load([&service("bad", "10.96.0.300")]).expect("written");
    apply(&admin, &service("good", "10.96.0.22"));
    reader.until("the good one", |reader| reader.has("good")).await;
    assert!(
        !reader.has("bad") && reader.troubles.iter().any(|trouble| trouble.contains("default/bad")),
        "{:?}",
        reader.troubles
    );

    // Someone whom the server does not know.
    let mut stranger =
        Reader::new(control_plane.kubeconfig_with("stranger", "guess").expect("written")).await;
    stranger.until("a report", |reader| !reader.troubles.is_empty()).await;
    assert!(stranger.troubles[0].contains("401 Unauthorized"), "{:?}", stranger.troubles);
    // The file is read again: a new token in it is enough.
    fs::copy(control_plane.kubeconfig(User::Proxy), control_plane.directory().join("stranger"))
        .expect("our own file");
    stranger.until("all lists", |reader| Kind::ALL.iter().all(|kind| reader.listed.contains(kind))).await;
    assert!(stranger.has("good"));
}

/// Tens of thousands are too many for requests one by one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_written_into_etcd_are_served_as_if_the_server_had_made_them() {
    let control_plane = ControlPlane::here().expect("a control plane");
    control_plane.start_etcd().expect("etcd");
    control_plane.start_server().expect("a server");
    control_plane.wait_server().expect("a server that serves");
    let mut reader = Reader::new(control_plane.kubeconfig(User::Proxy)).await;
    let name = |nth: usize| format!("s{nth}");
    let many: Vec<Value> = (0..2000)
        .flat_map(|nth| {
            let ip = format!("10.96.{}.{}", 10 + nth / 200, 1 + nth % 200);
            [service(&name(nth), &ip), slice(&name(nth), "10.244.0.9")]
        })
        .collect();
    let began = Instant::now();
    control_plane.load(&many).expect("written");
    println!("{} objects written in {:?}", many.len(), began.elapsed());
    let last = ServiceName::new("default", name(1999));
    reader
        .until("all of them", |reader| {
            reader.cluster.services().count() == 2001 && reader.cluster.slices(&last).count() == 1
        })
        .await;
    println!("all there after {:?}", began.elapsed());
    let admin = control_plane.admin().expect("a client");
    let found = admin.get(&service(&name(7), "")).expect("an answer").expect("the service");
    assert_eq!(found["spec"]["type"], "ClusterIP");
    admin.merge(&many[0], &json!({"spec": {"ports": [{"port": 81}]}})).expect("a change of what was loaded");
    delete(&admin, &name(7));
    control_plane.unload(&many[100..102]).expect("taken out");
    reader.until("two to go", |reader| !reader.has(&name(7)) && !reader.has(&name(50))).await;
}
