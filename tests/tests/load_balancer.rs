//! Services of type LoadBalancer: their addresses with kubectl, and who announces them on a network of its own.
//!
//! Needs root, etcd and kubectl.

use std::ffi::OsString;
use std::io::{Read, Seek, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use host::netns::{Namespace, Sysfs};
use host::programs::{Daemon, Signal};
use serde_json::{Value, json};
use tests::apiserver::control::{Control, READY};
use tests::places::Places;
use tests::testbed::weft;
use tests::wait::until_explained;

/// Runs kubectl as the administrator, where the control plane is.
fn kubectl(control: &Control, words: &[&str], input: &str) -> Output {
    let program = originals::program("kubectl").unwrap_or_else(|error| panic!("{error}"));
    let mut command = Command::new("timeout");
    command.arg("60").arg(program).args(words);
    command.env("KUBECONFIG", control.root.join("admin.kubeconfig")).env("HOME", control.directory.path());
    control.place().enter_on_spawn(&mut command, Sysfs::Keep);
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(input.as_bytes()).expect("room");
    file.rewind().expect("a file");
    command.stdin(file).output().unwrap_or_else(|error| panic!("kubectl: {error}"))
}

fn must(control: &Control, words: &[&str], input: &str) {
    let output = kubectl(control, words, input);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {words:?}: {said}\n{}", control.daemon.log_tail(20));
}

/// Waits until `kubectl get WHAT -o jsonpath=PATH` says something.
fn until(control: &Control, what: &str, path: &str, says: &str) {
    let query = format!("jsonpath={path}");
    let words: Vec<&str> = ["get", "-o", &query].into_iter().chain(what.split(' ')).collect();
    let said = || {
        let output = kubectl(control, &words, "");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let explain = || format!("it says {:?}\n{}", said(), control.daemon.log_tail(20));
    until_explained(
        &format!("{what} at {path} to say {says:?}"),
        READY,
        || (said().trim() == says).then_some(()),
        explain,
    );
}

/// Until it knows the ranges of ClusterIPs, too.
fn start(control: &Control) {
    control.start();
    let ready = || control.ask("GET", "/readyz", &Value::Null).filter(|(code, _)| *code == 200).map(|_| ());
    until_explained("weft control to be ready", READY, ready, || control.daemon.log_tail(20));
}

const ADDRESSES: &str = "{.status.loadBalancer.ingress[*].ip}";

fn service(name: &str, more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  type: LoadBalancer\n  \
         ports: [{{port: 80}}]\n{more}"
    )
}

#[test]
fn a_service_has_an_address_of_the_pool_as_long_as_it_wants_one() {
    let mut control = Control::new();
    control.flags = vec![
        "--load-balancer-pool=192.0.2.16/31,2001:db8::10-2001:db8::1f".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112".to_owned(),
    ];
    start(&control);
    must(&control, &["apply", "-f", "-"], &service("a", "  ipFamilyPolicy: RequireDualStack\n"));
    until(&control, "service a", ADDRESSES, "192.0.2.16 2001:db8::10");
    until(&control, "service a", "{.status.loadBalancer.ingress[*].ipMode}", "VIP VIP");
    let finalizers = "{.metadata.finalizers[*]}";
    until(&control, "service a", finalizers, "service.kubernetes.io/load-balancer-cleanup");
    must(&control, &["apply", "-f", "-"], &service("b", "  loadBalancerIP: 192.0.2.17\n"));
    until(&control, "service b", ADDRESSES, "192.0.2.17");
    must(&control, &["apply", "-f", "-"], &service("others", "  loadBalancerClass: example.org/cloud\n"));
    // The pool is used up, and the Service's Events say so.
    must(&control, &["apply", "-f", "-"], &service("c", ""));
    let about = "events --field-selector involvedObject.name=c,reason=SyncLoadBalancerFailed";
    until(
        &control,
        about,
        "{.items[0].message}",
        "Error syncing load balancer: failed to ensure load balancer: no IPv4 address is free, all of 192.0.2.16/31 are \
         in use: add a range to --load-balancer-pool, or delete a Service of type LoadBalancer",
    );
    // What one gives back another gets.
    must(&control, &["patch", "service", "b", "-p", "{\"spec\": {\"type\": \"ClusterIP\"}}"], "");
    until(&control, "service c", ADDRESSES, "192.0.2.17");
    until(&control, "service b", "{.status.loadBalancer}{.metadata.finalizers}", "{}");
    // A restart changes nothing.
    control.daemon.stop(Signal::SIGKILL).unwrap_or_else(|error| panic!("{error}"));
    start(&control);
    must(&control, &["delete", "service", "a", "--timeout=60s"], "");
    must(&control, &["apply", "-f", "-"], &service("d", ""));
    until(&control, "service d", ADDRESSES, "192.0.2.16");
    until(&control, "service c", ADDRESSES, "192.0.2.17");
    until(&control, "service others", ADDRESSES, "");
    let events = "events --field-selector involvedObject.name=d";
    until(
        &control,
        events,
        "{range .items[*]}{.reason}: {.message}; {end}",
        "EnsuringLoadBalancer: Ensuring load balancer; EnsuredLoadBalancer: Ensured load balancer;",
    );
}

const HUB: Ipv4Addr = Ipv4Addr::new(192, 168, 9, 1);
const V4: &str = "192.168.9.200";
const V6: &str = "fd00:9::200";

/// The lease's time, and what a busy machine may add to it.
const TAKEN_OVER: Duration = Duration::from_secs(15 + 10);

fn shell(place: &Namespace, script: &str) -> String {
    let output = place.command("sh").args(["-ec", script]).output().expect("sh runs");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A node with a proxy that announces. It ends with this value.
struct Node {
    name: &'static str,
    number: u8,
    place: Namespace,
    mac: String,
    proxy: Daemon,
    flags: Vec<OsString>,
}

impl Node {
    fn new(control: &Control, place: &Namespace, name: &'static str, number: u8) -> Self {
        shell(place, "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding");
        let mac = shell(place, "ip -o link show eth0");
        let mac =
            mac.split("link/ether ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a MAC address");
        let directory = control.directory.path();
        let kubeconfig = directory.join("proxy.kubeconfig");
        let server = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {
                "server": format!("https://{HUB}:6443"),
                "certificate-authority": control.root.join("pki/ca.crt"),
            }}],
            "users": [{"name": "c", "user": {"token": "token-of-the-proxy"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        });
        std::fs::write(&kubeconfig, server.to_string()).expect("a file");
        let flags = [
            "proxy".to_owned(),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--hostname-override={name}"),
            format!("--node-ips=192.168.9.{number},fd00:9::{number}"),
            "--cluster-cidr=10.244.0.0/16,fd00:244::/56".to_owned(),
            "--announce-load-balancers".to_owned(),
        ];
        let proxy = Daemon::new(format!("weft proxy on {name}"), place.clone(), directory, name);
        let flags = flags.map(OsString::from).into();
        let node = Self { name, number, place: place.clone(), mac: mac.to_owned(), proxy, flags };
        node.start();
        node
    }

    fn start(&self) {
        let program = weft().binary.program().unwrap_or_else(|error| panic!("{error}"));
        self.proxy.start(&program, &self.flags, &[]).unwrap_or_else(|error| panic!("{error}"));
    }

    fn stop(&self, signal: Signal) {
        self.proxy.stop(signal).unwrap_or_else(|error| panic!("{error}"));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.proxy.stop(Signal::SIGKILL);
    }
}

/// What a Lease says of its holder, without what tells processes apart.
fn holder(control: &Control, lease: &str) -> Option<String> {
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/weft-load-balancers/leases/default.{lease}");
    let (_, lease) = control.ask("GET", &path, &Value::Null)?;
    let holder = lease["spec"]["holderIdentity"].as_str()?.split('_').next()?.to_owned();
    (!holder.is_empty()).then_some(holder)
}

/// A client of the network, which nobody has told of nodes.
struct Client(Namespace);

impl Client {
    /// What the Service says at an address.
    fn asks(&self, address: &str) -> Option<String> {
        let address = SocketAddr::new(address.parse().expect("an address"), 80);
        let answer = self.0.run(|| {
            let mut connection = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
            connection.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
            let mut answer = String::new();
            connection.read_to_string(&mut answer).ok().map(|_| answer)
        });
        answer.unwrap_or_else(|error| panic!("{error}"))
    }

    fn neighbour(&self, address: &str) -> String {
        shell(&self.0, &format!("ip neigh show {address}"))
    }

    /// Waits until both addresses answer by way of a node; says how long it took.
    fn reaches(&self, node: &Node, limit: Duration, explain: impl Fn() -> String) -> Duration {
        let began = Instant::now();
        for address in [V4, V6] {
            let arrives = || {
                let answer = self.asks(address)?;
                (answer == "here\n" && self.neighbour(address).contains(&node.mac)).then_some(())
            };
            let what = format!("{address} by way of {}, {}", node.name, node.mac);
            until_explained(&what, limit, arrives, || format!("{}\n{}", self.neighbour(address), explain()));
        }
        began.elapsed()
    }
}

/// Says `here` to whoever connects, for as long as the program runs.
fn serve(place: &Namespace) {
    for address in [SocketAddr::from((HUB, 8080)), "[fd00:9::1]:8080".parse().expect("an address")] {
        let listener = place.run(|| TcpListener::bind(address).expect("a port"));
        let listener = listener.unwrap_or_else(|error| panic!("{error}"));
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let _ = (&connection).write_all(b"here\n");
            }
        });
    }
}

const SLICES: &str = "
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-4, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [192.168.9.1]}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-6, labels: {kubernetes.io/service-name: web}}
addressType: IPv6
ports: [{port: 8080}]
endpoints: [{addresses: ['fd00:9::1']}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: local-4, labels: {kubernetes.io/service-name: local}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [192.168.9.1], nodeName: n2}]
";

#[test]
fn one_node_announces_an_address_and_another_one_when_it_is_gone() {
    let (places, [hub, one, two, client]) = Places::make("weft-lb-", "a", ["hub", "one", "two", "client"]);
    shell(
        &hub,
        "ip link set lo up; ip link add br0 type bridge; ip link set br0 up; ip addr add 192.168.9.1/24 dev br0; \
                 ip addr add fd00:9::1/64 dev br0 nodad",
    );
    for (place, number) in [(&one, 11), (&two, 12), (&client, 9)] {
        let there = &places.names()[0];
        shell(
            place,
            &format!(
                "ip link set lo up; ip link add eth0 type veth peer name port{number} netns {there}; \
            ip link set eth0 up; ip addr add 192.168.9.{number}/24 dev eth0; ip addr add fd00:9::{number}/64 dev eth0 nodad"
            ),
        );
        shell(&hub, &format!("ip link set port{number} master br0 up"));
    }
    let mut control = Control::at(hub.clone(), SocketAddr::from((HUB, 6443)));
    control.flags = vec![
        format!("--load-balancer-pool={V4}-192.168.9.209,{V6}-fd00:9::209"),
        "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112".to_owned(),
        format!("--advertise-address={HUB}"),
    ];
    start(&control);
    serve(&hub);
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/load-balancers.yaml");
    must(&control, &["apply", "-f", &manifest.display().to_string()], "");
    let objects = service("web", "  ipFamilyPolicy: RequireDualStack\n")
        + "---\n"
        + &service("local", "  externalTrafficPolicy: Local\n")
        + SLICES;
    must(&control, &["apply", "-f", "-"], &objects);
    until(&control, "service web", ADDRESSES, &format!("{V4} {V6}"));
    let nodes = [Node::new(&control, &one, "n1", 11), Node::new(&control, &two, "n2", 12)];
    let logs = || {
        let logs = nodes.each_ref().map(|node| format!("{}:\n{}", node.name, node.proxy.log_tail(12)));
        format!("{}\n{}", logs.join("\n"), control.daemon.log_tail(5))
    };
    let client = Client(client);

    let first = until_explained("a holder of web's Lease", READY, || holder(&control, "web"), logs);
    let (first, second) = if first == "n1" { (&nodes[0], &nodes[1]) } else { (&nodes[1], &nodes[0]) };
    client.reaches(first, READY, logs);
    // Only the node with its endpoint.
    let local = until_explained("a holder of local's Lease", READY, || holder(&control, "local"), logs);
    assert_eq!(local, "n2");

    // It is gone without a word.
    first.stop(Signal::SIGKILL);
    shell(&first.place, "ip link set eth0 down");
    let took = client.reaches(second, TAKEN_OVER, logs);
    println!("{} announces {took:?} after {} was killed and cut off", second.name, first.name);

    // It comes back, and the other one is told to end.
    let again = format!("ip link set eth0 up; ip addr replace fd00:9::{}/64 dev eth0 nodad", first.number);
    shell(&first.place, &again);
    let before = first.proxy.log().len();
    first.start();
    let stands = || first.proxy.log().get(before..)?.contains("waiting for the lease").then_some(());
    until_explained("it to stand for the Lease", READY, stands, logs);
    second.stop(Signal::SIGTERM);
    let took = client.reaches(first, Duration::from_secs(10), logs);
    println!("{} announces {took:?} after {} ended", first.name, second.name);

    // Who loses the API server cannot know who else announces.
    control.daemon.stop(Signal::SIGKILL).unwrap_or_else(|error| panic!("{error}"));
    let began = Instant::now();
    let silent = || {
        shell(&client.0, "ip neigh flush dev eth0");
        (client.asks(V4).is_none() && client.asks(V6).is_none()).then_some(())
    };
    until_explained("nobody to announce", Duration::from_secs(15), silent, logs);
    println!("nobody announces {:?} after the API server was gone", began.elapsed());
}
