//! The programs, loaded but not attached, in a namespace with an underlay and two peers.

use std::net::Ipv4Addr;

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, PerCpuArray, PerCpuHashMap, PerCpuValues};
use aya::programs::{SchedClassifier, TestRun, TestRunOptions};
use aya::{Ebpf, EbpfLoader};
use ebpf::overlay::raw::{Config, ELF, State};

use super::net::{enter_private, ifindex, run, sysctl};
use super::packets::*;

pub const NEXT: i32 = -1;
pub const DROP: i32 = 2;
pub const REDIRECT: i32 = 7;
pub const CREDIT: u32 = 3;
/// BPF_PROG_TEST_RUN refuses IPv4 frames with less than a header (seen on 6.18); the wire tests send them.
pub const SHORTEST: usize = 20;

/// What became of one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub verdict: i32,
    pub bytes: Vec<u8>,
    /// The event that was counted (`enum overlay_event`), if any.
    pub event: Option<u32>,
}

pub struct World {
    object: Ebpf,
    events: PerCpuArray<aya::maps::MapData, u64>,
    counts: PerCpuHashMap<aya::maps::MapData, u32, [u64; 4]>,
    programmed: HashMap<aya::maps::MapData, u32, u32>,
    ports: HashMap<aya::maps::MapData, [u8; 8], u32>,
    state: Array<aya::maps::MapData, State>,
}

impl World {
    pub fn new() -> Self {
        Self::with(true)
    }

    pub fn with(check_source: bool) -> Self {
        enter_private();
        run("ip tuntap add dev flannel0 mode tun");
        run("ip link set flannel0 mtu 1472 up");
        run("ip link add ul0 type veth peer name ul1");
        run("ip link set ul0 up");
        run("ip link set ul1 up");
        run("ip addr add 192.0.2.1/24 dev ul0");
        run("ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev ul0");
        sysctl("net.ipv4.ip_forward", "1");
        let config = Config {
            tun: ifindex("flannel0"),
            underlay: ifindex("ul0"),
            local_be: be(LOCAL),
            port_be: PORT.to_be(),
            check_source: check_source.into(),
            tun_mac_len: 14,
            underlay_mac_len: 14,
            pad: [0; 3],
        };
        let mut object =
            EbpfLoader::new().override_global("config", &config, true).load(ELF).expect("the object");
        for name in ["weft_encap", "weft_decap", "weft_ports"] {
            let program: &mut SchedClassifier = object.program_mut(name).unwrap().try_into().unwrap();
            program.load().expect(name);
        }
        let mut peers: LpmTrie<_, u32, u32> = object.take_map("peers").unwrap().try_into().unwrap();
        let mut counts: PerCpuHashMap<_, u32, [u64; 4]> =
            object.take_map("counts").unwrap().try_into().unwrap();
        let mut programmed: HashMap<_, u32, u32> = object.take_map("programmed").unwrap().try_into().unwrap();
        for (net, peer) in [([10, 50, 2, 0], PEER), ([10, 50, 3, 0], OTHER_PEER)] {
            peers.insert(&Key::new(24, be(net.into())), be(peer), 0).unwrap();
            let zero = vec![[0; 4]; aya::util::nr_cpus().unwrap()];
            counts.insert(be(peer), PerCpuValues::try_from(zero).unwrap(), 0).unwrap();
            programmed.insert(be(peer), CREDIT, 0).unwrap();
        }
        let events = object.take_map("events").unwrap().try_into().unwrap();
        let ports = object.take_map("ports").unwrap().try_into().unwrap();
        let mut state: Array<_, State> = object.take_map("state").unwrap().try_into().unwrap();
        state.set(0, State { ready: 1, ..State::default() }, 0).unwrap();
        Self { object, events, counts, programmed, ports, state }
    }

    pub fn set_ready(&mut self, ready: bool) {
        self.state.set(0, State { ready: ready.into(), ..State::default() }, 0).unwrap();
    }

    /// An inner packet leaving through flannel0. The frame's own MAC header is not part of the outcome.
    pub fn encap(&mut self, inner: &[u8]) -> Outcome {
        self.run("weft_encap", inner, 0)
    }

    /// A packet arriving from the underlay, without its MAC header.
    pub fn decap(&mut self, outer: &[u8]) -> Outcome {
        self.run("weft_decap", outer, 0)
    }

    /// The same, as a GSO packet with segments of this size.
    pub fn run(&mut self, program: &str, packet: &[u8], gso_size: u32) -> Outcome {
        let mut outcome = self.frame(program, &frame(packet), gso_size);
        outcome.bytes.drain(..MAC);
        outcome
    }

    /// How long the peer still counts as one with these programs.
    pub fn credit(&self, peer: Ipv4Addr) -> u32 {
        self.programmed.get(&be(peer), 0).unwrap()
    }

    pub fn set_credit(&mut self, peer: Ipv4Addr, credit: u32) {
        self.programmed.insert(be(peer), credit, 0).unwrap();
    }

    pub fn set_port(&mut self, [a, b, c, d, e, f]: [u8; 6], port: u32) {
        self.ports.insert([a, b, c, d, e, f, 0, 0], port, 0).unwrap();
    }

    /// A whole frame; the outcome is one as well.
    pub fn frame(&mut self, program: &str, data_in: &[u8], gso_size: u32) -> Outcome {
        let before = self.events();
        let mut data_out = vec![0; data_in.len() + 256];
        let mut context = [0u8; 192];
        context[176..180].copy_from_slice(&gso_size.to_ne_bytes());
        let program: &SchedClassifier = self.object.program(program).unwrap().try_into().unwrap();
        let result = program
            .test_run(TestRunOptions {
                data_in: Some(data_in),
                data_out: Some(&mut data_out),
                ctx_in: (gso_size != 0).then_some(&context),
                repeat: 1,
                ..TestRunOptions::default()
            })
            .expect("BPF_PROG_TEST_RUN");
        data_out.truncate(result.data_size_out as usize);
        let after = self.events();
        let mut events = (0..after.len()).filter(|i| after[*i] != before[*i]);
        let event = events.next().map(|i| i as u32);
        assert_eq!(events.next(), None, "more than one event for one packet");
        Outcome { verdict: result.return_value as i32, bytes: data_out, event }
    }

    pub fn events(&self) -> Vec<u64> {
        (0..32).map(|i| self.events.get(&i, 0).unwrap().iter().sum()).collect()
    }

    /// tx packets, tx bytes, rx packets, rx bytes.
    pub fn counts(&self, peer: Ipv4Addr) -> [u64; 4] {
        let all = self.counts.get(&be(peer), 0).unwrap();
        std::array::from_fn(|i| all.iter().map(|one| one[i]).sum())
    }
}

pub fn be(address: Ipv4Addr) -> u32 {
    u32::from_ne_bytes(address.octets())
}
