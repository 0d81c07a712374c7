//! A node with two pods behind it and a client before it, each in a network namespace and with both families; a
//! directory of objects; a proxy.

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
const DEADLINE: Duration = Duration::from_secs(60);

const PREFIX: &str = "weft-prx-";

pub const PODS: [&str; 2] = ["one", "two"];
pub const PODS_V4: [&str; 2] = ["10.244.1.11", "10.244.1.12"];
pub const PODS_V6: [&str; 2] = ["fd00:10:244:1::11", "fd00:10:244:1::12"];
pub const CLUSTER_IP: &str = "10.96.0.10:80";
pub const CLUSTER_IP_V6: &str = "[fd00:10:96::10]:80";
pub const CLUSTER_IP_UDP: &str = "10.96.0.10:53";
pub const NODE_PORT: &str = "192.168.0.1:30080";
pub const NODE_PORT_V6: &str = "[fd00:192::1]:30080";

/// What the proxy is told of the pods.
const CLUSTER_CIDR: &str = "--cluster-cidr=10.244.0.0/16,fd00:10:244::/48";

pub struct Testbed {
    pub node: Namespace,
    pub client: Namespace,
    /// Of [`PODS`].
    pub pods: [Namespace; 2],
    names: Vec<String>,
    pub directory: tempfile::TempDir,
}

impl Testbed {
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
        let [node, client, one, two] = made.try_into().expect("four namespaces");
        let forward = || {
            host::sysctl::write("net/ipv4/ip_forward", "1")?;
            host::sysctl::write("net/ipv6/conf/all/forwarding", "1")
        };
        node.run(forward).unwrap().unwrap();
        let address = |role: &str, device: &str, v4: &str, v6: &str| {
            ip(role, &format!("addr add {v4}/24 dev {device}"));
            ip(role, &format!("addr add {v6}/64 dev {device} nodad"));
            ip(role, &format!("link set {device} up"));
        };
        let default_route = |role: &str, v4: &str, v6: &str| {
            ip(role, &format!("route add default via {v4}"));
            ip(role, &format!("-6 route add default via {v6}"));
        };
        ip("node", "link add cni0 type bridge");
        address("node", "cni0", "10.244.1.1", "fd00:10:244:1::1");
        for (role, (v4, v6)) in PODS.into_iter().zip(PODS_V4.into_iter().zip(PODS_V6)) {
            ip("node", &format!("link add {role} type veth peer name eth0 netns {}", name(role)));
            ip("node", &format!("link set {role} master cni0 up"));
            // As CNI plugins do: what a pod sends to itself by a service leaves by the port that it came by.
            ip("node", &format!("link set {role} type bridge_slave hairpin on"));
            address(role, "eth0", v4, v6);
            default_route(role, "10.244.1.1", "fd00:10:244:1::1");
        }
        ip("node", &format!("link add eth0 type veth peer name eth0 netns {}", name("client")));
        address("node", "eth0", "192.168.0.1", "fd00:192::1");
        address("client", "eth0", "192.168.0.9", "fd00:192::9");
        // Without a route to ClusterIPs a packet to one goes nowhere, refused or not.
        default_route("node", "192.168.0.9", "fd00:192::9");
        default_route("client", "192.168.0.1", "fd00:192::1");
        for (pod, place) in PODS.into_iter().zip([&one, &two]) {
            answer(pod, place);
        }
        let directory = tempfile::tempdir().unwrap();
        let pods = [one, two];
        let testbed = Self { node, client, pods, names: roles.map(name).into(), directory };
        write_objects(testbed.directory.path());
        testbed
    }

    pub fn endpoints(&self, pods: &[&str]) {
        write_endpoints(self.directory.path(), pods);
    }

    /// `weft proxy` with arguments that fit this place.
    pub fn proxy(&self, more: &[&str]) -> Command {
        let mut command = self.node.command(WEFT);
        command.args(["proxy", "--hostname-override=here", CLUSTER_CIDR]);
        command.arg(format!("--feed-dir={}", self.directory.path().display()));
        command.args(["--conntrack-max-per-core=0", "--oom-score-adj=0"]).args(more);
        command
    }

    /// Starts a proxy, and returns when it says that it is ready.
    pub fn start(&self) -> Proxy {
        self.start_with(&[])
    }

    /// The same, with more arguments.
    pub fn start_with(&self, more: &[&str]) -> Proxy {
        self.start_command(self.proxy(more))
    }

    /// The same, of a command that is not quite as usual.
    pub fn start_command(&self, mut command: Command) -> Proxy {
        let path = self.directory.path().join("notify");
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        command.env("NOTIFY_SOCKET", &path);
        let proxy = self.spawn_command(command);
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).expect("the proxy gets ready");
        assert_eq!(&buffer[..length], b"READY=1");
        proxy
    }

    /// Starts a proxy without waiting for anything.
    pub fn spawn(&self, more: &[&str]) -> Proxy {
        self.spawn_command(self.proxy(more))
    }

    /// The same, of a command that is not quite as usual.
    pub fn spawn_command(&self, mut command: Command) -> Proxy {
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        command.stdin(Stdio::null()).stderr(log.try_clone().unwrap()).stdout(log);
        Proxy { child: command.spawn().unwrap() }
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("proxy.log")
    }

    /// What proxies have said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// `weft explain` or a tool of `weft proxy`, in the node.
    pub fn tool(&self, words: &[&str]) -> Output {
        let mut command = self.node.command(WEFT);
        command.args(words).args(["--node=here", CLUSTER_CIDR, "--feed-dir"]);
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

impl Drop for Testbed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.log());
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
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

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
        .run(|| (TcpListener::bind("[::]:8080").unwrap(), UdpSocket::bind("[::]:5353").unwrap()))
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

/// A dual-stack Service with ClusterIPs and node ports, its two endpoints in each family, and the node.
pub fn write_objects(directory: &Path) {
    let node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": { "name": "here" },
        "spec": { "podCIDRs": ["10.244.1.0/24", "fd00:10:244:1::/64"] },
        "status": { "addresses": [
            { "type": "InternalIP", "address": "192.168.0.1" },
            { "type": "InternalIP", "address": "fd00:192::1" },
        ] },
    });
    let ports = json!([
        { "name": "http", "port": 80, "targetPort": 8080, "nodePort": 30080, "protocol": "TCP" },
        { "name": "dns", "port": 53, "targetPort": 5353, "nodePort": 30053, "protocol": "UDP" },
    ]);
    write(directory, "node.json", &node);
    write(directory, "service.json", &service("web", 10, json!({ "type": "NodePort", "ports": ports })));
    write_endpoints(directory, &PODS);
}

/// A dual-stack Service with the ClusterIPs `10.96.0.N` and `fd00:10:96::N`, and with `more` in its spec.
pub fn service(name: &str, n: u8, more: Value) -> Value {
    let ips = [format!("10.96.0.{n}"), format!("fd00:10:96::{n}")];
    let mut spec = json!({
        "clusterIP": ips[0], "clusterIPs": ips, "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack",
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "namespace": "default", "name": name }, "spec": spec,
    })
}

/// The slices of a service, one of each family, as one object: one file is one change.
pub fn slices(service: &str, pods: &[&str], ports: Value) -> Value {
    let slice = |family: &str, ips: [&str; 2]| {
        let here = PODS.into_iter().zip(ips).filter(|(pod, _)| pods.contains(pod));
        let endpoints: Vec<Value> = here
            .map(|(_, ip)| json!({ "addresses": [ip], "nodeName": "here", "conditions": { "ready": true } }))
            .collect();
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
            "metadata": {
                "namespace": "default", "name": format!("{service}-{family}").to_lowercase(),
                "labels": { "kubernetes.io/service-name": service },
            },
            "endpoints": endpoints, "ports": ports,
        })
    };
    let items = [slice("IPv4", PODS_V4), slice("IPv6", PODS_V6)];
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

pub fn write_endpoints(directory: &Path, pods: &[&str]) {
    let ports = json!([
        { "name": "http", "port": 8080, "protocol": "TCP" },
        { "name": "dns", "port": 5353, "protocol": "UDP" },
    ]);
    write(directory, "slice.json", &slices("web", pods, ports));
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
