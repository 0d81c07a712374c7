//! The real programs over the real API server: `weft proxy`, and kube-proxy to compare with.
//!
//! Needs the originals in WEFT_PEERS (or peers/bin), and etcd.

#[path = "peers_api/bed.rs"]
mod bed;

use lab::Signal;
use lab::originals::{KubeProxy, Mode, READY_LIMIT, User};

use bed::Bed;

#[test]
fn kube_proxy_runs_over_the_same_control_plane_in_both_modes() {
    let bed = Bed::new("orig");
    bed.plane.admin().unwrap().apply(&bed::node("here")).unwrap();
    let kubeconfig = bed.plane.kubeconfig(User::Proxy);
    let flags = ["--hostname-override=here", "--cluster-cidr=10.244.0.0/16"];
    for mode in [Mode::Iptables, Mode::Nftables] {
        let proxy = KubeProxy::start(&bed.node, mode, &kubeconfig, &flags).unwrap();
        proxy.wait_ready(READY_LIMIT).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(proxy.get(10249, "/proxyMode").unwrap(), (200, mode.to_string()));
        let has_rules = |what: &str| {
            let rules = bed.run(&["sh", "-c", "iptables-save; nft list ruleset"]);
            assert!(rules.contains(what), "{rules}");
        };
        has_rules(match mode {
            Mode::Iptables => "KUBE-SERVICES",
            Mode::Nftables => "table ip kube-proxy",
        });
        proxy.stop(Signal::SIGTERM).unwrap();
    }
    KubeProxy::cleanup(&bed.node).unwrap();
    assert!(!bed.run(&["nft", "list", "tables"]).contains("kube-proxy"));
}
