//! The behavioural cases against the kernel: real packets, through a node made of network namespaces. For tests.
//!
//! Owns: a node under test with its pods, other nodes and the world around it ([`node`]), and asking each case's
//! packets. Begin at [`run`]. What programs the node is handed in as a [`Subject`]: a backend of ours, or somebody
//! else's program.

mod ask;
mod node;
mod sctp;
mod serve;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use proxy_core::cases::{self, Case, Masquerade, Probe, Want, world};
use proxy_core::question::{Origin, Packet, Verdict};

use ask::Seen;
use node::World;

/// What makes a node do services.
pub trait Subject: Send {
    /// As the cases name it: `nftables`, `iptables`, `kube-proxy nftables`...
    fn implementation(&self) -> &str;

    /// Called on a thread in the node's network namespace, within a tokio runtime. Returns when new connections meet
    /// what the case says.
    fn program(&mut self, case: &Case);

    /// Cases with the same are asked one after the other: what it takes a new process to change, say.
    fn setting(&self, _case: &Case) -> String {
        String::new()
    }

    /// Why a case cannot be put to this one; it is counted, and left out.
    fn beyond(&self, _case: &Case) -> Option<&'static str> {
        None
    }

    /// Sockets that it needs somewhere behind the node, besides those of the cases.
    fn needs(&self) -> Vec<SocketAddr> {
        Vec::new()
    }
}

/// Packets that one machine with these namespaces cannot send, and why.
fn beyond(case: &Case, packet: &Packet) -> Option<&'static str> {
    let here = &world::NODES[0];
    let own: Vec<IpAddr> = here.primary.iter().chain(&here.secondary).map(|ip| ip.parse().unwrap()).collect();
    if &*case.options.node_name != world::NODE {
        return Some("on another node");
    }
    if case.options.node_ips.iter().any(|ip| !own.contains(ip)) {
        return Some("the node has other addresses");
    }
    if packet.src == packet.dst && packet.from != Origin::Node {
        return Some("from the very address that it asks for");
    }
    None
}

/// Asks every packet of every case. Returns how many were asked.
///
/// # Panics
/// Some went wrong: with all of them. Or a note says that this implementation does something else, and it does not.
pub fn run(subject: &mut dyn Subject) -> usize {
    let mut cases = cases::all();
    // To look into one: `CASES=hairpin cargo test ...`.
    if let Ok(only) = std::env::var("CASES") {
        cases.retain(|case| case.file.contains(&only) || case.name.contains(&only));
    }
    cases.sort_by_key(|case| subject.setting(case));
    let world = World::new(&cases, &subject.needs());
    let (mut asked, mut wrong) = (0, Vec::new());
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for case in &cases {
        let why_not = |probe: &Probe| subject.beyond(case).or_else(|| beyond(case, &probe.packet));
        let (packets, beyond): (Vec<_>, Vec<_>) =
            case.probes.iter().partition(|probe| why_not(probe).is_none());
        for why in beyond.into_iter().filter_map(why_not) {
            *left.entry(why).or_default() += 1;
        }
        if packets.is_empty() {
            continue;
        }
        world.program(subject, case);
        // Affinity binds a client to one endpoint, which is right: the set of all is the table's matter.
        let sticky = !case.expect.affinity.is_empty();
        for (probe, seen) in packets.iter().zip(world.ask(&packets, subject.implementation())) {
            asked += 1;
            if let Some(problem) = judge(probe, subject.implementation(), &seen, sticky) {
                wrong.push(format!("{}: {}: {}\n    {problem}", case.file, case.name, probe.text));
            }
        }
    }
    println!("{asked} packets of {} cases asked; left out: {left:?}", cases.len());
    assert!(wrong.is_empty(), "{} packets went wrong:\n{}", wrong.len(), wrong.join("\n"));
    asked
}

fn judge(probe: &Probe, implementation: &str, seen: &[Seen], sticky: bool) -> Option<String> {
    let want = probe.want_of(implementation)?;
    if let Some(problem) = differs(want, seen, probe, sticky) {
        return Some(format!("want {want}\n    {problem}"));
    }
    let noted =
        probe.others.contains_key(implementation) && differs(&probe.want, seen, probe, sticky).is_none();
    noted.then(|| format!("the case says that this one does something else, but it does: {}", probe.want))
}

fn differs(want: &Want, seen: &[Seen], probe: &Probe, sticky: bool) -> Option<String> {
    let packet = &probe.packet;
    let mut reached = BTreeSet::new();
    for one in seen {
        match (want.verdict, one) {
            (Verdict::Reject, Seen::Refused) | (Verdict::Drop, Seen::Silence) => {}
            (Verdict::Pass, Seen::Reached { at, .. })
                if at.ip() == packet.dst && at.port() == packet.port => {}
            (Verdict::Deliver, Seen::Reached { at, from }) if want.endpoints.contains(at) => {
                reached.insert(*at);
                let expected = match want.masquerade {
                    Masquerade::Yes => true,
                    Masquerade::No => false,
                    Masquerade::Hairpin => at.ip() == packet.src,
                };
                // The node's address masqueraded may be the node's address, and what stays on the node leaves by no
                // hook that could masquerade it.
                let stays = world::node_of(at.ip()).is_some_and(|node| {
                    node.name == world::NODE && world::origin_of(at.ip()) == Origin::Node
                });
                let visible = (packet.from != Origin::Node || packet.src.is_loopback()) && !stays;
                if visible && expected != (*from != packet.src) {
                    return Some(format!("{at} saw {from}"));
                }
            }
            (_, other) => return Some(format!("got {other:?}")),
        }
    }
    if want.verdict == Verdict::Deliver && !sticky && reached != want.endpoints {
        return Some(format!("reached only {reached:?} in {} tries", seen.len()));
    }
    None
}
