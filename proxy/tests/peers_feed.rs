//! The API feed beside the real kube-apiserver over etcd, with the rights of the bootstrapped role.
//!
//! Needs kube-apiserver in WEFT_PEERS (or peers/bin), etcd and etcdctl.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use proxy::feeds::{self, Event, Feed};
use proxy::options;
use proxy_core::cluster::{Change, Cluster};
use proxy_core::names::ServiceName;
use proxy_core::objects::Kind;
use serde_json::{Value, json};
use tempfile::TempDir;

const PROXY: &str = "token-of-the-proxy";
const ADMIN: &str = "token-of-the-admin";

/// A child that does not outlive the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A control plane of one machine: etcd, and API servers over it.
struct Plane {
    dir: TempDir,
    etcd_port: u16,
    etcd: Option<Daemon>,
    generation: u32,
}

impl Plane {
    async fn new() -> Self {
        let dir = TempDir::new().expect("a directory");
        let key = dir.path().join("sa.key");
        let made = Command::new("openssl")
            .args(["genrsa", "-out"])
            .arg(&key)
            .arg("2048")
            .stderr(Stdio::null())
            .status();
        assert!(made.expect("openssl runs").success());
        let tokens = format!("{PROXY},system:kube-proxy,1\n{ADMIN},admin,2,system:masters\n");
        fs::write(dir.path().join("tokens.csv"), tokens).expect("write");
        let mut plane = Self { dir, etcd_port: free_port(), etcd: None, generation: 0 };
        plane.start_etcd().await;
        plane
    }

    /// Another etcd each time, with nothing in it.
    async fn start_etcd(&mut self) {
        self.etcd = None;
        self.generation += 1;
        let url = format!("http://127.0.0.1:{}", self.etcd_port);
        let peer = format!("http://127.0.0.1:{}", free_port());
        let child = Command::new("etcd")
            .arg(format!("--data-dir={}", self.path(&format!("etcd{}", self.generation)).display()))
            .args([format!("--listen-client-urls={url}"), format!("--advertise-client-urls={url}")])
            .args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")])
            .arg(format!("--initial-cluster=default={peer}"))
            .args(["--log-level=error"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd is installed");
        self.etcd = Some(Daemon(child));
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.etcdctl(&["endpoint", "health"]).is_err() {
            assert!(Instant::now() < deadline, "etcd does not come up");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn etcdctl(&self, args: &[&str]) -> Result<String, String> {
        let out = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints=http://127.0.0.1:{}", self.etcd_port))
            .args(args)
            .output()
            .expect("etcdctl is installed");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        if out.status.success() { Ok(text) } else { Err(String::from_utf8_lossy(&out.stderr).into_owned()) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn start_server(&self, port: u16) -> Daemon {
        let peers = std::env::var_os("WEFT_PEERS")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../peers/bin"), PathBuf::from);
        let log = fs::File::create(self.path(&format!("server-{port}.log"))).expect("a log");
        let key = self.path("sa.key");
        let child = Command::new(peers.join("kube-apiserver"))
            .arg(format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port))
            .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--authorization-mode=RBAC"])
            .args(["--service-cluster-ip-range=10.96.0.0/16", "--service-account-issuer=https://test"])
            .args(["--disable-admission-plugins=ServiceAccount", "--endpoint-reconciler-type=none"])
            .arg(format!("--secure-port={port}"))
            .arg(format!("--cert-dir={}", self.path("certs").display()))
            .arg(format!("--token-auth-file={}", self.path("tokens.csv").display()))
            .arg(format!("--service-account-key-file={}", key.display()))
            .arg(format!("--service-account-signing-key-file={}", key.display()))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("kube-apiserver is there: run scripts/peers");
        Daemon(child)
    }

    fn kubeconfig(&self, name: &str, port: u16, token: &str) -> PathBuf {
        let path = self.path(name);
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": format!("https://127.0.0.1:{port}"), "insecure-skip-tls-verify": true}}],
            "users": [{"name": "u", "user": {"token": token}}]});
        fs::write(&path, text.to_string()).expect("write");
        path
    }

    /// What kubectl would do.
    async fn admin(&self, port: u16) -> Admin {
        let file =
            kube::config::Kubeconfig::read_from(self.kubeconfig("admin", port, ADMIN)).expect("a kubeconfig");
        let config =
            kube::Config::from_custom_kubeconfig(file, &kube::config::KubeConfigOptions::default()).await;
        let admin = Admin(kube::Client::try_from(config.expect("a configuration")).expect("a client"));
        let deadline = Instant::now() + Duration::from_secs(60);
        while admin.request("GET", "/readyz", "").await.is_err() {
            assert!(
                Instant::now() < deadline,
                "the server does not get ready: see {}",
                self.dir.path().display()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        admin
    }
}

struct Admin(kube::Client);

impl Admin {
    async fn request(&self, method: &str, path: &str, body: &str) -> Result<String, kube::Error> {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("Content-Type", "application/json")
            .body(body.as_bytes().to_vec())
            .expect("a request");
        self.0.request_text(request).await
    }

    async fn service(&self, name: &str, ip: &str) {
        let body = json!({"metadata": {"name": name}, "spec": {"clusterIP": ip, "ports": [{"port": 80}]}})
            .to_string();
        self.request("POST", "/api/v1/namespaces/default/services", &body).await.expect("a service");
    }

    async fn slice(&self, service: &str, ip: &str) {
        let body = json!({"metadata": {"name": format!("{service}-1"), "labels": {"kubernetes.io/service-name": service},
            "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00.5Z"}},
            "addressType": "IPv4", "ports": [{"port": 8080}], "endpoints": [{"addresses": [ip]}]});
        let path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
        self.request("POST", path, &body.to_string()).await.expect("a slice");
    }

    async fn delete(&self, name: &str) {
        self.request("DELETE", &format!("/api/v1/namespaces/default/services/{name}"), "")
            .await
            .expect("deleted");
    }
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

/// kube-proxy takes 12 to 61 s after an outage.
const SOON: Duration = Duration::from_secs(4);

#[tokio::test]
async fn follows_a_server_through_absence_change_and_oblivion() {
    let mut plane = Plane::new().await;
    let (port, other) = (free_port(), free_port());

    // Before the server is up.
    let mut reader = Reader::new(plane.kubeconfig("proxy", port, PROXY)).await;
    reader.until("a report", |reader| !reader.troubles.is_empty()).await;
    assert!(reader.troubles[0].contains("cannot reach the API server"), "{:?}", reader.troubles);
    let first = plane.start_server(port).await;
    let admin = plane.admin(port).await;
    let began = Instant::now();
    reader.until("all lists", |reader| Kind::ALL.iter().all(|kind| reader.listed.contains(kind))).await;
    assert!(began.elapsed() < SOON, "{:?} after it was ready", began.elapsed());
    reader.until("the range of ClusterIPs", |reader| !reader.cluster.service_cidrs().is_empty()).await;

    // Changes, and what the selectors leave out.
    admin.service("a", "10.96.0.11").await;
    admin.service("headless", "None").await;
    admin.service("b", "10.96.0.12").await;
    admin.slice("a", "10.244.0.5").await;
    let node = json!({"metadata": {"name": "node-1"}}).to_string();
    admin.request("POST", "/api/v1/nodes", &node).await.expect("a node");
    admin.request("POST", "/api/v1/nodes", &node.replace("node-1", "node-2")).await.expect("a node");
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
    drop(first);
    let second = plane.start_server(other).await;
    let elsewhere = plane.admin(other).await;
    elsewhere.delete("a").await;
    elsewhere.service("c", "10.96.0.13").await;
    let first = plane.start_server(port).await;
    let _ready = plane.admin(port).await;
    let began = Instant::now();
    reader.until("c instead of a", |reader| reader.has("c") && !reader.has("a")).await;
    assert!(began.elapsed() < SOON, "{:?} after it was ready", began.elapsed());
    println!(
        "back {:?} after the server was ready, by {} lists",
        began.elapsed(),
        reader.replaced - replaced
    );

    // Back, but with no memory of where we were: a list, and what is gone goes.
    drop(first);
    elsewhere.delete("b").await;
    for nth in 0..20 {
        elsewhere.service(&format!("many-{nth}"), &format!("10.96.1.{}", nth + 1)).await;
    }
    let state: Value =
        serde_json::from_str(&plane.etcdctl(&["endpoint", "status", "-w", "json"]).expect("etcd"))
            .expect("JSON");
    let revision = state[0]["Status"]["header"]["revision"].to_string();
    plane.etcdctl(&["compact", &revision]).expect("compacted");
    drop(second);
    let first = plane.start_server(port).await;
    let _ready = plane.admin(port).await;
    let replaced = reader.replaced;
    reader.until("the end of b", |reader| !reader.has("b") && reader.has("many-19")).await;
    println!("after the compaction by {} lists", reader.replaced - replaced);

    // Another etcd: everything that was is gone, and versions begin anew.
    drop(first);
    plane.start_etcd().await;
    let _first = plane.start_server(port).await;
    let admin = plane.admin(port).await;
    admin.service("new", "10.96.0.21").await;
    let began = Instant::now();
    reader.until("the new world", |reader| reader.has("new") && !reader.has("c")).await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());

    // An object that no server would have let in.
    let bad = json!({"kind": "Service", "apiVersion": "v1", "metadata": {"name": "bad", "namespace": "default", "uid": "x"},
        "spec": {"clusterIP": "10.96.0.300", "clusterIPs": ["10.96.0.300"], "ports": [{"port": 80}]}});
    plane.etcdctl(&["put", "/registry/services/specs/default/bad", &bad.to_string()]).expect("written");
    admin.service("good", "10.96.0.22").await;
    reader.until("the good one", |reader| reader.has("good")).await;
    assert!(
        !reader.has("bad") && reader.troubles.iter().any(|trouble| trouble.contains("default/bad")),
        "{:?}",
        reader.troubles
    );

    // Someone whom the server does not know.
    let mut stranger = Reader::new(plane.kubeconfig("stranger", port, "guess")).await;
    stranger.until("a report", |reader| !reader.troubles.is_empty()).await;
    assert!(stranger.troubles[0].contains("401 Unauthorized"), "{:?}", stranger.troubles);
    // The file is read again: a new token in it is enough. The certificate is checked this time.
    let path = plane.kubeconfig("stranger", port, PROXY);
    let text = fs::read_to_string(&path).expect("our own file");
    let ca = format!("\"certificate-authority\":{}", json!(plane.path("certs/apiserver.crt")));
    fs::write(&path, text.replace("\"insecure-skip-tls-verify\":true", &ca)).expect("write");
    stranger.until("all lists", |reader| Kind::ALL.iter().all(|kind| reader.listed.contains(kind))).await;
    assert!(stranger.has("good"));
}
