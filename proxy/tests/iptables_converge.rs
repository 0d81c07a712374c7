//! Any way there ends in the same rules, and then there is nothing to do.

#[path = "../core/tests/common/mod.rs"]
mod common;
#[path = "iptables_common/machine.rs"]
mod machine;

use std::sync::Arc;

use common::{change, options};
use machine::Machine;
use proptest::prelude::*;
use proxy::backends::Backend;
use proxy::backends::iptables::{IptablesBackend, Settings};
use proxy_core::cases::{cluster_of, usual_options};
use proxy_core::cluster::{Cluster, Touched};
use proxy_core::names::Family;
use proxy_core::options::{DetectLocal, NodePortAddresses, Options};
use proxy_core::table::{PortChange, ServiceTable, TableDelta};

fn open(machine: &Arc<Machine>) -> IptablesBackend {
    IptablesBackend::with(machine.clone(), &Family::BOTH, Settings::default()).unwrap()
}

fn fresh(table: &ServiceTable) -> String {
    let machine = Arc::new(Machine::default());
    open(&machine).sync_full(table).unwrap();
    machine.show()
}

/// What others may have done meanwhile.
const MEDDLING: [&str; 5] = [
    "*nat\n-A KUBE-SERVICES -j RETURN\nCOMMIT\n",
    "*nat\n:KUBE-SVC-STALE - [0:0]\n:KUBE-SEP-STALE - [0:0]\n-A KUBE-SVC-STALE -j KUBE-SEP-STALE\nCOMMIT\n",
    "*filter\n:KUBE-EXTERNAL-SERVICES - [0:0]\nCOMMIT\n",
    "*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n",
    "*filter\n:KUBE-IPVS-FILTER - [0:0]\n:KUBE-NODE-PORT - [0:0]\n-A INPUT -j KUBE-IPVS-FILTER\n\
     -A KUBE-IPVS-FILTER -j KUBE-NODE-PORT\nCOMMIT\n",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn changes_lead_to_the_rules_of_a_fresh_start(
        steps in proptest::collection::vec((proptest::collection::vec(change(), 1..4), options()), 1..12)
    ) {
        let machine = Arc::new(Machine::default());
        let mut backend = open(&machine);
        let (mut cluster, mut table) = (Cluster::default(), ServiceTable::default());
        backend.sync_full(&table).unwrap();
        let mut loopback = false;
        for (changes, options) in steps {
            let mut touched = Touched::default();
            changes.into_iter().for_each(|change| touched.merge(cluster.apply(change)));
            let delta = table.rebuild(&cluster, &options, &touched);
            let applied = backend.sync_delta(&table, &delta).unwrap();
            prop_assert_eq!(applied.full, delta.node_before.is_some(), "every change fits");
            loopback |= table.node.v4.node_ports.loopback;
            if !loopback {
                prop_assert_eq!(machine.show(), fresh(&table));
            }
            prop_assert_eq!(backend.sync_full(&table).unwrap().writes, 0);
        }
    }

    #[test]
    fn whatever_is_there_becomes_what_should_be(
        before in proptest::collection::vec(change(), 0..8), after in proptest::collection::vec(change(), 1..8),
        meddling in 0..=MEDDLING.len()
    ) {
        let machine = Arc::new(Machine::default());
        let mut cluster = Cluster::default();
        before.into_iter().for_each(|change| _ = cluster.apply(change));
        open(&machine).sync_full(&ServiceTable::build(&cluster, &Default::default())).unwrap();
        if let Some(text) = MEDDLING.get(meddling) {
            machine.meddle("iptables", text);
        }
        after.into_iter().for_each(|change| _ = cluster.apply(change));
        let table = ServiceTable::build(&cluster, &Default::default());
        let mut backend = open(&machine);
        let have = backend.observe().unwrap();
        let plan = backend.plan(&table, &have);
        prop_assert_eq!(backend.plan(&table, &have).to_string(), plan.to_string());
        backend.apply(plan).unwrap();
        prop_assert_eq!(machine.show(), fresh(&table));
        let have = backend.observe().unwrap();
        prop_assert_eq!(backend.plan(&table, &have).to_string(), "");
    }
}

#[test]
fn a_change_that_does_not_fit_is_a_full_pass() {
    let (mut cluster, options) = common::large(20);
    let mut table = ServiceTable::build(&cluster, &options);
    let machine = Arc::new(Machine::default());
    let mut backend = open(&machine);
    backend.sync_full(&table).unwrap();
    machine.flush();
    let touched = cluster.apply(common::delete_service(7));
    let delta = table.rebuild(&cluster, &options, &touched);
    assert!(backend.sync_delta(&table, &delta).unwrap().full);
    assert_eq!(machine.show(), fresh(&table));
}

#[test]
fn a_change_of_an_endpoint_writes_its_services_chains_only() {
    let (mut cluster, options) = common::large(3_000);
    let mut table = ServiceTable::build(&cluster, &options);
    let machine = Arc::new(Machine::default());
    let mut backend = open(&machine);
    let first = backend.sync_full(&table).unwrap();
    assert!(first.writes > 3_000 * 4, "{first:?}");
    let touched = cluster.apply(common::put_endpoint(7, "10.9.9.9"));
    let delta = table.rebuild(&cluster, &options, &touched);
    let applied = backend.sync_delta(&table, &delta).unwrap();
    assert!(!applied.full && applied.writes <= 3, "{applied:?}");
    assert_eq!(machine.show(), fresh(&table));
}

/// The tree grows and shrinks by what comes and goes.
#[test]
fn services_that_come_and_go_touch_their_part_of_the_tree_only() {
    let (mut cluster, options) = common::large(1_100);
    let mut table = ServiceTable::build(&cluster, &options);
    let machine = Arc::new(Machine::default());
    let mut backend = open(&machine);
    backend.sync_full(&table).unwrap();
    // Down to where the tree is one chain, and on.
    for (n, left) in (0..1_100).rev().step_by(3).enumerate() {
        let touched = cluster.apply(common::delete_service(left));
        let delta = table.rebuild(&cluster, &options, &touched);
        let applied = backend.sync_delta(&table, &delta).unwrap();
        // Up to 16 leaves become one, or the root is written again.
        assert!(!applied.full && applied.writes <= 100, "{left}: {applied:?}");
        if n % 16 == 0 {
            assert_eq!(machine.show(), fresh(&table));
        }
    }
}

#[test]
fn what_is_of_others_stays() {
    let machine = Arc::new(Machine::default());
    let theirs = "*filter\n:DOCKER-USER - [0:0]\n:KUBE-FIREWALL - [0:0]\n-A FORWARD -j DOCKER-USER\n-A KUBE-FIREWALL -j DROP\nCOMMIT\n";
    machine.meddle("iptables", theirs);
    machine.meddle("ip6tables", theirs);
    let before = machine.show();
    let mut backend = open(&machine);
    backend.sync_full(&ServiceTable::default()).unwrap();
    assert_ne!(machine.show(), before);
    backend.probe().unwrap();
    backend.remove().unwrap();
    assert_eq!(machine.show(), before);
}

/// Which would else undo each other's rules without a word, each content with its own.
#[test]
fn another_proxy_with_any_other_flag_is_noticed() {
    let services = ["web 10.96.0.10 80@30080", "near 10.96.0.11 80 internal-local"];
    let cluster = cluster_of(&services, &["web 10.244.1.10 10.244.2.10", "near 10.244.1.10 10.244.2.10"]);
    let options = usual_options();
    let canary = |options: &Options, settings: &Settings| {
        let machine = Arc::new(Machine::default());
        let mut backend = IptablesBackend::with(machine.clone(), &Family::BOTH, settings.clone()).unwrap();
        backend.sync_full(&ServiceTable::build(&cluster, options)).unwrap();
        let rules = machine.show();
        let lines = rules.lines().filter(|line| line.contains("-A KUBE-PROXY-CANARY"));
        (lines.map(str::to_owned).collect::<Vec<_>>(), rules.clone())
    };
    let usual = Settings::default();
    let (before, rules) = canary(&options, &usual);
    assert_eq!(before.len(), 6, "{before:?}");
    assert_eq!(canary(&options, &usual).0, before);
    let node_ports = NodePortAddresses::Cidrs(vec!["192.168.0.0/16".parse().unwrap()]);
    let others = [
        (Options { masquerade_all: !options.masquerade_all, ..options.clone() }, usual.clone()),
        (Options { node_name: "elsewhere".into(), ..options.clone() }, usual.clone()),
        (Options { detect_local: DetectLocal::None, ..options.clone() }, usual.clone()),
        (Options { nodeport_addresses: node_ports, ..options.clone() }, usual.clone()),
        (Options { localhost_nodeports: !options.localhost_nodeports, ..options.clone() }, usual.clone()),
        (options.clone(), Settings { mark_bit: 15, ..usual.clone() }),
        (options.clone(), Settings { drop_invalid: false, ..usual.clone() }),
    ];
    for (options, settings) in others {
        let (now, others) = canary(&options, &settings);
        assert!(others != rules, "{options:?} {settings:?}");
        assert!(now.iter().zip(&before).any(|(now, before)| now != before), "{options:?} {settings:?}");
    }
}

/// What the tool cannot print is not taken for nothing, to be written once more.
#[test]
fn a_table_that_the_tool_cannot_read_is_no_empty_table() {
    let machine = Arc::new(Machine::default());
    let mut backend = open(&machine);
    machine.hide("mangle");
    let error = backend.sync_full(&ServiceTable::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "read table mangle of iptables 1.8.9 (nft): it holds what iptables cannot express; \
         `nft list table ip mangle` shows it; it belongs into a table of its own"
    );
    machine.hide("");
    assert!(backend.sync_full(&ServiceTable::default()).unwrap().writes > 0);
}

/// Neither at the start nor at a change is everything in one text.
#[test]
fn a_change_among_20000_sticky_endpoints_writes_what_changed() {
    let ends: Vec<String> =
        (0..20_000).map(|n| format!("10.{}.{}.{}", 244 + n / 50_000, n / 250, n % 250 + 1)).collect();
    let build = |ends: &[String]| {
        let ends = format!("sticky {}", ends.join(" "));
        let cluster = cluster_of(&["sticky 10.96.0.10 80>8080 affinity=10800"], &[&ends]);
        ServiceTable::build(&cluster, &usual_options())
    };
    let (before, after) = (build(&ends), build(&ends[1..]));
    let machine = Arc::new(Machine::default());
    let mut backend = open(&machine);
    backend.sync_full(&before).unwrap();
    let longest = machine.longest();
    assert!((2_000..=4_200).contains(&longest), "{longest} lines in one text");
    let ports = before.ports.iter().map(|(key, old)| PortChange {
        key: key.clone(),
        old: Some(old.clone()),
        new: after.ports.get(key).cloned(),
    });
    let delta = TableDelta { ports: ports.collect(), ..TableDelta::default() };
    let applied = backend.sync_delta(&after, &delta).unwrap();
    // Two leaves, and the chances of all leaves.
    assert!(!applied.full && applied.writes < 1_000, "{applied:?}");
    assert_eq!(machine.show(), fresh(&after));
}
