//! A node with two pods behind it and a client before it, each in a network namespace; a directory of objects; a proxy.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use host::netns::{self, Namespace};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

pub const WEFT: &str = env!("CARGO_BIN_EXE_weft");

/// How long a test waits for what must happen soon.
const DEADLINE: Duration = Duration::from_secs(10);

const PREFIX: &str = "weft-prx-";

pub const PODS: [(&str, &str); 2] = [("one", "10.244.1.11"), ("two", "10.244.1.12")];
pub const CLUSTER_IP: &str = "10.96.0.10:80";
pub const CLUSTER_IP_UDP: &str = "10.96.0.10:53";
pub const NODE_PORT: &str = "192.168.0.1:30080";

pub struct Bed {
    pub node: Namespace,
    pub client: Namespace,
    names: Vec<String>,
    pub directory: tempfile::TempDir,
}

impl Bed {
    /// `tag` is unique within this test binary.
    pub fn new(tag: &str) -> Self {
        sweep();
        let name = |role: &str| format!("{PREFIX}{tag}-{role}-{}", Pid::this());
        let roles = ["node", "client", "one", "two"];
        let made: Vec<Namespace> =
            roles.iter().map(|role| Namespace::create(&name(role)).expect("these tests need root")).collect();
        println!("to look: nsenter --net=/run/netns/{}", name("node"));
        let ip = |role: &str, words: &str| {
            let words: Vec<&str> = words.split(' ').collect();
            run(Command::new("ip").args(["-n", &name(role)]).args(words));
        };
        for role in roles {
            ip(role, "link set lo up");
        }
        ip("node", "link add cni0 type bridge");
        ip("node", "addr add 10.244.1.1/24 dev cni0");
        ip("node", "link set cni0 up");
        for (role, address) in PODS {
            ip("node", &format!("link add {role} type veth peer name eth0 netns {}", name(role)));
            ip("node", &format!("link set {role} master cni0 up"));
            ip(role, &format!("addr add {address}/24 dev eth0"));
            ip(role, "link set eth0 up");
            ip(role, "route add default via 10.244.1.1");
        }
        ip("node", &format!("link add eth0 type veth peer name eth0 netns {}", name("client")));
        ip("node", "addr add 192.168.0.1/24 dev eth0");
        ip("node", "link set eth0 up");
        // Without a route to ClusterIPs a packet to one goes nowhere, refused or not.
        ip("node", "route add default via 192.168.0.9");
        ip("client", "addr add 192.168.0.9/24 dev eth0");
        ip("client", "link set eth0 up");
        ip("client", "route add default via 192.168.0.1");
        let [node, client, one, two] = made.try_into().expect("four namespaces");
        node.run(|| host::sysctl::write("net/ipv4/ip_forward", "1")).unwrap().unwrap();
        for ((pod, _), place) in PODS.into_iter().zip([&one, &two]) {
            answer(pod, place);
        }
        let directory = tempfile::tempdir().unwrap();
        let bed = Self { node, client, names: roles.map(name).into(), directory };
        write_objects(bed.directory.path());
        bed
    }

    pub fn endpoints(&self, pods: &[&str]) {
        write_endpoints(self.directory.path(), pods);
    }

    /// `weft proxy` with arguments that fit this place.
    pub fn proxy(&self, more: &[&str]) -> Command {
        let mut command = self.node.command(WEFT);
        command.args(["proxy", "--hostname-override=here", "--cluster-cidr=10.244.0.0/16"]);
        command.args(["--conntrack-max-per-core=0", "--oom-score-adj=0"]).args(more);
        command.arg(format!("--feed-dir={}", self.directory.path().display()));
        command
    }

    /// Starts a proxy, and returns when it says that it is ready.
    pub fn start(&self) -> Proxy {
        self.start_with(&[])
    }

    /// The same, with more arguments.
    pub fn start_with(&self, more: &[&str]) -> Proxy {
        let path = self.directory.path().join("notify");
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        let mut command = self.proxy(more);
        command.env("NOTIFY_SOCKET", &path).stdin(Stdio::null()).stderr(log.try_clone().unwrap()).stdout(log);
        let child = command.spawn().unwrap();
        let proxy = Proxy { child };
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).expect("the proxy gets ready");
        assert_eq!(&buffer[..length], b"READY=1");
        proxy
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("proxy.log")
    }

    /// `weft explain` or a tool of `weft proxy`, in the node.
    pub fn tool(&self, words: &[&str]) -> Output {
        let mut command = self.node.command(WEFT);
        command.args(words).args(["--node=here", "--cluster-cidr=10.244.0.0/16", "--feed-dir"]);
        command.arg(self.directory.path()).output().unwrap()
    }

    /// What `nft` says in the node.
    pub fn nft(&self, words: &str) -> String {
        run(self.node.command("nft").args(words.split(' ')))
    }

    /// Which pods answer the client there.
    pub fn who_answers(&self, address: &str) -> BTreeSet<String> {
        self.client.run(|| (0..16).map(|_| connect(address).unwrap_or_else(|error| error)).collect()).unwrap()
    }

    pub fn until_answered_by(&self, address: &str, pods: &[&str]) {
        let want: BTreeSet<String> = pods.iter().map(|pod| (*pod).to_owned()).collect();
        until(&format!("{address} to be answered by {pods:?}"), || {
            let found = self.who_answers(address);
            if found == want { Ok(()) } else { Err(format!("{found:?}")) }
        });
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", std::fs::read_to_string(self.log()).unwrap_or_default());
        }
        for name in &self.names {
            let _ = Namespace::delete(name);
        }
    }
}

/// A running proxy. Killed when dropped.
pub struct Proxy {
    child: Child,
}

impl Proxy {
    /// Ends it, and returns its exit code, or `None` for a signal that it did not catch.
    pub fn end(mut self, signal: Signal) -> Option<i32> {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `look` is content.
pub fn until(what: &str, mut look: impl FnMut() -> Result<(), String>) {
    let end = Instant::now() + DEADLINE;
    while let Err(found) = look() {
        assert!(Instant::now() < end, "waited {DEADLINE:?} for {what}: {found}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// One connection from this thread's namespace: what the other end says of itself.
pub fn connect(address: &str) -> Result<String, String> {
    let address: SocketAddr = address.parse().unwrap();
    let mut text = String::new();
    let mut stream =
        TcpStream::connect_timeout(&address, Duration::from_secs(2)).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    stream.read_to_string(&mut text).map_err(|error| error.to_string())?;
    Ok(text)
}

/// Serves the pod's name by TCP and UDP, for as long as this process lives.
fn answer(name: &'static str, place: &Namespace) {
    let (tcp, udp) = place
        .run(|| (TcpListener::bind("0.0.0.0:8080").unwrap(), UdpSocket::bind("0.0.0.0:5353").unwrap()))
        .unwrap();
    std::thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            let _ = stream.write_all(name.as_bytes());
        }
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, from)) = udp.recv_from(&mut buffer) {
            let _ = udp.send_to(name.as_bytes(), from);
        }
    });
}

/// Written aside and moved, as every careful writer does.
pub fn write(directory: &Path, name: &str, object: &Value) {
    let (aside, path): (PathBuf, PathBuf) = (directory.join(format!(".{name}")), directory.join(name));
    std::fs::write(&aside, object.to_string()).unwrap();
    std::fs::rename(aside, path).unwrap();
}

/// A Service with a ClusterIP and a node port, its two endpoints, and the node.
pub fn write_objects(directory: &Path) {
    let node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": { "name": "here" },
        "spec": { "podCIDRs": ["10.244.1.0/24"] },
        "status": { "addresses": [{ "type": "InternalIP", "address": "192.168.0.1" }] },
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "namespace": "default", "name": "web" },
        "spec": {
            "type": "NodePort", "clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"], "ipFamilies": ["IPv4"],
            "ports": [
                { "name": "http", "port": 80, "targetPort": 8080, "nodePort": 30080, "protocol": "TCP" },
                { "name": "dns", "port": 53, "targetPort": 5353, "nodePort": 30053, "protocol": "UDP" },
            ],
        },
    });
    write(directory, "node.json", &node);
    write(directory, "service.json", &service);
    write_endpoints(directory, &["one", "two"]);
}

pub fn write_endpoints(directory: &Path, pods: &[&str]) {
    let here = PODS.into_iter().filter(|(pod, _)| pods.contains(pod));
    let endpoints: Vec<Value> = here
        .map(|(_, ip)| json!({ "addresses": [ip], "nodeName": "here", "conditions": { "ready": true } }))
        .collect();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "namespace": "default", "name": "web-1", "labels": { "kubernetes.io/service-name": "web" },
        },
        "endpoints": endpoints,
        "ports": [
            { "name": "http", "port": 8080, "protocol": "TCP" },
            { "name": "dns", "port": 5353, "protocol": "UDP" },
        ],
    });
    write(directory, "slice.json", &slice);
}

/// Removes what a killed test process left.
fn sweep() {
    for name in netns::list().unwrap_or_default() {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.rsplit_once('-')?.1.parse().ok());
        if owner.is_some_and(|pid| kill(Pid::from_raw(pid), None).is_err()) {
            let _ = Namespace::delete(&name);
        }
    }
}
