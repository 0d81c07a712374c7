//! The behavioural cases against the kernel: real packets, through a node made of network namespaces. For tests.
//!
//! Owns: a node under test with its pods, other nodes and the world around it ([`node`]), and asking each case's
//! packets. Begin at [`run`]. What programs the node is handed in as a [`Subject`]: a backend of ours, or somebody
//! else's program.

mod ask;
mod judge;
mod node;
mod sctp;
mod serve;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use proxy_core::cases::{self, Case, Probe, world};
use proxy_core::question::{Origin, Packet};

use judge::Judge;
use node::World;

/// How often something that does now this, now that, is asked until it has done both. A map of Go's with two entries
/// begins with the second once in eight times.
const ROUNDS: usize = 64;

/// What makes a node do services.
pub trait Subject: Send {
    /// As the cases name it: `nftables`, `iptables`, `kube-proxy nftables`...
    fn implementation(&self) -> &str;

    /// Called on a thread in the node's network namespace, within a tokio runtime. Returns when new connections meet
    /// what the case says.
    ///
    /// # Errors
    /// They never will, and why.
    fn program(&mut self, case: &Case) -> Result<(), String>;

    /// The same once more, after something else: what it does may hang on the order in which it sees things.
    ///
    /// # Errors
    /// As [`Subject::program`].
    fn again(&mut self, case: &Case) -> Result<(), String> {
        self.program(case)
    }

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

/// What a run has come to.
#[derive(Default)]
struct Tally {
    asked: usize,
    /// Cases that are known to stop this one, and did.
    stuck: usize,
    /// Packets that were left out, by reason.
    left: BTreeMap<&'static str, usize>,
    wrong: Vec<String>,
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
    let mut tally = Tally::default();
    for case in &cases {
        let found = put(&world, subject, case, &mut tally);
        tally.wrong.extend(found.iter().map(|what| format!("{}: {}: {what}", case.file, case.name)));
    }
    let Tally { asked, stuck, left, wrong } = tally;
    println!("{asked} packets of {} cases asked; stuck in {stuck} cases; left out: {left:?}", cases.len());
    assert!(wrong.is_empty(), "{} went wrong:\n{}", wrong.len(), wrong.join("\n"));
    asked
}

/// Puts one case to the subject; returns what went wrong.
fn put(world: &World, subject: &mut dyn Subject, case: &Case, tally: &mut Tally) -> Vec<String> {
    let name = subject.implementation().to_owned();
    if let Some(why) = subject.beyond(case) {
        *tally.left.entry(why).or_default() += case.probes.len();
        return Vec::new();
    }
    if case.stuck.contains_key(&name) {
        tally.stuck += 1;
        let followed = world.on_node(|| subject.program(case)).is_ok();
        return followed
            .then(|| "the case says that it is stuck here, but it is not".to_owned())
            .into_iter()
            .collect();
    }
    let mut probes = Vec::new();
    for probe in &case.probes {
        match beyond(case, &probe.packet) {
            None => probes.push(probe),
            Some(why) => *tally.left.entry(why).or_default() += 1,
        }
    }
    if probes.is_empty() {
        return Vec::new();
    }
    if let Err(why) = world.on_node(|| subject.program(case)) {
        return vec![why];
    }
    tally.asked += probes.len();
    let mut judges: Vec<Judge> = probes.into_iter().map(|probe| Judge::new(case, probe, &name)).collect();
    for _ in 0..ROUNDS {
        let open: Vec<&mut Judge> = judges.iter_mut().filter(|judge| judge.wants_more()).collect();
        if open.is_empty() {
            break;
        }
        if open.iter().any(|judge| judge.has_asked())
            && let Err(why) = world.on_node(|| subject.again(case))
        {
            return vec![why];
        }
        let packets: Vec<&Probe> = open.iter().map(|judge| judge.probe()).collect();
        // Two first packets of one client at the same moment may both find it without an endpoint.
        let seen = if case.expect.affinity.is_empty() {
            world.ask(&packets, &name)
        } else {
            packets.iter().flat_map(|packet| world.ask(&[*packet], &name)).collect()
        };
        open.into_iter().zip(seen).for_each(|(judge, seen)| judge.hear(&seen));
    }
    judges.into_iter().filter_map(Judge::complaint).collect()
}
