//! Whatever is changed behind flanneld's back is put back, by notification; what belongs to others stays as it is.
//!
//! Needs root, etcd, and the `weft` that `cargo build -p weft` makes.

use std::cell::RefCell;
use std::path::Path;
use std::time::{Duration, Instant};

use lab::spec::{Backend, Datapath};
use lab::{Node, ScratchLab, Signal, Spec};
use tests::foreign::Foreign;
use tests::leases;
use tests::testbed::{assert_all_reach_all, metric, sh, spec, up, warned, weft, writes};
use tests::view::View;
use tests::wait::{SOON, until_explained, until_true};

/// A node whose tables are broken again and again.
struct Patient<'a> {
    node: &'a Node,
    foreign: Foreign<'a>,
    /// How it is when it is well.
    well: View,
}

impl<'a> Patient<'a> {
    fn of(lab: &'a ScratchLab) -> Self {
        assert_all_reach_all(lab);
        let node = lab.node("n1");
        let foreign = Foreign::plant(node);
        Self { node, foreign, well: View::of(node) }
    }

    /// Runs a script that breaks something, and sees it repaired by writes of flanneld's.
    fn heals(&self, what: &str, script: &str) {
        let before = writes(self.node);
        // The daemon stands still meanwhile: a damage of several steps is done whole before it is repaired.
        let pid = self.node.flanneld_pid().expect("flanneld runs");
        sh(self.node, &format!("kill -STOP {pid}\ntrap 'kill -CONT {pid}' EXIT\n{script}"));
        let took = self.well_again(what);
        until_explained(
            "the writes to be counted",
            SOON,
            || (writes(self.node) > before).then_some(()),
            || format!("after {what}"),
        );
        self.foreign.assert_untouched(what);
        println!("{took:>8.0?} {what}");
    }

    /// How long after the end of the damage everything is as it was.
    fn well_again(&self, what: &str) -> Duration {
        let start = Instant::now();
        let last = RefCell::new(String::new());
        until_explained(
            &format!("the repair of: {what}"),
            SOON,
            || {
                let now = View::of(self.node);
                last.replace(now.difference(&self.well));
                (now == self.well).then_some(())
            },
            || format!("still different:\n{}{}", last.borrow(), self.node.flanneld().log_tail(20)),
        );
        start.elapsed()
    }

    /// Nothing is written as long as nothing changes: flanneld's own writes, and others' objects, end in silence.
    fn is_calm(&self) {
        let node = self.node;
        // Whatever is still under way ends with a pass that writes nothing.
        let mut last = (writes(node), Instant::now());
        until_true("flanneld to come to rest", || {
            let now = writes(node);
            if now != last.0 {
                last = (now, Instant::now());
            }
            last.1.elapsed() > Duration::from_millis(300)
        });
        let (passes, written) = (metric(node, "passes_total"), writes(node));
        sh(
            node,
            "ip link add calm0 type bridge; ip link set calm0 up; ip route add 203.0.113.0/24 dev calm0",
        );
        sh(node, "nft add table inet calm; ip link del calm0; nft delete table inet calm");
        until_true("flanneld to have looked", || metric(node, "passes_total") > passes);
        assert_eq!(writes(node), written, "writes without a reason:\n{}", node.flanneld().log_tail(20));
    }
}

/// Nothing is looked at by the clock while a test runs: what is repaired, flanneld was told of.
fn told(spec: Spec) -> Spec {
    Spec { flanneld: Some(weft().arg("--iptables-resync=86400")), ..spec }
}

/// The default route and the static ones through eth0 are not flanneld's to restore.
const UNDERLAY_BACK: &str = "ip route replace default via 172.30.0.1";

/// Takes the underlay's link away and makes it again, which gives it another index.
fn remake_underlay(lab: &ScratchLab, node: &Node) -> String {
    let hub = lab.hub().name().expect("a lab's namespaces have names");
    format!(
        "ip link del eth0
         ip link add bystander type bridge
         ip link add eth0 type veth peer name n1 netns {hub}
         ip link del bystander
         ip -n {hub} link set n1 master switch up
         ip address add {}/24 dev eth0; ip link set eth0 up; {UNDERLAY_BACK}",
        node.underlay()
    )
}

#[test]
fn vxlan_is_repaired_when_it_is_told() {
    let lab = up(&told(spec("healvx", Backend::Vxlan)));
    let node = lab.node("n1");
    let peer = lab.node("n2").subnet_env().unwrap().get("FLANNEL_SUBNET").unwrap().replace(".1/24", ".0");
    let patient = Patient::of(&lab);
    assert!(patient.well.has("route", &peer) && patient.well.has("fdb", "172.30.0.12"), "{}", patient.well);

    patient.heals("flannel.1 deleted", "ip link del flannel.1");
    patient.heals("flannel.1 down", "ip link set flannel.1 down");
    patient.heals("flannel.1 without addresses", "ip address flush dev flannel.1");
    patient.heals(
        "a foreign address of the network on flannel.1",
        "ip address add 10.244.99.7/24 dev flannel.1",
    );
    patient.heals("MAC of the end point changed", "ip link set flannel.1 address 02:11:22:33:44:55");
    patient.heals("MTU of flannel.1 changed", "ip link set flannel.1 mtu 1300");
    patient.heals(
        "flannel.1 made by somebody with another VNI",
        "ip link del flannel.1; ip link add flannel.1 type vxlan id 7 dstport 8472 dev eth0",
    );
    patient.heals("routes flushed", "ip route flush proto 87");
    patient.heals("routes of flannel.1 flushed", "ip route flush dev flannel.1");
    // A route in the place of ours is somebody's will: it stays, and ours comes back when it goes.
    sh(node, &format!("ip route replace {peer}/24 via 172.30.0.1"));
    warned(node, 0, "another program's route leads there");
    assert!(sh(node, &format!("ip route show {peer}/24")).contains("via 172.30.0.1"));
    patient.heals("a route in the place of ours deleted", &format!("ip route del {peer}/24"));
    patient.heals("FDB entry removed", "bridge fdb del $(bridge fdb show dev flannel.1 | grep -m1 172.30.0.12 | cut -d' ' -f1) dev flannel.1");
    patient.heals("FDB entry to elsewhere", "bridge fdb replace $(bridge fdb show dev flannel.1 | grep -m1 172.30.0.12 | cut -d' ' -f1) dev flannel.1 dst 172.30.0.99");
    patient.heals("a stranger in the FDB", "bridge fdb add 02:aa:aa:aa:aa:aa dev flannel.1 dst 172.30.0.98");
    patient.heals("neighbour removed", &format!("ip neighbour del {peer} dev flannel.1"));
    patient.heals(
        "neighbour with another MAC",
        &format!("ip neighbour replace {peer} lladdr 02:bb:bb:bb:bb:bb dev flannel.1 nud permanent"),
    );
    // The kernel keeps what is on flannel.1; the overlay has to go on with the underlay.
    sh(node, &format!("ip link set eth0 down; ip link set eth0 up; {UNDERLAY_BACK}"));
    patient.well_again("underlay down and up");
    assert_all_reach_all(&lab);
    patient.heals("our nftables table deleted", "nft delete table ip flannel-ipv4");
    patient.heals("one nftables rule deleted", "nft delete rule ip flannel-ipv4 postrtg handle $(nft -a list chain ip flannel-ipv4 postrtg | grep -m1 return | sed 's/.*handle //')");
    patient.heals("a rule of somebody in our chain", "nft insert rule ip flannel-ipv4 postrtg return");
    patient.heals(
        "rules and routes at the same moment",
        "nft flush table ip flannel-ipv4; ip route flush proto 87",
    );

    patient.heals(
        "docker0 without its address",
        "ip address del $(ip -o -4 address show dev docker0 | grep -o '10.244[^ ]*' | head -1) dev docker0",
    );
    patient.heals("docker0 down", "ip link set docker0 down");
    patient.heals("MTU of docker0 changed", "ip link set docker0 mtu 1400");
    sh(node, "ip link del docker0");
    let took = patient.well_again("docker0 deleted");
    println!("{took:>8.0?} docker0 deleted");
    patient.foreign.plant_on_bridge();
    sh(node, "ip link set veth-p1 master docker0");
    assert_all_reach_all(&lab);

    patient.heals("underlay made again, with another index", &remake_underlay(&lab, node));
    assert_all_reach_all(&lab);
    patient.is_calm();

    // The whole ruleset, foreign tables and all: theirs are for their owners to restore.
    sh(node, "nft flush ruleset");
    let took = patient.well_again("ruleset flushed");
    println!("{took:>8.0?} ruleset flushed");
    assert_all_reach_all(&lab);
}

#[test]
fn host_gw_is_repaired_when_it_is_told() {
    let lab = up(&told(spec("healgw", Backend::HostGw)));
    let patient = Patient::of(&lab);
    patient.heals("routes flushed", "ip route flush proto 87");
    patient.heals(
        "underlay down and up",
        &format!("ip link set eth0 down; ip link set eth0 up; {UNDERLAY_BACK}"),
    );
    patient.heals("underlay made again, with another index", &remake_underlay(&lab, lab.node("n1")));
    patient.heals("our nftables table flushed", "nft flush table ip flannel-ipv4");
    assert_all_reach_all(&lab);
    patient.is_calm();
}

/// The pins of the links that hold the packet programs in their places, eth0's ingress and flannel0's egress, and of
/// their state. A link is in its place for as long as it is pinned.
fn are_pinned(pins: &Path) -> bool {
    ["weft_encap_link", "weft_decap_link", "state"].iter().all(|pin| pins.join(pin).exists())
}

fn udp(prefix: &str, datapath: Datapath) -> ScratchLab {
    up(&told(Spec { datapath, ..spec(prefix, Backend::Udp) }))
}

fn udp_heals(lab: &ScratchLab) {
    let patient = Patient::of(lab);
    patient.heals("flannel0 deleted", "ip link del flannel0");
    patient.heals("flannel0 down", "ip link set flannel0 down");
    patient.heals("MTU of flannel0 changed", "ip link set flannel0 mtu 1300");
    patient.heals("flannel0 without its address", "ip address flush dev flannel0");
    patient.heals("routes flushed", "ip route flush proto 87");
    // No table of ours depends on the underlay here; the data path has to go on with it.
    sh(lab.node("n1"), &format!("ip link set eth0 down; ip link set eth0 up; {UNDERLAY_BACK}"));
    assert_all_reach_all(lab);
    sh(lab.node("n1"), &remake_underlay(lab, lab.node("n1")));
    assert_all_reach_all(lab);
    patient.is_calm();
}

#[test]
fn udp_simple_is_repaired_when_it_is_told() {
    udp_heals(&udp("healus", Datapath::Simple));
}

#[test]
fn udp_ebpf_is_repaired_when_it_is_told() {
    let lab = udp("healue", Datapath::Ebpf);
    udp_heals(&lab);
    let node = lab.node("n1");
    let pins = node.directory().join("bpf/flanneld");
    assert!(are_pinned(&pins));
    for (what, glob) in [("programs detached", "*_link"), ("everything unpinned", "*")] {
        sh(node, &format!("rm {}/{glob}", pins.display()));
        let start = Instant::now();
        until_true(what, || are_pinned(&pins));
        println!("{:>8.0?} {what}", start.elapsed());
        assert_all_reach_all(&lab);
    }
    // What was pinned again serves the next daemon as well.
    node.stop_flanneld(Signal::SIGKILL).unwrap();
    assert_all_reach_all(&lab);
    tests::testbed::start(node, &weft());
    assert_all_reach_all(&lab);
}

/// A script goes on in the background until the value ends.
struct Stubborn<'a>(&'a Node, String);

impl<'a> Stubborn<'a> {
    fn undo(node: &'a Node, script: &str) -> Self {
        let command = format!("(while :; do {script}; sleep 0.05; done) >/dev/null 2>&1 & echo $!");
        Self(node, sh(node, &command).trim().to_owned())
    }
}

impl Drop for Stubborn<'_> {
    fn drop(&mut self) {
        let _ = self.0.run(["kill", "-9", self.1.as_str()]);
    }
}

#[test]
fn what_is_undone_again_and_again_is_repaired_less_often_and_said_once() {
    let lab = up(&spec("healwar", Backend::Vxlan));
    let patient = Patient::of(&lab);
    let node = patient.node;
    for (script, said) in [
        ("nft delete table ip flannel-ipv4", "our firewall rules are changed again and again by"),
        ("ip route flush proto 87", "changed again and again by another program"),
    ] {
        let stubborn = Stubborn::undo(node, script);
        let line = || node.log().lines().any(|line| line.contains("WARN") && line.contains(said));
        until_explained(said, SOON, || line().then_some(()), || node.flanneld().log_tail(20));
        // Twenty times a second it is undone; the waits double from half a second on.
        let before = writes(node);
        std::thread::sleep(Duration::from_secs(2));
        assert!(writes(node) - before <= 8.0, "{} writes in two seconds", writes(node) - before);
        drop(stubborn);
        patient.well_again(script);
        let lines = node.log().lines().filter(|line| line.contains(said)).count();
        assert_eq!(lines, 1, "{}", node.flanneld().log_tail(40));
    }
    assert_all_reach_all(&lab);
    patient.foreign.assert_untouched("two wars");
}

#[test]
fn a_route_of_another_to_a_peers_subnet_stays_and_the_lease_waits_for_its_end() {
    let lab = up(&spec("healfor", Backend::Vxlan));
    let node = lab.node("n1");
    let plant = "ip route add 10.244.101.0/24 via 172.30.0.77 proto static
         ip route add 10.244.102.0/24 via 172.30.0.78 proto static metric 100
         ip route add blackhole 10.244.103.0/24
         ip link add br-other type bridge; ip link set br-other up
         ip address add 10.244.104.1/24 dev br-other";
    sh(node, plant);
    let look = || {
        let theirs = |net: &str| sh(node, &format!("ip route show 10.244.{net}.0/24"));
        ["101", "102", "103", "104"]
            .map(|net| theirs(net).lines().filter(|l| !l.contains("proto 87")).collect())
    };
    let were: [String; 4] = look();
    for net in 101..=104 {
        let (ip, mac) = (format!("172.30.0.{net}"), format!("02:00:00:00:04:{net:02x}"));
        leases::put(&lab, &format!("10.244.{net}.0-24"), &leases::vxlan(&ip, &mac));
    }
    let ours = |net: u8| View::of(node).has("route", &format!("10.244.{net}.0"));
    for route in ["via 172.30.0.77", "blackhole 10.244.103.0/24", "10.244.104.0/24 dev br-other"] {
        warned(node, 0, route);
    }
    until_true("the route beside one with a larger metric", || ours(102));
    assert!(!ours(101) && !ours(103) && !ours(104), "{}", View::of(node));
    assert_eq!(look(), were);

    for net in [101, 103] {
        sh(node, &format!("ip route del 10.244.{net}.0/24"));
        until_explained("the lease to be taken up", SOON, || ours(net).then_some(()), || node.log());
    }
    sh(node, "ip link del br-other");
    until_explained("the lease to be taken up", SOON, || ours(104).then_some(()), || node.log());
    for net in 101..=104 {
        leases::delete(&lab, &format!("10.244.{net}.0-24"));
    }
    until_true("our routes to be gone", || View::of(node).count("route") == 1);
    assert!(sh(node, "ip route show 10.244.102.0/24").contains("172.30.0.78"));
}

#[test]
fn router_advertisements_are_off_on_every_link_of_ours_and_stay_off() {
    for backend in [Backend::Vxlan, Backend::Udp] {
        let lab = up(&spec("healra", backend));
        let node = lab.node("n1");
        let tunnel = if backend == Backend::Udp { "flannel0" } else { "flannel.1" };
        let settings: Vec<String> = [tunnel, "docker0"]
            .iter()
            .flat_map(|link| ["accept_ra", "autoconf"].map(|s| format!("/proc/sys/net/ipv6/conf/{link}/{s}")))
            .collect();
        let cat = format!("cat {}", settings.join(" "));
        let off = || sh(node, &cat) == "0\n0\n0\n0\n";
        assert!(off(), "{}", sh(node, &cat));
        sh(node, &settings.iter().map(|file| format!("echo 2 >{file}; ")).collect::<String>());
        // The kernel tells nobody of it: the next look finds it.
        sh(node, &format!("ip link set {tunnel} mtu 1300"));
        until_explained("the settings to be off", SOON, || off().then_some(()), || sh(node, &cat));
    }
}
