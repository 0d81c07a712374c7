//! What outlives the daemon, and what the next one makes of it.

mod common;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use aya::maps::{HashMap, Map, MapData};
use aya::programs::{SchedClassifier, TcAttachType};
use common::net::*;
use ebpf::overlay::{Bridge, Overlay, PeerDelta, Spec, detach_and_unpin, probe};
use ebpf::{EbpfError, HookKind, ensure_bpffs};
use ipnet::Ipv4Net;

const KINDS: [HookKind; 2] = [HookKind::Tcx, HookKind::Clsact];

fn setup() -> Spec {
    let bpffs = enter_private();
    run("ip tuntap add dev flannel0 mode tun vnet_hdr");
    run("ip link set flannel0 up");
    run("ip link add ul0 type veth peer name ul1");
    run("ip link set ul0 up");
    Spec {
        tun: ifindex("flannel0"),
        underlay: ifindex("ul0"),
        local: [192, 0, 2, 1].into(),
        port: 8285,
        check_source: true,
        pin_dir: bpffs.join("weft/overlay"),
    }
}

fn leases(pairs: &[(&str, [u8; 4])]) -> BTreeMap<Ipv4Net, Ipv4Addr> {
    pairs.iter().map(|(net, peer)| (net.parse().unwrap(), Ipv4Addr::from(*peer))).collect()
}

/// The names of all programs at both sides of an interface, whichever way they are attached.
fn programs(interface: &str) -> String {
    let mut found = String::new();
    for side in [TcAttachType::Ingress, TcAttachType::Egress] {
        let (_, tcx) = SchedClassifier::query_tcx(interface, side).unwrap();
        found.extend(tcx.iter().map(|program| format!("{} ", program.name_as_str().unwrap())));
    }
    found
        + &run(&format!("tc filter show dev {interface} ingress"))
        + &run(&format!("tc filter show dev {interface} egress"))
}

#[test]
fn this_machine_can_run_it() {
    enter_private();
    probe().unwrap();
}

#[test]
fn only_differences_are_written() {
    let spec = setup();
    let mut overlay = Overlay::open(&spec).unwrap();
    let first = leases(&[("10.50.2.0/24", [192, 0, 2, 2]), ("10.50.3.0/24", [192, 0, 2, 3])]);
    assert_eq!(overlay.set_peers(&first).unwrap(), PeerDelta { added: 2, changed: 0, removed: 0 });
    assert_eq!(overlay.set_peers(&first).unwrap(), PeerDelta::default());
    let second = leases(&[
        ("10.50.2.0/24", [192, 0, 2, 9]),
        ("10.50.4.0/25", [192, 0, 2, 4]),
        ("10.50.4.128/25", [192, 0, 2, 4]),
    ]);
    assert_eq!(overlay.set_peers(&second).unwrap(), PeerDelta { added: 2, changed: 1, removed: 1 });
    assert_eq!(overlay.peers().unwrap(), second);
    let peers: Vec<Ipv4Addr> = overlay.counters().unwrap().peers.into_keys().collect();
    assert_eq!(peers, [Ipv4Addr::new(192, 0, 2, 4), Ipv4Addr::new(192, 0, 2, 9)]);
    assert_eq!(overlay.set_peers(&BTreeMap::new()).unwrap(), PeerDelta { added: 0, changed: 0, removed: 3 });
    assert_eq!(overlay.peers().unwrap(), BTreeMap::new());
}

#[test]
fn a_silent_peer_is_trusted_for_three_agings() {
    let spec = setup();
    let mut overlay = Overlay::open(&spec).unwrap();
    overlay.set_peers(&leases(&[("10.50.2.0/24", [192, 0, 2, 2])])).unwrap();
    let trusted = |overlay: &Overlay| overlay.trusted().unwrap().contains(&Ipv4Addr::new(192, 0, 2, 2));
    assert!(!trusted(&overlay), "not before it has shown itself");
    overlay.vouch().unwrap();
    for _ in 0..3 {
        assert!(trusted(&overlay));
        overlay.age().unwrap();
    }
    assert!(!trusted(&overlay));
    overlay.age().unwrap();
}

#[test]
fn host_bits_do_not_make_another_lease() {
    let spec = setup();
    let mut overlay = Overlay::open(&spec).unwrap();
    overlay.set_peers(&leases(&[("10.50.2.7/24", [192, 0, 2, 2])])).unwrap();
    assert_eq!(overlay.peers().unwrap(), leases(&[("10.50.2.0/24", [192, 0, 2, 2])]));
}

#[test]
fn ten_thousand_leases_fit_and_one_more_change_is_one_write() {
    let spec = setup();
    let mut overlay = Overlay::open(&spec).unwrap();
    let mut want = BTreeMap::new();
    for i in 0..10_000_u32 {
        let net = Ipv4Net::new((0x0a00_0000 + (i << 8)).into(), 24).unwrap();
        want.insert(net, Ipv4Addr::from(0xc612_0000 + i));
    }
    assert_eq!(overlay.set_peers(&want).unwrap().added, 10_000);
    want.pop_first();
    assert_eq!(overlay.set_peers(&want).unwrap(), PeerDelta { added: 0, changed: 0, removed: 1 });
    assert_eq!(overlay.peers().unwrap(), want);
}

#[test]
fn the_next_daemon_takes_over_maps_and_links() {
    for kind in KINDS {
        std::thread::spawn(move || {
            let spec = setup();
            let want = leases(&[("10.50.2.0/24", [192, 0, 2, 2])]);
            let mut first = Overlay::open_with(&spec, kind).unwrap();
            first.set_peers(&want).unwrap();
            drop(first);

            let mut second = Overlay::open_with(&spec, kind).unwrap();
            assert!(second.attached().unwrap(), "{kind:?}");
            assert_eq!(second.peers().unwrap(), want, "leases stay: {kind:?}");
            assert_eq!(second.set_peers(&want).unwrap(), PeerDelta::default());
        })
        .join()
        .unwrap();
    }
}

#[test]
fn other_interfaces_make_it_new() {
    let spec = setup();
    Overlay::open(&spec).unwrap().set_peers(&leases(&[("10.50.2.0/24", [192, 0, 2, 2])])).unwrap();
    run("ip link set ul1 up");
    let moved = Spec { underlay: ifindex("ul1"), ..spec };
    let mut overlay = Overlay::open(&moved).unwrap();
    assert!(overlay.attached().unwrap());
    assert_eq!(overlay.peers().unwrap(), BTreeMap::new());
    assert_eq!(programs("ul0"), "");
}

#[test]
fn a_lost_program_is_noticed_and_put_back() {
    for kind in KINDS {
        std::thread::spawn(move || {
            let spec = setup();
            let mut overlay = Overlay::open_with(&spec, kind).unwrap();
            overlay.set_peers(&leases(&[("10.50.2.0/24", [192, 0, 2, 2])])).unwrap();
            match kind {
                HookKind::Tcx => std::fs::remove_file(spec.pin_dir.join("weft_decap_link")).unwrap(),
                HookKind::Clsact => drop(run("tc qdisc del dev ul0 clsact")),
            }
            assert!(!overlay.attached().unwrap(), "{kind:?}");
            overlay.reattach().unwrap();
            assert!(overlay.attached().unwrap(), "{kind:?}");
            assert_eq!(overlay.peers().unwrap().len(), 1);
        })
        .join()
        .unwrap();
    }
}

#[test]
fn another_programs_filter_in_our_place_is_noticed() {
    let spec = setup();
    let mut overlay = Overlay::open_with(&spec, HookKind::Clsact).unwrap();
    Overlay::open_with(&spec, HookKind::Clsact).unwrap();
    assert!(!overlay.attached().unwrap(), "a newer daemon's programs are not this one's");
    overlay.reattach().unwrap();
    assert!(overlay.attached().unwrap());
}

#[test]
fn a_deleted_interface_is_an_error_that_names_it() {
    let spec = setup();
    let mut overlay = Overlay::open(&spec).unwrap();
    run("ip link del ul0");
    assert!(!overlay.attached().unwrap());
    let error = overlay.reattach().unwrap_err();
    assert!(matches!(error, EbpfError::Interface { index, .. } if index == spec.underlay), "{error}");
}

#[test]
fn cleaning_up_leaves_only_what_others_put_there() {
    for kind in KINDS {
        std::thread::spawn(move || {
            let spec = setup();
            run("tc qdisc add dev ul0 clsact");
            let bytecode = spec.pin_dir.ancestors().nth(3).unwrap().join("foreign");
            std::fs::write(&bytecode, "1,6 0 0 0,").unwrap();
            run(&format!("tc filter add dev ul0 ingress prio 7 bpf bytecode-file {}", bytecode.display()));
            drop(Overlay::open_with(&spec, kind).unwrap());
            assert!(programs("ul0").contains("weft_decap") && programs("flannel0").contains("weft_encap"));
            detach_and_unpin(&spec.pin_dir).unwrap();
            assert!(!spec.pin_dir.exists());
            let left = programs("ul0");
            assert!(left.contains("pref 7 ") && !left.contains("weft"), "{left}");
            assert_eq!(programs("flannel0"), "");
            detach_and_unpin(&spec.pin_dir).unwrap();
        })
        .join()
        .unwrap();
    }
}

#[test]
fn the_bridge_is_followed_and_let_go() {
    for kind in KINDS {
        std::thread::spawn(move || {
            let spec = setup();
            run("ip link add cni0 type bridge");
            run("ip link set cni0 up");
            run("ip link add p0 type veth peer name p1");
            run("ip link set p0 master cni0 up");
            let (bridge, port) = (ifindex("cni0"), ifindex("p0"));
            let ports = || {
                let map = Map::HashMap(MapData::from_pin(spec.pin_dir.join("ports")).unwrap());
                let map: HashMap<_, [u8; 8], u32> = map.try_into().unwrap();
                map.iter().map(Result::unwrap).collect::<Vec<_>>()
            };
            let mut overlay = Overlay::open_with(&spec, kind).unwrap();
            let with = |pod| Bridge { index: bridge, ports: BTreeMap::from([([2, 0, 0, 0, 0, pod], port)]) };
            overlay.sync_bridge(Some(&with(0xaa))).unwrap();
            assert!(overlay.attached().unwrap());
            assert_eq!(ports(), [([2, 0, 0, 0, 0, 0xaa, 0, 0], port)]);
            overlay.sync_bridge(Some(&with(0xbb))).unwrap();
            assert_eq!(ports(), [([2, 0, 0, 0, 0, 0xbb, 0, 0], port)]);

            // The next daemon finds it in its place, before it knows of a bridge.
            drop(overlay);
            let mut overlay = Overlay::open_with(&spec, kind).unwrap();
            assert!(overlay.attached().unwrap());
            assert!(programs("cni0").contains("weft_ports"));
            overlay.sync_bridge(None).unwrap();
            assert!(!programs("cni0").contains("weft_ports"));
            assert_eq!(ports(), []);

            // A bridge that went away while nobody looked is no obstacle.
            overlay.sync_bridge(Some(&with(0xaa))).unwrap();
            drop(overlay);
            run("ip link del cni0");
            let mut overlay = Overlay::open_with(&spec, kind).unwrap();
            assert!(overlay.attached().unwrap());
        })
        .join()
        .unwrap();
    }
}

#[test]
fn a_folder_that_is_not_bpffs_is_refused_by_name() {
    let mut spec = setup();
    let folder = tempfile::tempdir().unwrap();
    spec.pin_dir = folder.path().join("pins");
    let error = Overlay::open(&spec).err().unwrap();
    assert!(matches!(&error, EbpfError::NotBpffs { path } if *path == spec.pin_dir), "{error}");
    let mounted: PathBuf = folder.path().join("bpf");
    ensure_bpffs(&mounted).unwrap();
    ensure_bpffs(&mounted).unwrap();
    spec.pin_dir = mounted.join("pins");
    Overlay::open(&spec).unwrap();
}

#[test]
fn a_folder_with_something_in_it_is_not_covered_by_a_mount() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("somebody's"), "file").unwrap();
    let error = ensure_bpffs(folder.path()).unwrap_err();
    assert!(matches!(error, EbpfError::NotBpffs { .. }), "{error}");
    assert!(folder.path().join("somebody's").exists());
}
