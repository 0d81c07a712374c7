//! A control plane in one namespace and a node in another, with a wire between them.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

use host::netns::{self, Namespace};
use lab::originals::Plane;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::{Value, json};

const PREFIX: &str = "weft-papi-";

/// Where the API server is.
pub const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 7, 1));

/// The node's address.
pub const NODE: &str = "192.168.7.2";

pub struct Bed {
    pub plane: Plane,
    pub node: Namespace,
    _names: Names,
}

/// Namespaces that go with it.
struct Names(Vec<String>);

impl Drop for Names {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = Namespace::delete(name);
        }
    }
}

impl Bed {
    /// With everything running. `tag` is unique within this program.
    pub fn new(tag: &str) -> Self {
        let bed = Self::cold(tag);
        bed.plane.start_etcd().unwrap_or_else(|error| panic!("{error}"));
        bed.serve();
        bed
    }

    /// With nothing running yet.
    pub fn cold(tag: &str) -> Self {
        sweep();
        let names = Names(["hub", "node"].map(|role| format!("{PREFIX}{tag}-{role}-{}", Pid::this())).into());
        let [hub, node] =
            [0, 1].map(|nth: usize| Namespace::create(&names.0[nth]).expect("these tests need root"));
        println!("to look: nsenter --net=/run/netns/{}", names.0[1]);
        let script = format!(
            "ip link set lo up; ip link add eth0 type veth peer name eth0 netns {}; ip link set eth0 up
             ip addr add {NODE}/24 dev eth0; ip -6 addr add fd00:7::2/64 dev eth0 nodad; ip route add default via {SERVER}",
            names.0[0]
        );
        run(node.command("sh").args(["-ec", &script]));
        run(hub.command("sh").args([
            "-ec",
            &format!("ip link set lo up; ip link set eth0 up; ip addr add {SERVER}/24 dev eth0"),
        ]));
        let plane = Plane::new(&hub, SERVER).unwrap_or_else(|error| panic!("{error}"));
        Self { plane, node, _names: names }
    }

    /// Starts the API server, and waits until it serves.
    pub fn serve(&self) {
        self.plane.start_server().unwrap_or_else(|error| panic!("{error}"));
        self.plane.wait_server().unwrap_or_else(|error| panic!("{error}"));
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

/// Removes what a killed test process left.
fn sweep() {
    for name in netns::list().unwrap_or_default() {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.rsplit_once('-')?.1.parse().ok());
        if owner.is_some_and(|pid| kill(Pid::from_raw(pid), None).is_err()) {
            let _ = Namespace::delete(&name);
        }
    }
}
