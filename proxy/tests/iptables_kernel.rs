//! iptables in both of its flavours, and the kernel. Needs root.

use host::iptables::Flavour;
use proxy::backends::Backend;
use proxy::backends::iptables::{IptablesBackend, Settings};
use proxy::cases::{self, Subject};
use proxy_core::cases::{Case, all};
use proxy_core::names::Family;

fn open(flavour: Flavour) -> IptablesBackend {
    let settings = Settings { flavour: Some(flavour), ..Settings::default() };
    IptablesBackend::open(&Family::BOTH, settings).unwrap()
}

/// One backend for all cases: each comes to what the one before has left.
struct Ours(Flavour, Option<IptablesBackend>);

impl Subject for Ours {
    fn implementation(&self) -> &str {
        "iptables"
    }

    fn program(&mut self, case: &Case) -> Result<(), String> {
        let backend = self.1.get_or_insert_with(|| open(self.0));
        backend.sync_full(&case.table()).map(drop).map_err(|error| error.to_string())
    }
}

/// One after the other: each world keeps two cores busy.
#[test]
fn every_case_holds_for_real_packets_in_both_flavours() {
    for flavour in [Flavour::Nft, Flavour::Legacy] {
        println!("{flavour}");
        let asked = cases::run(&mut Ours(flavour, None));
        assert!(asked >= 430, "{asked}");
    }
}

fn in_namespace<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let inside = || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("unshare (needs root)");
            test()
        };
        scope.spawn(inside).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// What is written is printed the same by every flavour: else each full pass would write it again.
fn written_once(flavour: Flavour) {
    in_namespace(|| {
        let mut backend = open(flavour);
        backend.probe().unwrap();
        let mut before = proxy_core::table::ServiceTable::default();
        backend.sync_full(&before).unwrap();
        for case in all().into_iter().step_by(3) {
            let (name, table) = (&case.name, case.table());
            let keys = before.ports.keys().chain(table.ports.keys());
            let keys: std::collections::BTreeSet<_> = keys.cloned().collect();
            let ports = keys.into_iter().map(|key| proxy_core::table::PortChange {
                old: before.ports.get(&key).cloned(),
                new: table.ports.get(&key).cloned(),
                key,
            });
            let delta = proxy_core::table::TableDelta {
                ports: ports.filter(|change| change.old != change.new).collect(),
                node_before: (before.node != table.node).then(|| before.node.clone()),
                ..Default::default()
            };
            let applied =
                backend.sync_delta(&table, &delta).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(applied.full, delta.node_before.is_some(), "{name}: a change fits");
            let have = backend.observe().unwrap();
            assert_eq!(backend.plan(&table, &have).to_string(), "", "{name}");
            before = table;
        }
        backend.remove().unwrap();
        for saved in backend.observe().unwrap().values() {
            let ours = saved.tables.iter().flat_map(|table| &table.chains);
            let left: Vec<_> = ours.filter(|chain| chain.name.starts_with("KUBE-")).collect();
            assert!(left.iter().all(|chain| chain.name == "KUBE-FIREWALL"), "{left:?}");
        }
    });
}

#[test]
fn nft_prints_what_was_written() {
    written_once(Flavour::Nft);
}

#[test]
fn legacy_prints_what_was_written() {
    written_once(Flavour::Legacy);
}

/// How long a test waits for what has to happen, on a busy machine.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

#[test]
fn a_flush_is_noticed() {
    for flavour in [Flavour::Nft, Flavour::Legacy] {
        in_namespace(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let check_every = std::time::Duration::from_millis(50);
            let settings = Settings { flavour: Some(flavour), check_every, ..Settings::default() };
            let mut backend = IptablesBackend::open(&[Family::V4], settings).unwrap();
            let table = proxy_core::table::ServiceTable::default();
            backend.sync_full(&table).unwrap();
            runtime.block_on(async {
                let early = tokio::time::timeout(10 * check_every, backend.disturbed()).await;
                assert!(early.is_err(), "nobody did anything");
            });
            let program = format!("iptables-{}", flavour.name());
            for arguments in [
                ["-t", "nat", "-F", "PREROUTING"],
                ["-t", "filter", "-F", "KUBE-PROXY-CANARY"],
                ["-t", "nat", "-F", "KUBE-SERVICES"],
                ["-t", "nat", "-F", "KUBE-MARK-MASQ"],
                ["-t", "filter", "-F", "FORWARD"],
            ] {
                let status = std::process::Command::new(&program).args(arguments).status().unwrap();
                assert!(status.success());
                runtime.block_on(async {
                    tokio::time::timeout(PATIENCE, backend.disturbed()).await.expect("noticed").unwrap();
                });
                assert!(backend.sync_full(&table).unwrap().writes > 0);
            }
        });
    }
}

/// Each change of a busy cluster drops the wait for a disturbance and begins another.
#[test]
fn a_flush_is_noticed_however_often_the_wait_is_begun_anew() {
    in_namespace(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let check_every = std::time::Duration::from_millis(300);
        let settings = Settings { flavour: Some(Flavour::Nft), check_every, ..Settings::default() };
        let mut backend = IptablesBackend::open(&[Family::V4], settings).unwrap();
        backend.sync_full(&proxy_core::table::ServiceTable::default()).unwrap();
        let flush = ["-t", "nat", "-F", "PREROUTING"];
        assert!(std::process::Command::new("iptables-nft").args(flush).status().unwrap().success());
        let (start, step) = (std::time::Instant::now(), std::time::Duration::from_millis(2));
        runtime.block_on(async {
            while tokio::time::timeout(step, backend.disturbed()).await.is_err() {
                assert!(start.elapsed() < PATIENCE, "nobody looks");
            }
        });
    });
}

/// Names that no API server would admit: a feed from files may have anything.
fn hostile(flavour: Flavour) {
    use proptest::strategy::{Strategy, ValueTree};
    let mut runner = proptest::test_runner::TestRunner::default();
    let name = proptest::prop_oneof![
        proptest::prelude::any::<String>(),
        "[\\x00-\\x7f]{0,40}",
        "[a-z\"\\\\' /-]{200,600}",
        "-[jAD] ?[A-Z]{0,20}",
    ];
    let names = proptest::collection::vec((name.clone(), name), 60);
    in_namespace(|| {
        let mut backend = open(flavour);
        for round in 0..3 {
            let names = names.new_tree(&mut runner).unwrap().current();
            let mut table = proxy_core::table::ServiceTable::default();
            for (n, (service, port)) in names.iter().enumerate() {
                let line =
                    format!("s{n} 10.96.0.{} 80@{} lb=198.51.100.{n} from=192.0.2.0/24", n + 1, 30_000 + n);
                let ends = format!("s{n} 10.244.1.{n} 10.244.2.{n}");
                let ends: &[&str] = if n % 3 == 0 { &[] } else { &[&ends] };
                let options = proxy_core::cases::usual_options();
                let cluster = proxy_core::cases::cluster_of(&[&line], ends);
                let one = proxy_core::table::ServiceTable::build(&cluster, &options);
                table.node = one.node.clone();
                for known in one.ports.values() {
                    let mut known = proxy_core::table::ServicePort::clone(known);
                    known.name.service =
                        proxy_core::names::ServiceName::new("default", format!("{service}{n}"));
                    known.name.port = port.as_str().into();
                    table.ports.insert(known.key(), std::sync::Arc::new(known));
                }
            }
            backend.sync_full(&table).unwrap_or_else(|error| panic!("round {round}: {error}"));
            let have = backend.observe().unwrap();
            let again = backend.plan(&table, &have).to_string();
            assert_eq!(again, "", "round {round}: what is printed is what was written");
        }
    });
}

#[test]
fn whatever_a_service_is_called_its_rules_are_taken_and_printed_alike_by_nft() {
    hostile(Flavour::Nft);
}

#[test]
fn whatever_a_service_is_called_its_rules_are_taken_and_printed_alike_by_legacy() {
    hostile(Flavour::Legacy);
}
