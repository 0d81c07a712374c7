//! A control plane in one namespace, with two servers beside it that stand for pods, and a node in another; a proxy.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use host::netns::Namespace;
use lab::flanneld::Binary;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use originals::{Api, ControlPlane, User};
use serde_json::{Value, json};
use tests::places::Places;
use tests::wait::until_explained;

/// How long a test waits for what must happen soon, with an API server and two builds on the machine.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// Those that stand for pods say these names.
pub const PODS: [(&str, &str); 2] = [("one", "192.168.7.11"), ("two", "192.168.7.12")];

pub const CLUSTER_IP: &str = "10.96.0.10";

const PREFIX: &str = "weft-papi-";

/// Where the API server is.
pub const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 7, 1));

/// The node's address.
pub const NODE: &str = "192.168.7.2";

pub struct Testbed {
    pub control_plane: ControlPlane,
    pub node: Namespace,
    _places: Places,
}

impl Testbed {
    /// With everything running. `tag` is unique within this program.
    pub fn new(tag: &str) -> Self {
        let testbed = Self::cold(tag);
        testbed.control_plane.start_etcd().unwrap_or_else(|error| panic!("{error}"));
        testbed.serve();
        testbed
    }

    /// With nothing running yet.
    pub fn cold(tag: &str) -> Self {
        let (places, [hub, node]) = Places::make(PREFIX, tag, ["hub", "node"]);
        println!("to look: nsenter --net=/run/netns/{}", places.names()[1]);
        let script = format!(
            "ip link set lo up; ip link add eth0 type veth peer name eth0 netns {}; ip link set eth0 up
             ip addr add {NODE}/24 dev eth0; ip -6 addr add fd00:7::2/64 dev eth0 nodad; ip route add default via {SERVER}",
            places.names()[0]
        );
        run(node.command("sh").args(["-ec", &script]));
        run(hub.command("sh").args([
            "-ec",
            &format!(
                "ip link set lo up; ip link set eth0 up; ip addr add {SERVER}/24 dev eth0
                 for pod in {} {}; do ip addr add $pod/24 dev eth0; done",
                PODS[0].1, PODS[1].1
            ),
        ]));
        for (name, address) in PODS {
            answer(name, address, &hub);
        }
        let control_plane = ControlPlane::new(&hub, SERVER).unwrap_or_else(|error| panic!("{error}"));
        Self { control_plane, node, _places: places }
    }

    /// Starts the API server, and waits until it serves.
    pub fn serve(&self) {
        self.control_plane.start_server().unwrap_or_else(|error| panic!("{error}"));
        self.control_plane.wait_server().unwrap_or_else(|error| panic!("{error}"));
    }

    /// An administrator of the cluster.
    pub fn admin(&self) -> Api {
        self.control_plane.admin().expect("a client")
    }

    /// Makes or changes objects.
    pub fn apply(&self, objects: &[Value]) {
        let admin = self.admin();
        for object in objects {
            admin.apply(object).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    /// `weft` with a subcommand, on the node.
    pub fn weft(&self, words: &[&str]) -> Command {
        let mut command = self.node.command(weft());
        command.args(words).stdin(Stdio::null());
        command
    }

    /// A tool with the proxy's kubeconfig, run to its end.
    pub fn tool(&self, words: &[&str]) -> Output {
        let kubeconfig = self.kubeconfig_flag();
        let around = ["--node=here", "--cluster-cidr=10.244.0.0/16", &kubeconfig];
        self.weft(words).args(around).output().expect("weft runs")
    }

    pub fn kubeconfig_flag(&self) -> String {
        format!("--kubeconfig={}", self.control_plane.kubeconfig(User::Proxy).display())
    }

    /// Starts a proxy with the proxy's kubeconfig. It need not be ready.
    pub fn start(&self, more: &[&str]) -> Proxy {
        let kubeconfig = self.kubeconfig_flag();
        let mut command = self.weft(&["proxy", &kubeconfig]);
        command.args(GENTLE).args(more);
        Proxy::start(self, command)
    }

    /// What the node gets from a service's address, or why it gets nothing.
    pub fn ask(&self, address: &str) -> Result<String, String> {
        let address: SocketAddr = address.parse().expect("an address");
        self.node.run(|| connect(address)).expect("the namespace is there")
    }

    /// Waits until this one answers there, many times over.
    pub fn until_answered_by(&self, address: &str, want: Result<&str, &str>) {
        let mut said = Vec::new();
        let look = || {
            said = (0..8).map(|_| self.ask(address)).collect();
            let right = |answer: &Result<String, String>| match (answer, want) {
                (Ok(name), Ok(want)) => name == want,
                (Err(error), Err(want)) => error.contains(want),
                _ => false,
            };
            said.iter().all(right).then_some(())
        };
        let mut look = look;
        let what = format!("{address} to be answered by {want:?}");
        until_explained(&what, DEADLINE, &mut look, String::new);
    }

    /// An HTTP GET on the node, at loopback: its status and its body.
    pub fn get(&self, port: u16, path: &str) -> Result<(u16, String), String> {
        get(&self.node, port, path)
    }

    /// A command on the node that has to succeed.
    pub fn run(&self, argv: &[&str]) -> String {
        run(self.node.command(argv[0]).args(&argv[1..]))
    }
}

pub fn run(command: &mut Command) -> String {
    let output = command.output().expect("it is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn node(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
           "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"]},
           "status": {"addresses": [{"type": "InternalIP", "address": NODE}]}})
}

/// Flags that fit this place: sysctls of the machine stay as they are.
pub const GENTLE: [&str; 4] = [
    "--hostname-override=here",
    "--cluster-cidr=10.244.0.0/16",
    "--conntrack-max-per-core=0",
    "--oom-score-adj=0",
];

/// A running `weft proxy`. Killed when dropped.
pub struct Proxy {
    node: Namespace,
    child: Child,
    log: PathBuf,
}

impl Proxy {
    pub fn start(testbed: &Testbed, mut command: Command) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("proxy-{}.log", COUNT.fetch_add(1, Ordering::Relaxed));
        let log = testbed.control_plane.directory().join(name);
        let file = File::create(&log).expect("a log");
        let errors = file.try_clone().expect("a log");
        let child = command.env("NO_COLOR", "1").stdin(Stdio::null()).stdout(file).stderr(errors).spawn();
        Self { node: testbed.node.clone(), child: child.expect("weft runs"), log }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for these words in its log.
    pub fn until_said(&self, words: &str) {
        let look = || self.log().contains(words).then_some(());
        until_explained(&format!("{words:?} in the log"), DEADLINE, look, || self.log());
    }

    /// Waits for the first complete pass.
    pub fn until_ready(&self) {
        let look = || (self.get(10249, "/readyz").ok()?.0 == 200).then_some(());
        until_explained("the proxy to be ready", DEADLINE, look, || self.log());
    }

    /// Status and body of an answer from its own ports.
    pub fn get(&self, port: u16, path: &str) -> Result<(u16, String), String> {
        get(&self.node, port, path)
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Ends it, and gives its exit code, or None for a signal that it did not catch.
    pub fn end(mut self, signal: Signal) -> Option<i32> {
        kill(self.pid(), signal).expect("it runs");
        self.child.wait().expect("our own child").code()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("the proxy's log:\n{}", self.log());
        }
    }
}

/// An HTTP GET on the node, at loopback.
fn get(node: &Namespace, port: u16, path: &str) -> Result<(u16, String), String> {
    let ask = || {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(DEADLINE))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let text: std::io::Result<String> = node.run(ask).expect("the namespace is there");
    let text = text.map_err(|error| error.to_string())?;
    let code = text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((code, body.to_owned()))
}

pub fn weft() -> PathBuf {
    Binary::beside_test().and_then(|binary| binary.program()).unwrap_or_else(|error| panic!("{error}"))
}

/// What the other end says of itself.
fn connect(address: SocketAddr) -> Result<String, String> {
    let limit = Duration::from_millis(500);
    let mut text = String::new();
    let mut stream = TcpStream::connect_timeout(&address, limit).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(limit)).map_err(|error| error.to_string())?;
    stream.read_to_string(&mut text).map_err(|error| error.to_string())?;
    Ok(text)
}

/// Says its name to whoever connects, for as long as this process lives.
fn answer(name: &'static str, address: &str, place: &Namespace) {
    let listener =
        place.run(|| TcpListener::bind(format!("{address}:8080"))).expect("the namespace is there");
    let listener = listener.expect("a port of our own");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(name.as_bytes());
        }
    });
}

/// A service at an address of the range, port 80.
pub fn service(name: &str, ip: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
           "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 80, "targetPort": 8080}]}})
}

/// Its endpoints: all of [`PODS`] with these names.
pub fn slice(service: &str, pods: &[&str]) -> Value {
    let here = PODS.iter().filter(|(name, _)| pods.contains(name));
    let endpoints: Vec<Value> = here.map(|(_, ip)| json!({"addresses": [ip]})).collect();
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
           "metadata": {"name": format!("{service}-1"), "labels": {"kubernetes.io/service-name": service}},
           "addressType": "IPv4", "ports": [{"port": 8080}], "endpoints": endpoints})
}
