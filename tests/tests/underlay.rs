//! What happens around a daemon that runs: the underlay changes its address, comes and goes, and the files that others
//! wait for are taken away. Each is followed, or said in words and by `/readyz`.
//!
//! Needs root, etcd, and the `weft` that `cargo build -p weft` makes.

use std::fs;

use lab::Node;
use lab::flanneld::HEALTH_PORT;
use lab::spec::Backend;
use tests::leases;
use tests::testbed::{assert_all_reach_all, bare, said, sh, spec, start, up, warned, weft};
use tests::wait::{until, until_true};

const DEFAULT_ROUTE: &str = "ip route replace default via 172.30.0.1";

/// Code and body of `/readyz`.
fn readyz(node: &Node) -> String {
    sh(node, &format!("curl -s -w ' %{{http_code}}' http://127.0.0.1:{HEALTH_PORT}/readyz || true"))
}

#[test]
fn a_changed_address_of_the_underlay_is_followed() {
    for (name, backend) in [("addrvx", Backend::Vxlan), ("addrud", Backend::Udp), ("addrgw", Backend::HostGw)]
    {
        let lab = up(&spec(name, backend));
        let node = lab.node("n1");
        assert_all_reach_all(&lab);
        let (key, _) = leases::of(&lab, "172.30.0.11").unwrap();

        sh(node, "ip address del 172.30.0.11/24 dev eth0");
        until_true("the lost address in /readyz", || {
            let answer = readyz(node);
            answer.ends_with(" 503") && answer.contains("eth0 has lost 172.30.0.11")
        });
        sh(node, &format!("ip address add 172.30.0.111/24 dev eth0; {DEFAULT_ROUTE}"));
        // The same subnet, so that the pods keep their addresses.
        until("the lease at the new address", || {
            leases::of(&lab, "172.30.0.111").filter(|(now, _)| *now == key)
        });
        until_true("ready again", || readyz(node).ends_with(" 200"));
        let bridge = node.subnet_env().unwrap().get("FLANNEL_SUBNET").unwrap().replace("/24", "");
        let ping = format!("ping -c1 -W1 {bridge} || true");
        until_true("packets of the peer", || sh(lab.node("n2"), &ping).contains(" 0% packet loss"));
        warned(node, 0, "172.30.0.11; eth0 with 172.30.0.111 takes its place");
    }
}

#[test]
fn an_underlay_that_is_away_is_said_once_and_by_readyz() {
    let lab = up(&spec("undaway", Backend::Vxlan));
    let node = lab.node("n1");
    assert_all_reach_all(&lab);
    let lines = |words: &str| node.log().lines().filter(|line| line.contains(words)).count();
    const FLAPS: usize = 20;
    for _ in 0..FLAPS {
        sh(node, "ip link set eth0 down");
        until_true("the reason in /readyz", || {
            let answer = readyz(node);
            answer.ends_with(" 503") && answer.contains("eth0 is down")
        });
        // Others come and go meanwhile.
        sh(node, "ip link add x0 type veth peer name y0; ip link del x0");
        sh(node, &format!("ip link set eth0 up; {DEFAULT_ROUTE}"));
        until_true("ready again", || readyz(node).ends_with(" 200"));
    }
    assert!(lines("eth0 is down, so no packet") < FLAPS / 2, "{}", node.log());
    sh(node, "ip link del eth0");
    until_true("the reason in /readyz", || readyz(node).contains("eth0 is gone"));
    assert_eq!(lines("eth0 is gone"), 1, "{}", node.log());
    assert!(node.flanneld_pid().is_some());
}

#[test]
fn files_that_somebody_takes_away_are_put_back() {
    let lab = up(&bare("undfile", Backend::Vxlan));
    let node = lab.node("n1");
    let folder = node.directory().join("run/flannel");
    let (env, cni) = (folder.join("subnet.env"), folder.join("net.conflist"));
    let flags = [format!("--subnet-file={}", env.display()), format!("--cni-conf={}", cni.display())];
    // The lab's own idea of being ready is another file.
    fs::write(node.directory().join("subnet.env"), "").unwrap();
    start(node, &flags.iter().fold(weft(), |options, flag| options.arg(flag)));
    let whole = [&env, &cni].map(|file| fs::read_to_string(file).unwrap());
    let back = |what: &str| {
        until_true(what, || [&env, &cni].map(|file| fs::read_to_string(file).unwrap_or_default()) == whole);
        assert!(node.flanneld_pid().is_some());
    };

    fs::remove_file(&env).unwrap();
    back("the removed subnet file");
    warned(node, 0, "somebody removed or changed this file");
    fs::write(&cni, "{}").unwrap();
    back("the changed configuration");
    fs::rename(&env, folder.join("aside")).unwrap();
    back("the subnet file that was moved away");
    let aside = |number: u32| fs::rename(&folder, node.directory().join(format!("aside{number}"))).unwrap();
    aside(1);
    back("the folder that was moved away");
    // A write that fails ends nothing, is told, and is tried again.
    let from = node.log().len();
    let pid = node.flanneld_pid().unwrap();
    sh(node, &format!("kill -STOP {pid}"));
    aside(2);
    fs::write(&folder, "in the way").unwrap();
    sh(node, &format!("kill -CONT {pid}"));
    said(node, from, "cannot write");
    fs::remove_file(&folder).unwrap();
    back("the files after the obstacle");
}
