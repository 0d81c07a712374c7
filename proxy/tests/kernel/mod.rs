//! The behavioural cases against the kernel: real packets, through a node made of network namespaces.
//!
//! Owns: a node under test with its pods, other nodes and the world around it ([`world`]), and asking each case's
//! packets. Begin at [`run`]. What programs the node is handed in as a [`Subject`]: a backend of ours, or somebody
//! else's program.
#![allow(dead_code)] // each test binary uses its part

mod ask;
mod node;

use std::collections::BTreeSet;
use std::net::IpAddr;

use proxy_core::cases::{self, Case, Masquerade, Want, world};
use proxy_core::names::Protocol;
use proxy_core::question::{Origin, Verdict};

use ask::Seen;
use node::World;

/// What makes a node do services.
pub trait Subject: Send {
    /// As the cases name it: `nftables`, `iptables`, `kube-proxy nftables`...
    fn implementation(&self) -> &str;

    /// Called on a thread in the node's network namespace, within a tokio runtime. Returns when new connections meet
    /// what the case says.
    fn program(&mut self, case: &Case);
}

/// Cases that one machine with these namespaces cannot put into practice, and why.
fn beyond(case: &Case, packet: &proxy_core::question::Packet, sctp: bool) -> Option<&'static str> {
    let here = &world::NODES[0];
    let own: Vec<IpAddr> = here.primary.iter().chain(&here.secondary).map(|ip| ip.parse().unwrap()).collect();
    if &*case.options.node_name != world::NODE {
        return Some("on another node");
    }
    if case.options.node_ips.iter().any(|ip| !own.contains(ip)) {
        return Some("the node has other addresses");
    }
    if packet.src == packet.dst {
        return Some("from the very address that it asks for");
    }
    if packet.protocol == Protocol::Sctp && !sctp {
        return Some("this kernel has no SCTP");
    }
    None
}

/// Asks every packet of every case and collects what went wrong. Returns how many packets were asked.
pub fn run(subject: &mut dyn Subject) -> usize {
    let mut cases = cases::all();
    // To look into one: `CASES=hairpin cargo test ...`.
    if let Ok(only) = std::env::var("CASES") {
        cases.retain(|case| case.file.contains(&only) || case.name.contains(&only));
    }
    let world = World::new(&cases);
    let sctp = ask::has_sctp();
    let (mut asked, mut wrong, mut left) = (0, Vec::new(), std::collections::BTreeMap::new());
    for case in &cases {
        world.program(subject, case);
        if std::env::var("HOLD").is_ok() {
            std::thread::sleep(std::time::Duration::from_secs(6));
        }
        let packets: Vec<_> = case
            .probes
            .iter()
            .filter(|probe| match beyond(case, &probe.packet, sctp) {
                None => true,
                Some(why) => {
                    *left.entry(why).or_insert(0) += 1;
                    false
                }
            })
            .collect();
        // Affinity binds a client to one endpoint, which is right: the set of all is the table's matter.
        let sticky = !case.expect.affinity.is_empty();
        for (probe, seen) in packets.iter().zip(world.ask(&packets, subject.implementation())) {
            asked += 1;
            let Some(want) = probe.want_of(subject.implementation()) else { continue };
            if let Some(problem) = differs(want, &seen, probe, sticky) {
                let (file, name, text) = (case.file, &case.name, &probe.text);
                wrong.push(format!("{file}: {name}: {text}\n    want {want}\n    {problem}"));
            }
        }
    }
    println!("{asked} packets of {} cases asked; left to other tests: {left:?}", cases.len());
    assert!(wrong.is_empty(), "{} packets went wrong:\n{}", wrong.len(), wrong.join("\n"));
    asked
}

fn differs(want: &Want, seen: &[Seen], probe: &cases::Probe, sticky: bool) -> Option<String> {
    let packet = &probe.packet;
    let mut reached = BTreeSet::new();
    for one in seen {
        match (want.verdict, one) {
            (Verdict::Reject, Seen::Refused) | (Verdict::Drop, Seen::Silence) => {}
            (Verdict::Pass, Seen::Reached { at, .. })
                if at.ip() == packet.dst && at.port() == packet.port => {}
            // Passing on may end in a refusal by whoever has the address.
            (Verdict::Pass, Seen::Refused) if !packet.dst.is_ipv4() && packet.dst.is_loopback() => {}
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
