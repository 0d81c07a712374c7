//! What others see of a node: health, metrics, files, systemd, the ends of the daemon, and both address families.
//!
//! Needs root, etcd, and the `weft` that `cargo build -p weft` makes.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use lab::spec::{Backend, Datapath};
use lab::{Signal, Spec};
use tests::foreign::Foreign;
use tests::stream::Stream;
use tests::testbed::{assert_all_reach_all, bare, metric, samples, sh, spec, start, up, weft};
use tests::view::View;
use tests::wait::until_true;

#[test]
fn health_readiness_systemd_and_the_end() {
    let lab = up(&bare("outhealt", Backend::Vxlan));
    let node = lab.node("n1");
    let path = node.directory().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let heard = || {
        let mut buffer = [0; 256];
        let length = systemd.recv(&mut buffer).expect("word to systemd");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let trimmed = |path| node.get(path).map(|(status, body)| (status, body.trim().to_owned())).unwrap();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        node.start_flanneld(&weft().env("NOTIFY_SOCKET", path.display().to_string())).unwrap();
        assert_eq!(heard(), "READY=1");
        // Whoever hears of it finds everything in place.
        assert!(node.subnet_env().is_some());
        assert_eq!(trimmed("/readyz"), (200, "flanneld is ready".to_owned()));
        assert_eq!(trimmed("/healthz"), (200, "flanneld is running".to_owned()));
        let from = node.log().len();
        let status = node.stop_flanneld(signal).unwrap().unwrap();
        assert_eq!(status.code(), Some(0), "{signal}");
        assert_eq!(heard(), "STOPPING=1");
        assert!(node.log()[from..].contains("Exiting cleanly"), "{}", node.log());
    }
}

#[test]
fn the_kernel_counts_the_packets_of_peers_while_somebody_asks() {
    let lab = up(&spec("outcnt", Backend::Vxlan));
    let node = lab.node("n1");
    let tables = || sh(node, "nft list tables");
    assert!(!tables().contains("weft-flanneld"), "nobody has asked, and nobody's packets pay for it");
    // Both ways: how many packets go which way is up to the scheduler.
    let counted = || {
        let names = ["weft_flanneld_peer_tx_packets_total", "weft_flanneld_peer_rx_packets_total"];
        let all = samples(node);
        let of_peer = |name| all.iter().find(|s| s.name == name && s.label("peer") == Some("172.30.0.12"));
        names.map(of_peer).iter().map(|sample| Some(sample.as_ref()?.value)).sum::<Option<f64>>()
    };
    until_true("the counters", || counted().is_some());
    let before = counted().unwrap();
    let stream = Stream::between(lab.pod("n1-p1"), lab.pod("n2-p1"));
    stream.wait_for_flow();
    let tally = stream.end();
    let after = counted().unwrap();
    assert!(after - before >= tally.sent as f64, "{before} {after} {tally:?}");
    sh(node, "nft delete table ip weft-flanneld");
    until_true("the counters again", || tables().contains("weft-flanneld"));
}

#[test]
fn metrics_count_what_happens() {
    for datapath in [Datapath::Ebpf, Datapath::Simple] {
        let lab = up(&Spec { datapath, ..spec("outmet", Backend::Udp) });
        let node = lab.node("n1");
        let of_peer = |name: &str| {
            let name = format!("weft_flanneld_{name}");
            let all = samples(node);
            let mine = all.iter().find(|s| s.name == name && s.label("peer") == Some("172.30.0.12"));
            mine.unwrap_or_else(|| panic!("{name} of 172.30.0.12 in {all:#?}")).value
        };
        until_true("a round trip to be measured", || {
            node.metrics().unwrap().contains("weft_flanneld_peer_round_trip_seconds{peer=\"172.30.0.12\"}")
        });
        let before = [
            of_peer("peer_tx_packets_total"),
            of_peer("peer_rx_packets_total"),
            of_peer("peer_tx_bytes_total"),
        ];
        let stream = Stream::between(lab.pod("n1-p1"), lab.pod("n2-p1"));
        stream.wait_for_flow();
        let tally = stream.end();
        let after = [
            of_peer("peer_tx_packets_total"),
            of_peer("peer_rx_packets_total"),
            of_peer("peer_tx_bytes_total"),
        ];
        // Half of them each way, of 36 bytes each with their headers; ARP and probes may add some.
        let both = after[0] - before[0] + after[1] - before[1];
        assert!(
            both >= tally.sent as f64 && both < tally.sent as f64 + 50.0,
            "{before:?} {after:?} {tally:?}"
        );
        // A probe may fall between two scrapes: one packet more or less.
        assert!(after[2] - before[2] >= 36.0 * (after[0] - before[0] - 2.0), "{before:?} {after:?}");

        assert_eq!(metric(node, "peers"), 1.0);
        assert_eq!(metric(node, "ignored_leases"), 0.0);
        assert!(metric(node, "passes_total") > 0.0 && metric(node, "pass_duration_seconds_count") > 0.0);
        assert!(metric(node, "table_writes_total") > 0.0 && metric(node, "firewall_writes_total") > 0.0);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let left = metric(node, "lease_expiry_timestamp_seconds") - now;
        assert!((86_000.0..=86_401.0).contains(&left), "{left} seconds");
        let info = format!(r#"weft_flanneld_datapath_info{{backend="udp",datapath="{datapath}"}} 1"#);
        let text = node.metrics().unwrap();
        assert!(text.contains(&info), "{text}");
        for reason in ["unknown_sender", "spoofed_source", "truncated", "not_ipv4", "no_route"] {
            assert!(
                text.contains(&format!("dropped_packets_total{{reason=\"{reason}\"}}")),
                "{reason} in {text}"
            );
        }
    }
}

#[test]
fn files_for_docker_and_cni() {
    let lab = up(&spec("outfiles", Backend::Vxlan));
    let node = lab.node("n1");
    let env = node.subnet_env().unwrap();
    let gateway = env.get("FLANNEL_SUBNET").unwrap();
    assert_eq!(
        env.text,
        format!(
            "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET={gateway}\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
        )
    );
    let path = node.directory().join("subnet.env");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o644);

    let conf = fs::read_to_string(node.directory().join("cni.conflist")).unwrap();
    let conf: serde_json::Value = serde_json::from_str(&conf).unwrap();
    let bridge = &conf["plugins"][0];
    assert_eq!(
        (bridge["type"].as_str(), bridge["bridge"].as_str()),
        (Some("bridge"), Some("docker0")),
        "{conf}"
    );
    assert_eq!(bridge["mtu"].as_u64(), Some(1450), "{conf}");
    assert_eq!(bridge["ipam"]["type"].as_str(), Some("host-local"), "{conf}");
    let subnet = gateway.replace(".1/24", ".0/24");
    assert_eq!(bridge["ipam"]["ranges"][0][0]["subnet"].as_str(), Some(subnet.as_str()), "{conf}");

    // docker0 has the gateway's address and the pods' MTU, which is what Docker is told.
    let view = View::of(node);
    assert!(
        view.has("address: docker0", &format!("inet {gateway}")) && view.has("link: docker0", "mtu 1450"),
        "{view}"
    );
    let program = weft().binary.program().unwrap().display().to_string();
    let output = node.directory().join("docker_opts.env").display().to_string();
    let env = path.display().to_string();
    node.run([program.as_str(), "docker-opts", "-f", &env, "-d", &output]).unwrap();
    assert_eq!(
        fs::read_to_string(&output).unwrap(),
        format!(
            "DOCKER_OPT_BIP=\"--bip={gateway}\"\nDOCKER_OPT_IPMASQ=\"--ip-masq=false\"\nDOCKER_OPT_MTU=\"--mtu=1450\"\n\
             DOCKER_OPTS=\" --bip={gateway} --ip-masq=false --mtu=1450\"\n"
        )
    );
}

fn dual_stack(backend: Backend, prefix: &str, mtu: &str) {
    let lab = up(&Spec { ipv6: true, ..spec(prefix, backend) });
    assert_all_reach_all(&lab);
    let node = lab.node("n1");
    let env = node.subnet_env().unwrap();
    assert!(env.get("FLANNEL_IPV6_SUBNET").unwrap().starts_with("fd00:244:0:"), "{}", env.text);
    assert_eq!(env.get("FLANNEL_MTU"), Some(mtu));
    // check() has sent packets of the pods' MTU with "don't fragment", by both families.
    let families: Vec<bool> = lab.check().unwrap().iter().map(|pair| pair.address.is_ipv6()).collect();
    assert!(families.contains(&true) && families.contains(&false));
    let (foreign, view) = (Foreign::plant(node), View::of(node));
    assert!(view.has("nft", "ip6 saddr") && view.count("route") == 2, "{view}");
    sh(
        node,
        "ip route flush proto 87; ip -6 route flush proto 87; ip link del flannel-v6.1 2>/dev/null || true",
    );
    until_true("both families to be repaired", || View::of(node) == view);
    foreign.assert_untouched("repairs of both families");
    node.stop_flanneld(Signal::SIGKILL).unwrap();
    start(node, &weft());
    assert_eq!(View::of(node), view);
    assert_all_reach_all(&lab);
}

#[test]
fn vxlan_carries_both_families_to_the_last_byte() {
    // 1500 less 70: the tunnel over IPv6 is the narrower one.
    dual_stack(Backend::Vxlan, "outvx6", "1430");
}

#[test]
fn host_gw_carries_both_families_to_the_last_byte() {
    dual_stack(Backend::HostGw, "outgw6", "1500");
}

/// The underlay's MTU may change while everything runs: links, bridge and files follow.
#[test]
fn a_changed_underlay_mtu_is_followed() {
    for (backend, overhead) in [(Backend::Vxlan, 50), (Backend::Udp, 28), (Backend::HostGw, 0)] {
        let lab = up(&spec("outmtu", backend));
        for node in lab.nodes() {
            sh(node, "ip link set eth0 mtu 1400");
        }
        for node in lab.nodes() {
            let mtu = (1400 - overhead).to_string();
            until_true("the files to follow", || node.subnet_env().unwrap().get("FLANNEL_MTU") == Some(&mtu));
            until_true("the bridge to follow", || View::of(node).has("link: docker0", &format!("mtu {mtu}")));
        }
        lab.nodes().iter().for_each(|node| node.connect_pods().unwrap());
        assert_all_reach_all(&lab);
    }
}

#[test]
fn direct_routing_takes_the_tunnel_only_where_it_must() {
    let config = serde_json::json!({ "Backend": { "DirectRouting": true } });
    let lab = up(&Spec { network_config: Some(config), ..spec("outdir", Backend::Vxlan) });
    let node = lab.node("n1");
    assert!(View::of(node).has("route", "via 172.30.0.12 dev eth0"), "{}", View::of(node));
    // A peer behind a gateway.
    tests::leases::put(&lab, "10.244.230.0-24", &tests::leases::vxlan("198.51.100.9", "02:00:00:00:00:09"));
    until_true("the tunnel to the far one", || {
        View::of(node).has("route", "10.244.230.0/24 via 10.244.230.0 dev flannel.1")
    });
    assert!(View::of(node).has("fdb", "dst 198.51.100.9"));
    assert_all_reach_all(&lab);
}
