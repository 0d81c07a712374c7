//! Many leases at once.
//!
//! Needs root, etcd, and the `weft` that `cargo build -p weft` makes.

use std::time::{Duration, Instant};

use lab::Lab;
use lab::spec::Backend;
use tests::foreign::Foreign;
use tests::leases;
use tests::testbed::{bare, metric, sh, start, up, weft};
use tests::wait::until_explained;

const LEASES: usize = 500;
/// More than it takes on a busy machine with a debug build.
const LIMIT: Duration = Duration::from_secs(60);

fn subnet(n: usize) -> String {
    format!("10.245.{}.{}-29", n / 32, n % 32 * 8)
}

/// etcd's transactions hold 128 operations.
fn in_transactions(lab: &Lab, operation: impl Fn(usize) -> String) {
    let all: Vec<usize> = (0..LEASES).collect();
    for part in all.chunks(100) {
        let operations: String = part.iter().map(|n| operation(*n) + "\n").collect();
        let txn = host::programs::inside(
            lab.etcd().namespace(),
            ["etcdctl", "--endpoints=http://127.0.0.1:2379", "txn"],
        );
        // No comparisons, the operations, no alternative.
        let output =
            host::programs::run(&txn.env("ETCDCTL_API", "3").stdin(format!("\n{operations}\n\n"))).unwrap();
        output.ok().unwrap();
    }
}

/// Routes, neighbours and FDB entries of the many.
fn counts(node: &lab::Node) -> [usize; 3] {
    let count = |command: &str| {
        sh(node, &format!("{command} | grep -c -e 10.245. -e 172.29. || true")).trim().parse().unwrap()
    };
    [
        count("ip route show proto 87 dev flannel.1"),
        count("ip neighbour show dev flannel.1 nud permanent"),
        count("bridge fdb show dev flannel.1"),
    ]
}

fn wait_for(node: &lab::Node, want: usize) -> Duration {
    let start = Instant::now();
    let explain = || format!("there are {:?}\n{}", counts(node), node.flanneld().log_tail(5));
    until_explained(&format!("{want} peers"), LIMIT, || (counts(node) == [want; 3]).then_some(()), explain);
    start.elapsed()
}

#[test]
fn five_hundred_leases_come_and_go_at_once() {
    let mut spec = bare("scale", Backend::Vxlan);
    spec.network_config = Some(serde_json::json!({ "Network": "10.244.0.0/15", "SubnetLen": 29 }));
    let lab = up(&spec);
    let node = lab.node("n1");
    start(node, &weft());
    let foreign = Foreign::plant(node);
    let put = |n: usize| {
        let value = leases::vxlan(
            &format!("172.29.{}.{}", n / 250, n % 250 + 1),
            &format!("02:00:00:01:{:02x}:{:02x}", n / 256, n % 256),
        );
        // etcdctl reads a quoted word as a shell would.
        format!("put {} {:?}", leases::key(&subnet(n)), value)
    };
    let came = Instant::now();
    in_transactions(&lab, put);
    let written = came.elapsed();
    let took = wait_for(node, LEASES);
    println!("500 leases: written in {written:?}, in the tables {took:?} later");
    assert_eq!(metric(node, "peers"), LEASES as f64);

    // A start over a full house writes nothing; one over an empty one writes everything.
    node.stop_flanneld(lab::Signal::SIGKILL).unwrap();
    start(node, &weft());
    assert_eq!(counts(node), [LEASES; 3]);
    assert_eq!(metric(node, "table_writes_total"), 0.0);
    sh(node, "ip link del flannel.1");
    println!("flannel.1 with 500 peers: deleted and back in {:?}", wait_for(node, LEASES));

    // A sync that is cut short by a kill is completed by the next daemon.
    sh(
        node,
        &format!(
            "kill -STOP {pid}; ip link del flannel.1; kill -CONT {pid}",
            pid = node.flanneld_pid().unwrap()
        ),
    );
    until_explained("the first routes", LIMIT, || (counts(node)[2] > 0).then_some(()), String::new);
    node.stop_flanneld(lab::Signal::SIGKILL).unwrap();
    println!("killed with {:?} of them", counts(node));
    start(node, &weft());
    wait_for(node, LEASES);

    in_transactions(&lab, |n| format!("del {}", leases::key(&subnet(n))));
    println!("500 leases gone from the tables {:?} later", wait_for(node, 0));
    foreign.assert_untouched("500 leases");
}
